"""Events of a machine as notices: what happened, from where to where, why, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch

from kubeferry.documents import NoticeKind
from kubeferry.life.actions import ASKED_FOR, to_mend
from kubeferry.life.event_kinds import EventKind
from kubeferry.life.events import (
    Approved,
    Committed,
    CutoverBegun,
    Event,
    Failed,
    RollbackBegun,
    RolledBack,
    SourceStopped,
    Synced,
    Validated,
)
from kubeferry.life.machine_state import MachineState
from kubeferry.life.states import Recorded, step
from kubeferry.notices.notice import Actor
from kubeferry.words import counted, size

OF_EVENTS = frozenset(str(kind) for kind in EventKind) & frozenset(str(kind) for kind in NoticeKind)
"""The kinds of notices that are kinds of events; the others come of what no event says."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One event that is worth telling. `actor` is a person, where the event names one."""

    kind: NoticeKind
    record: Recorded
    before: str
    after: str
    reason: str
    fix: str
    actor: Actor | None


@dataclass(frozen=True, slots=True)
class Said:
    """Why it happened, what to do, and which person did it, as far as the event tells."""

    reason: str = ""
    fix: str = ""
    person: str = ""


def happenings(records: Sequence[Recorded], seqs: Collection[int]) -> Iterator[Happening]:
    """Those of the events with these numbers that are worth telling, in order. `records` are all of the machine's, from
    its first one. A stop that was asked for is no failure, and the same failure again is told once."""
    state, last = MachineState(), Failed(at="", what="")
    for record in records:
        before, state = state, step(state, record.event, record.at)
        event = record.event
        if record.seq in seqs and _is_new(event, before):
            said = _said(event, before, last)
            actor = Actor(identity=said.person, how="claimed") if said.person else None
            kind, was = NoticeKind(str(event.kind)), str(before.phase)
            yield Happening(kind, record, was, str(state.phase), said.reason, said.fix, actor)
        if isinstance(event, CutoverBegun):
            last = Failed(at="", what="")
        elif isinstance(event, Failed) and not event.stopped:
            last = event


def _is_new(event: Event, before: MachineState) -> bool:
    if not isinstance(event, Failed):
        return True
    known = before.failed
    return not event.stopped and not (known and (known.at, known.what) == (event.at, event.what))


@singledispatch
def _said(_event: Event, _before: MachineState, _last: Failed) -> Said:
    return Said()


@_said.register
def _(event: Failed, _before: MachineState, _last: Failed) -> Said:
    return Said(f"{event.what}: {event.why}" if event.why else event.what, event.fix)


@_said.register
def _(event: RollbackBegun, _before: MachineState, last: Failed) -> Said:
    return Said(event.reason, last.fix)


@_said.register
def _(_event: RolledBack, before: MachineState, last: Failed) -> Said:
    because = f": {last.why}" if last.why and before.rollback_reason.endswith(last.what) else ""
    return Said(f"{before.rollback_reason}{because}", last.fix or _fix(before))


def _fix(back: MachineState) -> str:
    """What to do about a machine that went back though nothing has failed with an error of its own."""
    if back.waits_for_window:
        return "Run the same command in its next window; what was copied is kept."
    return "" if back.rollback_reason.startswith(ASKED_FOR) else to_mend(back)


@_said.register
def _(event: Committed, before: MachineState, _last: Failed) -> Said:
    passed = f"{counted(before.probes_passed, 'probe')} passed" if before.probes_passed else ""
    return Said(passed, person=event.by)


@_said.register
def _(event: Validated, _before: MachineState, _last: Failed) -> Said:
    return Said(f"{counted(event.probes_passed, 'probe')} passed")


@_said.register
def _(event: Approved, _before: MachineState, _last: Failed) -> Said:
    return Said(event.note, person=event.by)


@_said.register
def _(event: Synced, _before: MachineState, _last: Failed) -> Said:
    return Said(f"round {event.round} copied {size(event.data_bytes)}")


@_said.register
def _(event: SourceStopped, _before: MachineState, _last: Failed) -> Said:
    return Said(f"it is off: {event.how}")
