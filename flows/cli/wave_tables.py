"""A plan's waves as a table, and why what stands in them does not stand elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from flows.cli.output import print_table
from kubeferry.documents import Plan
from kubeferry.schedule.pulled import Pulled
from kubeferry.words import counted, first_of, plain, size

_NAMED = 4


def print_waves(made: Plan, pulled: Sequence[Pulled]) -> None:
    """Each wave with its apps, as far as the plan has any, and below it what was pulled forward or back."""
    rows = list(_rows(made))
    headings = ("wave", "apps", "machines", "bytes", "cpus", "memory", "window")
    shown = [
        place for place in range(len(headings)) if headings[place] not in _MAY_BE_EMPTY or any(r[place] for r in rows)
    ]
    if rows and (made.apps or pulled or len(made.waves) > 1):
        print_table([headings[place] for place in shown], [[row[place] for place in shown] for row in rows])
        click.echo("")
    for one in pulled:
        click.echo(plain(one.why))


_MAY_BE_EMPTY = frozenset({"apps", "window"})


def _rows(made: Plan) -> Iterator[tuple[str, ...]]:
    for wave in made.waves:
        entries = [made.entry(name) for name in wave.machines]
        apps = list(dict.fromkeys(entry.app for entry in entries if entry.app))
        windows = sorted({entry.window for entry in entries if entry.window})
        disks = sum(disk.size_bytes for entry in entries for disk in entry.disks)
        yield (
            wave.name,
            first_of(apps, _NAMED),
            str(len(entries)),
            size(disks),
            str(sum(entry.machine.cpu.vcpus for entry in entries)),
            size(sum(entry.machine.memory.size_bytes for entry in entries)),
            ", ".join(windows),
        )


def print_apps(made: Plan) -> None:
    """What the plan holds of apps: their order, and what they wait for."""
    for app in made.apps or ():
        parts = [f"app {app.name}: {counted(len(app.members), 'machine')}"]
        if app.owner:
            parts.append(f"owner {app.owner}")
        if app.tiers and len(app.tiers) > 1:
            parts.append(" > ".join(first_of(tier, _NAMED) for tier in app.tiers))
        if app.after:
            parts.append(f"after {', '.join(app.after)}")
        if app.window:
            parts.append(f"window {app.window}")
        if app.together:
            parts.append("moves as one: stopped from the last tier on, started from the first")
        if app.downtime_seconds is not None:
            parts.append(f"down for no more than {app.downtime_seconds:g} s")
        for machine in dict.fromkeys(probe.machine for probe in app.probes or ()):
            kinds = ", ".join(probe.kind for probe in app.asked_of(machine or ""))
            parts.append(f"proven by {kinds} at {machine}")
        if app.rehearsal and app.rehearsal.together:
            parts.append("rehearsed together")
        click.echo(plain("; ".join(parts)))
