"""What a new plan changes of the one that stands in its file, machine by machine: for a dry run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kubeferry.documents import Entry, Outline, OutlinedEntry, Plan, load_outline
from kubeferry.errors import InputInvalid

SHOWN = 20


def held(out: Path) -> Outline | None:
    """The plan in the file; None where there is none that can be read."""
    with contextlib.suppress(InputInvalid):
        return load_outline(out)
    return None


def lines(old: Outline, new: Plan) -> Iterator[str]:
    """A line for each machine that would move otherwise, or no more; the first ones, and how many there are besides."""
    found = list(_lines(old, new))
    yield from found[:SHOWN]
    if len(found) > SHOWN:
        yield f"and {len(found) - SHOWN} more"


def _lines(old: Outline, new: Plan) -> Iterator[str]:
    before, after = _told(old), _told(new)
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            yield f"{name}: moved in {before[name]['wave']} -> would not move"
        elif name not in before:
            yield f"{name}: did not move -> would move in {after[name]['wave']}"
        else:
            both = ((what, before[name][what], after[name][what]) for what in after[name])
            if changed := [f"{what} {one or 'open'} -> {other or 'open'}" for what, one, other in both if one != other]:
                yield f"{name}: {', '.join(changed)}"


def _told(plan: Plan | Outline) -> dict[str, dict[str, str]]:
    """What people plan by, of each machine in the order of the waves."""
    entries: dict[str, Entry | OutlinedEntry] = {entry.name: entry for entry in plan.entries}
    return {name: {"wave": wave.name} | _of(entries[name]) for wave in plan.waves for name in wave.machines}


def _of(entry: Entry | OutlinedEntry) -> dict[str, str]:
    budget = entry.downtime.budget_seconds if entry.downtime else None
    return {
        "app": entry.app or "",
        "owner": entry.owner or "",
        "window": entry.window or "",
        "after": ", ".join(sorted(entry.after or ())),
        "mode": entry.mode,
        "budget": f"{budget:g} s" if budget else "",
    }
