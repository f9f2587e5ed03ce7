"""The verbs that move, settle and undo: precopy, migrate, commit, rollback."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.asking import announce, confirm, person, yes_option
from flows.cli.dry_run import say_what_would_be_done
from flows.cli.going_back import refuse_losing, writes_lost
from flows.cli.logs import logged
from flows.cli.options import (
    Named,
    chosen,
    config_option,
    dry_run_option,
    json_option,
    members_option,
    opened,
    plan_named,
    whole_sets,
)
from flows.cli.outcomes import tell_outcomes
from flows.cli.output import beside, event_line, print_event, print_log, session
from flows.cli.stopped import at_a_safe_point, at_once
from kubeferry.documents import Config, Plan
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.life.states import MachineState
from kubeferry.outside import stopping
from kubeferry.words import plain

if TYPE_CHECKING:
    from flows.migrate import Run
    from flows.moves import Move
    from flows.serving.server import Api
    from flows.told import Outcome
    from kubeferry.outside.streams import Aside

START_SECONDS = 30.0
GIVEN_SECONDS = 2.0
HURRIED_SECONDS = 0.5


rehearse_option = click.option(
    "--rehearse", is_flag=True, help="Rehearse what was copied ahead first; what does not pass goes no further."
)


@click.command()
@plan_named
@config_option
@members_option
@click.option("--again", is_flag=True, help="Take up machines that were rolled back.")
@click.option(
    "--out-of-order",
    is_flag=True,
    help="You say that the machines named move now, whatever they wait for. Recorded with your name.",
)
@click.option(
    "--out-of-window",
    metavar="REASON",
    help="You say that the machines named may be stopped outside their window, and why. Recorded with your name.",
)
@rehearse_option
@dry_run_option
@json_option
@logged
def migrate(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: Named,
    again: bool,
    out_of_order: bool,
    out_of_window: str | None,
    rehearse: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Do what a plan says, and prove it; the same command goes on after any failure.

    A machine waits for those that it comes `after`, and one that fails holds back those that wait for it, and no others
    but what the policy's `waves` says. One that has a window is stopped only while that is open and long enough; it is
    deferred until then, and copied ahead where it moves warm.
    """
    if out_of_order and not machines:
        raise click.UsageError("name the machines to move out of order with --machine, --app or --wave")
    if out_of_window is not None and not (machines and out_of_window.strip()):
        raise click.UsageError("name the machines to stop outside their window with --machine, and say why")
    from flows.moves import Move, refuse_empty

    frozen, settings, path = opened(plan, named, config)
    names = whole_sets(frozen, chosen(frozen, machines))
    refuse_empty(frozen, names)
    goal = Goal.MIGRATE_AGAIN if again else Goal.MIGRATE
    if dry_run:
        outside = out_of_window is not None
        say_what_would_be_done(frozen, settings, names, goal, insisted=out_of_order, overruled=outside, as_json=as_json)
        return
    overruled = f"{person()}: {out_of_window.strip()}" if out_of_window else ""
    insisted = person() if out_of_order else ""
    move = Move(frozen, settings, path, names, goal, insisted=insisted, overruled=overruled, rehearse=rehearse)
    run_move(move, as_json)


@click.command()
@plan_named
@config_option
@members_option
@rehearse_option
@json_option
@logged
def precopy(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: Named,
    rehearse: bool,
    as_json: bool,
) -> None:
    """Copy running machines ahead: one round of what changed since the last one.

    For machines that the policy moves `warm`; others are left alone, and nothing stops any of them. Run it as often as
    you like before `migrate`, from a schedule, say: each round makes the downtime shorter.
    """
    from flows.moves import Move, refuse_empty

    frozen, settings, path = opened(plan, named, config)
    names = chosen(frozen, machines)
    refuse_empty(frozen, names)
    run_move(Move(frozen, settings, path, names, Goal.PRECOPY, rehearse=rehearse), as_json)


@click.command()
@plan_named
@config_option
@members_option
@dry_run_option
@json_option
@logged
def commit(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: Named,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Say that machines which are watched have moved for good.

    For machines that the policy's `commit` has watched after their probes have passed; others are left alone. Their
    probes are asked once more before, and the journal keeps who has said so.
    """
    frozen, settings, path = opened(plan, named, config)
    names = _watched(frozen, settings, whole_sets(frozen, chosen(frozen, machines)), all_of_them=not machines)
    if dry_run:
        say_what_would_be_done(frozen, settings, names, Goal.COMMIT, insisted=True, as_json=as_json)
        return
    from flows.moves import Move

    run_move(Move(frozen, settings, path, names, Goal.COMMIT, by=person()), as_json)


@click.command()
@plan_named
@config_option
@members_option
@click.option(
    "--lose-writes",
    is_flag=True,
    help="Go back from a machine that has moved: what was written at the target since then is left behind there.",
)
@click.option(
    "--target-is-down",
    is_flag=True,
    help="You say that the target is gone for good, and no copy runs there: nobody asks it. Recorded with your name.",
)
@yes_option
@dry_run_option
@json_option
@logged
def rollback(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: Named,
    lose_writes: bool,
    target_is_down: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Stop the copy of a machine and run its source again.

    A machine that has served at the target since its commit goes back only with `--lose-writes`: its source is as it
    was when it was stopped, and what was written since then is not in it. `--dry-run` says how long that is.
    """
    if not machines:
        raise click.UsageError("name the machines to roll back with --machine, --app or --wave")
    from flows.moves import Move

    frozen, settings, path = opened(plan, named, config)
    names = whole_sets(frozen, chosen(frozen, machines))
    lost = writes_lost(frozen, settings, names)
    if dry_run:
        say_what_would_be_done(frozen, settings, names, Goal.ROLLBACK, insisted=True, as_json=as_json, lost=lost)
        return
    refuse_losing(lost, said=lose_writes)
    if lost:
        announce(f"{name}: {one}" for name, one in lost.items())
    who = person() if target_is_down else ""
    if who:
        announce(
            [f"Nobody looks whether a copy of {', '.join(names)} runs at the target: where one does, two will run."]
        )
        confirm(f"{who}: is the target down for good", yes=yes)
    run_move(Move(frozen, settings, path, names, Goal.ROLLBACK, target_is_down=who), as_json)


def run_move(move: Move, as_json: bool, besides: tuple[Outcome, ...] = ()) -> None:
    """Drive the machines, shown by a Prefect server, the user's or one of our own; exit by the worst outcome. `besides`
    are machines that have no part in it, told with the others."""
    from flows.migrate import run_plan
    from flows.moves import nothing_left, prepared, whole
    from flows.progress import Questions
    from flows.told import NOT_BEGUN

    move = whole(move, lambda text: click.echo(plain(text), err=True))
    plan, machines = move.plan, move.machines
    with prepared(move, Questions(tell=print_event if as_json else None)) as ready:
        outcomes = run_plan(ready.run, machines) if ready.idle else _seen_running(ready.run, move, as_json)
        stopped = at_a_safe_point(plan, ready.run.journal, machines, _plan_s_words()) if stopping.requested() else None
    tell_outcomes([*outcomes, *besides], as_json)
    if stopped:
        raise stopped
    if ready.idle:
        raise nothing_left(ready, outcomes)
    code = max((outcome.error.exit_code for outcome in outcomes if outcome.error), default=0)
    if code or any(outcome.phase == NOT_BEGUN for outcome in outcomes):
        print_log(session())
        raise click.exceptions.Exit(code or 1)


def _seen_running(run: Run, move: Move, as_json: bool) -> list[Outcome]:
    """The run, told to whoever watches: at this terminal, and in Prefect."""
    from flows.following import Following
    from flows.leaving import carried_through
    from flows.progress import Board
    from flows.serving.server import prefect_api

    with beside() as said, prefect_api(move.path.resolve().parent / ".kubeferry" / "prefect") as api:
        if api.server and not as_json:
            said("starting a Prefect server of our own")
        _tell_address(api, api.wait(_head_start(run.standing, run.goal)), said, as_json)
        run.board = Board(
            quiet=as_json,
            tell=(lambda event, **facts: said(event_line(event, **facts))) if as_json else None,
            say=said,
        )
        with Following(api, run, move.machines, move.path) as shown:
            run.shown = shown
            with stopping.leaving(functools.partial(at_once, run.standing, _plan_s_words(), as_json)):
                return carried_through(run, move.machines, move.path)


def _plan_s_words() -> list[str]:
    """What names the plan on the command line."""
    given = click.get_current_context().params
    return [str(given["plan"])] if given["plan"] else ["--plan", str(given["named"])]


def _head_start(standing: Mapping[str, MachineState], goal: Goal) -> float:
    """How long a Prefect server is waited for, in seconds: who wants to watch finds it there, but no machine that is
    off, or goes back, waits for that. One of our own has yet to start."""
    if goal is Goal.ROLLBACK or any(state.source_off for state in standing.values()):
        return HURRIED_SECONDS
    return GIVEN_SECONDS if os.environ.get("PREFECT_API_URL") else START_SECONDS


def _watched(plan: Plan, settings: Config, machines: tuple[str, ...], *, all_of_them: bool) -> tuple[str, ...]:
    """Those of the machines that wait for their commit; where they were named, each has to. Raises InputInvalid."""
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        states = journal.states(plan.digest)
    phases = {name: states[name].resumes if name in states else Phase.PLANNED for name in machines}
    done = [name for name in machines if phases[name] is Phase.COMMITTED]
    others = [name for name in machines if phases[name] not in {Phase.VALIDATED, Phase.COMMITTED}]
    if (others and not all_of_them) or len(others) + len(done) == len(machines):
        fix = "Only what is validated can be committed: `kubeferry status` shows where each machine stands."
        problems = [Problem(f"--machine {name}", f"it is {phases[name]}", fix) for name in others or done]
        raise InputInvalid("nothing can be committed of these machines", problems)
    return tuple(name for name in machines if phases[name] is Phase.VALIDATED)


def _tell_address(api: Api, away: str, said: Aside, as_json: bool) -> None:
    """Where the run can be watched, or why it cannot yet; of the user's own server only the latter."""
    page = api.url.removesuffix("/api")
    if as_json and (api.server or away):
        said(event_line("server", url=page, **({"away": away} if away else {})))
    elif away and api.server and not api.ended():
        said(f"Prefect UI: {page}   (still starting: the run goes on by its journal, and is shown there then)")
    elif away:
        where = f"at {page} " if page else ""
        text = f"Prefect {where}does not answer ({plain(away)}): the run goes on by its journal"
        said(click.style(text, fg="yellow"))
    elif api.server and not as_json:
        said(f"Prefect UI: {page}   (for as long as this runs; later `kubeferry ui`)")
