"""One machine's life as one table, (phase, kind of event) -> phase, and the fold over its events.

   planned ───────────────────────────────┐ (cold)
      │ copy-begun                        │ cutover-begun
      v                                   v
   copying ──synced──> synced ─> … ─> cutting-over ─started─> started ─validated─> validated ─committed─> committed
      ^                  │ rehearsed, approved  │                │                     │                     │
      └── copy-begun ────┘                      └────────────────┴── rollback-begun ───┴─────────────────────┘
                                                                          v
   any phase but the ends ─failed─> failed                 rolling-back ─rolled-back─> rolled-back ─cutover-begun─> …

1. An event that is not in the table for the machine's phase is refused, and so is one whose evidence is missing
   (`kubeferry.life.evidence`).
2. A machine that failed takes the events of the phase in which it failed, and goes on from there.
3. A rollback once begun takes nothing but its own end, and what is learned of the stop that it takes back.
4. A rehearsal of a synced copy begins and ends within its phase, and comes first to its end: nothing else goes on.
5. A note may come at any time and changes nothing; nor does a stop that was asked for, which is no failure. At which
   source of its estate a machine was found may come at any time, too, and says nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from kubeferry.errors import PermanentError
from kubeferry.life.event_kinds import EventKind
from kubeferry.life.events import Event, Failed, Located
from kubeferry.life.evidence import RuleBroken, take
from kubeferry.life.machine_state import UNTOUCHED, MachineState, Phase

__all__ = ["ENDS", "TRANSITIONS", "UNTOUCHED", "IllegalTransition", "MachineState", "Phase", "Recorded", "fold", "step"]

P, K = Phase, EventKind

ENDS = frozenset({P.COMMITTED, P.ROLLED_BACK})

_MOVES: dict[tuple[Phase, EventKind], Phase] = {
    (P.PLANNED, K.COPY_BEGUN): P.COPYING,
    (P.COPYING, K.SYNCED): P.SYNCED,
    (P.SYNCED, K.COPY_BEGUN): P.COPYING,
    (P.REHEARSED, K.COPY_BEGUN): P.COPYING,
    (P.APPROVED, K.COPY_BEGUN): P.COPYING,
    (P.REHEARSED, K.REHEARSAL_BEGUN): P.SYNCED,
    (P.SYNCED, K.REHEARSED): P.REHEARSED,
    (P.SYNCED, K.APPROVED): P.APPROVED,
    (P.REHEARSED, K.APPROVED): P.APPROVED,
    (P.PLANNED, K.CUTOVER_BEGUN): P.CUTTING_OVER,
    (P.SYNCED, K.CUTOVER_BEGUN): P.CUTTING_OVER,
    (P.REHEARSED, K.CUTOVER_BEGUN): P.CUTTING_OVER,
    (P.APPROVED, K.CUTOVER_BEGUN): P.CUTTING_OVER,
    (P.ROLLED_BACK, K.CUTOVER_BEGUN): P.CUTTING_OVER,
    (P.ROLLED_BACK, K.COPY_BEGUN): P.COPYING,
    (P.CUTTING_OVER, K.STARTED): P.STARTED,
    (P.STARTED, K.VALIDATED): P.VALIDATED,
    (P.VALIDATED, K.COMMITTED): P.COMMITTED,
    (P.ROLLING_BACK, K.ROLLED_BACK): P.ROLLED_BACK,
}
_STAYS: dict[Phase, tuple[EventKind, ...]] = {
    P.PLANNED: (K.PLANNED, K.APPROVED, K.RELEASED),
    P.COPYING: (K.COPY_BEGUN, K.ROUND_LEFT, K.DISK_COPIED, K.DISK_VERIFIED),
    P.SYNCED: (
        *(K.DISK_COPIED, K.DISK_VERIFIED),
        *(K.REHEARSAL_BEGUN, K.REHEARSAL_STARTED, K.REHEARSAL_OBSERVED, K.REHEARSAL_ENDED),
    ),
    P.REHEARSED: (K.DISK_VERIFIED,),
    P.APPROVED: (
        *(K.APPROVED, K.DISK_VERIFIED),
        *(K.REHEARSAL_BEGUN, K.REHEARSAL_STARTED, K.REHEARSAL_OBSERVED, K.REHEARSAL_ENDED, K.REHEARSED),
    ),
    P.CUTTING_OVER: (
        *(K.CUTOVER_BEGUN, K.STOP_ASKED, K.STOP_NOT_DONE, K.LAST_WORDS, K.AUTOSTART_RECORDED, K.SOURCE_STOPPED),
        *(K.COPY_BEGUN, K.DISK_COPIED, K.DISK_VERIFIED, K.VARIABLES_CARRIED, K.TPM_CARRIED, K.APPLIED, K.HOOK_RUN),
    ),
    P.STARTED: (K.STARTED, K.OBSERVED, K.APP_OBSERVED, K.HOOK_RUN),
    P.VALIDATED: (K.OBSERVED, K.WATCHED, K.TARGET_STOPPED),
    P.COMMITTED: (K.NOTES_RECORDED, K.SOURCE_MARKED, K.RELEASED, K.HOOK_RUN),
    P.ROLLING_BACK: (K.TARGET_STOPPED, K.STOP_ASKED, K.STOP_NOT_DONE, K.SOURCE_RESTARTED),
    P.ROLLED_BACK: (K.APPROVED, K.RELEASED, K.HOOK_RUN),
}
_LOOKS = frozenset({K.OBSERVED, K.WATCHED})
_CAN_FAIL = frozenset(P) - ENDS - {P.FAILED}
_CAN_ROLL_BACK = frozenset(P) - {P.PLANNED, P.ROLLING_BACK, P.ROLLED_BACK, P.FAILED}

TRANSITIONS: Mapping[tuple[Phase, EventKind], Phase] = MappingProxyType(
    _MOVES
    | {(phase, kind): phase for phase, kinds in _STAYS.items() for kind in kinds}
    | {(phase, K.FAILED): P.FAILED for phase in _CAN_FAIL}
    | {(phase, K.ROLLBACK_BEGUN): P.ROLLING_BACK for phase in _CAN_ROLL_BACK}
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as it stands in a journal: when (UTC, ISO 8601, ms), its number in the machine's line, under which
    fence and by whom it was written."""

    event: Event
    at: str = ""
    seq: int = 0
    fence: int = 0
    writer: str = ""


class IllegalTransition(PermanentError):
    """An event that the machine's state does not allow. Nothing was recorded."""

    def __init__(self, state: MachineState, event: Event, why: str) -> None:
        self.phase, self.kind = state.phase, event.kind
        super().__init__(
            f"'{event.kind}' cannot be recorded for a machine that is '{state.phase}'",
            why=why,
            fix="Look at its events with `kubeferry status`; if nobody edited the journal, report this as a bug.",
        )


def fold(records: Iterable[Recorded]) -> MachineState:
    """The state after these events, from nothing. Raises IllegalTransition at the first one that does not fit."""
    state = MachineState()
    for record in records:
        state = step(state, record.event, record.at)
    return state


def step(state: MachineState, event: Event, at: str = "") -> MachineState:
    """The state after one more event, which happened `at`. Raises IllegalTransition."""
    if not state.plan_digest and event.kind is not K.PLANNED:
        raise IllegalTransition(state, event, "nothing is planned for this machine yet")
    if event.kind is K.NOTE or (isinstance(event, Failed) and event.stopped):
        return state
    if isinstance(event, Located):
        return replace(state, place=event.source)
    phase = TRANSITIONS.get((state.resumes, event.kind))
    if phase is None:
        raise IllegalTransition(state, event, f"the phase '{state.resumes}' has no such event")
    try:
        after = take(event, state)
    except RuleBroken as refused:
        raise IllegalTransition(state, event, str(refused)) from None
    moved = phase is not state.phase or not state.timeline
    return replace(
        after,
        phase=phase,
        seen_at=at if event.kind in _LOOKS else state.seen_at,
        validated_at=at if event.kind is K.VALIDATED else state.validated_at,
        failed_in=state.resumes if phase is P.FAILED else None,
        failed=after.failed if phase is P.FAILED else None,
        failed_at=at if event.kind in {K.FAILED, K.ROLLBACK_BEGUN} else after.failed_at,
        timeline=(*state.timeline, (phase, at)) if moved else state.timeline,
    )
