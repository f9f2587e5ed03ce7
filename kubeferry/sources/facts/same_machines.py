"""Machines of several files that have one name: one machine that was exported twice, or two. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kubeferry.model import Machine
from kubeferry.sources.facts.readings import Reading, shown

# What no two machines share: UUIDs, and instances' ids of EC2.
_OF_ONE = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}|i-[0-9a-z]+", re.IGNORECASE)


def told_apart(reading: Reading, written: Callable[[Path], float]) -> tuple[Machine, ...]:
    """Each machine once, with a name of its own: an id behind it, or the name of its file where their ids are no help.
    Of one that was exported twice the file that was `written` last counts, and that is told."""
    kept: dict[tuple[str, str, str], tuple[Path, Machine]] = {}
    for path, machine in sorted(reading.machines, key=lambda one: (written(one[0]), shown(one[0]))):
        alone = "" if _OF_ONE.fullmatch(machine.id) else f"{shown(path)} {len(kept)}"
        key = (machine.id, machine.name, alone)
        if key in kept:
            _tell(reading, kept[key], (path, machine))
        kept[key] = (path, machine)
    order = {id(machine): place for place, (_, machine) in enumerate(reading.machines)}
    found = sorted(kept.values(), key=lambda one: order[id(one[1])])
    groups: defaultdict[str, list[tuple[Path, Machine]]] = defaultdict(list)
    for one in found:
        groups[one[1].name].append(one)
    names = {id(machine): name for group in groups.values() for name, (_, machine) in _names(group)}
    return _alone(machine.model_copy(update={"name": names[id(machine)]}) for _, machine in found)


def _tell(reading: Reading, earlier: tuple[Path, Machine], later: tuple[Path, Machine]) -> None:
    twice = earlier[0] == later[0]
    what = f"{later[1].name} is there twice" if twice else f"{later[1].name} is also in {shown(later[0])}"
    if earlier[1] == later[1]:
        reading.passed_over(earlier[0], f"{what}, {'' if twice else 'where it is '}the same")
    else:
        fix = "Nothing, if that is the newer one; else leave the other one out."
        reading.doubtful(earlier[0], f"{what}; what was written later is taken", fix)


def _names(group: list[tuple[Path, Machine]]) -> Iterator[tuple[str, tuple[Path, Machine]]]:
    """Names for machines of one name: by the first of these ways by which no two are alike."""
    ids = [machine.id for _, machine in group]
    files = [path.stem for path, _ in group]
    surely = ids if all(map(_OF_ONE.fullmatch, ids)) else []
    both = [f"{file}-{one}" for file, one in zip(files, ids, strict=True)]
    ways = (surely, files, ids, both, [str(number) for number, _ in enumerate(group, 1)])
    way = next(one for one in ways if len(set(one)) == len(group))
    for suffix, one in zip(way, group, strict=True):
        yield one[1].name if len(group) == 1 else f"{one[1].name}-{suffix}", one


def _alone(machines: Iterable[Machine]) -> tuple[Machine, ...]:
    """What was made may be another one's name: numbers make it none's."""
    listed = list(machines)
    taken = {machine.name for machine in listed}
    seen: set[str] = set()
    for place, machine in enumerate(listed):
        name, number = machine.name, 2
        while name in seen or (name != machine.name and name in taken):
            name, number = f"{machine.name}-{number}", number + 1
        seen.add(name)
        listed[place] = machine.model_copy(update={"name": name})
    return tuple(listed)
