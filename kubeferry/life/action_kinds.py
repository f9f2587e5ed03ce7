"""What can be wanted of a machine, what can be done with it, and what the choice depends on. Pure;
`kubeferry.life.actions` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kubeferry.documents import (
    CommitPolicy,
    Entry,
    Outline,
    OutlinedEntry,
    Plan,
    PlannedHook,
    RehearsalPolicy,
    WarmPolicy,
)
from kubeferry.life.event_kinds import EventKind


class Goal(StrEnum):
    """`migrate` leaves a machine that was rolled back alone, unless its window's end was all that led it back;
    `migrate-again` takes it up once more. `precopy` is one round of a machine that runs on: a new one, or the
    `end-round` of one that is under way. `commit`: a person has said that one which is watched has moved for good.
    `rehearse` is one rehearsal of what is durable: a new one, or the `end-rehearsal` of one that was left, or
    `rehearsing`, to its very end."""

    PRECOPY = "precopy"
    END_ROUND = "end-round"
    REHEARSE = "rehearse"
    REHEARSING = "rehearsing"
    END_REHEARSAL = "end-rehearsal"
    MIGRATE = "migrate"
    MIGRATE_AGAIN = "migrate-again"
    COMMIT = "commit"
    ROLLBACK = "rollback"

    @property
    def in_order(self) -> bool:
        """Whether a machine waits for those that it comes after. The way back does not, nor does what is copied
        ahead."""
        return self in {Goal.MIGRATE, Goal.MIGRATE_AGAIN}

    def after(self, action: ActionKind) -> Goal:
        """What is still wanted when this action is done: what was to begin has begun."""
        if self is Goal.MIGRATE_AGAIN and action in {ActionKind.BEGIN_CUTOVER, ActionKind.BEGIN_ROLLBACK}:
            return Goal.MIGRATE  # it has begun, or ended
        if self is Goal.PRECOPY and action in _OF_A_ROUND:
            return Goal.END_ROUND
        if self is Goal.REHEARSE and action is ActionKind.BEGIN_REHEARSAL:
            return Goal.REHEARSING
        return self


class ActionKind(StrEnum):
    RECORD_PLAN = "record-plan"
    BEGIN_CUTOVER = "begin-cutover"
    TAKE_OVER = "take-over"
    STOP_SOURCE = "stop-source"
    BEGIN_COPY = "begin-copy"
    COPY_DISKS = "copy-disks"
    VERIFY_DISKS = "verify-disks"
    REPAIR_DISKS = "repair-disks"
    END_ROUND = "end-round"
    BEGIN_REHEARSAL = "begin-rehearsal"
    START_REHEARSAL = "start-rehearsal"
    REHEARSE = "rehearse"
    REHEARSE_APP = "rehearse-app"
    END_REHEARSAL = "end-rehearsal"
    RECORD_REHEARSAL = "record-rehearsal"
    APPLY = "apply"
    START = "start"
    OBSERVE = "observe"
    OBSERVE_APP = "observe-app"
    VALIDATE = "validate"
    WATCH = "watch"
    STOP_TARGET = "stop-target"
    HOOKS_BEFORE_STOP = "hooks-before-stop"
    HOOKS_AFTER_STOP = "hooks-after-stop"
    HOOKS_AFTER_START = "hooks-after-start"
    HOOKS_OF_APP = "hooks-of-app"
    HOOKS_AFTER_COMMIT = "hooks-after-commit"
    HOOKS_AFTER_ROLLBACK = "hooks-after-rollback"
    COMMIT = "commit"
    BEGIN_ROLLBACK = "begin-rollback"
    RESTART_SOURCE = "restart-source"
    END_ROLLBACK = "end-rollback"
    WAIT_FOR_APPROVAL = "wait-for-approval"
    WAIT_FOR_REHEARSAL = "wait-for-rehearsal"
    WAIT_FOR_OPERATOR = "wait-for-operator"
    DONE = "done"


A, K = ActionKind, EventKind

_OF_A_ROUND = (A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.END_ROUND)

EVENT_OF: Mapping[ActionKind, EventKind] = {
    A.RECORD_PLAN: K.PLANNED,
    A.BEGIN_CUTOVER: K.CUTOVER_BEGUN,
    A.TAKE_OVER: K.CUTOVER_BEGUN,
    A.STOP_SOURCE: K.SOURCE_STOPPED,
    A.BEGIN_COPY: K.COPY_BEGUN,
    A.COPY_DISKS: K.DISK_COPIED,
    A.VERIFY_DISKS: K.DISK_VERIFIED,
    A.REPAIR_DISKS: K.DISK_COPIED,
    A.END_ROUND: K.SYNCED,
    A.BEGIN_REHEARSAL: K.REHEARSAL_BEGUN,
    A.START_REHEARSAL: K.REHEARSAL_STARTED,
    A.REHEARSE: K.REHEARSAL_OBSERVED,
    A.REHEARSE_APP: K.REHEARSAL_OBSERVED,
    A.END_REHEARSAL: K.REHEARSAL_ENDED,
    A.RECORD_REHEARSAL: K.REHEARSED,
    A.APPLY: K.APPLIED,
    A.START: K.STARTED,
    A.OBSERVE: K.OBSERVED,
    A.OBSERVE_APP: K.APP_OBSERVED,
    A.VALIDATE: K.VALIDATED,
    A.STOP_TARGET: K.TARGET_STOPPED,
    A.COMMIT: K.COMMITTED,
    A.BEGIN_ROLLBACK: K.ROLLBACK_BEGUN,
    A.RESTART_SOURCE: K.SOURCE_RESTARTED,
    A.END_ROLLBACK: K.ROLLED_BACK,
    A.HOOKS_BEFORE_STOP: K.HOOK_RUN,
    A.HOOKS_AFTER_STOP: K.HOOK_RUN,
    A.HOOKS_AFTER_START: K.HOOK_RUN,
    A.HOOKS_OF_APP: K.HOOK_RUN,
    A.HOOKS_AFTER_COMMIT: K.HOOK_RUN,
    A.HOOKS_AFTER_ROLLBACK: K.HOOK_RUN,
}
STOPS = frozenset({A.DONE, A.WATCH, A.WAIT_FOR_APPROVAL, A.WAIT_FOR_REHEARSAL, A.WAIT_FOR_OPERATOR})
"""Actions after which a runner has nothing to do until a person or another command acts, or time has passed."""
REHEARSALS = frozenset({Goal.REHEARSE, Goal.REHEARSING, Goal.END_REHEARSAL})
"""Goals that are about a rehearsal, and nothing else."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do, and the reason as a sentence for an operator. `disks` in the order of the plan; `round` is
    given where disks are copied, `hooks` where those are run."""

    kind: ActionKind
    reason: str
    disks: tuple[str, ...] = ()
    round: int = 0
    hooks: tuple[PlannedHook, ...] = ()


@dataclass(frozen=True, slots=True)
class Began:
    """How a run began: when (UTC, ISO 8601), empty where nothing depends on it, and with how many durable rounds and
    begun rehearsals of the machine."""

    at: str = ""
    rounds: int = 0
    rehearsals: int = 0


NEVER = Began()
"""Nothing is known of a run."""


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """What the choice of the next action depends on, of a plan's entry and its target.

    `keeps_running`: the target stays up after the commit; otherwise it is started for the proof only. `warm`: how often
    it is copied while it runs, None for a machine that is copied after its stop. `deltas`: its source can tell while it
    runs what changed. `commit`: when it has moved for good; None as soon as its probes have passed. `asks_app`: probes
    of its app as a whole are asked of it. `unapproved`: what it lacks of its approval; empty where it may be stopped.
    `rehearsal` is what its policy asks of one, and `now` (UTC, ISO 8601) the time by which that is too old, empty where
    nobody asks. `hooks` are run at their phases; with `hooks_again` those that failed after the end are run once more,
    since somebody asks for it.
    """

    plan_digest: str
    disks: tuple[str, ...]
    keeps_running: bool = True
    unapproved: str = ""
    warm: WarmPolicy | None = None
    deltas: bool = True
    commit: CommitPolicy | None = None
    asks_app: bool = False
    rehearsal: RehearsalPolicy | None = None
    now: str = ""
    hooks: tuple[PlannedHook, ...] = ()
    hooks_again: bool = True

    @classmethod
    def of(
        cls,
        plan: Plan | Outline,
        entry: Entry | OutlinedEntry,
        *,
        keeps_running: bool,
        deltas: bool = True,
        now: str = "",
    ) -> EntryFacts:
        """The facts of one entry of a frozen plan. One that is planned as halted runs for its proof only."""
        return cls(
            plan.digest,
            tuple(disk.disk for disk in entry.disks),
            keeps_running and not entry.halted,
            warm=entry.warm if entry.mode == "warm" else None,
            deltas=deltas,
            commit=entry.commit,
            asks_app=bool(entry.app_probes),
            rehearsal=entry.rehearsal,
            now=now,
            hooks=entry.hooks or (),
        )


def of_disks(disks: tuple[str, ...]) -> str:
    """The beginning of a sentence about disks that something was, or was not, done to."""
    return f"disk {disks[0]} was" if len(disks) == 1 else f"disks {', '.join(disks)} were"
