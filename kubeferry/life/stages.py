"""In which order machines that move as one take their steps: nobody takes one before all have taken those before it.

Of an app with an order, what is last in it is stopped first, at the source and at the target; what is first in it is
started first, and those behind it are not started before its probes have passed. What is copied while it runs is copied
before any of them is stopped, whoever has the fewest rounds first. Hooks before the stop are run before any of them is
stopped, so that one that fails has stopped nobody; those after it once all are off. A rehearsal that was left ends
before.
"""

from __future__ import annotations

from kubeferry.life.action_kinds import ActionKind

A = ActionKind

Place = tuple[int, int, int]
"""Where a step stands among those of all: the least is next."""

_AHEAD = (A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.END_ROUND)
_STAGES = (
    (A.RECORD_PLAN,),
    (A.END_REHEARSAL,),
    (A.HOOKS_AFTER_ROLLBACK,),
    (A.WAIT_FOR_APPROVAL, A.WAIT_FOR_REHEARSAL),
    (A.END_ROUND,),
    (A.BEGIN_CUTOVER,),
    (A.HOOKS_BEFORE_STOP,),
    (A.STOP_SOURCE,),
    (A.HOOKS_AFTER_STOP,),
    (A.WAIT_FOR_OPERATOR,),
    (A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.REPAIR_DISKS),
    (A.APPLY,),
    (A.START, A.HOOKS_AFTER_START, A.OBSERVE),
    (A.HOOKS_OF_APP,),
    (A.OBSERVE_APP,),
    (A.VALIDATE,),
    (A.STOP_TARGET,),
    (A.WATCH,),
    (A.COMMIT,),
    (A.HOOKS_AFTER_COMMIT,),
    (A.DONE,),
)
_STAGES_BACK = (
    (A.RECORD_PLAN,),
    (A.END_REHEARSAL,),
    (A.TAKE_OVER,),
    (A.BEGIN_ROLLBACK,),
    (A.STOP_TARGET,),
    (A.RESTART_SOURCE,),
    (A.END_ROLLBACK,),
    (A.HOOKS_AFTER_ROLLBACK,),
    (A.DONE,),
)
_ON = {kind: stage for stage, kinds in enumerate(_STAGES) for kind in kinds}
_BACK = {kind: stage for stage, kinds in enumerate(_STAGES_BACK) for kind in kinds}

_FORWARDS = frozenset(
    {
        *(A.START, A.HOOKS_AFTER_START, A.OBSERVE, A.HOOKS_OF_APP, A.COMMIT, A.HOOKS_AFTER_COMMIT),
        *(A.RESTART_SOURCE, A.HOOKS_AFTER_ROLLBACK),
    }
)
_BACKWARDS = frozenset({A.HOOKS_BEFORE_STOP, A.STOP_SOURCE, A.HOOKS_AFTER_STOP, A.STOP_TARGET, A.END_REHEARSAL})
_WITHIN = {A.HOOKS_AFTER_START: 1, A.OBSERVE: 2}
"""What comes behind the others of its stage, in one tier."""


def on(kind: ActionKind, tier: int, rounds: int | None) -> Place:
    """The place of a step on the way on, of a machine of this tier; `rounds` are durable of one that is not stopped
    yet, None of any other."""
    if rounds is not None and kind in _AHEAD:
        return _ON[A.END_ROUND], rounds, 0
    return _ON[kind], _rank(kind, tier), _WITHIN.get(kind, 0)


def back(kind: ActionKind, tier: int, _rounds: int | None) -> Place:
    """The place of a step on the way back."""
    return _BACK[kind], _rank(kind, tier), 0


def _rank(kind: ActionKind, tier: int) -> int:
    if kind in _FORWARDS:
        return tier
    return -tier if kind in _BACKWARDS else 0
