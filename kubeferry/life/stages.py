"""In which order machines that move as one take their steps: nobody takes one before all have taken those before it.

Of an app with an order, what is last in it is stopped first, at the source and at the target; what is first in it is
started first, and those behind it are not started before its probes have passed. What is copied while it runs is copied
before any of them is stopped, whoever has the fewest rounds first.
"""

from __future__ import annotations

from kubeferry.life.action_kinds import ActionKind

A = ActionKind

Place = tuple[int, int, int]
"""Where a step stands among those of all: the least is next."""

_AHEAD = (A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.END_ROUND)
_STAGES = (
    (A.RECORD_PLAN,),
    (A.WAIT_FOR_APPROVAL, A.WAIT_FOR_REHEARSAL),
    (A.END_ROUND,),
    (A.BEGIN_CUTOVER,),
    (A.STOP_SOURCE,),
    (A.WAIT_FOR_OPERATOR,),
    (A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.REPAIR_DISKS),
    (A.APPLY,),
    (A.START, A.OBSERVE),
    (A.OBSERVE_APP,),
    (A.VALIDATE,),
    (A.STOP_TARGET,),
    (A.WATCH,),
    (A.COMMIT,),
    (A.DONE,),
)
_STAGES_BACK = (
    (A.RECORD_PLAN,),
    (A.TAKE_OVER,),
    (A.BEGIN_ROLLBACK,),
    (A.STOP_TARGET,),
    (A.RESTART_SOURCE,),
    (A.END_ROLLBACK,),
    (A.DONE,),
)
_ON = {kind: stage for stage, kinds in enumerate(_STAGES) for kind in kinds}
_BACK = {kind: stage for stage, kinds in enumerate(_STAGES_BACK) for kind in kinds}

_FORWARDS = frozenset({A.START, A.OBSERVE, A.COMMIT, A.RESTART_SOURCE})
_BACKWARDS = frozenset({A.STOP_SOURCE, A.STOP_TARGET})


def on(kind: ActionKind, tier: int, rounds: int | None) -> Place:
    """The place of a step on the way on, of a machine of this tier; `rounds` are durable of one that is not stopped
    yet, None of any other."""
    if rounds is not None and kind in _AHEAD:
        return _ON[A.END_ROUND], rounds, 0
    return _ON[kind], _rank(kind, tier), int(kind is A.OBSERVE)


def back(kind: ActionKind, tier: int, _rounds: int | None) -> Place:
    """The place of a step on the way back."""
    return _BACK[kind], _rank(kind, tier), 0


def _rank(kind: ActionKind, tier: int) -> int:
    if kind in _FORWARDS:
        return tier
    return -tier if kind in _BACKWARDS else 0
