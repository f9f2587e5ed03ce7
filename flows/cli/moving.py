"""The verbs that move and undo: precopy, rehearse, migrate, rollback."""

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
from flows.cli.logs import logged
from flows.cli.options import (
    chosen,
    config_option,
    dry_run_option,
    json_option,
    machine_option,
    of_waves,
    opened,
    plan_named,
    refuse_unknown_source,
    wave_option,
    whole_sets,
)
from flows.cli.outcomes import nothing_begun, tell_outcomes
from flows.cli.output import beside, event_line, print_event, print_log, session
from flows.cli.stopped import at_a_safe_point, at_once
from kubeferry.documents import Config, Plan
from kubeferry.errors import InputInvalid, PermanentError, Problem
from kubeferry.journal import Journal
from kubeferry.life.actions import Goal
from kubeferry.life.states import MachineState
from kubeferry.outside import stopping
from kubeferry.steps.beforehand import Asked, ask, copied_ahead, left_out, untouched
from kubeferry.words import plain

if TYPE_CHECKING:
    from flows.migrate import Outcome, Run
    from flows.serving.server import Api
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
@machine_option
@click.option("--again", is_flag=True, help="Take up machines that were rolled back.")
@click.option(
    "--out-of-order",
    is_flag=True,
    help="You say that the machines named move now, whatever they wait for. Recorded with your name.",
)
@rehearse_option
@dry_run_option
@json_option
@logged
def migrate(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: tuple[str, ...],
    again: bool,
    out_of_order: bool,
    rehearse: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Do what a plan says, and prove it; the same command goes on after any failure.

    A machine waits for those that it comes `after`, and one that fails holds back those that wait for it, and no others
    but what the policy's `waves` says.
    """
    if out_of_order and not machines:
        raise click.UsageError("name the machines to move out of order with --machine")
    frozen, settings, path = opened(plan, named, config)
    names = whole_sets(frozen, chosen(frozen, machines))
    _refuse_empty(frozen, names)
    goal = Goal.MIGRATE_AGAIN if again else Goal.MIGRATE
    if dry_run:
        say_what_would_be_done(frozen, settings, names, goal, insisted=out_of_order, as_json=as_json)
        return
    insisted = person() if out_of_order else ""
    _run(frozen, settings, path, names, goal, as_json, insisted=insisted, rehearse=rehearse)


@click.command()
@plan_named
@config_option
@machine_option
@rehearse_option
@json_option
@logged
def precopy(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: tuple[str, ...],
    rehearse: bool,
    as_json: bool,
) -> None:
    """Copy running machines ahead: one round of what changed since the last one.

    For machines that the policy moves `warm`; others are left alone, and nothing stops any of them. Run it as often as
    you like before `migrate`, from a schedule, say: each round makes the downtime shorter.
    """
    frozen, settings, path = opened(plan, named, config)
    names = chosen(frozen, machines)
    _refuse_empty(frozen, names)
    _run(frozen, settings, path, names, Goal.PRECOPY, as_json, rehearse=rehearse)


@click.command()
@plan_named
@config_option
@machine_option
@wave_option
@dry_run_option
@json_option
@logged
def rehearse(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: tuple[str, ...],
    waves: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Start what was copied ahead for itself, isolated, and ask the plan's probes.

    Over a throw-away layer of the copied disks, while the machine runs on at its source. Afterwards nothing of it is
    left, and the disks are read back: they are as they were. Machines of which nothing is copied ahead are named.
    """
    frozen, settings, path = opened(plan, named, config)
    names = chosen(frozen, machines) if machines else of_waves(frozen, waves)
    _refuse_empty(frozen, names)
    if dry_run:
        say_what_would_be_done(frozen, settings, names, Goal.REHEARSE, insisted=True, as_json=as_json)
        return
    ready, besides = (names, ()) if machines else _rehearsable(frozen, settings, names)
    _run(frozen, settings, path, ready, Goal.REHEARSE, as_json, besides=besides)


def _rehearsable(plan: Plan, settings: Config, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Outcome, ...]]:
    """Those of which there is something to rehearse, and the others with the reason. Raises InputInvalid where there
    is nothing at all."""
    from flows.migrate import NOT_BEGUN, Outcome
    from kubeferry.steps.rehearsing import refuse_unsynced

    with contextlib.closing(Journal.open(settings.journal)) as journal:
        states = journal.states(plan.digest)
    besides, problems = [], []
    for name in names:
        try:
            refuse_unsynced(plan, name, states.get(name, MachineState()))
        except PermanentError as error:
            problems.append(Problem(f"--machine {name}", error.why, error.fix))
            phase = str(states[name].phase) if name in states else NOT_BEGUN
            besides.append(Outcome(name, phase, left=f"not rehearsed: {error.why}"))
    ready = tuple(name for name in names if name not in {one.machine for one in besides})
    if not ready:
        raise InputInvalid("nothing can be rehearsed", problems)
    return ready, tuple(besides)


@click.command()
@plan_named
@config_option
@machine_option
@click.option(
    "--target-is-down",
    is_flag=True,
    help="You say that the target is gone for good, and no copy runs there: nobody asks it. Recorded with your name.",
)
@yes_option
@json_option
@logged
def rollback(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: tuple[str, ...],
    target_is_down: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Stop the copy of a machine and run its source again."""
    if not machines:
        raise click.UsageError("name the machines to roll back with --machine")
    frozen, settings, path = opened(plan, named, config)
    names = whole_sets(frozen, chosen(frozen, machines))
    who = person() if target_is_down else ""
    if who:
        announce(
            [f"Nobody looks whether a copy of {', '.join(names)} runs at the target: where one does, two will run."]
        )
        confirm(f"{who}: is the target down for good", yes=yes)
    _run(frozen, settings, path, names, Goal.ROLLBACK, as_json, who)


def _run(
    plan: Plan,
    settings: Config,
    path: Path,
    machines: tuple[str, ...],
    goal: Goal,
    as_json: bool,
    target_is_down: str = "",
    insisted: str = "",
    *,
    rehearse: bool = False,
    besides: tuple[Outcome, ...] = (),
) -> None:
    """Drive the machines, shown by a Prefect server, the user's or one of our own; exit by the worst outcome. `besides`
    are machines that have no part in it, told with the others."""
    from flows.migrate import NOT_BEGUN, Run, run_plan
    from flows.progress import Board
    from kubeferry.steps.turns import Turns

    refuse_unknown_source(plan, settings, path)
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        again = goal is Goal.MIGRATE_AGAIN
        turns = Turns(plan, journal, again=again, insisted=insisted) if goal.in_order else None
        waiting = turns.out_of_reach(machines) if turns else {}
        coming = tuple(name for name in machines if name not in waiting)
        asked = _asked(plan, settings, journal, coming, goal, as_json=as_json)
        refused = asked.errors()
        waiting = turns.out_of_reach(machines, refused) if turns else {}
        journal.keep_plan(plan)
        run = Run(plan, settings, journal, Board(quiet=True), goal, target_is_down=target_is_down, refused=refused)
        run.turns, run.rehearse = turns, rehearse
        idle = len(refused) + len(waiting) == len(machines)  # nothing to watch: what there is to say is only recorded
        outcomes = run_plan(run, machines) if idle else _watched(run, path, machines, as_json)
        stopped = at_a_safe_point(plan, journal, machines, _plan_s_words()) if stopping.requested() else None
    tell_outcomes([*outcomes, *besides], as_json)
    if stopped:
        raise stopped
    if idle:
        raise asked.nothing_left(plan.name) if refused else nothing_begun(outcomes)
    code = max((outcome.error.exit_code for outcome in outcomes if outcome.error), default=0)
    if code or any(outcome.phase == NOT_BEGUN for outcome in outcomes):
        print_log(session())
        raise click.exceptions.Exit(code or 1)


def _watched(run: Run, path: Path, machines: tuple[str, ...], as_json: bool) -> list[Outcome]:
    """The run, told to whoever watches: at this terminal, and in Prefect."""
    from flows.following import Following
    from flows.migrate import run_plan
    from flows.progress import Board
    from flows.serving.server import prefect_api

    with beside() as said, prefect_api(path.resolve().parent / ".kubeferry" / "prefect") as api:
        if api.server and not as_json:
            said("starting a Prefect server of our own")
        states = run.journal.states(run.plan.digest)
        run.standing.update({name: states[name] for name in machines if name in states})
        _tell_address(api, api.wait(_head_start(run.standing, run.goal)), said, as_json)
        run.board = Board(
            quiet=as_json,
            tell=(lambda event, **facts: said(event_line(event, **facts))) if as_json else None,
            say=said,
        )
        with Following(api, run.plan, run.goal, machines, run.config.limits, run.board) as shown:
            run.shown = shown
            with stopping.leaving(functools.partial(at_once, run.standing, _plan_s_words(), as_json)):
                return run_plan(run, machines)


def _plan_s_words() -> list[str]:
    """What names the plan on the command line."""
    given = click.get_current_context().params
    return [str(given["plan"])] if given["plan"] else ["--plan", str(given["named"])]


def _asked(  # what a run has, and nothing else
    plan: Plan, settings: Config, journal: Journal, machines: tuple[str, ...], goal: Goal, *, as_json: bool = False
) -> Asked:
    """What source and target have against machines that nobody has stopped yet, before anything is touched. A trial for
    each hourly round would show nothing that the rounds do not. Raises InputInvalid where it is against all of them."""
    if goal in {Goal.ROLLBACK, Goal.REHEARSE}:  # neither stops a source, nor writes to a disk
        return Asked()
    from flows.progress import Questions

    states = journal.states(plan.digest)
    waiting = untouched(machines, states, again=goal is Goal.MIGRATE_AGAIN)
    shown: frozenset[str] = frozenset()
    if goal is Goal.PRECOPY:  # what is copied ahead is what runs, and moves warm
        waiting = tuple(name for name in waiting if plan.entry(name).mode == "warm")
        shown = copied_ahead(states)
    asked = ask(settings, plan, waiting, shown, Questions(tell=print_event if as_json else None))
    asked.check()
    return asked


def _head_start(standing: Mapping[str, MachineState], goal: Goal) -> float:
    """How long a Prefect server is waited for, in seconds: who wants to watch finds it there, but no machine that is
    off, or goes back, waits for that. One of our own has yet to start."""
    if goal is Goal.ROLLBACK or any(state.source_off for state in standing.values()):
        return HURRIED_SECONDS
    return GIVEN_SECONDS if os.environ.get("PREFECT_API_URL") else START_SECONDS


def _refuse_empty(plan: Plan, machines: tuple[str, ...]) -> None:
    """A plan of no machine is no run that went well: whoever runs it expects one to move. Raises InputInvalid."""
    if not machines:
        fix = "Plan again, with a policy that settles what speaks against them: `kubeferry assess` says it."
        problem = Problem(f"plan {plan.name}", f"it moves no machine{left_out(plan)}", fix)
        raise InputInvalid("the plan is empty", [problem])


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
