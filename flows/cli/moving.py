"""The verbs that move and undo: precopy, migrate, rollback."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.logs import logged
from flows.cli.options import FILE, chosen, config_option, dry_run_option, json_option, machine_option, opened
from flows.cli.output import print_event, print_json, print_log, print_table, session
from kubeferry.documents import Config, Plan
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.life.actions import Action, EntryFacts, Goal, plan_actions
from kubeferry.life.states import MachineState
from kubeferry.outside import stopping
from kubeferry.sources import open_source
from kubeferry.targets import open_target
from kubeferry.words import counted, plain, plain_lines

if TYPE_CHECKING:  # Prefect comes with it
    from flows.migrate import Outcome


@click.command()
@click.argument("plan", type=FILE)
@config_option
@machine_option
@click.option("--again", is_flag=True, help="Take up machines that were rolled back.")
@dry_run_option
@json_option
@logged
def migrate(
    plan: Path, config: Path | None, machines: tuple[str, ...], again: bool, dry_run: bool, as_json: bool
) -> None:
    """Do what a plan says, and prove it; the same command goes on after any failure."""
    frozen, settings, path = opened(plan, config)
    names = chosen(frozen, machines)
    goal = Goal.MIGRATE_AGAIN if again else Goal.MIGRATE
    if dry_run:
        _say_what_would_be_done(frozen, settings, names, goal, as_json)
        return
    _refuse_what_does_not_fit(frozen, settings, names)
    _run(frozen, settings, path, names, goal, as_json)


@click.command()
@click.argument("plan", type=FILE)
@config_option
@machine_option
@json_option
@logged
def precopy(plan: Path, config: Path | None, machines: tuple[str, ...], as_json: bool) -> None:
    """Copy running machines ahead: one round of what changed since the last one.

    For machines that the policy moves `warm`; others are left alone, and nothing stops any of them. Run it as often as
    you like before `migrate`, from a schedule, say: each round makes the downtime shorter.
    """
    frozen, settings, path = opened(plan, config)
    names = chosen(frozen, machines)
    _refuse_what_does_not_fit(frozen, settings, names)
    _run(frozen, settings, path, names, Goal.PRECOPY, as_json)


@click.command()
@click.argument("plan", type=FILE)
@config_option
@machine_option
@json_option
@logged
def rollback(plan: Path, config: Path | None, machines: tuple[str, ...], as_json: bool) -> None:
    """Stop the copy of a machine and run its source again."""
    if not machines:
        raise click.UsageError("name the machines to roll back with --machine")
    frozen, settings, path = opened(plan, config)
    _run(frozen, settings, path, chosen(frozen, machines), Goal.ROLLBACK, as_json)


def _run(plan: Plan, settings: Config, path: Path, machines: tuple[str, ...], goal: Goal, as_json: bool) -> None:
    """Drive the machines under a Prefect server, the user's or one of our own, and exit by the worst outcome."""
    from flows.serving.server import prefect_api

    _refuse_unknown_source(plan, settings, path)
    if not machines:
        _tell_nothing_to_do(plan, as_json)
        return
    ours = not os.environ.get("PREFECT_API_URL")
    if ours and not as_json:
        click.echo("starting a Prefect server of our own")
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        journal.keep_plan(plan)
        with prefect_api(path.resolve().parent / ".kubeferry" / "prefect") as url:
            from flows.migrate import Run, run_plan
            from flows.progress import Board

            if ours:
                _tell_address(url, as_json)
            board = Board(quiet=as_json, tell=print_event if as_json else None)
            outcomes = run_plan(Run(plan, settings, journal, board, goal), machines)
    _tell_outcomes(outcomes, as_json)
    stopping.check()
    code = max((outcome.error.exit_code for outcome in outcomes if outcome.error), default=0)
    if code or any(outcome.phase == "not begun" for outcome in outcomes):
        print_log(session())
        raise click.exceptions.Exit(code or 1)


def _tell_nothing_to_do(plan: Plan, as_json: bool) -> None:
    left_out = f": it leaves out {counted(len(plan.excluded), 'machine')}" if plan.excluded else ""
    if as_json:
        print_json([])
    else:
        click.echo(f"plan {plan.name} moves no machine{left_out}")


def _refuse_unknown_source(plan: Plan, settings: Config, path: Path) -> None:
    if plan.source not in settings.sources:
        fix = "Add it, or use the configuration that the plan was made with."
        problem = Problem(f"{path}: sources", f"no source is called {plan.source!r}", fix)
        raise InputInvalid("the plan's source is not configured", [problem])


def _tell_address(url: str, as_json: bool) -> None:
    page = url.removesuffix("/api")
    if as_json:
        print_event("server", url=page)
    else:
        click.echo(f"Prefect UI: {page}   (for as long as this runs; later `kubeferry ui`)")


def _tell_outcomes(outcomes: list[Outcome], as_json: bool) -> None:
    if as_json:
        print_json([{"machine": o.machine, "phase": o.phase, "error": str(o.error or "")} for o in outcomes])
        return
    print_table(
        ("machine", "phase", ""),
        [(one.machine, one.phase, one.error.what if one.error else "") for one in outcomes],
    )
    phases = [one.phase for one in outcomes]
    parts = ", ".join(f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases))
    click.echo(f"total: {counted(len(outcomes), 'machine')} ({parts})")
    for outcome in outcomes:
        if outcome.error:
            click.secho(f"\n{plain_lines(str(outcome.error))}", fg="red", err=True)


def _refuse_what_does_not_fit(plan: Plan, settings: Config, machines: tuple[str, ...]) -> None:
    """Everything that the target has against this plan, before anything is touched."""
    entries = tuple(plan.entry(name) for name in machines)
    with contextlib.closing(open_target(settings.target)) as target:
        concerns = [concern for concern in target.concerns(entries) if concern.severity == "critical"]
    if concerns:
        raise InputInvalid(
            "the target cannot take this plan", [Problem(concern.id, concern.what, concern.fix) for concern in concerns]
        )


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
