"""Wishes that cannot all be fulfilled: all of them at once, each with what to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from pydantic import TypeAdapter, ValidationError

from kubeferry.documents import ShortName
from kubeferry.errors import Problem
from kubeferry.schedule.packing import Packing
from kubeferry.schedule.wishes import Apps, Graph, Sets, Unit, Wishes, natural, waves_of
from kubeferry.words import first_of

_SHORT_NAME: TypeAdapter[str] = TypeAdapter(ShortName)
_NAMED = 6


def alone(machines: Wishes, sets: Sets, apps: Apps) -> list[Problem]:
    """What is wrong whatever the waves would be: names, machines that wait for each other, sets that are told to
    part."""
    return [*_wrong_names(machines), *_circles(machines, sets), *_parted(machines, sets, apps)]


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
            members = first_of([name for name, (given, _after) in machines.items() if given == wave], _NAMED)
            fix = "Use at most 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends."
            yield Problem(f"machines.{members}.wave", f"{wave!r} cannot be the name of a wave", fix)


def _circles(machines: Wishes, sets: Sets) -> Iterator[Problem]:
    """Machines that wait for each other; what cannot be parted waits as one."""
    first = {name: min((name, *sets.get(name, ())), key=natural) for name in machines}
    before: Graph = {first[name]: set() for name in machines}
    for name, (_wave, after) in machines.items():
        inside = sets.get(name, ())
        before[first[name]] |= {first[other] for other in after if other in machines and other not in inside}
    for cycle in circles(before):
        what = f"{' after '.join(cycle)}: they wait for each other"
        yield Problem(f"machines.{cycle[0]}.after", what, "Remove one of these dependencies.")


def _parted(machines: Wishes, sets: Sets, apps: Apps) -> Iterator[Problem]:
    """Machines that cannot be parted, and are told to be: by two waves, or one after the other."""
    for name, others in sets.items():
        wave, after = machines[name]
        fix = "Give all of them one wave, or none."
        for other in others:
            why = _bond(name, other, apps)
            told = machines[other][0]
            if None not in (wave, told) and wave != told and name < other:
                what = f"{name} is to move in {wave!r} and {other} in {told!r}, and {why}"
                yield Problem(f"machines.{name}.wave", what, fix)
            if other in after:
                what = f"it comes after {other}, and {why}: they move together"
                yield Problem(f"machines.{name}.after", what, "Remove this dependency.")


def _bond(name: str, other: str, apps: Apps) -> str:
    if apps.get(name) is not None and apps.get(name) == apps.get(other):
        return "they move as one"
    return "they share a disk"


def of_waves(machines: Wishes, sets: Sets, units: Mapping[str, Unit], packing: Packing) -> list[Problem]:
    """Waves that part what moves in one, or hold more than one may hold."""
    found: list[Problem] = []
    whole = tuple(dict.fromkeys(units.values()))
    for unit in whole:
        waves = waves_of(unit, machines)
        if len(waves) > 1 and not _is_a_set(unit, sets):  # of a set it was told before
            what = f"{unit.called} moves in one wave, and its machines are given {', '.join(waves)}"
            named = next(name for name in unit.machines if machines[name][0] is not None)
            found.append(Problem(f"machines.{named}.wave", what, "Give all of them one wave, or none."))
        elif not waves:
            found += packing.problems(unit.called, [unit], machines)
    for wave in sorted({wave for unit in whole for wave in waves_of(unit, machines)[:1]}, key=natural):
        found += packing.problems(
            f"wave {wave}", [unit for unit in whole if waves_of(unit, machines) == [wave]], machines
        )
    return found


def _is_a_set(unit: Unit, sets: Sets) -> bool:
    return all({name, *sets.get(name, ())} == set(unit.machines) for name in unit.machines)


def circles(before: Graph) -> list[list[str]]:
    """Circles, each once: one is broken, then the next is looked for. A circle reads `a after b after a`."""
    left = {node: set(others) for node, others in before.items()}
    found = []
    while True:
        try:
            TopologicalSorter({node: sorted(others) for node, others in sorted(left.items())}).prepare()
        except CycleError as error:
            cycle = list(reversed(error.args[1]))
            found.append(cycle)
            left[cycle[0]].discard(cycle[1])
        else:
            return found
