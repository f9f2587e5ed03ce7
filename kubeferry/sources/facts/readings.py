"""What became of exported files: the machines in them, and everything that is left out, with its reason."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Machine, Severity
from kubeferry.sources.facts.file_names import name_problem

UNREADABLE = "machine.unreadable"
PASSED_OVER = "file.passed-over"
DOUBTFUL = "file.doubtful"


@dataclass(slots=True)
class Reading:
    """Machines, each with the file that it stands in; the files that say something of machines of other files; and
    what a person has to know: warnings where a machine may be missing, else notes. Each file is in one of them.
    `missing` has one place for each machine or file that is left out, however much is told of it."""

    machines: list[tuple[Path, Machine]] = dataclasses.field(default_factory=list)
    beside: list[Path] = dataclasses.field(default_factory=list)
    told: list[Concern] = dataclasses.field(default_factory=list)
    missing: set[str] = dataclasses.field(default_factory=set)

    def __iadd__(self, other: Reading) -> Reading:
        self.machines += other.machines
        self.beside += other.beside
        self.told += other.told
        self.missing |= other.missing
        return self

    def take(self, path: Path, found: Iterable[Machine | Concern]) -> None:
        """What was found in a file."""
        for one in found:
            if isinstance(one, Machine):
                self.machines.append((path, one))
            else:
                self.told.append(one)
                self.missing |= {shown(path)} if one.id == UNREADABLE else set()

    def left_out(self, where: Path | str, what: str, fix: str) -> None:
        """A machine, or a file that may hold some, is left out; `where` is that of nothing else."""
        self.missing.add(shown(where))
        self.told.append(unreadable(Problem(shown(where), what, fix)))

    def passed_over(self, where: Path | str, what: str, fix: str = "") -> None:
        """A file that holds no machine."""
        self.told.append(Concern(id=PASSED_OVER, severity=Severity.INFO, what=f"{shown(where)}: {what}", fix=fix))

    def doubtful(self, where: Path | str, what: str, fix: str) -> None:
        """What was read is perhaps not what is so."""
        self.told.append(Concern(id=DOUBTFUL, severity=Severity.WARNING, what=f"{shown(where)}: {what}", fix=fix))

    def failed(self, error: InputInvalid, whole: Path | str = "") -> None:
        """Each problem of a file that cannot be read, or of a machine: `whole`, where problems name parts of it."""
        self.missing.add(shown(whole or error.problems[0].where))
        self.told += [unreadable(Problem(one.where, one.what, one.fix or error.fix)) for one in error.problems]


def unreadable(problem: Problem) -> Concern:
    """Why a machine, or a file that may hold some, is left out."""
    what = f"{problem.where}: {problem.what}"
    return Concern(id=UNREADABLE, severity=Severity.WARNING, what=what, fix=problem.fix)


def one_by_one(read: Callable[[Path, str], Sequence[Machine | Concern]]) -> Callable[[Sequence[Path], str], Reading]:
    """A reader of files that each stand alone: one that cannot be read never costs the others."""

    def read_all(paths: Sequence[Path], source: str) -> Reading:
        reading = Reading()
        for path in readable(paths, reading):
            try:
                reading.take(path, read(path, source))
            except InputInvalid as error:
                reading.failed(error, path)
        return reading

    return read_all


def readable(paths: Iterable[Path], reading: Reading) -> list[Path]:
    """Those whose names can stand in a document; the others are told."""
    found = []
    for path in paths:
        if (odd := name_problem(path)) is None:
            found.append(path)
        else:
            reading.left_out(odd.where, odd.what, odd.fix)
    return found


def shown(where: Path | str) -> str:
    """A path that can stand in a document, whatever its bytes."""
    return os.fsencode(where).decode(errors="backslashreplace") if isinstance(where, Path) else where
