"""The steps around the bytes: stop the source, put the target in place, look at it, commit; and the way back."""

from __future__ import annotations

import contextlib
from typing import Any

from kubeferry.errors import Deferred, OutOfTime, ProbeFailed, SourceRefused, TransientError
from kubeferry.life.action_kinds import Action
from kubeferry.life.actions import ASKED_FOR, to_mend
from kubeferry.life.deadline import BUDGET, earliest, from_budget, is_of_window, used_up
from kubeferry.life.events import (
    WINDOW,
    Applied,
    Committed,
    CutoverBegun,
    Note,
    Observed,
    Planned,
    RollbackBegun,
    RolledBack,
    SourceRestarted,
    SourceStopped,
    Started,
    StopNotDone,
    TargetStopped,
    Validated,
    Watched,
)
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import Power
from kubeferry.steps import afterwards, approvals, hooks, marks, moved, power, precedence, tpm, unconfirmed, variables
from kubeferry.steps.in_time import with_time_left
from kubeferry.steps.questions import concerns_of
from kubeferry.steps.work import Work


def record_plan(work: Work, _action: Action, _state: MachineState) -> None:
    """The machine stands in this plan, with these disks."""
    stand_in_plan(work)


def stand_in_plan(work: Work) -> None:
    """The same where nothing is recorded of it yet: before that nothing can be said of it."""
    if not work.state().plan_digest:
        work.record(Planned(plan_digest=work.plan.digest, disks=tuple(disk.disk for disk in work.entry.disks)))


def begin(work: Work, _action: Action, state: MachineState) -> None:
    """Look whether the source can be moved at all, then record the power state before anything changes it: the one
    that an older plan has found, or that a mark tells, where a move has stopped it."""
    critical = [concern for concern in concerns_of(work.source, work.entry) if concern.severity == "critical"]
    if critical:
        raise SourceRefused(
            "it cannot be moved as planned",
            why="; ".join(concern.what for concern in critical),
            fix=" ".join(dict.fromkeys(concern.fix for concern in critical)),
            machine=work.entry.name,
        )
    hooks.refuse_unready(work)
    variables.refuse_unreadable(work.source, work.entry)
    tpm.refuse_unreadable(work.source, work.entry)
    approvals.record_approval(work, state)
    look_at_power(work)


def look_at_power(work: Work) -> None:
    """The cutover begins now, from the power state that is seen now. Begun anew, it has its whole time again."""
    held, found = precedence.in_hand(work), work.source.power(work.entry.machine)
    precedence.refuse_out_of_reach(work, held)
    afterwards.refuse_left_behind(work)
    mark = marks.taken_over(work) if held is None and found is Power.OFF else None
    before, taken_from = found, ""
    if mark is not None:
        before, taken_from = mark.before, mark.plan
    elif held is not None and held.power_owed is not None and found is Power.OFF:  # that plan has stopped it
        before, taken_from = held.power_owed, held.by.digest
    seen, budget = work.gate.admission(work), from_budget(work.entry.downtime, work.now())
    deadline, of = earliest(((budget, BUDGET), seen.until()))
    work.record(
        CutoverBegun(
            power_before=before,
            taken_from=taken_from,
            stop_is_told=True,
            deadline=deadline,
            deadline_of=of,
            **seen.recorded(),
            **({} if mark else _owed(held)),
        ),
        room=seen.room,
    )


def _owed(held: precedence.InHand | None) -> dict[str, Any]:
    """What an older plan has changed at the source, and a rollback of this one puts back."""
    return {"autostart": held.state.autostart, "notes": held.state.notes} if held else {}


def take_over(work: Work, _action: Action, _state: MachineState) -> None:
    """What an older plan has left under way is this one's to roll back; and what another journal's has, by its mark."""
    held = precedence.in_hand(work)
    precedence.refuse_out_of_reach(work, held)
    if held is not None:
        before = held.power_owed if held.state.ran_before else held.state.power_before
        work.record(
            CutoverBegun(
                power_before=before or Power.UNKNOWN,
                taken_from=held.by.digest,
                to_go_back=True,
                target_may_run=held.state.target_may_run,
                stop_is_told=True,
                **_owed(held),
            )
        )
    elif (mark := marks.unknown_move(work)) is not None:
        work.record(CutoverBegun(power_before=mark.before, taken_from=mark.plan, to_go_back=True, stop_is_told=True))


def stop_source(work: Work, _action: Action, state: MachineState) -> None:
    """Stop the source. What its guest said last is recorded before, how it went after, and when it was started last:
    seen before the stop, so that nothing which comes after it is missed.

    One that is off though nobody asked for it, or by another stop than the one that was asked for, was shut down by its
    owner since the cutover began: off is what a rollback goes back to."""
    if state.ran_before and work.source.power(work.entry.machine) is Power.OFF:
        state = _off_already(work, state)
    last_start = work.source.last_start(work.entry.machine)
    marked = marks.leave(work, state, last_start)
    stopped = power.stop_source(work)
    if marked:
        marks.leave(work, state, last_start, off=True)
    quiet = power.stays_off(work)
    work.record(
        SourceStopped(
            how=stopped.how,
            at=stopped.at,
            last_answer_at=stopped.last_answer_at,
            last_start=last_start,
            stays_off=quiet,
        )
    )


def _was_not_done(work: Work, state: MachineState) -> bool:
    """Whether the stop that was asked for is not what the source is off by; that is recorded then."""
    why = unconfirmed.not_done(work, state)
    if why:
        marks.take_away(work)
        work.record(StopNotDone(why=why))
    return bool(why)


def _off_already(work: Work, state: MachineState) -> MachineState:
    if state.stop_asked and _was_not_done(work, state):
        state = work.state()
    if not state.stop_asked and not marks.settle(work, state):
        look_at_power(work)
    return work.state()


def apply(work: Work, _action: Action, _state: MachineState) -> None:
    """Put the plan's manifests in place, after the UEFI variables and the TPM's state that they are started with."""
    variables.carry(work)
    tpm.carry(work)
    work.record(Applied(changes=tuple(work.target.apply(work.entry, work.ledger, dry_run=False))))


def start(work: Work, _action: Action, _state: MachineState) -> None:
    """Start the target from its manifests. Nothing is done, nor recorded, where somebody has started the source."""
    if power.start_target(work):
        work.record(Started(where=work.entry.target_name))


def observe(work: Work, _action: Action, state: MachineState) -> None:
    """Ask the probes and record what was seen, good or bad.

    Starts the target first, which changes nothing if it runs: whoever was killed may have taken it down with him.
    """
    if not power.start_target(work):
        return
    seen = work.target.observe(with_time_left(work, state), state.last_words)
    if state.resumes is Phase.VALIDATED and seen.passed:  # what was seen when it was validated is what it moved by
        work.record(Watched(probes_passed=len(seen.probes)))
        return
    work.record(Observed(observation=seen.model_dump(mode="json", by_alias=True)))


def validate(work: Work, _action: Action, state: MachineState) -> None:
    """Record that the last observation is what the plan asks for."""
    work.record(Validated(probes_passed=state.probes_passed))


def stop_target(work: Work, _action: Action, _state: MachineState) -> None:
    """Stop the target, and drop what only the running machine needed."""
    power.stop_target(work)
    work.record(TargetStopped(told_by=work.target_is_down))


def commit(work: Work, _action: Action, state: MachineState) -> None:
    """The machine has moved, and is the target's to run. Nothing is done, nor recorded, where somebody has started the
    source. Who is killed between the deed and its record does it again, which changes nothing."""
    strategy = power.hand_over(work)
    if strategy is not None:
        moved.leave(work, state)
        work.record(Committed(run_strategy=strategy, by=work.by))


def begin_rollback(work: Work, action: Action, state: MachineState) -> None:
    """From here on the way leads back, whoever goes it. A copy of which the journal knows nothing is found now, if the
    target answers; if not, the way back begins all the same, and asks again before the source is started."""
    with contextlib.suppress(TransientError):
        power.look_for_unknown_copy(work, state)
    if work.target_is_down:
        work.record(Note(text=f"{work.target_is_down} says that the target is down for good: nobody asks it"))
    work.record(RollbackBegun(reason=action.reason, cause=WINDOW if _window_ended(work, action, state) else ""))


def _window_ended(work: Work, action: Action, state: MachineState) -> bool:
    """Whether nothing but the end of its window leads it back, or another machine of its set, and no person."""
    if action.reason.startswith(ASKED_FOR):
        return False
    whole = work.of_set(state)
    return is_of_window(state) and any(_out_of_time(one, work.now()) or one.waits_for_window for one in whole)


def _out_of_time(state: MachineState, now: str) -> bool:
    """Also where it was seen before that it would be."""
    seen = state.failed is not None and state.failed.error_type == OutOfTime.__name__
    return not state.probes_passed and (seen or bool(used_up(state, now)))


def restart_source(work: Work, _action: Action, state: MachineState) -> None:
    """Run the source again. Comes after a look that the target is down, whatever the journal says of it. Nothing is
    done where the stop that was asked for is not what it is off by."""
    power.look_for_unknown_copy(work, state)
    if _was_not_done(work, state):
        return
    power.start_source(work)
    power.put_autostart_back(work, state)
    marks.take_away(work)
    work.record(SourceRestarted())


def end_rollback(work: Work, _action: Action, state: MachineState) -> None:
    """The source is as it was before the cutover, and what its TPM holds is nowhere else; said only where no copy is
    seen that somebody else has started since. Not over where a mark tells of a stop that the journal does not know."""
    with contextlib.suppress(TransientError):
        power.look_for_unknown_copy(work, state)
    if state.ran_before and not state.stop_asked and marks.settle(work, state):
        return
    if not state.source_restarted:
        power.put_autostart_back(work, state)
    afterwards.take_away(work, state)
    tpm.take_back(work)
    moved.take_away(work)
    work.record(RolledBack())


def gone_back(work: Work, state: MachineState) -> ProbeFailed | Deferred:
    """What a run that ended in a rollback says."""
    if state.waits_for_window:
        return work.gate.window_ended(work.entry)
    return ProbeFailed(
        "it was rolled back: the source is as it was before",
        why="; ".join(filter(None, (state.rollback_reason, hooks.late_failures(state)))),
        fix=to_mend(state),
        machine=work.entry.name,
    )
