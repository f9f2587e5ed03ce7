"""Machines of several files that have one name: one machine that was exported twice, or two. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from kubeferry.model import Machine
from kubeferry.sources.facts.readings import Reading, shown
from kubeferry.sources.facts.single_names import named

# What no two machines share: UUIDs, and instances' ids of EC2.
_OF_ONE = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}|i-[0-9a-z]+", re.IGNORECASE)


def told_apart(reading: Reading, written: Callable[[Path], float]) -> tuple[Machine, ...]:
    """Each machine once, with a name of its own: an id behind it, or the name of its file where their ids are no help.
    Of one that was exported twice the file that was `written` last counts, and that is told."""
    kept: dict[tuple[str, str, str], tuple[Path, Machine]] = {}
    for path, machine in sorted(reading.machines, key=lambda one: (written(one[0]), shown(one[0]))):
        alone = "" if _OF_ONE.fullmatch(machine.id) else shown(path)
        key = (machine.id, machine.name, alone)
        if key in kept and kept[key][0] != path:
            _tell(reading, kept[key], (path, machine))
        kept[key] = (path, machine)
    order = {id(machine): place for place, (_, machine) in enumerate(reading.machines)}
    found = sorted(kept.values(), key=lambda one: order[id(one[1])])
    return named(_with_files(found))


def _tell(reading: Reading, earlier: tuple[Path, Machine], later: tuple[Path, Machine]) -> None:
    what = f"{later[1].name} is also in {shown(later[0])}"
    if earlier[1] == later[1]:
        reading.passed_over(earlier[0], f"{what}, where it is the same")
    else:
        fix = "Nothing, if that is the newer one; else leave the other file out."
        reading.doubtful(earlier[0], f"{what}, which was written later and is taken", fix)


def _with_files(found: list[tuple[Path, Machine]]) -> list[Machine]:
    """Where machines of one name have ids that are no help, each gets the name of its file behind it, if each has one
    of its own."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for path, machine in found:
        files[machine.name].append(path.stem)
    return [
        machine
        if len(set(files[machine.name])) < max(len(files[machine.name]), 2) or _OF_ONE.fullmatch(machine.id)
        else machine.model_copy(update={"name": f"{machine.name}-{path.stem}"})
        for path, machine in found
    ]
