"""The gate before a cutover, asked in the journal's process just before a source is stopped: whether its window is open
and what is left of it enough, by what is projected at this moment (`kubeferry.life.gate`).

What it has seen is recorded with the beginning of the cutover, and scored after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from kubeferry.documents import Entry, HookPhase, Outline, Plan, Window
from kubeferry.errors import Deferred
from kubeferry.journal import Journal, Room
from kubeferry.life.deadline import of_window, told
from kubeferry.life.events import Note
from kubeferry.life.experience import TELLING, Experience, experience_of_all
from kubeferry.life.gate import Entered, Shut, ask, crowded
from kubeferry.life.hooks import due
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.projected import Projected
from kubeferry.life.projection import project
from kubeferry.schedule.windows import Opening, next_to_begin, now_open

if TYPE_CHECKING:
    from kubeferry.steps.work import Work

RESTS_ON = 20
"""Of so many machines whose cutovers were the last ones a projection knows how long they took."""
AGAIN_SECONDS = 60.0
_NOTHING_COPIED = frozenset({Phase.PLANNED, Phase.ROLLED_BACK})
ENOUGH = 3
"""Where the plan has fewer of them, those of other plans for the same source count, too."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What was seen of a machine that may begin now; without an opening, at any time."""

    projected: Projected
    window: str = ""
    opening: Opening | None = None
    deadline: datetime | None = None
    room: Room | None = None

    def until(self) -> tuple[str, str]:
        """The deadline of the cutover, and what it is of; two empty texts where the window sets none."""
        return (told(self.deadline), of_window(self.window)) if self.deadline else ("", "")

    def recorded(self) -> dict[str, Any]:
        """What is recorded of it with the beginning of the cutover."""
        return {"projected": self.projected, "window": self.window}


class Gate:
    """The gate of one run; its threads share it. `overruled` names the person who has said that machines move outside
    their windows, and why: all of them may begin then, and that is recorded."""

    def __init__(self, plan: Plan, journal: Journal, *, overruled: str = "") -> None:
        self._plan, self._journal, self._overruled = plan, journal, overruled
        self._admitted: dict[str, Admission] = {}
        self._prior: Experience | None = None
        self._read_at = 0.0
        self._lock = threading.Lock()

    def admit(self, works: Sequence[Work]) -> None:
        """Let machines that move as one begin. Raises Deferred where they may not now."""
        now = self._journal.now()
        found = {work.entry.name: self.project(work, now) for work in works}
        entry = works[0].entry
        window = (self._plan.windows or {}).get(entry.window or "")
        if window is None or self._overruled:
            for work in works:
                self._say_overruled(work)
                work.gate.let_in(work.entry.name, Admission(found[work.entry.name]))
            return
        name = entry.window or ""
        with self._lock:  # whoever is let in counts for the next one, recorded or not
            opening = now_open(window, now)
            begun = self._begun(name, opening, found) if opening else frozenset[str]()
            answer = ask(name, window, list(found.values()), begun, now)
            if isinstance(answer, Entered):
                room = self._room(works, window, answer.opening)
                for work in works:
                    seen = Admission(found[work.entry.name], name, answer.opening, answer.deadline, room)
                    work.gate.let_in(work.entry.name, seen)
                    room = None  # who moves with others begins with them
                return
        raise self._deferred(works, answer)

    def let_in(self, machine: str, seen: Admission) -> None:
        """The machine may begin."""
        self._admitted[machine] = seen

    def admission(self, work: Work) -> Admission:
        """What was seen of a machine that was let in; of one whose cutover had begun before, what is seen now."""
        found = self._admitted.get(work.entry.name)
        return found or Admission(self.project(work, self._journal.now()))

    def project(self, work: Work, now: datetime | None = None) -> Projected:
        """What is known now of the machine's cutover."""
        records = self._journal.events(self._plan.digest, work.entry.name)
        deltas = work.source.capabilities.live_deltas
        return project(work.entry, records, self.prior(), now or self._journal.now(), deltas=deltas)

    def prior(self) -> Experience:
        """What was seen of the cutovers of other machines."""
        found = self._prior
        if found is None:
            found = self._prior = prior_of(self._plan, self._journal)
            self._read_at = time.monotonic()
        return found

    def ended(self) -> None:
        """A machine has come to its end: it says more of the next ones. Where many have said it, one more changes
        little, and is read now and then."""
        known = self._prior.machines if self._prior else 0
        if known < RESTS_ON or time.monotonic() - self._read_at > AGAIN_SECONDS:
            self._prior = None

    def shut(
        self, machines: Collection[str], states: Mapping[str, MachineState], *, again: bool = False
    ) -> dict[str, Deferred]:
        """Those of a run's machines for which nothing can be done now: they are copied after their stop only, their
        window is closed, and neither they nor any that they move with are under way, owe a hook of their way back,
        or have gone back and are not taken up `again`."""
        if self._overruled or not self._plan.windows:
            return {}
        now, found = self._journal.now(), {}
        for entry in (self._plan.entry(name) for name in machines):
            whole = {name: states.get(name, MachineState()) for name in self._plan.set_of(entry.name)}
            begins = all(one.may_begin(again=again) and one.resumes in _NOTHING_COPIED for one in whole.values())
            begins = begins and not any(self._owes_hooks(name, one) for name, one in whole.items())
            window = self._plan.windows.get(entry.window or "")
            if window and begins and entry.mode == "cold":
                opening = now_open(window, now)
                if opening is None or not opening.takes(now):
                    answer = ask(entry.window or "", window, [Projected(at="")], (), now)
                    if isinstance(answer, Shut):
                        found[entry.name] = told_of(entry, answer)
        return found

    def _owes_hooks(self, machine: str, state: MachineState) -> bool:
        hooks = self._plan.entry(machine).hooks or ()
        return state.resumes is Phase.ROLLED_BACK and bool(due(hooks, state, HookPhase.AFTER_ROLLBACK, again=False))

    def _room(self, works: Sequence[Work], window: Window, opening: Opening) -> Room | None:
        """The places that the opening has, for runners elsewhere that ask at the same time."""
        if window.capacity is None:
            return None
        entry = works[0].entry
        theirs = frozenset(one.name for one in self._plan.entries if one.window == entry.window)
        following = next_to_begin(window, opening.ends - timedelta(milliseconds=1))
        full = told_of(entry, Shut(crowded(entry.window or "", window.capacity), following, is_open=True))
        free = window.capacity - len(works) + 1
        return Room(entry.window or "", theirs, opening.begins, opening.ends, free, full)

    def _begun(self, window: str, opening: Opening, but: Collection[str]) -> frozenset[str]:
        """The machines of the window that have begun in this opening, beside those that ask."""
        here = {one for one, seen in self._admitted.items() if seen.opening == opening and seen.window == window}
        return (begun_in(self._plan, self._journal, window, opening) | here) - frozenset(but)

    def window_ended(self, entry: Entry) -> Deferred:
        """What a run says of a machine that went back since its window ended."""
        window = (self._plan.windows or {}).get(entry.window or "")
        following = next_to_begin(window, self._journal.now()) if window else None
        why = f"its window {entry.window} ended during its cutover: its source runs as before, and the copy is kept"
        return told_of(entry, Shut(why, following, is_open=False))

    def _deferred(self, works: Sequence[Work], answer: Shut) -> Deferred:
        if answer.is_open:  # it might have begun: who looks later wants to know why it has not
            for work in works:
                if work.state().plan_digest:
                    work.record(Note(text=f"deferred: {answer.why}"))
        return told_of(works[0].entry, answer)

    def _say_overruled(self, work: Work) -> None:
        name = work.entry.window
        if self._overruled and name:
            work.record(Note(text=f"{self._overruled}; its window is {name}"))


def told_of(entry: Entry, answer: Shut) -> Deferred:
    following = answer.next
    return Deferred(
        answer.why,
        machine=entry.name,
        until=following.begins.isoformat(timespec="seconds") if following else "",
        opening=str(following) if following else "",
    )


def begun_in(plan: Plan | Outline, journal: Journal, window: str, opening: Opening | None) -> frozenset[str]:
    """The machines of a plan's window that have begun in one of its openings."""
    if opening is None:
        return frozenset()
    theirs = {entry.name for entry in plan.entries if entry.window == window}
    return journal.begun(plan.digest, opening.begins, opening.ends) & theirs


def prior_of(plan: Plan | Outline, journal: Journal) -> Experience:
    """What the newest cutovers of a plan say of the next ones; where they are few, also those of other plans' machines
    of the same sources."""
    found = journal.newest(TELLING, RESTS_ON, plan=plan.digest)
    if len(found) < ENOUGH:
        found += list(_of_other_plans(plan, journal))[: RESTS_ON - len(found)]
    return experience_of_all(journal.events(digest, machine) for digest, machine in reversed(found))


def _of_other_plans(plan: Plan | Outline, journal: Journal) -> Iterator[tuple[str, str]]:
    sources = {plan.source, *(entry.machine.source for entry in plan.entries)}
    for digest, machine in journal.newest(TELLING, RESTS_ON):
        known = journal.known(digest, machine) if digest != plan.digest else None
        if known is not None and known.source in sources:
            yield digest, machine
