"""The verbs that move, undo, show and clean up: precopy, migrate, rollback, status, release, report, ui."""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from flows.cli.estate import FILE, FOLDER, config_option, json_option
from kubeferry.config import find_config, pick_source, read_config
from kubeferry.documents import Config, Plan, dump, load
from kubeferry.errors import InputInvalid, Interrupted, Problem
from kubeferry.journal import Journal
from kubeferry.life.actions import EntryFacts, Goal, next_action, plan_actions
from kubeferry.outside import stopping
from kubeferry.outside.clock import now
from kubeferry.sources import Source, open_source
from kubeferry.targets import open_target

machine_option = click.option("--machine", "-m", "machines", multiple=True, help="Only this machine; may be repeated.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")


def _opened(plan: Path, config: Path | None) -> tuple[Plan, Config, Path]:
    path = find_config(config)
    return load(plan, Plan), read_config(path), path


def _chosen(plan: Plan, machines: tuple[str, ...]) -> tuple[str, ...]:
    known = [entry.name for entry in plan.entries]
    problems = [
        Problem(
            f"--machine {name}", plan.excluded.get(name, "it is not in the plan"), f"Name one of: {', '.join(known)}."
        )
        for name in machines
        if name not in known
    ]
    if problems:
        raise InputInvalid("the plan has no such machine", problems)
    return machines or tuple(known)


@click.command()
@click.argument("plan", type=FILE)
@config_option
@machine_option
@click.option("--again", is_flag=True, help="Take up machines that were rolled back.")
@dry_run_option
@json_option
def migrate(
    plan: Path, config: Path | None, machines: tuple[str, ...], again: bool, dry_run: bool, as_json: bool
) -> None:
    """Do what a plan says, and prove it; the same command goes on after any failure."""
    frozen, settings, path = _opened(plan, config)
    chosen = _chosen(frozen, machines)
    goal = Goal.MIGRATE_AGAIN if again else Goal.MIGRATE
    if dry_run:
        _say_what_would_be_done(frozen, settings, chosen, goal)
        return
    _refuse_what_does_not_fit(frozen, settings, chosen)
    _run(frozen, settings, path, chosen, goal, as_json)


@click.command()
@click.argument("plan", type=FILE)
@config_option
@machine_option
@json_option
def precopy(plan: Path, config: Path | None, machines: tuple[str, ...], as_json: bool) -> None:
    """Copy running machines ahead: one round of what changed since the last one.

    For machines that the policy moves `warm`; others are left alone, and nothing stops any of them. Run it as often as
    you like before `migrate`, from a schedule, say: each round makes the downtime shorter.
    """
    frozen, settings, path = _opened(plan, config)
    chosen = _chosen(frozen, machines)
    _refuse_what_does_not_fit(frozen, settings, chosen)
    _run(frozen, settings, path, chosen, Goal.PRECOPY, as_json)


@click.command()
@click.argument("plan", type=FILE)
@config_option
@machine_option
@json_option
def rollback(plan: Path, config: Path | None, machines: tuple[str, ...], as_json: bool) -> None:
    """Stop the copy of a machine and run its source again."""
    if not machines:
        raise click.UsageError("name the machines to roll back with --machine")
    frozen, settings, path = _opened(plan, config)
    _run(frozen, settings, path, _chosen(frozen, machines), Goal.ROLLBACK, as_json)


def _run(plan: Plan, settings: Config, path: Path, machines: tuple[str, ...], goal: Goal, as_json: bool) -> None:
    """Drive the machines under a Prefect server, the user's or one of our own, and exit by the worst outcome."""
    from flows.server import prefect_api

    if plan.source not in settings.sources:
        where = f"{path}: sources"
        raise InputInvalid(
            "the plan's source is not configured",
            [
                Problem(
                    where,
                    f"no source is called {plan.source!r}",
                    "Add it, or use the configuration that the plan was made with.",
                )
            ],
        )
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        journal.register_plan(plan.digest, plan.name, dump(plan))
        with prefect_api(path.resolve().parent / ".kubeferry" / "prefect"):
            from flows.migrate import Run, run_plan
            from flows.progress import Board

            outcomes = run_plan(Run(plan, settings, journal, Board(quiet=as_json), goal), machines)
    if as_json:
        click.echo(
            json.dumps([{"machine": o.machine, "phase": o.phase, "error": str(o.error or "")} for o in outcomes])
        )
    for outcome in outcomes:
        if outcome.error and not as_json:
            click.secho(f"\n{outcome.error}", fg="red", err=True)
    stopping.check()
    code = max((outcome.error.exit_code for outcome in outcomes if outcome.error), default=0)
    if code or any(outcome.phase == "not begun" for outcome in outcomes):
        raise click.exceptions.Exit(code or 1)


def _refuse_what_does_not_fit(plan: Plan, settings: Config, machines: tuple[str, ...]) -> None:
    """Everything that the target has against this plan, before anything is touched."""
    entries = tuple(plan.entry(name) for name in machines)
    with contextlib.closing(open_target(settings.target)) as target:
        concerns = [concern for concern in target.concerns(entries) if concern.severity == "critical"]
    if concerns:
        raise InputInvalid(
            "the target cannot take this plan", [Problem(concern.id, concern.what, concern.fix) for concern in concerns]
        )


def _say_what_would_be_done(plan: Plan, settings: Config, machines: tuple[str, ...], goal: Goal) -> None:
    with (
        contextlib.closing(Journal.open(settings.journal)) as journal,
        contextlib.closing(open_target(settings.target)) as target,
    ):
        deltas = _tells_changes(plan, settings)
        for name in machines:
            entry = plan.entry(name)
            facts = EntryFacts.of(plan, entry, keeps_running=target.capabilities.keeps_running, deltas=deltas)
            click.secho(name, bold=True)
            for action in plan_actions(facts, journal.state(plan.digest, name), goal, power_now=entry.machine.power):
                click.echo(f"  {action.kind:<16} {action.reason}")


def _tells_changes(plan: Plan, settings: Config) -> bool:
    """Whether the plan's source can tell while a machine runs what changed. Asks nobody."""
    known = settings.sources.get(plan.source)
    if known is None:
        return False
    with contextlib.closing(open_source(plan.source, known)) as source:
        return source.capabilities.live_deltas


@click.command()
@click.argument("plan", type=FILE)
@config_option
@json_option
def status(plan: Path, config: Path | None, as_json: bool) -> None:
    """Show where each machine of a plan stands, and what is next."""
    frozen, settings, _ = _opened(plan, config)
    rows = []
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        for entry in frozen.entries:
            state = journal.state(frozen.digest, entry.name)
            action = next_action(EntryFacts.of(frozen, entry, keeps_running=True), state)
            failed = f"{state.failed.what}" if state.failed else ""
            rows.append(
                {
                    "machine": entry.name,
                    "phase": state.phase,
                    "failed": failed,
                    "next": action.kind,
                    "why": action.reason,
                }
            )
        open_things = journal.ledger_open(frozen.digest)
    if as_json:
        click.echo(json.dumps({"machines": rows, "open": [f"{thing.kind} {thing.name}" for thing in open_things]}))
        return
    table = Table("machine", "phase", "failed", "next", "why", box=None, header_style="bold")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
    click.echo(f"{len(open_things)} things of ours exist outside the journal; `kubeferry release` accounts for them")


@click.command()
@click.argument("plan", type=FILE)
@config_option
@click.option("--everything", is_flag=True, help="Remove the migrated disks and manifests too. There is no way back.")
@dry_run_option
def release(plan: Path, config: Path | None, everything: bool, dry_run: bool) -> None:
    """Drop what was only needed for the move, and prove that nothing is left."""
    from kubeferry.steps.release import release_plan

    frozen, settings, _ = _opened(plan, config)
    with contextlib.ExitStack() as opened:
        journal = opened.enter_context(contextlib.closing(Journal.open(settings.journal)))
        target = opened.enter_context(contextlib.closing(open_target(settings.target)))

        def source() -> Source:
            return opened.enter_context(contextlib.closing(open_source(*pick_source(settings, frozen.source))))

        journal.register_plan(frozen.digest, frozen.name, dump(frozen))
        for line in release_plan(
            frozen, journal, target, functools.cache(source), everything=everything, dry_run=dry_run
        ):
            click.echo(line)


@click.command()
@click.argument("plan", type=FILE)
@config_option
@click.option("--out", type=FOLDER, default=Path(), show_default="here", help="The folder to write to.")
def report(plan: Path, config: Path | None, out: Path) -> None:
    """Write the report of a plan: HTML, JSON and Markdown."""
    from flows.reporting import write

    frozen, settings, _ = _opened(plan, config)
    verdict, paths = write(frozen, settings, out, generated_at=now("seconds"))
    click.secho(verdict, bold=True)
    for path in paths:
        click.echo(f"  {path}")


@click.command()
@config_option
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True)
def ui(config: Path | None, port: int) -> None:
    """Run the local Prefect server, to look at past runs."""
    from flows.server import local_server

    home = find_config(config).resolve().parent / ".kubeferry" / "prefect"
    with local_server(home, port=port) as url:
        click.echo(f"Prefect UI: {url.removesuffix('/api')}   (Ctrl-C ends it)")
        with contextlib.suppress(Interrupted):
            while True:
                stopping.pause(3600)
