"""What one wave may hold, and filling waves that nobody has named: each unit goes into the first that has room for it.

Such a wave can always be added, so this never fails for units that a wave can hold at all; and it ends after one look
at each open wave for each unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubeferry.documents import Capacity
from kubeferry.errors import Problem
from kubeferry.schedule.wishes import Constraints, Graph, Unit, Wishes, between
from kubeferry.words import counted, size

_FIX = "Move some of them to another wave, or allow more."


@dataclass(frozen=True, slots=True)
class Demand:
    """What a unit takes of a wave: amounts in the order of `_limits`, how many it has of each `at_most`, and which
    groups of `apart` it has a machine of."""

    amounts: tuple[int, ...]
    counts: Mapping[int, int]
    apart: frozenset[int]


@dataclass(slots=True)
class Load:
    """A wave while it is filled."""

    amounts: list[int]
    counts: dict[int, int] = field(default_factory=dict)
    apart: set[int] = field(default_factory=set)
    units: list[Unit] = field(default_factory=list)

    def add(self, unit: Unit, demand: Demand) -> None:
        """The unit stands in this wave."""
        self.amounts = [one + more for one, more in zip(self.amounts, demand.amounts, strict=True)]
        for group, count in demand.counts.items():
            self.counts[group] = self.counts.get(group, 0) + count
        self.apart |= demand.apart
        self.units.append(unit)


@dataclass(frozen=True, slots=True)
class _Limit:
    """One amount of a wave's capacity, and how it is told."""

    where: str
    most: int
    told: Callable[[int], str]


class Packing:
    """What waves may hold, for these machines."""

    def __init__(self, constraints: Constraints) -> None:
        self._constraints = constraints
        self._limits = tuple(_limits(constraints))
        self._at_most = _by_machine([group.machines for group in constraints.at_most])
        self._apart = _by_machine([group.machines for group in constraints.apart])

    def empty(self) -> Load:
        """A wave without machines."""
        return Load([0] * len(self._limits))

    def demand(self, unit: Unit) -> Demand:
        """What a unit takes of a wave."""
        counts: dict[int, int] = {}
        for group in (group for name in unit.machines for group in self._at_most.get(name, ())):
            counts[group] = counts.get(group, 0) + 1
        amounts = tuple(sum(self._amount(limit, name) for name in unit.machines) for limit in self._limits)
        apart = frozenset(group for name in unit.machines for group in self._apart.get(name, ()))
        return Demand(amounts, counts, apart)

    def has_room(self, load: Load, demand: Demand) -> bool:
        """Whether a wave holds this besides what it has."""
        for limit, one, more in zip(self._limits, load.amounts, demand.amounts, strict=True):
            if one + more > limit.most:
                return False
        most = self._constraints.at_most
        if any(load.counts.get(group, 0) + count > most[group].count for group, count in demand.counts.items()):
            return False
        return load.apart.isdisjoint(demand.apart)

    def why_not(self, load: Load, demand: Demand) -> str:
        """What keeps this out of a wave, for the middle of a sentence; empty where nothing does."""
        for limit, one, more in zip(self._limits, load.amounts, demand.amounts, strict=True):
            if one + more > limit.most:
                return f"it would come to {limit.told(one + more)}, and {limit.where} is {limit.told(limit.most)}"
        for group, count in demand.counts.items():
            most = self._constraints.at_most[group]
            if (found := load.counts.get(group, 0) + count) > most.count:
                return f"it would hold {found} with {most.what}, and at most {most.count} of them stand in one wave"
        for group in sorted(load.apart & demand.apart):
            there = self._constraints.apart[group].machines
            named = [name for unit in load.units for name in unit.machines if name in there]
            return f"it is kept apart from {named[0]}"
        return ""

    def fill(self, units: Sequence[Unit]) -> list[tuple[Load, dict[str, str]]]:
        """Waves for these units, in their order, each with why units stand in it that came too late for the one before
        it, by their first machine."""
        filled: list[tuple[Load, dict[str, str]]] = []
        first_open = 0
        for unit in units:
            demand = self.demand(unit)
            place = next((n for n in range(first_open, len(filled)) if self.has_room(filled[n][0], demand)), None)
            if place is None:
                filled.append((self.empty(), {}))
                place = len(filled) - 1
            if place:
                filled[place][1][unit.machines[0]] = self.why_not(filled[place - 1][0], demand)
            filled[place][0].add(unit, demand)
            while first_open < len(filled) and self._is_full(filled[first_open][0]):
                first_open += 1
        return filled

    def problems(self, wave: str, units: Iterable[Unit], machines: Wishes) -> Iterator[Problem]:
        """Everything that a wave breaks which holds these units."""
        units, load = tuple(units), self.empty()
        for unit in units:
            load.add(unit, self.demand(unit))
        for limit, amount in zip(self._limits, load.amounts, strict=True):
            if amount > limit.most:
                what = f"{wave} comes to {limit.told(amount)}, and {limit.told(limit.most)} is the most of one wave"
                yield Problem(limit.where, what, _FIX)
        for number, count in load.counts.items():
            group = self._constraints.at_most[number]
            if count > group.count:
                named = ", ".join(n for unit in units for n in unit.machines if n in group.machines)
                what = f"{wave} holds {count} with {group.what} ({named}), and at most {group.count} may stand in one"
                yield Problem(group.where, what, _FIX)
        for number in sorted(load.apart):
            yield from self._together(wave, units, number, machines)

    def _together(self, wave: str, units: Sequence[Unit], number: int, machines: Wishes) -> Iterator[Problem]:
        group = self._constraints.apart[number]
        fix = "Give them different waves; of one app, put them in different tiers of its `order`."
        seen: list[str] = []
        for unit in units:
            here = [name for name in unit.machines if name in group.machines]
            wait = ancestors(unit, machines) if len(here) > 1 else {}
            for place, name in enumerate(here):
                beside = [one for one in here[:place] if one not in wait[name] and name not in wait[one]]
                if other := next(iter([*beside, *seen]), ""):
                    yield Problem(group.where, f"{other} and {name} are kept apart, and both stand in {wave}", fix)
            seen += here

    def _amount(self, limit: _Limit, name: str) -> int:
        if limit.where.endswith(".machines"):
            return 1
        needs = self._constraints.needs.get(name)
        return 0 if needs is None else int(getattr(needs, _FIELDS[limit.where]))

    def _is_full(self, load: Load) -> bool:
        """Whether nothing at all fits any more: each machine counts as one."""
        return any(
            amount >= limit.most
            for limit, amount in zip(self._limits, load.amounts, strict=True)
            if limit.where.endswith(".machines")
        )


_FIELDS = {
    "waves.capacity.claimsBytes": "claims_bytes",
    "waves.capacity.memoryBytes": "memory_bytes",
    "waves.capacity.cpus": "cpus",
}


def _limits(constraints: Constraints) -> Iterator[_Limit]:
    capacity = constraints.capacity or Capacity()
    if capacity.claims_bytes is not None:
        yield _Limit("waves.capacity.claimsBytes", capacity.claims_bytes, lambda n: f"{size(n)} of claims")
    if capacity.memory_bytes is not None:
        yield _Limit("waves.capacity.memoryBytes", capacity.memory_bytes, lambda n: f"{size(n)} of memory")
    if capacity.cpus is not None:
        yield _Limit("waves.capacity.cpus", capacity.cpus, lambda n: counted(n, "processor"))
    if capacity.machines is not None:
        yield _Limit("waves.capacity.machines", capacity.machines, lambda n: counted(n, "machine"))


def _by_machine(groups: Sequence[frozenset[str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, machines in enumerate(groups):
        for name in machines:
            found.setdefault(name, []).append(number)
    return found


def ancestors(unit: Unit, machines: Wishes) -> dict[str, set[str]]:
    """For each machine of a unit those of it that it waits for, directly or by way of others."""
    before: Graph = {name: set() for name in unit.machines}
    for name, other in between(unit, machines):
        before[name].add(other)
    found: Graph = {}
    for name in unit.machines:
        seen, left = set[str](), list(before[name])
        while left:
            if (one := left.pop()) not in seen:
                seen.add(one)
                left += before[one]
        found[name] = seen
    return found
