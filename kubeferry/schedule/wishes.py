"""What is wished of the order of machines, and what follows from it before any order is made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kubeferry.documents import Capacity

Wishes = Mapping[str, tuple[str | None, tuple[str, ...]]]
"""Machine -> the wave it was given (None: any), and the machines that it must come after."""

Sets = Mapping[str, tuple[str, ...]]
"""Machine -> the others that it cannot be parted from."""

Apps = Mapping[str, str]
"""Machine -> its app, where it has one: machines of one app stand in one wave."""

Graph = dict[str, set[str]]
"""Node -> the nodes before it."""

Natural = tuple[tuple[int, str], ...]

FREE = "wave-"
"""How the names of waves begin that nobody has named; a number follows."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What one machine takes of a target: bytes of claims and of memory, processors."""

    claims_bytes: int = 0
    memory_bytes: int = 0
    cpus: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Machines of which no two, or no more than `count`, stand in one wave. `where` is the place in the policy that
    says so, and `what` who they are."""

    where: str
    what: str
    machines: frozenset[str]
    count: int = 1


@dataclass(frozen=True, slots=True)
class Constraints:
    """What one wave may hold, and which come first, by their names. A machine without `needs` takes nothing."""

    capacity: Capacity | None = None
    needs: Mapping[str, Needs] = field(default_factory=dict)
    at_most: tuple[Group, ...] = ()
    apart: tuple[Group, ...] = ()
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """What stands in one wave whatever is wished: a machine, those that cannot be parted from it, and its app."""

    machines: tuple[str, ...]
    apps: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """Its name for a person."""
        if self.apps:
            return f"app {self.apps[0]}"
        return self.machines[0] if len(self.machines) == 1 else f"{self.machines[0]} and what moves with it"


def natural(name: str) -> Natural:
    """The key by which names are in the order of people: wave-2 before wave-10."""
    return tuple(
        (int(digits), "") if digits else (-1, word) for digits, word in re.findall(r"([0-9]+)|([^0-9]+)", name)
    )


def number_of(wave: str) -> int:
    """The number of a wave that is called as those are that nobody has named; 0 for any other."""
    digits = wave.removeprefix(FREE)
    return int(digits) if wave.startswith(FREE) and digits.isascii() and digits.isdigit() else 0


def units(machines: Wishes, sets: Sets, apps: Apps) -> dict[str, Unit]:
    """The unit of each machine."""
    parent = {name: name for name in machines}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    def join(one: str, other: str) -> None:
        parent[root(one)] = root(other)

    first_of_app: dict[str, str] = {}
    for name in machines:
        for other in sets.get(name, ()):
            join(name, other)
        if app := apps.get(name):
            join(name, first_of_app.setdefault(app, name))
    members: dict[str, list[str]] = {}
    for name in machines:
        members.setdefault(root(name), []).append(name)
    found = {}
    for named in members.values():
        unit = Unit(tuple(sorted(named, key=natural)), tuple(sorted({apps[name] for name in named if name in apps})))
        found.update(dict.fromkeys(named, unit))
    return found


def waves_of(unit: Unit, machines: Wishes) -> list[str]:
    """The waves that its machines were given; more than one is a contradiction."""
    return sorted({wave for name in unit.machines if (wave := machines[name][0]) is not None})


def between(unit: Unit, machines: Wishes) -> Iterator[tuple[str, str]]:
    """Each machine of a unit that comes after another one of it, and that one."""
    inside = frozenset(unit.machines)
    for name in unit.machines:
        yield from ((name, other) for other in machines[name][1] if other in inside)


def in_turn(names: Iterable[str], machines: Wishes) -> tuple[str, ...]:
    """The machines of a wave: what others of it wait for stands first, else they are in the order of people."""
    left = sorted(names, key=natural)
    inside, placed, found = frozenset(left), set[str](), list[str]()
    while left:
        ready = [name for name in left if all(one in placed or one not in inside for one in machines[name][1])]
        found += ready or left  # a circle is told of elsewhere
        placed.update(ready or left)
        left = [name for name in left if name not in placed]
    return tuple(found)
