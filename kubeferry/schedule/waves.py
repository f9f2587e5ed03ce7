"""Which machines move together, and in which order: a pure function of named waves and of what must come after what.

A machine comes in a later wave than everything it names in `after`; machines that share a disk stand in one wave. Waves
with a name stay whole and come in the natural order of their names (wave-2 before wave-10) as far as `after` allows.
Machines without a wave are gathered in waves called wave-1, wave-2, … (names that are taken are left out), before the
first wave that waits for them, else at the end. Equal input gives equal waves.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import count

from pydantic import TypeAdapter, ValidationError

from kubeferry.documents import ShortName, Wave
from kubeferry.errors import InputInvalid, Problem

Wishes = Mapping[str, tuple[str | None, tuple[str, ...]]]
"""Machine -> the wave it was given (None: any), and the machines that it must come after."""

Sets = Mapping[str, tuple[str, ...]]
"""Machine -> the others that it cannot be parted from."""

_Graph = dict[str, set[str]]
"""Node -> the nodes before it."""

_Natural = tuple[tuple[int, str], ...]

_SHORT_NAME: TypeAdapter[str] = TypeAdapter(ShortName)


def order(machines: Wishes, sets: Sets | None = None) -> tuple[Wave, ...]:
    """The waves, first to last, with each machine in exactly one. `sets` names, by machine, those that it cannot be
    parted from: they stand in one wave, that of whichever of them was given one.

    Raises InputInvalid with every problem: unknown machines, wave names that are no names, machines that wait for each
    other, waves that contradict `after`, sets that are told to part.
    """
    sets = sets or {}
    problems = [*_wrong_names(machines), *_cycles(machines), *_parted(machines, sets)]
    machines = _together(machines, sets)
    if not problems:
        problems = _contradictions(machines, sets)
    if problems:
        raise InputInvalid("the machines cannot be put in order", problems)
    members, before = _gathered(*_groups(machines, sets))
    names = _names(members, _sorted_groups(before))
    return tuple(Wave(name=name, machines=tuple(sorted(members[group], key=_natural))) for group, name in names.items())


# --- problems ----------------------------------------------------------------------------------------------------


def _wrong_names(machines: Wishes) -> Iterator[Problem]:
    for name, (_wave, after) in machines.items():
        for other in after:
            if other not in machines:
                where = f"machines.{name}.after"
                yield Problem(where, f"{other!r} is not among the machines to move", "Correct or remove the name.")
    for wave in sorted({wave for wave, _after in machines.values() if wave is not None}):
        try:
            _SHORT_NAME.validate_python(wave)
        except ValidationError:
            members = ", ".join(name for name, (given, _after) in machines.items() if given == wave)
            fix = "Use at most 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends."
            yield Problem(f"machines.{members}.wave", f"{wave!r} cannot be the name of a wave", fix)


def _cycles(machines: Wishes) -> Iterator[Problem]:
    for cycle in _all_cycles({name: {m for m in after if m in machines} for name, (_wave, after) in machines.items()}):
        what = f"{' after '.join(cycle)}: they wait for each other"
        yield Problem(f"machines.{cycle[0]}.after", what, "Remove one of these dependencies.")


def _parted(machines: Wishes, sets: Sets) -> Iterator[Problem]:
    """Machines that cannot be parted, and are told to be: by two waves, or one after the other."""
    for name, others in sets.items():
        wave, after = machines[name]
        fix = "Give all of them one wave, or none."
        for other in others:
            told = machines[other][0]
            if None not in (wave, told) and wave != told and name < other:
                what = f"{name} is to move in {wave!r} and {other} in {told!r}, and they share a disk"
                yield Problem(f"machines.{name}.wave", what, fix)
            if other in after:
                what = f"it comes after {other}, and they share a disk: they move together"
                yield Problem(f"machines.{name}.after", what, "Remove this dependency.")


def _together(machines: Wishes, sets: Sets) -> Wishes:
    """The wishes with the wave of each set given to all of it."""
    found = dict(machines)
    for name, others in sets.items():
        waves = [wave for one in (name, *others) if (wave := machines[one][0]) is not None]
        found[name] = (min(waves, default=None), machines[name][1])
    return found


def _contradictions(machines: Wishes, sets: Sets) -> list[Problem]:
    found = []
    for name, (wave, after) in machines.items():
        for other in after:
            if wave is not None and machines[other][0] == wave:
                what = f"it comes after {other}, which is in the same wave {wave!r}: a wave moves together"
                found.append(Problem(f"machines.{name}.wave", what, "Give one of them another wave, or none."))
    _members, before = _groups(machines, sets)
    loops = _all_cycles({group: others - {group} for group, others in before.items()})
    for cycle in loops:
        path = " after ".join(group.partition(":")[2] for group in cycle)
        fix = "Move a machine to another wave, or remove a dependency."
        found.append(Problem("machines", f"{path}: these waves contradict `after`", fix))
    return found


def _all_cycles(before: _Graph) -> list[list[str]]:
    """Cycles, each once: one is broken, then the next is looked for. A cycle reads `a after b after a`."""
    left = {node: set(others) for node, others in before.items()}
    cycles = []
    while True:
        try:
            TopologicalSorter({node: sorted(others) for node, others in sorted(left.items())}).prepare()
        except CycleError as error:
            cycle = list(reversed(error.args[1]))
            cycles.append(cycle)
            left[cycle[0]].discard(cycle[1])
        else:
            return cycles


# --- order -------------------------------------------------------------------------------------------------------


def _groups(machines: Wishes, sets: Sets) -> tuple[dict[str, list[str]], _Graph]:
    """What moves together: group -> its machines, and group -> the groups before it.

    A named wave is the group `wave:NAME`, a machine without one `free:NAME`, by the first name of its set.
    """
    first = {name: min((name, *sets.get(name, ())), key=_natural) for name in machines}
    group_of = {name: f"wave:{wave}" if wave else f"free:{first[name]}" for name, (wave, _after) in machines.items()}
    members: dict[str, list[str]] = {group: [] for group in group_of.values()}
    before: _Graph = {group: set() for group in group_of.values()}
    for name, (_wave, after) in machines.items():
        members[group_of[name]].append(name)
        before[group_of[name]] |= {group_of[other] for other in after}
    return members, before


def _gathered(members: dict[str, list[str]], before: _Graph) -> tuple[dict[str, list[str]], _Graph]:
    """Free machines of one depth as one group `free:DEPTH`. An edge leads to a greater depth, so no cycle arises."""
    depth: dict[str, int] = {}
    for group in TopologicalSorter(before).static_order():
        depth[group] = 1 + max((depth[other] for other in before[group]), default=0)
    into = {group: group if group.startswith("wave:") else f"free:{depth[group]}" for group in before}
    fewer: dict[str, list[str]] = {group: [] for group in into.values()}
    edges: _Graph = {group: set() for group in into.values()}
    for group, target in into.items():
        fewer[target] += members[group]
        edges[target] |= {into[other] for other in before[group]}
    return fewer, edges


def _sorted_groups(before: _Graph) -> Iterator[str]:
    """One group at a time: of those that wait for nothing any more, the one that the first named wave waits for."""
    rank = {group: (group.startswith("free:"), _natural(group)) for group in before}
    for group in reversed(list(TopologicalSorter(before).static_order())):
        for other in before[group]:
            rank[other] = min(rank[other], rank[group])
    sorter = TopologicalSorter(before)
    sorter.prepare()
    ready: list[tuple[tuple[bool, _Natural], _Natural, str]] = []
    while sorter.is_active():
        for group in sorter.get_ready():
            heapq.heappush(ready, (rank[group], _natural(group), group))
        *_, group = heapq.heappop(ready)
        yield group
        sorter.done(group)


def _names(members: Mapping[str, list[str]], groups: Iterator[str]) -> dict[str, str]:
    free_names = (name for name in (f"wave-{i}" for i in count(1)) if f"wave:{name}" not in members)
    return {group: group.partition(":")[2] if group.startswith("wave:") else next(free_names) for group in groups}


def _natural(name: str) -> _Natural:
    return tuple(
        (int(digits), "") if digits else (-1, word) for digits, word in re.findall(r"([0-9]+)|([^0-9]+)", name)
    )
