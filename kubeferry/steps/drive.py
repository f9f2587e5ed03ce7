"""Drive one machine: fold the journal, ask what is next and why, do it, and again, until there is nothing to do.

Killed anywhere, the next call goes on. An error is recorded before it is raised. One that a retry cannot mend, after
the source was stopped and before the move was committed, leads back: the target goes down, the source runs again. So
does one that could pass, where the time of the cutover is over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from kubeferry.errors import (
    AlreadyMoved,
    Fenced,
    HeldBack,
    Interrupted,
    KubeferryError,
    LateHookFailed,
    LoginLost,
    OutOfTime,
    PermanentError,
    RehearsalOwed,
    TransientError,
)
from kubeferry.life.action_kinds import REHEARSALS, STOPS, Action, ActionKind, Began, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.events import BEFOREHAND
from kubeferry.life.hook_actions import THOSE_OF
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.outside import stopping
from kubeferry.steps import approvals, apps, cutover, hooks, marks, moved, rehearsal, transfer, unrecorded
from kubeferry.steps.accounts import give_back
from kubeferry.steps.patience import by_journal, look
from kubeferry.steps.power import look_for_unknown_copy, refuse_lost_sources, source_power
from kubeferry.steps.precedence import in_hand, owed, refuse_overtaken
from kubeferry.steps.recording import recorded, without_defects
from kubeferry.steps.work import Work

Step = Callable[[Work, Action, MachineState], None]
Do = Callable[[Action, Callable[[], None]], None]
"""How a step is carried out: called with the action and a function without arguments that does it. A flow makes a
task of it."""

STEPS: Mapping[ActionKind, Step] = {
    ActionKind.RECORD_PLAN: cutover.record_plan,
    ActionKind.BEGIN_CUTOVER: cutover.begin,
    ActionKind.TAKE_OVER: cutover.take_over,
    ActionKind.STOP_SOURCE: cutover.stop_source,
    ActionKind.BEGIN_COPY: transfer.begin_copy,
    ActionKind.COPY_DISKS: transfer.copy_disks,
    ActionKind.VERIFY_DISKS: transfer.verify_disks,
    ActionKind.REPAIR_DISKS: transfer.repair_disks,
    ActionKind.END_ROUND: transfer.end_round,
    ActionKind.BEGIN_REHEARSAL: rehearsal.begin,
    ActionKind.START_REHEARSAL: rehearsal.start,
    ActionKind.REHEARSE: rehearsal.run,
    ActionKind.REHEARSE_APP: rehearsal.run_app,
    ActionKind.END_REHEARSAL: rehearsal.end,
    ActionKind.RECORD_REHEARSAL: rehearsal.record,
    ActionKind.APPLY: cutover.apply,
    ActionKind.START: cutover.start,
    ActionKind.OBSERVE: cutover.observe,
    ActionKind.OBSERVE_APP: apps.observe_app,
    ActionKind.VALIDATE: cutover.validate,
    ActionKind.STOP_TARGET: cutover.stop_target,
    ActionKind.COMMIT: cutover.commit,
    ActionKind.BEGIN_ROLLBACK: cutover.begin_rollback,
    ActionKind.RESTART_SOURCE: cutover.restart_source,
    ActionKind.END_ROLLBACK: cutover.end_rollback,
    **dict.fromkeys(THOSE_OF, hooks.run),
}

BY_DISK = frozenset({ActionKind.COPY_DISKS, ActionKind.REPAIR_DISKS, ActionKind.VERIFY_DISKS})
"""Steps that are recorded disk by disk, and know by themselves what is left of them."""
TURNS = frozenset({ActionKind.BEGIN_CUTOVER, ActionKind.BEGIN_ROLLBACK})
"""What is next where somebody has started the source meanwhile: then a copy does not go on."""
NO_UNKNOWN_COPY = frozenset(
    {
        *(ActionKind.BEGIN_CUTOVER, ActionKind.BEGIN_COPY, *BY_DISK, ActionKind.APPLY),
        *(ActionKind.BEGIN_REHEARSAL, ActionKind.START_REHEARSAL, ActionKind.REHEARSE),
    }
)
"""Steps before which somebody looks that no copy runs, and none has moved, of which the journal knows nothing."""
UNASKED = frozenset({ActionKind.START, ActionKind.OBSERVE, ActionKind.OBSERVE_APP, ActionKind.BEGIN_ROLLBACK})
"""Steps before which somebody looks that the copy has not moved already, unless a person has asked for the way back."""
GOES_DOWN = frozenset({Goal.ROLLBACK, Goal.END_REHEARSAL})
"""What is brought to its end also where somebody asks to stop."""
LOOKS_AT_POWER = frozenset({Phase.PLANNED, Phase.SYNCED, Phase.REHEARSED, Phase.APPROVED, Phase.ROLLED_BACK})
MOVES_ON = frozenset({Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.COMMIT})
"""What has failed where it ends in a rollback."""
GOES_BACK = frozenset({Phase.CUTTING_OVER, Phase.STARTED, Phase.VALIDATED})


def drive(work: Work, goal: Goal, do: Do) -> MachineState:
    """Take the machine to the goal. Returns its last state; raises what stopped it, already recorded.

    Raises ProbeFailed when the move had to be rolled back, PermanentError where a newer plan has the machine in hand,
    and where it is one of a set, which moves as one (`kubeferry.steps.together`).
    """
    _refuse_alone(work, goal)
    refuse_overtaken(work, in_hand(work))
    try:
        state = _there_or_back(work, goal, do)
    except (Fenced, Interrupted, LoginLost):
        raise
    except TransientError:
        if goal is Goal.ROLLBACK or not unrecorded.is_due([work]):
            raise
        unrecorded.go_back([work])
        state = _back(work, do, unrecorded.WHY)
    if (state.went_back or state.phase is Phase.ROLLED_BACK) and goal in MOVES_ON:
        raise cutover.gone_back(work, state)
    return state


def _there_or_back(work: Work, goal: Goal, do: Do) -> MachineState:
    """The machine's way to the goal; where that ends in what no further try mends, after its stop, the way back. A
    journal that does not answer is waited for, in between as on the way, while there is time. Raises what drive does,
    and TransientError where it stays away."""
    try:
        return _walk(work, goal, do)
    except (Fenced, Interrupted):
        raise
    except LoginLost as error:  # the way back would need what the source does not take
        raise until_let_in(error, {work.entry.name: work.state()}) from error.__cause__
    except PermanentError as error:
        state = by_journal(work, work.state)
        if goal is Goal.ROLLBACK or (not hooks.is_back(error, state) and not _leads_back(work, state, error)):
            raise
        if state.resumes in GOES_BACK:
            state = _back(work, do)
            if not state.waits_for_window:
                raise error from error.__cause__
        return state


def _leads_back(work: Work, state: MachineState, error: PermanentError) -> bool:
    return state.resumes in GOES_BACK and not has_moved(work, error)


def _back(work: Work, do: Do, why: str = "") -> MachineState:
    """The way back. A hook that fails after it is no reason to tell another reason than what led there."""
    try:
        return _walk(work, Goal.ROLLBACK, do, why)
    except LateHookFailed:
        return work.state()
    except OutOfTime:
        by_journal(work, work.state)  # was it the journal, that is what is told
        raise


def has_moved(work: Work, error: KubeferryError) -> bool:
    """Whether the machine has moved without this journal's having seen it, as far as the target answers: the source is
    not started because a journal has forgotten that."""
    with contextlib.suppress(Exception):  # whatever is wrong with that answer is no reason to leave a source off
        return isinstance(error, AlreadyMoved) or moved.unknown(work.journal, work.entry, work.target) is not None
    return False


def _refuse_alone(work: Work, goal: Goal) -> None:
    others = [other.name for other in work.entry.moves_with or ()]
    if others and goal not in {Goal.PRECOPY, Goal.END_ROUND, Goal.END_REHEARSAL}:
        raise PermanentError(
            f"it moves together with {', '.join(others)}, and not alone",
            why=work.entry.bond,
            fix="Name all of them, or none.",
            machine=work.entry.name,
        )


def _walk(work: Work, goal: Goal, do: Do, why: str = "") -> MachineState:
    """One call's way with the machine. `why` it goes back, where nobody asked for that."""
    began = Began(work.now(), len(work.state().rounds))
    owes = left_owing(work) if goal is Goal.ROLLBACK else ""
    done = False
    while True:
        if goal not in GOES_DOWN:
            stopping.check()
        choose = partial(_choose, work, goal=goal, began=began, owed=owes, why=why)
        with recorded(work, "look"):
            action = look(work, partial(_chosen, work, choose))
        if action.kind is ActionKind.DONE and goal is Goal.ROLLBACK and not done:
            nothing_to_roll_back(work)
        if action.kind in STOPS:
            return at_rest(work, action, work.state())
        if action.kind in UNASKED and goal is not Goal.ROLLBACK:
            with recorded(work, action.kind):
                moved.refuse_unseen(work)
        if action.kind is ActionKind.BEGIN_CUTOVER and not work.state().stop_asked:
            work.gate.admit([work])
        try:
            with recorded(work, action.kind):
                do(action, partial(_carry_out, work, action, choose))
        except LateHookFailed:
            if choose(work.state()).kind in STOPS | {action.kind}:
                raise
            continue  # it is taken up once more, and does not wait for what has failed
        if action.kind is ActionKind.END_ROLLBACK:
            goal = Goal.ROLLBACK  # whatever it may do in a later opening of its window: what is left now are its hooks
        goal, done = goal.after(action.kind), done or action.kind is not ActionKind.RECORD_PLAN
        owes = "" if action.kind is ActionKind.TAKE_OVER else owes


def _chosen(work: Work, choose: Callable[[MachineState], Action]) -> Action:
    return choose(work.state())


def until_let_in(error: LoginLost, states: Mapping[str, MachineState]) -> LoginLost:
    """The error with what it means for sources that are off, of one machine or a set: nobody can start them, and
    nothing has been taken back."""
    off = {name: one for name, one in states.items() if one.source_off and one.resumes is not Phase.COMMITTED}
    if not off:
        return error
    since = {name: f" since {one.stopped.at}" if one.stopped else "" for name, one in off.items()}
    if len(states) == 1:
        told = f"its source is off{''.join(since.values())}, and stays so until then: kubeferry cannot start it either"
    else:
        named = ", ".join(f"that of {name}{at}" for name, at in since.items())
        told = f"of the sources, {named} is off, and stays so until then: kubeferry cannot start it either"
    return LoginLost(error.what, why=f"{error.why}; {told}", fix=error.fix, machine=error.machine, disk=error.disk)


def nothing_to_roll_back(work: Work) -> None:
    """By this journal. A view that nobody recorded is given back; and a copy that runs all the same is told, as where
    the journal was restored from before its move: else nobody would know that the source stays off."""
    if work.state().resumes is Phase.PLANNED:
        with recorded(work, "give-back"):
            give_back(work)
    with recorded(work, "look"), contextlib.suppress(TransientError):
        look_for_unknown_copy(work, work.state())


def left_owing(work: Work) -> str:
    """What an older plan has left to be rolled back by this one, or the mark of a move that the journal does not know.
    The source is asked only where nothing that this plan did says more."""
    held = in_hand(work)
    if held is not None:
        return owed(work, held)
    if work.state().resumes not in LOOKS_AT_POWER:
        return ""
    with recorded(work, "look"):
        return marks.owed(work)


def refuse(work: Work, error: KubeferryError) -> None:
    """Record that the machine was found out before anything was done to it, and raise why. Raises PermanentError where
    a newer plan has it in hand."""
    refuse_overtaken(work, in_hand(work))
    refuse_for(work, error)


def refuse_for(work: Work, error: KubeferryError) -> None:
    """The same for one of which it was seen that no newer plan has it in hand."""
    cutover.stand_in_plan(work)
    with recorded(work, BEFOREHAND):
        raise error


def _choose(work: Work, state: MachineState, *, goal: Goal, began: Began, owed: str, why: str) -> Action:
    """What to do now, by the journal and a look at the source in this moment."""
    power = source_power(work, state) if _power_matters(work, state, goal) else None
    facts = facts_of(work, state)
    action = next_action(facts, state, goal, power, began=began, owed=owed, now=work.now())
    return replace(action, reason=why) if why and action.kind is ActionKind.BEGIN_ROLLBACK else action


def _carry_out(work: Work, action: Action, choose: Callable[[MachineState], Action]) -> None:
    """One step, by nobody but the machine's owner: who slept, or waited for another try, may have been overtaken. And
    only while it is still what is next: a step that is tried again may be recorded already, where the journal's answer
    was lost, and somebody may have started the source since the first try. Raises Fenced.
    """
    work.journal.heartbeat(work.lease)
    with without_defects(work, f"was to {action.kind}"):
        state = work.state()
        chosen = choose(state).kind
        if chosen is not action.kind and (action.kind not in BY_DISK or chosen in TURNS):
            return
        if action.kind in NO_UNKNOWN_COPY:
            look_for_unknown_copy(work, state)
            moved.refuse(work)
        if action.kind is ActionKind.BEGIN_ROLLBACK:
            refuse_lost_sources([work])
        STEPS[action.kind](work, action, state)


def _power_matters(work: Work, state: MachineState, goal: Goal) -> bool:
    """Nobody may have started a source that we stopped; and only a running one is copied ahead. Not asked where it
    changes nothing: the source of a machine that has moved may be gone, and the way back need not wait for it."""
    if goal is Goal.ROLLBACK or goal in REHEARSALS:
        return False
    stopped = state.source_off and state.resumes in GOES_BACK
    return stopped or (work.entry.mode == "warm" and state.resumes in LOOKS_AT_POWER)


def facts_of(work: Work, state: MachineState) -> EntryFacts:
    """What the choice of the next action depends on, of the machine's entry and the two ends, and of its approval."""
    facts = approvals.facts_without(work)
    return replace(facts, unapproved=approvals.unapproved_now(work, facts, state))


def at_rest(work: Work, action: Action, state: MachineState) -> MachineState:
    """The state of a machine for which nothing is to do now. Raises PermanentError where a person is waited for, and
    HeldBack where that is for an approval: no source was stopped then."""
    if action.kind in {ActionKind.DONE, ActionKind.WATCH}:
        return state
    if action.kind is ActionKind.WAIT_FOR_APPROVAL:
        name = work.entry.name
        raise HeldBack(action.reason, machine=name, turn=False, fix=approvals.fix(work.plan, name))
    if action.kind is ActionKind.WAIT_FOR_REHEARSAL:
        fix = "Run `kubeferry rehearse`, of what `kubeferry precopy` has copied; then the same command."
        raise RehearsalOwed("it waits for a rehearsal", why=action.reason, fix=fix, machine=work.entry.name)
    raise PermanentError(
        "it waits for a person", why=action.reason, fix="Settle it, then run the same command.", machine=work.entry.name
    )
