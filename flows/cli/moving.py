"""The verbs that move and undo: precopy, migrate, rollback."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.asking import announce, confirm, person, yes_option
from flows.cli.logs import logged
from flows.cli.options import (
    chosen,
    config_option,
    dry_run_option,
    json_option,
    machine_option,
    opened,
    plan_named,
    whole_sets,
)
from flows.cli.output import beside, event_line, print_event, print_json, print_log, print_table, session
from flows.cli.stopped import at_a_safe_point, at_once
from kubeferry.documents import Config, Plan
from kubeferry.errors import InputInvalid, Interrupted, KubeferryError, Problem
from kubeferry.journal import Journal
from kubeferry.life.actions import Action, EntryFacts, Goal, plan_actions
from kubeferry.life.states import MachineState
from kubeferry.outside import stopping
from kubeferry.sources import open_source
from kubeferry.steps.beforehand import Asked, ask, copied_ahead, left_out, untouched
from kubeferry.targets import open_target
from kubeferry.words import counted, plain, plain_lines

if TYPE_CHECKING:
    from flows.migrate import Outcome
    from flows.serving.server import Api
    from kubeferry.outside.streams import Aside

START_SECONDS = 30.0
GIVEN_SECONDS = 2.0
HURRIED_SECONDS = 0.5


@click.command()
@plan_named
@config_option
@machine_option
@click.option("--again", is_flag=True, help="Take up machines that were rolled back.")
@dry_run_option
@json_option
@logged
def migrate(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: tuple[str, ...],
    again: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Do what a plan says, and prove it; the same command goes on after any failure."""
    frozen, settings, path = opened(plan, named, config)
    names = whole_sets(frozen, chosen(frozen, machines))
    _refuse_empty(frozen, names)
    goal = Goal.MIGRATE_AGAIN if again else Goal.MIGRATE
    if dry_run:
        _say_what_would_be_done(frozen, settings, names, goal, as_json)
        return
    _run(frozen, settings, path, names, goal, as_json)


@click.command()
@plan_named
@config_option
@machine_option
@json_option
@logged
def precopy(
    plan: Path | None, named: str | None, config: Path | None, machines: tuple[str, ...], as_json: bool
) -> None:
    """Copy running machines ahead: one round of what changed since the last one.

    For machines that the policy moves `warm`; others are left alone, and nothing stops any of them. Run it as often as
    you like before `migrate`, from a schedule, say: each round makes the downtime shorter.
    """
    frozen, settings, path = opened(plan, named, config)
    names = chosen(frozen, machines)
    _refuse_empty(frozen, names)
    _run(frozen, settings, path, names, Goal.PRECOPY, as_json)


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
) -> None:
    """Drive the machines, shown by a Prefect server, the user's or one of our own; exit by the worst outcome."""
    _refuse_unknown_source(plan, settings, path)
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        asked = _asked(plan, settings, journal, machines, goal, as_json=as_json)
        refused = asked.errors()
        journal.keep_plan(plan)
        outcomes = _driven(plan, settings, path, journal, machines, goal, as_json, target_is_down, refused)
        stopped = at_a_safe_point(plan, journal, machines, _plan_s_words()) if stopping.requested() else None
    _tell_outcomes(outcomes, as_json)
    if stopped:
        raise stopped
    if len(refused) == len(machines):
        raise asked.nothing_left(plan.name)
    code = max((outcome.error.exit_code for outcome in outcomes if outcome.error), default=0)
    if code or any(outcome.phase == "not begun" for outcome in outcomes):
        print_log(session())
        raise click.exceptions.Exit(code or 1)


def _driven(  # what a run has, and nothing else
    plan: Plan,
    settings: Config,
    path: Path,
    journal: Journal,
    machines: tuple[str, ...],
    goal: Goal,
    as_json: bool,
    target_is_down: str,
    refused: dict[str, KubeferryError],
) -> list[Outcome]:
    from flows.following import Following
    from flows.migrate import Run, run_plan
    from flows.progress import Board
    from flows.serving.server import prefect_api

    if len(refused) == len(machines):  # nothing to watch: it is only recorded
        return run_plan(Run(plan, settings, journal, Board(quiet=True), goal, refused=refused), machines)
    with beside() as said, prefect_api(path.resolve().parent / ".kubeferry" / "prefect") as api:
        if api.server and not as_json:
            said("starting a Prefect server of our own")
        states = journal.states(plan.digest)
        standing = {name: states[name] for name in machines if name in states}
        _tell_address(api, api.wait(_head_start(standing, goal)), said, as_json)
        board = Board(
            quiet=as_json,
            tell=(lambda event, **facts: said(event_line(event, **facts))) if as_json else None,
            say=said,
        )
        with Following(api, plan, goal, machines, settings.limits, board) as shown:
            run = Run(plan, settings, journal, board, goal, shown, target_is_down, refused, standing=standing)
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
    if goal is Goal.ROLLBACK:
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


def _refuse_unknown_source(plan: Plan, settings: Config, path: Path) -> None:
    if plan.source not in settings.sources:
        fix = "Add it, or use the configuration that the plan was made with."
        problem = Problem(f"{path}: sources", f"no source is called {plan.source!r}", fix)
        raise InputInvalid("the plan's source is not configured", [problem])


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


def _tell_outcomes(outcomes: list[Outcome], as_json: bool) -> None:
    if as_json:
        print_json([_as_told(one) for one in outcomes])
        return
    print_table(
        ("machine", "phase", ""),
        [(one.machine, one.phase, one.error.what if one.error else plain(one.left)) for one in outcomes],
    )
    phases = [one.phase for one in outcomes]
    parts = ", ".join(f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases))
    click.echo(f"total: {counted(len(outcomes), 'machine')} ({parts})")
    for outcome in outcomes:
        if outcome.error and not isinstance(outcome.error, Interrupted):  # a stop is told once, for all of them
            click.secho(f"\n{plain_lines(str(outcome.error))}", fg="red", err=True)


def _as_told(outcome: Outcome) -> dict[str, str]:
    told = {"machine": outcome.machine, "phase": outcome.phase, "error": str(outcome.error or "")}
    return told | ({"left": outcome.left} if outcome.left else {})


def _say_what_would_be_done(plan: Plan, settings: Config, machines: tuple[str, ...], goal: Goal, as_json: bool) -> None:
    actions = _actions(plan, settings, machines, goal)
    if as_json:
        told = [
            {
                "machine": name,
                "actions": [{"action": one.kind, "disks": list(one.disks), "why": one.reason} for one in found],
            }
            for name, found in actions.items()
        ]
        print_json(told)
        return
    for name, found in actions.items():
        click.secho(plain(name), bold=True)
        if others := [other for other in plan.set_of(name) if other != name]:
            together = (
                f"together with {', '.join(others)}: none of them takes a step before all have taken the one before it"
            )
            click.echo(plain(f"  {together}"))
        for action in found:
            click.echo(plain(f"  {action.kind:<16} {action.reason}"))


def _actions(plan: Plan, settings: Config, machines: tuple[str, ...], goal: Goal) -> dict[str, list[Action]]:
    """What would be done with each machine, in order, from where it stands."""
    found = {}
    deltas = _tells_changes(plan, settings)
    with (
        contextlib.closing(Journal.open(settings.journal)) as journal,
        contextlib.closing(open_target(settings.target)) as target,
    ):
        states = journal.states(plan.digest)
        for name in machines:
            entry = plan.entry(name)
            facts = EntryFacts.of(plan, entry, keeps_running=target.capabilities.keeps_running, deltas=deltas)
            state = states.get(name, MachineState())
            found[name] = list(plan_actions(facts, state, goal, power_now=entry.machine.power))
    return found


def _tells_changes(plan: Plan, settings: Config) -> bool:
    """Whether the plan's source can tell while a machine runs what changed. Asks nobody."""
    known = settings.sources.get(plan.source)
    if known is None:
        return False
    with contextlib.closing(open_source(plan.source, known)) as source:
        return source.capabilities.live_deltas
