"""Which machines move together, and in which order: a pure function of named waves and of what must come after what.

A machine comes in a later wave than everything it names in `after`. In one wave stand machines that share a disk, and
those of one app: of an app that does not move as one they wait for each other there. Waves with a name stay whole and
come in the order that the policy says, those that it does not name behind them in the natural order of their names
(wave-2 before wave-10), as far as `after` allows. Machines without a wave are gathered in waves called wave-1, wave-2,
… (names that are taken are left out), each as far as it has room: before the first wave that waits for them, before a
wave that is called as they are with a greater number, else at the end. Equal input gives equal waves.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import count

from kubeferry.documents import Wave
from kubeferry.errors import InputInvalid, Problem
from kubeferry.schedule.contradictions import alone, circles, of_waves
from kubeferry.schedule.packing import Packing
from kubeferry.schedule.pulled import Pulled, pulled
from kubeferry.schedule.wishes import (
    FREE,
    Apps,
    Constraints,
    Graph,
    Natural,
    Sets,
    Unit,
    Wishes,
    in_turn,
    natural,
    number_of,
    units,
    waves_of,
)

_ANY = Constraints()


@dataclass(frozen=True, slots=True)
class Ordered:
    """The waves, first to last, and what stands elsewhere than its name alone would have it."""

    waves: tuple[Wave, ...]
    pulled: tuple[Pulled, ...] = ()


def order(machines: Wishes, sets: Sets | None = None, apps: Apps | None = None) -> tuple[Wave, ...]:
    """The waves alone, with room for everything. See `in_order`."""
    return in_order(machines, sets, apps).waves


def in_order(
    machines: Wishes, sets: Sets | None = None, apps: Apps | None = None, constraints: Constraints = _ANY
) -> Ordered:
    """The waves, first to last, with each machine in exactly one. `sets` names, by machine, those that it cannot be
    parted from, and `apps` its app: they stand in one wave, that of whichever of them was given one.

    Raises InputInvalid with every problem: unknown machines, wave names that are no names, machines that wait for each
    other, waves that contradict `after`, sets and apps that are told to part, waves that hold more than one may hold.
    """
    sets, apps = sets or {}, apps or {}
    unit_of, packing = units(machines, sets, apps), Packing(constraints)
    problems = [*alone(machines, sets, apps), *of_waves(machines, sets, unit_of, packing)]
    machines = _together(machines, unit_of)
    if not problems:
        problems = _contradictions(machines, unit_of)
    if problems:
        raise InputInvalid("the machines cannot be put in order", problems)
    return _arranged(machines, unit_of, packing, constraints.order)


def _together(machines: Wishes, unit_of: Mapping[str, Unit]) -> Wishes:
    """The wishes with the wave of each unit given to all of it."""
    return {
        name: (min(waves_of(unit_of[name], machines), default=None), after) for name, (_, after) in machines.items()
    }


def _contradictions(machines: Wishes, unit_of: Mapping[str, Unit]) -> list[Problem]:
    found = []
    for name, (wave, after) in machines.items():
        for other in after:
            if wave is not None and machines[other][0] == wave and other not in unit_of[name].machines:
                what = f"it comes after {other}, which is in the same wave {wave!r}: a wave moves together"
                found.append(Problem(f"machines.{name}.wave", what, "Give one of them another wave, or none."))
    for cycle in circles(_groups(machines, unit_of)[1]):
        path = " after ".join(group.partition(":")[2] for group in cycle)
        fix = "Move a machine to another wave, or remove a dependency."
        found.append(Problem("machines", f"{path}: these waves contradict `after`", fix))
    return found


# --- order -------------------------------------------------------------------------------------------------------


def _arranged(machines: Wishes, unit_of: Mapping[str, Unit], packing: Packing, said: tuple[str, ...]) -> Ordered:
    groups, before = _groups(machines, unit_of)
    members, edges, late = _gathered(groups, before, packing)
    called = _names(edges)
    names = {group: called[group] for group in _sorted_groups(edges, called, said)}
    waves = tuple(
        Wave(name=name, machines=in_turn((one for unit in members[group] for one in unit.machines), machines))
        for group, name in names.items()
    )
    crowded = {names[group]: whys for group, whys in late.items() if whys}
    return Ordered(waves, pulled(waves, machines, unit_of, crowded, said))


def _groups(machines: Wishes, unit_of: Mapping[str, Unit]) -> tuple[dict[str, list[Unit]], Graph]:
    """What moves together: group -> its units, and group -> the groups before it.

    A named wave is the group `wave:NAME`, a unit without one `free:NAME`, by the first name of it.
    """
    group_of = {
        name: f"wave:{wave}" if wave else f"free:{unit_of[name].machines[0]}" for name, (wave, _) in machines.items()
    }
    members: dict[str, dict[Unit, None]] = {group: {} for group in group_of.values()}
    before: Graph = {group: set() for group in group_of.values()}
    for name, (_wave, after) in machines.items():
        members[group_of[name]][unit_of[name]] = None
        before[group_of[name]] |= {group_of[other] for other in after} - {group_of[name]}
    return {group: list(inside) for group, inside in members.items()}, before


def _gathered(
    members: dict[str, list[Unit]], before: Graph, packing: Packing
) -> tuple[dict[str, list[Unit]], Graph, dict[str, dict[str, str]]]:
    """Free units of one depth as few groups `free:DEPTH:NUMBER`, and why units stand in a later one than the first. An
    edge leads to a greater depth, so no circle arises."""
    depth: dict[str, int] = {}
    for group in TopologicalSorter(before).static_order():
        depth[group] = 1 + max((depth[other] for other in before[group]), default=0)
    fewer = {group: inside for group, inside in members.items() if group.startswith("wave:")}
    into, late = {group: group for group in fewer}, dict[str, dict[str, str]]()
    free: dict[int, list[str]] = {}
    for group in sorted((group for group in before if group not in into), key=natural):
        free.setdefault(depth[group], []).append(group)
    for level, groups in sorted(free.items()):
        of_unit = {members[group][0]: group for group in groups}
        for number, (load, whys) in enumerate(packing.fill(list(of_unit))):
            name = f"free:{level}:{number}"
            fewer[name], late[name] = load.units, whys
            into.update({of_unit[unit]: name for unit in load.units})
    edges: Graph = {group: set() for group in fewer}
    for group, target in into.items():
        edges[target] |= {into[other] for other in before[group]}
    return fewer, edges, late


def _sorted_groups(before: Graph, called: Mapping[str, str], said: tuple[str, ...]) -> Iterator[str]:
    """One group at a time: of those that wait for nothing any more, the one that the first wave in the order of people
    waits for. `called` are their names, `said` those that somebody has put in order."""
    named = [called[group] for group in before if not _is_free(group)]
    rank = {group: _rank(called[group], named, said, free=_is_free(group)) for group in before}
    for group in reversed(list(TopologicalSorter(before).static_order())):
        for other in before[group]:
            rank[other] = min(rank[other], rank[group])
    sorter = TopologicalSorter(before)
    sorter.prepare()
    ready: list[tuple[tuple[int, int, Natural], Natural, str]] = []
    while sorter.is_active():
        for group in sorter.get_ready():
            heapq.heappush(ready, (rank[group], natural(called[group]), group))
        *_, group = heapq.heappop(ready)
        yield group
        sorter.done(group)


def _rank(name: str, named: Sequence[str], said: tuple[str, ...], *, free: bool) -> tuple[int, int, Natural]:
    """Where a wave stands by its name. One that nobody has named stands among those that are numbered as it is, as far
    as any of these is behind it, else at the end."""
    if name in said:
        return 0, said.index(name), natural(name)
    if free and not any(number_of(other) > number_of(name) for other in named):
        return 2, 0, natural(name)
    return 1, 0, natural(name)


def _names(before: Graph) -> dict[str, str]:
    """What each group is called. A free one has a greater number than all numbered waves that it waits for."""
    names = {group: group.partition(":")[2] for group in before if not _is_free(group)}
    taken, highest = set(names.values()), dict[str, int]()
    sorter = TopologicalSorter(before)
    sorter.prepare()
    while sorter.is_active():
        for group in sorted(sorter.get_ready(), key=natural):
            behind = max((highest[other] for other in before[group]), default=0)
            if _is_free(group):
                names[group] = next(name for i in count(behind + 1) if (name := f"{FREE}{i}") not in taken)
                taken.add(names[group])
            highest[group] = max(behind, number_of(names[group]))
            sorter.done(group)
    return names


def _is_free(group: str) -> bool:
    return group.startswith("free:")
