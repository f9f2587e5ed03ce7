"""The verb that asks a plan's probes of machines as they run now: probe."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from flows.cli.logs import logged
from flows.cli.options import (
    Named,
    chosen,
    config_option,
    json_option,
    members_option,
    opened,
    plan_named,
)
from flows.cli.output import print_json, print_table
from kubeferry.documents import Config, Entry, Plan
from kubeferry.words import counted, plain, plain_lines

if TYPE_CHECKING:
    from kubeferry.steps.probing import Told


@click.command()
@plan_named
@config_option
@members_option
@click.option(
    "--at",
    type=click.Choice(["source", "target"]),
    default="source",
    show_default=True,
    help="Where: the running machine that is to move, or its copy.",
)
@json_option
@logged
def probe(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    machines: Named,
    at: Literal["source", "target"],
    as_json: bool,
) -> None:
    """Ask the plan's probes of machines as they run now, and change nothing.

    A probe that fails before the move proves nothing after it. At the source they are asked through the guest's agent
    and at the addresses that the source tells, from this host; what cannot be asked there is named.
    """
    frozen, settings, path = opened(plan, named, config)
    if at == "source":
        from flows.moves import refuse_unknown_source

        refuse_unknown_source(frozen, settings, path)
    told = _asked(frozen, settings, [frozen.entry(name) for name in chosen(frozen, machines)], at)
    if as_json:
        print_json([_as_told(one, at) for one in told])
    else:
        _show(told, at)
    if any(one.failed for one in told):
        raise click.exceptions.Exit(1)


def _asked(plan: Plan, settings: Config, entries: list[Entry], at: str) -> list[Told]:
    from functools import partial

    from kubeferry.journal import Journal
    from kubeferry.life.states import MachineState
    from kubeferry.steps.probing import at_source, at_target
    from kubeferry.steps.questions import ask_each
    from kubeferry.steps.sources import source_of
    from kubeferry.targets import open_target

    if at == "source":
        return ask_each(entries, partial(source_of, plan, settings), at_source)
    with (
        contextlib.closing(Journal.open(settings.journal)) as journal,
        contextlib.closing(open_target(settings.target)) as target,
    ):
        states = journal.states(plan.digest)
        return [at_target(target, entry, states.get(entry.name, MachineState())) for entry in entries]


def _show(told: list[Told], at: str) -> None:
    rows = [
        (one.machine, "passed" if result.ok else "FAILED", plain(result.what), plain(result.evidence))
        for one in told
        for result in one.results
    ]
    rows += [(one.machine, "not asked", plain(line), "") for one in told for line in one.not_asked]
    rows += [(one.machine, "FAILED", plain(one.error.what), plain(one.error.why)) for one in told if one.error]
    if rows:
        print_table(("machine", "", f"probe, at the {at}", "seen"), rows)
    else:
        click.echo("the plan has no probes for these machines")
    for one in told:
        if one.error:
            click.secho(f"\n{plain_lines(str(one.error))}", fg="red", err=True)
    failed = sum(one.failed for one in told)
    asked = sum(len(one.results) for one in told)
    passed = sum(result.ok for one in told for result in one.results)
    click.echo(
        f"total: {passed} of {counted(asked, 'probe')} passed, of {counted(len(told), 'machine')}"
        + (f"; {counted(failed, 'machine')} failed" if failed else "")
    )


def _as_told(one: Told, at: str) -> dict[str, Any]:
    results = [result.model_dump(mode="json", by_alias=True) for result in one.results]
    return {
        "machine": one.machine,
        "at": at,
        "passed": not one.failed and bool(results),
        "probes": results,
        "notAsked": list(one.not_asked),
        "error": str(one.error or ""),
    }
