"""Drive one machine: fold the journal, ask what is next and why, do it, and again, until there is nothing to do.

Killed anywhere, the next call goes on. An error is recorded before it is raised. One that a retry cannot mend, after
the source was stopped and before the move was committed, leads back: the target goes down, the source runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from kubeferry.errors import Fenced, Interrupted, KubeferryError, PermanentError
from kubeferry.life.actions import STOPS, Action, ActionKind, EntryFacts, Goal, next_action
from kubeferry.life.events import EventKind, Failed
from kubeferry.life.evidence import MachineState, Phase
from kubeferry.life.states import TRANSITIONS
from kubeferry.outside import stopping
from kubeferry.steps import cutover, transfer
from kubeferry.steps.work import Work

Step = Callable[[Work, Action, MachineState], None]
Do = Callable[[Action, Callable[[], None]], None]
"""How a step is carried out: called with the action and a function without arguments that does it. A flow makes a
task of it."""

STEPS: Mapping[ActionKind, Step] = {
    ActionKind.RECORD_PLAN: cutover.record_plan,
    ActionKind.BEGIN_CUTOVER: cutover.begin,
    ActionKind.STOP_SOURCE: cutover.stop_source,
    ActionKind.BEGIN_COPY: transfer.begin_copy,
    ActionKind.COPY_DISKS: transfer.copy_disks,
    ActionKind.VERIFY_DISKS: transfer.verify_disks,
    ActionKind.REPAIR_DISKS: transfer.repair_disks,
    ActionKind.END_ROUND: transfer.end_round,
    ActionKind.APPLY: cutover.apply,
    ActionKind.START: cutover.start,
    ActionKind.OBSERVE: cutover.observe,
    ActionKind.VALIDATE: cutover.validate,
    ActionKind.STOP_TARGET: cutover.stop_target,
    ActionKind.COMMIT: cutover.commit,
    ActionKind.BEGIN_ROLLBACK: cutover.begin_rollback,
    ActionKind.RESTART_SOURCE: cutover.restart_source,
    ActionKind.END_ROLLBACK: cutover.end_rollback,
}

BY_DISK = frozenset({ActionKind.COPY_DISKS, ActionKind.REPAIR_DISKS, ActionKind.VERIFY_DISKS})
"""Steps that are recorded disk by disk, and know by themselves what is left of them."""
LOOKS_AT_POWER = frozenset({Phase.PLANNED, Phase.SYNCED, Phase.REHEARSED, Phase.APPROVED, Phase.ROLLED_BACK})
GOES_BACK = frozenset({Phase.CUTTING_OVER, Phase.STARTED, Phase.VALIDATED})


def drive(work: Work, goal: Goal, do: Do) -> MachineState:
    """Take the machine to the goal. Returns its last state; raises what stopped it, already recorded.

    Raises ProbeFailed when the move had to be rolled back.
    """
    try:
        state = _walk(work, goal, do)
    except (Fenced, Interrupted):
        raise
    except PermanentError as error:
        if goal is Goal.ROLLBACK or work.state().resumes not in GOES_BACK:
            raise
        _walk(work, Goal.ROLLBACK, do)
        raise error from error.__cause__
    if state.phase is Phase.ROLLED_BACK and goal in {Goal.MIGRATE, Goal.MIGRATE_AGAIN}:
        raise cutover.rolled_back(work, state.rollback_reason)
    return state


def _walk(work: Work, goal: Goal, do: Do) -> MachineState:
    ahead = len(work.state().rounds)
    while True:
        if goal is not Goal.ROLLBACK:
            stopping.check()
        state = work.state()
        power = work.source.power(work.entry.machine) if _power_matters(work, state, goal) else None
        choose = partial(next_action, _facts(work), goal=goal, source_power=power, ahead=ahead)
        action = choose(state)
        if action.kind in STOPS:
            return _stopped(work, action, state)
        try:
            do(action, lambda: _carry_out(work, action, choose))  # noqa: B023 (called before the next)
        except Fenced:
            raise
        except KubeferryError as error:
            if _can_fail(work.state()):
                work.record(_failure(action, error))
            raise
        goal = goal.after(action.kind)


def _carry_out(work: Work, action: Action, choose: Callable[[MachineState], Action]) -> None:
    """One step, by nobody but the machine's owner: who slept, or waited for another try, may have been overtaken, and
    what a step does to a source or target cannot be taken back when its event is refused. Raises Fenced.

    A step that is tried again may be recorded already, where the journal's answer was lost: then it is done. What no
    step should raise is a defect of ours, and no reason to leave a machine between its source and its target.
    """
    work.journal.heartbeat(work.lease)
    state = work.state()
    if action.kind not in BY_DISK and choose(state).kind is not action.kind:
        return
    try:
        STEPS[action.kind](work, action, state)
    except KubeferryError:
        raise
    except Exception as error:
        raise PermanentError(
            f"a defect: {type(error).__name__}: {error}",
            why=f"it came up while kubeferry was to {action.kind}",
            fix="Report it with the log of this run.",
            machine=work.entry.name,
        ) from error


def _power_matters(work: Work, state: MachineState, goal: Goal) -> bool:
    """Nobody may have started a source that we stopped; and only a running one is copied ahead. Not asked where it
    changes nothing: the source of a machine that has moved may be gone, and the way back need not wait for it."""
    if goal is Goal.ROLLBACK:
        return False
    stopped = state.source_off and state.resumes in GOES_BACK
    return stopped or (work.entry.mode == "warm" and state.resumes in LOOKS_AT_POWER)


def _can_fail(state: MachineState) -> bool:
    """Before its plan is recorded a machine has no place where a failure could stand."""
    return bool(state.plan_digest) and (state.resumes, EventKind.FAILED) in TRANSITIONS


def _facts(work: Work) -> EntryFacts:
    keeps_running, deltas = work.target.capabilities.keeps_running, work.source.capabilities.live_deltas
    return EntryFacts.of(work.plan, work.entry, keeps_running=keeps_running, deltas=deltas)


def _stopped(work: Work, action: Action, state: MachineState) -> MachineState:
    if action.kind is ActionKind.DONE:
        return state
    raise PermanentError(
        "it waits for a person", why=action.reason, fix="Settle it, then run the same command.", machine=work.entry.name
    )


def _failure(action: Action, error: KubeferryError) -> Failed:
    return Failed(
        at=action.kind,
        what=error.what,
        why=error.why,
        fix=error.fix,
        transient=error.transient,
        error_type=type(error).__name__,
    )
