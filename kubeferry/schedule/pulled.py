"""What stands earlier or later than its name alone would have it, and why: for the eyes of whoever reads a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kubeferry.documents import Wave
from kubeferry.schedule.wishes import Natural, Unit, Wishes, natural

SHOWN = 3
"""Units of a wave that are told of; of the others only how many they are."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """Why a wave, or some of it, stands where it does, as a sentence without its full stop."""

    wave: str
    why: str


def pulled(
    waves: Sequence[Wave],
    machines: Wishes,
    unit_of: Mapping[str, Unit],
    crowded: Mapping[str, Mapping[str, str]],
    said: tuple[str, ...] = (),
) -> tuple[Pulled, ...]:
    """All of them, wave by wave. `crowded` says by wave and first machine of a unit what kept it out of an earlier
    one; `said` are the waves that somebody has put in order."""
    return tuple(Pulled(*told) for told in _told(waves, machines, unit_of, crowded, said))


def _told(
    waves: Sequence[Wave],
    machines: Wishes,
    unit_of: Mapping[str, Unit],
    crowded: Mapping[str, Mapping[str, str]],
    said: tuple[str, ...],
) -> Iterator[tuple[str, str]]:
    place = {name: number for number, wave in enumerate(waves) for name in wave.machines}
    for number, wave in enumerate(waves):
        if machines[wave.machines[0]][0] is None:
            yield from ((wave.name, why) for why in _back(waves, number, machines, unit_of, place))
        if why := _forward(waves, number, machines, said):
            yield wave.name, why
        late = crowded.get(wave.name, {})
        for first in sorted(late, key=natural)[:SHOWN]:
            yield wave.name, f"{unit_of[first].called} stands in {wave.name}, not in an earlier one: {late[first]}"
        if len(late) > SHOWN:
            yield wave.name, f"{len(late) - SHOWN} more stand in {wave.name} for want of room in an earlier one"


def _back(
    waves: Sequence[Wave], number: int, machines: Wishes, unit_of: Mapping[str, Unit], place: Mapping[str, int]
) -> Iterator[str]:
    """Units that nobody gave a wave, and that wait for machines of earlier ones."""
    told = 0
    for unit in dict.fromkeys(unit_of[name] for name in waves[number].machines):
        waits = [(place[other], name, other) for name in unit.machines for other in machines[name][1]]
        waits = [one for one in waits if one[0] < number]
        if not waits:
            continue
        told += 1
        if told <= SHOWN:
            earlier, name, other = max(waits)
            whom = "it comes" if unit.called == name else f"{name} comes"
            yield f"{unit.called} stands in {waves[number].name}: {whom} after {other} of {waves[earlier].name}"
    if told > SHOWN:
        yield f"{told - SHOWN} more stand in {waves[number].name} for what they come after"


def _forward(waves: Sequence[Wave], number: int, machines: Wishes, said: tuple[str, ...]) -> str:
    """Why a wave comes before one that stands before it by what was said or by its name, or that has a name where it
    has none."""
    wave = waves[number]
    free = machines[wave.machines[0]][0] is None and wave.name not in said
    for later in range(number + 1, len(waves)):
        other = waves[later]
        if machines[other.machines[0]][0] is None:
            continue
        if free or _stands(other.name, said) < _stands(wave.name, said):
            inside = frozenset(wave.machines)
            for name in (name for between in waves[number + 1 : later + 1] for name in between.machines):
                if after := next((one for one in machines[name][1] if one in inside), None):
                    return f"{wave.name} comes before {other.name}: {name} comes after {after}"
            return "" if free else f"{wave.name} comes before {other.name}, which waits for other waves"
    return ""


def _stands(name: str, said: tuple[str, ...]) -> tuple[int, Natural]:
    return said.index(name) if name in said else len(said), natural(name)
