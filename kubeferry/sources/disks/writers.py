"""Other machines that have a disk, too, and may write to it while this one is off: no copy is the last one meanwhile.

What another machine writes in the midst of a copy is in it as after a loss of power, whatever this one does. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubeferry.errors import Problem
from kubeferry.model import Concern, Machine, Severity
from kubeferry.sources import SHARED_WRITER
from kubeferry.sources.disks import drift


def problem(disk: str, what: str, other: str, state: str) -> Problem:
    """A machine `other`, in this state, that has the disk `what` of the source, too."""
    said = f"{what} is {other}'s as well, which is {state}, and may write to it"
    return Problem(disk, said, f"Stop {other}, too, before the last copy; or leave the disk out.")


def as_concerns(machine: Machine, found: Iterable[Problem]) -> list[Concern]:
    """Warnings before the stop, for a set of machines is stopped as a whole; for one that moves alone they are more
    (`kubeferry.steps.questions`)."""
    return [
        Concern(
            id=SHARED_WRITER,
            severity=Severity.WARNING,
            what=f"{machine.name}: {one.where}: {one.what}: until it is off, no copy is the last one",
            fix=one.fix,
        )
        for one in found
    ]


def refuse(machine: Machine, found: Iterable[Problem]) -> None:
    """Raise SourceRefused for a last copy where there are any."""
    drift.refuse(machine, "its last copy cannot be made yet", found)
