"""The rows of a wave sheet, as a plan has them: those that move in the order of their waves, then the others."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.documents import OF_AN_APP, Entry, Inventory, PlannedApp
from kubeferry.model import Machine
from kubeferry.words import first_of, size
from mappings.constraints import needs_of
from mappings.estimate import Rates, estimate
from mappings.plan import Planned
from mappings.quantities import duration
from mappings.sheet import policy_says

_SHOWN = 6

Row = dict[str, str]


def rows_of(made: Planned, inventory: Inventory) -> dict[str, Row]:
    """The cells of each machine, by column."""
    machines = {machine.name: machine for machine in inventory.machines}
    wave_of = {name: wave.name for wave in made.plan.waves for name in wave.machines}
    apps = {app.name: app for app in made.plan.apps or ()}
    rows = {
        name: _facts(machines[name]) | _of_entry(made, made.plan.entry(name), wave, apps)
        for name, wave in wave_of.items()
    }
    for name in (name for name in machines if name not in rows):
        rows[name] = _facts(machines[name]) | _left(made, name)
    return rows


def _of_entry(made: Planned, entry: Entry, wave: str, apps: dict[str, PlannedApp]) -> Row:
    needs = needs_of(entry)
    warnings = sum(concern.severity == "warning" for concern in entry.concerns)
    return {
        "app": entry.app or "",
        "owner": entry.owner or "",
        "wave": wave,
        "window": entry.window or "",
        "after": policy_says(made.wished.of(entry.name), made.wished, "after"),
        "mode": entry.mode,
        "include": "yes",
        "verdict": f"ready, {warnings} to check" if warnings else "ready",
        "waits for": ", ".join(_waits_for(entry, apps)),
        "memory": size(needs.memory_bytes),
        "cpus": str(needs.cpus),
    }


def _waits_for(entry: Entry, apps: dict[str, PlannedApp]) -> Iterator[str]:
    """Whom it comes after, whole apps by their names."""
    left = list(entry.after or ())
    app = apps.get(entry.app or "")
    for name in app.after or () if app else ():
        if name in apps and set(apps[name].members) <= set(left):
            yield f"{OF_AN_APP}{name}"
            left = [one for one in left if one not in apps[name].members]
    if left:
        yield first_of(left, _SHOWN)


def _left(made: Planned, name: str) -> Row:
    """One that does not move, with what the policy says of it."""
    choice, policy = made.apps.policy.of(name), made.wished
    why = made.plan.excluded.get(name, "")
    row = {column: policy_says(choice, policy, column) for column in ("app", "owner", "wave", "window", "mode")}
    own = made.wished.of(name)
    return row | {
        "app": made.apps.of.get(name, ""),
        "after": policy_says(own, policy, "after"),
        "include": policy_says(own, policy, "include"),
        "verdict": "blocked" if own.include else "left out",
        "why": why,
    }


def _facts(machine: Machine) -> Row:
    known = [disk.capacity_bytes for disk in machine.data_disks if disk.capacity_bytes is not None]
    unknown = len(machine.data_disks) - len(known)
    estimated = estimate(machine.data_disks, Rates())
    return {
        "size": size(sum(known)) + (f" and {unknown} unknown" if unknown else ""),
        "copy time": "" if unknown else _range(estimated.low_seconds, estimated.high_seconds),
        "memory": size(machine.memory.size_bytes),
        "cpus": str(machine.cpu.vcpus),
    }


def _range(low: float, high: float) -> str:
    return duration(high) if duration(low) == duration(high) else f"{duration(low)} to {duration(high)}"
