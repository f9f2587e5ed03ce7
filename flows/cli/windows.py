"""The verb for who plans the nights: when the windows of a plan open, and what fits in."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from flows.cli.options import config_option, json_option, outlined, plan_named
from flows.cli.outlook import Fit, Outlook, fits, outlooks, told, waves_of
from flows.cli.output import print_json, print_table
from kubeferry.documents import Outline
from kubeferry.journal import Journal
from kubeferry.life.projected import spoken
from kubeferry.life.states import fold
from kubeferry.schedule import windows as openings
from kubeferry.words import counted, duration, plain


@click.command()
@plan_named
@config_option
@json_option
def windows(plan: Path | None, named: str | None, config: Path | None, as_json: bool) -> None:
    """Show when the windows of a plan open, and what fits in.

    A forecast by what is projected now, in the order of the waves; machines that wait for others count as if those had
    moved. Neither source nor target is asked.
    """
    frozen, settings, _ = outlined(plan, named, config)
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        histories = journal.histories(frozen.digest)
        states = {name: fold(records) for name, records in histories.items()}
        seen, now = outlooks(frozen, journal, histories, states), journal.now()
    found = fits(frozen, seen, now, settings.limits.concurrent_machines)
    if as_json:
        machines = {name: told(one.projected) | {"window": one.window or None} for name, one in seen.items()}
        print_json({"openings": [one.facts() for one in found], "machines": machines})
        return
    _print_windows(frozen, found, seen)


def _takes(one: Fit) -> str:
    if not one.machines:
        return ""
    return f"{duration(one.seconds)}, and what is not known" if one.unknown else duration(one.seconds)


def _print_windows(plan: Outline, found: list[Fit], seen: dict[str, Outlook]) -> None:
    for name, window in (plan.windows or {}).items():
        click.echo(plain(f"window {name}: {openings.told(window)}"))
    if not plan.windows:
        click.echo("The plan has no windows: its machines are stopped at any time.")
    if found:
        rows = [(one.window, str(one.opening), str(one), _takes(one)) for one in found]
        print_table(("window", "opening", "fits in", "takes up to"), rows)
    print_table(("wave", "windows"), list(waves_of(plan)))
    if seen:
        print_table(
            ("machine", "window", "downtime, projected", "time to go back"),
            [
                (
                    *(name, one.window or "any time", one.projected.told()),
                    spoken(one.projected.back) if one.projected.back else f"not known: {one.projected.back_why}",
                )
                for name, one in seen.items()
            ],
        )
    planned = {name for one in found for name in one.machines}
    left = [name for name, one in seen.items() if one.window and name not in planned]
    told_left = f"; {counted(len(left), 'machine fits', 'machines fit')} in none of these openings" if left else ""
    click.echo(plain(f"total: {counted(len(seen), 'machine')} not begun{told_left}"))
