"""The mark that kubeferry leaves at a machine that it stops, for whoever finds it off: another journal, a person. Pure.

    v1 before=running at=2026-11-29T10:44:39Z plan=DIGEST move=2026-11-29T10:40:01.123Z start=0123456789ab name=wave 1

One line of at most 256 characters, as a tag of EC2 may have. Anybody at the source may write there, so it is read
strictly: what is not of this form is no mark.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kubeferry.model import Power
from kubeferry.words import plain

KEY = "kubeferry:stopped"
"""The mark in a machine's metadata, where its source told one."""
LIMIT = 256

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|\+00:00)"
_FORM = re.compile(
    rf"v1 before=(?P<before>running|paused) at=(?P<at>{_TIME}) plan=(?P<plan>[0-9A-Za-z]{{1,64}}) "
    rf"move=(?P<move>{_TIME}) start=(?P<start>[0-9a-f]{{12}}|) name=(?P<name>.*)"
)


@dataclass(frozen=True, slots=True)
class StopMark:
    """`before` is the power state that a rollback goes back to, `at` when the mark was left, just before the stop.

    `plan` and `name` are the plan's digest and name; `move` is when this move began, as its journal has recorded it:
    the two name one move. `start` stands for the machine's last start before the stop, empty where the source cannot
    tell: a mark of an earlier start says nothing.
    """

    before: Power
    at: str
    plan: str
    move: str
    start: str
    name: str

    def __str__(self) -> str:
        return f"stopped by kubeferry at {self.at}, by plan {self.name} ({self.plan[:12]}); it was {self.before} before"

    def holds(self, last_start: str) -> bool:
        """Whether the machine was not started since, as far as the source can tell."""
        return not self.start or not last_start or self.start == start_of(last_start)


def start_of(last_start: str) -> str:
    """What stands in a mark for a machine's last start."""
    return hashlib.sha256(last_start.encode()).hexdigest()[:12] if last_start else ""


def written(mark: StopMark) -> str:
    """The mark as one line; a long name of a plan is cut."""
    line = f"v1 before={mark.before} at={mark.at} plan={mark.plan} move={mark.move} start={mark.start} name="
    return line + plain(mark.name)[: LIMIT - len(line)]


def read(text: str | None) -> StopMark | None:
    """The mark that `written` wrote; None for anything else."""
    found = _FORM.fullmatch(text or "")
    if found is None:
        return None
    told = found.groupdict()
    return StopMark(
        Power(told["before"]), told["at"], told["plan"], told["move"], told["start"], plain(told["name"][:LIMIT])
    )


def of(metadata: Mapping[str, str]) -> StopMark | None:
    """The mark that discovery has found at a machine."""
    return read(metadata.get(KEY))
