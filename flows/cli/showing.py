"""The verbs that show: status, report, ui."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path

import click

from flows.cli import decided
from flows.cli.options import (
    FOLDER,
    Named,
    chosen,
    config_option,
    json_option,
    members_option,
    opened,
    outlined,
    plan_argument,
    plan_named,
    plan_option,
)
from flows.cli.outlook import outlooks
from flows.cli.output import print_event, print_json, print_table, until_interrupted
from flows.cli.standing import Since, Standing, Word, at_a_minute, left_off, owing, standings, summary, towards_stops
from flows.cli.transfers import transfers
from flows.telling import in_words, of_queues
from flows.versions import of_journal
from kubeferry.config import find_config, read_config
from kubeferry.documents import Outline, Plan
from kubeferry.journal import Journal, LedgerEntry, PlanRecord
from kubeferry.ledger import KEPT
from kubeferry.life.action_kinds import ActionKind
from kubeferry.life.machine_state import Phase
from kubeferry.life.states import fold
from kubeferry.outside.clock import now
from kubeferry.steps.precedence import by_another
from kubeferry.steps.slots import full_for
from kubeferry.steps.turns import moved_elsewhere
from kubeferry.words import counted, plain


@click.command()
@plan_argument
@plan_option
@config_option
@members_option
@json_option
def status(plan: Path | None, named: str | None, config: Path | None, machines: Named, as_json: bool) -> None:
    """Show where each machine of a plan stands, and what is next.

    How a source is, is how the journal saw it last: nobody else is asked. Without a plan, those that the journal holds.
    """
    if not plan and not named:
        if machines:
            raise click.UsageError("name a plan beside its machines")
        _show_plans(config, as_json)
        return
    frozen, settings, _ = outlined(plan, named, config)
    wanted = frozenset(chosen(frozen, machines))
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        open_things = journal.ledger_open(frozen.digest)
        histories, holders = journal.histories(frozen.digest), journal.holders(frozen.digest)
        live, known = transfers(frozen, open_things), decided.decided(frozen, journal)
        states = {name: fold(records) for name, records in histories.items()}
        full = full_for(frozen, journal, settings.limits, states, holders)
        word = Word(moved_elsewhere(frozen, journal), known.lifted, known.lacking, full)
        ahead = outlooks(frozen, journal, histories, states)
        rows = standings(frozen, histories, holders, live, word, ahead=ahead)
        if since := done_since(frozen, journal, [row.machine for row in owing(rows)]):
            rows = standings(frozen, histories, holders, live, word, since, ahead)
        versions, queues = of_journal(journal), journal.outbox.queues()
        at = journal.now()
    rows = [row for row in rows if row.machine in wanted]
    waits = (row for row in rows if known.lacking.get(row.machine))
    waiting = tuple(row.machine for row in waits if row.held or row.next == ActionKind.WAIT_FOR_APPROVAL)
    telling = decided.Telling(str(plan) if plan else f"--plan {named}", waiting, at)
    moved = {row.machine for row in rows if row.phase is Phase.COMMITTED}
    if as_json:
        print_json(
            _standing_facts(frozen, rows)
            | decided.facts(frozen, known, telling)
            | versions
            | {"open": [f"{one.kind} {one.name}" for one in open_things]}
            | ({"outbox": of_queues(queues)} if queues else {})
        )
        return
    _print_standings(rows)
    for name, reason in ({} if machines else frozen.excluded).items():
        click.echo(plain(f"not moved: {name}: {reason}"))
    for line in (*towards_stops(frozen, histories, word), *decided.lines(frozen, known, telling)):
        click.echo(plain(line))
    click.echo(plain(summary(frozen, rows)))
    for line in in_words(queues):
        click.echo(line)
    click.echo(outside(open_things, moved))


def done_since(plan: Plan | Outline, journal: Journal, machines: Container[str]) -> dict[str, Since]:
    """Of these machines, those to which another plan has done something since this one has."""
    found = {
        entry.name: last
        for entry in plan.entries
        if entry.name in machines and (last := by_another(journal, plan.digest, entry))
    }
    return {name: Since(str(last), journal.events(last.by.digest, name)) for name, last in found.items()}


def _print_standings(rows: list[Standing]) -> None:
    headings = (
        *("machine", "app", "phase", "source", "lease", "progress", "downtime, projected", "window"),
        *("failed", "next", "why"),
    )
    told = [
        (
            *(row.machine, row.app, str(row.phase), str(row.source), row.held_by),
            *(str(row.transfer or ""), _projected(row), str(row.ahead or ""), row.failed, row.next, row.reason),
        )
        for row in rows
    ]
    # What nobody has anything to say in is no column: a quiet plan's table fits a terminal.
    shown = [place for place in range(len(headings)) if place not in _MAY_BE_EMPTY or any(line[place] for line in told)]
    print_table([headings[place] for place in shown], [[line[place] for place in shown] for line in told])


_MAY_BE_EMPTY = frozenset({1, 4, 5, 6, 7, 8})


def _projected(row: Standing) -> str:
    """The downtime that is projected; nothing where nothing at all was seen yet."""
    if row.ahead is None or not row.ahead.projected.is_known:
        return ""
    told = row.ahead.projected.told()
    return f"{told}; too long: {row.ahead.too_long}" if row.ahead.too_long else told


def _standing_facts(plan: Outline, rows: list[Standing]) -> dict[str, object]:
    phases = Counter(str(row.phase) for row in rows)
    return {
        "plan": {
            "name": plan.name,
            "digest": plan.digest,
            "apiVersion": plan.api_version,
            "createdAt": plan.created_at,
        },
        "machines": [row.facts() for row in rows],
        "excluded": plan.excluded,
        "summary": {
            "machines": len(rows),
            "phases": phases,
            "sourcesOff": left_off(rows),
            "heldBack": [row.machine for row in rows if row.held],
            "text": summary(plan, rows),
        },
    }


def _show_plans(config: Path | None, as_json: bool) -> None:
    """The plans that the journal holds, the newest last."""
    settings = read_config(find_config(config))
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        found = [(one, _phases(journal, one)) for one in journal.plans()]
        versions = of_journal(journal)
    if as_json:
        plans = [
            {"name": one.name, "digest": one.digest, "registeredAt": one.registered_at, "phases": phases}
            for one, phases in found
        ]
        print_json({"plans": plans} | versions)
        return
    if found:
        rows = [(one.name, one.digest[:12], at_a_minute(one.registered_at), _in_words(phases)) for one, phases in found]
        print_table(("plan", "digest", "registered", "machines"), rows)
    click.echo(
        f"total: {counted(len(found), 'plan')} in the journal{(found and '; `--plan NAME` takes one from there') or ''}"
    )


def _phases(journal: Journal, plan: PlanRecord) -> Counter[str]:
    return Counter(str(state.phase) for state in journal.states(plan.digest).values())


def _in_words(phases: Counter[str]) -> str:
    return ", ".join(f"{number} {phase}" for phase, number in phases.items()) or "nothing is recorded of any"


def outside(things: Iterable[LedgerEntry], moved: Container[str]) -> str:
    """What exists outside the journal. What a committed move was for counts apart: nobody needs to clean it up."""
    made: list[LedgerEntry] = []
    others: list[LedgerEntry] = []
    for thing in things:
        (made if thing.kind in KEPT and thing.machine in moved else others).append(thing)
    besides = f" besides what moved ({counted(len(made), 'thing')})" if made else ""
    if not others:
        return f"nothing that kubeferry made is left{besides}"
    verb, them = ("is", "it") if len(others) == 1 else ("are", "them")
    count = counted(len(others), "thing")
    return f"{count} that kubeferry made {verb} left{besides}; `kubeferry release` accounts for {them}"


@click.command()
@plan_named
@config_option
@click.option("--out", type=FOLDER, default=Path(), show_default="here", help="The folder to write to.")
@json_option
def report(plan: Path | None, named: str | None, config: Path | None, out: Path, as_json: bool) -> None:
    """Write the report of a plan: HTML, JSON and Markdown."""
    from flows.reporting import write

    frozen, settings, _ = opened(plan, named, config)
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
        until_interrupted()
