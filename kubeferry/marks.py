"""The marks that kubeferry leaves where machines come from and go to, for another journal, or a person. Pure.

At a machine that it stops, for whoever finds it off:

    v1 of=0123456789ab before=running at=2026-11-29T10:44:39Z plan=DIGEST move=2026-11-29T10:40:01Z start=… name=wave 1

with `off=2026-11-29T10:45:02Z` before the name once it was seen off. One line of at most 256 characters, as a tag of
EC2 may have. Anybody at the source may write there, so it is read strictly: what is not of this form is no mark.

At the target, once the machine has moved there, so that nobody copies over what was written since:

    v1 at=2026-11-29T10:52:10Z plan=DIGEST move=2026-11-29T10:40:01Z name=wave 1

What stands there in another form is a mark all the same, of which nothing more is known.

And at the source of a machine that has moved, as a line among what people have written of it, for who is about to start
it:

    moved to apps/web by kubeferry plan wave 1 at 2026-11-29T10:52:10Z; do not start
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from kubeferry.model import Machine, Power
from kubeferry.words import plain

KEY = "kubeferry:stopped"
"""The mark in a machine's metadata, where its source told one."""
MOVED = "kubeferry:moved"
"""The line for people in a machine's metadata, where its source told one."""
LIMIT = 256

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|\+00:00)"
_FORM = re.compile(
    rf"v1 of=(?P<of>[0-9a-f]{{12}}) before=(?P<before>running|paused) at=(?P<at>{_TIME}) "
    rf"plan=(?P<plan>[0-9A-Za-z]{{1,64}}) move=(?P<move>{_TIME}) start=(?P<start>[0-9a-f]{{12}}|)"
    rf"(?: off=(?P<off>{_TIME}))? name=(?P<name>.*)"
)


@dataclass(frozen=True, slots=True)
class StopMark:
    """`before` is the power state that a rollback goes back to, `at` when the mark was left, just before the stop. `of`
    stands for the machine's id: what makes a copy of a machine copies its settings, and that copy was never stopped.

    `plan` and `name` are the plan's digest and name; `move` is when this move began, as its journal has recorded it:
    the two name one move. `start` stands for the machine's last start before the stop, empty where the source cannot
    tell: a mark of an earlier start says nothing. `off` is when it was seen off after that stop: empty until then, and
    where nobody lived to see it.
    """

    of: str
    before: Power
    at: str
    plan: str
    move: str
    start: str
    name: str
    off: str = ""

    def __str__(self) -> str:
        return f"stopped by kubeferry at {self.at}, by plan {self.name} ({self.plan[:12]}); it was {self.before} before"

    def holds(self, last_start: str) -> bool:
        """Whether the machine was not started since, as far as the source can tell."""
        return not self.start or not last_start or self.start == short(last_start)


_MOVED = re.compile(
    rf"v1 at=(?P<at>{_TIME}) plan=(?P<plan>[0-9A-Za-z]{{1,64}}) move=(?P<move>{_TIME}) name=(?P<name>.*)"
)


@dataclass(frozen=True, slots=True)
class MoveMark:
    """A machine has moved: `at` a time, by this plan, in the move that began at `move`. All of it is empty for a mark
    that cannot be read."""

    at: str = ""
    plan: str = ""
    move: str = ""
    name: str = ""

    def __str__(self) -> str:
        if not self.plan:
            return "moved by kubeferry, by a mark that this version cannot read"
        return f"moved by kubeferry at {self.at}, by plan {self.name} ({self.plan[:12]})"


def written_move(mark: MoveMark) -> str:
    """The mark as one line; a long name of a plan is cut."""
    line = f"v1 at={mark.at} plan={mark.plan} move={mark.move} name="
    return line + plain(mark.name)[: LIMIT - len(line)]


def read_move(text: str | None) -> MoveMark | None:
    """The mark that `written_move` wrote; None for nothing."""
    if not (text or "").strip():
        return None
    found = _MOVED.fullmatch((text or "").strip())
    if found is None:
        return MoveMark()
    at, plan, move, name = found.groups()
    return MoveMark(at, plan, move, plain(name[:LIMIT]))


_LINE = re.compile(rf"moved to \S+ by kubeferry plan .* at {_TIME}; do not start")


def moved_line(place: str, plan: str, at: str) -> str:
    """What people read at the machine that was left behind; a long name of a plan is cut."""
    head, tail = f"moved to {place} by kubeferry plan ", f" at {at}; do not start"
    return head + plain(plan)[: LIMIT - len(head) - len(tail)] + tail


def is_of(line: str, place: str, plan: str) -> bool:
    """Whether a line is of the move to this place by a plan of this name, at whatever time."""
    at = re.findall(rf"at ({_TIME});", line)
    return bool(at) and line == moved_line(place, plan, at[-1])


def line_in(notes: str | None) -> str:
    """The line among what is written of a machine; empty where there is none."""
    return next((one for one in (notes or "").split("\n") if _LINE.fullmatch(one)), "")


def with_line(notes: str | None, line: str) -> str:
    """What people have written, and the line below it."""
    return f"{notes}\n{line}" if notes else line


def without_line(notes: str | None) -> str | None:
    """What people have written, as it is; None for nothing but a line of ours."""
    if not line_in(notes):
        return notes
    return "\n".join(one for one in (notes or "").split("\n") if not _LINE.fullmatch(one)) or None


def restored(now: str | None, before: str | None, line: str) -> str | None:
    """What is to stand there again: byte for byte what stood there before the line, or what people have made of it
    since, without the line."""
    return before if now == with_line(before, line) else without_line(now)


def short(text: str) -> str:
    """What stands in a mark for a machine's id, or for its last start; empty for nothing."""
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""


def written(mark: StopMark) -> str:
    """The mark as one line; a long name of a plan is cut."""
    seen_off = f" off={mark.off}" if mark.off else ""
    line = (
        f"v1 of={mark.of} before={mark.before} at={mark.at} plan={mark.plan} move={mark.move} start={mark.start}"
        f"{seen_off} name="
    )
    return line + plain(mark.name)[: LIMIT - len(line)]


def read(text: str | None) -> StopMark | None:
    """The mark that `written` wrote; None for anything else."""
    found = _FORM.fullmatch(text or "")
    if found is None:
        return None
    of, before, at, plan, move, start, off, name = found.groups()
    return StopMark(of, Power(before), at, plan, move, start, plain(name[:LIMIT]), off or "")


def of(machine: Machine) -> StopMark | None:
    """The mark that discovery has found at a machine that is off, and that is of this very machine."""
    mark = read(machine.metadata.get(KEY))
    return mark if mark is not None and mark.of == short(machine.id) and machine.power is Power.OFF else None
