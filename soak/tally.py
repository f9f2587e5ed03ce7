"""What came of the trials of each kind: points tried and survived, and what was wrong, with the line that does it
again. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

REPEAT = "make soak KIND={kind} SEED={seed} CASES=1"


@dataclass(frozen=True)
class Fault:
    """A trial that ended wrong."""

    kind: str
    seed: int
    seen: str

    def __str__(self) -> str:
        return f"{self.kind}, seed {self.seed}: {self.seen}\n  again: {REPEAT.format(kind=self.kind, seed=self.seed)}"


@dataclass
class Told:
    """What a batch has written so far; `last` is the seed of the trial that has begun last."""

    last: int
    cases: int = 0
    points: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    wrong: dict[int, str] = field(default_factory=dict)


def read(lines: Iterable[str], first: int) -> Told:
    """A batch's lines, its first seed being `first`; a last one that is cut off is none."""
    told = Told(first)
    for line in lines:
        if not line.endswith("\n"):
            break
        said = json.loads(line)
        if "begun" in said:
            told.last = said["begun"]
            continue
        told.cases += 1
        told.points.update(said["points"])
        if said["wrong"]:
            told.wrong[said["ended"]] = said["wrong"]
        else:
            told.survived.update(said["points"])
    return told


@dataclass
class Tally:
    """All batches of one kind together."""

    kind: str
    about: str
    cases: int = 0
    points: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    left_out: str = ""

    def add(self, told: Told, ending: str = "") -> None:
        """`ending`: how the batch ended, where it was not by itself; the trial under way is wrong by it."""
        self.cases += told.cases
        self.points += told.points
        self.survived += told.survived
        self.faults += [Fault(self.kind, seed, seen) for seed, seen in told.wrong.items()]
        if ending:
            self.cases += 1
            self.points["a trial without an end"] += 1
            self.faults.append(Fault(self.kind, told.last, ending))


def table(tallies: Iterable[Tally]) -> str:
    """One line a kind, and below it one a point."""
    lines = ["| kind | trials | points tried | survived |", "|---|---|---|---|"]
    for one in tallies:
        if one.left_out:
            lines.append(f"| {one.kind} | left out: {one.left_out} | | |")
            continue
        lines.append(f"| **{one.kind}** | {one.cases} | {one.points.total()} | {one.survived.total()} |")
        lines += [f"| - {name} | | {many} | {one.survived[name]} |" for name, many in sorted(one.points.items())]
    return "\n".join(lines)
