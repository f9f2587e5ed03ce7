"""The verbs that show: status, report, ui."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path

import click

from flows.cli.options import FILE, FOLDER, config_option, json_option, opened, outlined
from flows.cli.output import print_event, print_json, print_table
from kubeferry.config import find_config
from kubeferry.documents import Outline
from kubeferry.errors import Interrupted
from kubeferry.journal import Journal, LedgerEntry
from kubeferry.ledger import KEPT
from kubeferry.life.actions import EntryFacts, next_action
from kubeferry.life.evidence import Phase
from kubeferry.life.states import MachineState
from kubeferry.outside import stopping
from kubeferry.outside.clock import now
from kubeferry.words import counted


@click.command()
@click.argument("plan", type=FILE)
@config_option
@json_option
def status(plan: Path, config: Path | None, as_json: bool) -> None:
    """Show where each machine of a plan stands, and what is next."""
    frozen, settings, _ = outlined(plan, config)
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        rows = _standing(frozen, journal.states(frozen.digest))
        open_things = journal.ledger_open(frozen.digest)
    if as_json:
        print_json({"machines": rows, "open": [f"{thing.kind} {thing.name}" for thing in open_things]})
        return
    print_table(("machine", "phase", "failed", "next", "why"), [tuple(row.values()) for row in rows])
    phases = Counter(row["phase"] for row in rows)
    parts = ", ".join(f"{number} {phase}" for phase, number in phases.items())
    click.echo(f"total: {counted(len(rows), 'machine')}{parts and f' ({parts})'}")
    moved = {row["machine"] for row in rows if row["phase"] == Phase.COMMITTED}
    click.echo(outside(open_things, moved))


def outside(things: Iterable[LedgerEntry], moved: Container[str]) -> str:
    """What exists outside the journal. What a committed move was for counts apart: nobody needs to clean it up."""
    made: list[LedgerEntry] = []
    others: list[LedgerEntry] = []
    for thing in things:
        (made if thing.kind in KEPT and thing.machine in moved else others).append(thing)
    besides = f" besides what moved ({counted(len(made), 'thing')})" if made else ""
    if not others:
        return f"nothing of ours exists outside the journal{besides}"
    verb, them = ("exists", "it") if len(others) == 1 else ("exist", "them")
    count = counted(len(others), "thing")
    return f"{count} of ours {verb} outside the journal{besides}; `kubeferry release` accounts for {them}"


def _standing(plan: Outline, states: dict[str, MachineState]) -> list[dict[str, str]]:
    """A row a machine, in the plan's order."""
    rows = []
    for entry in plan.entries:
        state = states.get(entry.name, MachineState())
        action = next_action(EntryFacts.of(plan, entry, keeps_running=True), state)
        rows.append(
            {
                "machine": entry.name,
                "phase": str(state.phase),
                "failed": f"{state.failed.what}" if state.failed else "",
                "next": str(action.kind),
                "why": action.reason,
            }
        )
    return rows


@click.command()
@click.argument("plan", type=FILE)
@config_option
@click.option("--out", type=FOLDER, default=Path(), show_default="here", help="The folder to write to.")
@json_option
def report(plan: Path, config: Path | None, out: Path, as_json: bool) -> None:
    """Write the report of a plan: HTML, JSON and Markdown."""
    from flows.reporting import write

    frozen, settings, _ = opened(plan, config)
    verdict, paths = write(frozen, settings, out, generated_at=now("seconds"))
    if as_json:
        print_json({"verdict": verdict, "files": [str(path) for path in paths]})
        return
    click.secho(verdict, bold=True)
    for path in paths:
        click.echo(f"  {path}")


@click.command()
@config_option
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True)
@json_option
def ui(config: Path | None, port: int, as_json: bool) -> None:
    """Run the local Prefect server, to look at past runs."""
    from flows.serving.server import local_server

    home = find_config(config).resolve().parent / ".kubeferry" / "prefect"
    with local_server(home, port=port) as url:
        page = url.removesuffix("/api")
        if as_json:
            print_event("server", url=page)
        else:
            click.echo(f"Prefect UI: {page}   (Ctrl-C ends it)")
        with contextlib.suppress(Interrupted):
            while True:
                stopping.pause(3600)
