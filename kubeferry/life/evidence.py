"""What is known of one machine, and what each event needs and changes: no claim without evidence.

Which event may come in which phase is the table's business (`kubeferry.life.states`); here stand the rules that look at
facts, one small function per event. A fact that a later event makes stale is dropped, not merely older.

 1. `planned` comes first, once; it names the disks.
 2. Rounds count up. A final round needs a source that is confirmed off; no round copies under a target that may run.
 3. A disk is verified when, after its last copy in the newest round, a read-back with the same root found every
    block equal.
 4. `applied` and `started` need the source off and every disk verified. From `applied` on the target may be running,
    recorded or not, until `target-stopped`.
 5. A rehearsal needs every disk verified, and nothing is copied, stopped or taken back while one is open. After it no
    disk counts as verified until it was read back; `rehearsed` needs that, with the roots of before.
 6. `validated` needs an observation in which probes ran and all passed, and so does `committed`.
 7. The source comes back only when the target cannot be running; `rolled-back` needs it back if it ran before, unless
    no stop of it was ever asked for.
 8. A hook is run when its phase has come, and not after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch
from typing import TypeVar

from kubeferry.life.events import (
    Applied,
    AppObserved,
    Approved,
    AutostartRecorded,
    Committed,
    CopyBegun,
    CutoverBegun,
    DiskCopied,
    DiskVerified,
    Event,
    Failed,
    LastWords,
    NotesRecorded,
    Observed,
    Planned,
    Released,
    RollbackBegun,
    RolledBack,
    RoundLeft,
    SourceMarked,
    SourceRestarted,
    SourceStopped,
    Started,
    StopAsked,
    StopNotDone,
    Synced,
    TargetStopped,
    TpmCarried,
    Validated,
    VariablesCarried,
    Watched,
)
from kubeferry.life.hook_events import HookRun
from kubeferry.life.hooks import why_not_now, with_run
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.rehearsal import Rehearsal
from kubeferry.life.rehearsal_events import (
    RehearsalBegun,
    RehearsalEnded,
    RehearsalObserved,
    RehearsalStarted,
    Rehearsed,
)

Fact = TypeVar("Fact")

_UNDONE = frozenset({Phase.CUTTING_OVER, Phase.STARTED, Phase.VALIDATED, Phase.COMMITTED})
"""Where a cutover has begun that a rollback takes back."""


class RuleBroken(Exception):
    """An event lacks the evidence that it rests on; the message says which."""


def _need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RuleBroken(otherwise)


@singledispatch
def take(_event: Event, state: MachineState) -> MachineState:
    """The facts after an event. Raises RuleBroken. (Events without a rule of their own, like `note`, end here.)"""
    return state


@take.register
def _(event: Planned, state: MachineState) -> MachineState:
    _need(not state.plan_digest, "it is planned already")
    _need(len(set(event.disks)) == len(event.disks), "a disk is named twice")
    return replace(state, plan_digest=event.plan_digest, disks=event.disks)


@take.register
def _(event: CopyBegun, state: MachineState) -> MachineState:
    _need(event.round > state.round, f"round {event.round} does not come after round {state.round}")
    _need(state.source_off or not event.final, "a final round needs the source confirmed off")
    _need(event.final or not state.source_off, "the source is off: the only round left is the final one")
    _need(not state.target_may_run, "the target may be running on these disks")
    _need_no_rehearsal(state)
    return replace(
        state,
        doubted=state.doubted and event.final,  # a round of a running machine is read back whole
        round=event.round,
        final=event.final,
        view=event.view,
        since=event.since,
        since_round=event.since_round,
        left=False,
        removed=False,
        verified={},
        differing={},
        repairs={},
    )


@take.register
def _(_event: RoundLeft, state: MachineState) -> MachineState:
    _need(state.round > 0 and not state.final, "no round of a running machine is open")
    return replace(state, left=True)


@take.register
def _(event: DiskCopied, state: MachineState) -> MachineState:
    _need(event.disk in state.disks, f"disk {event.disk} is not one of the plan's")
    _need(state.round > 0 and event.round == state.round, f"round {event.round} is not the one that is open")
    _need(not state.target_may_run, "the target may be running on these disks")
    _need_no_rehearsal(state)
    repaired = event.disk in state.differing
    return replace(
        state,
        copied={**state.copied, event.disk: event},
        verified=_without(state.verified, event.disk),
        differing=_without(state.differing, event.disk),
        repairs={**state.repairs, event.disk: state.repairs.get(event.disk, 0) + 1} if repaired else state.repairs,
    )


@take.register
def _(event: DiskVerified, state: MachineState) -> MachineState:
    _need(event.disk in state.disks, f"disk {event.disk} is not one of the plan's")
    _need(event.disk not in state.uncopied, f"disk {event.disk} was not copied in round {state.round}")
    _need(event.root == state.copied[event.disk].root, f"disk {event.disk} was copied with another root")
    if event.differing:
        found = {**state.differing, event.disk: event.differing}
        return replace(state, verified=_without(state.verified, event.disk), differing=found)
    _need_no_rehearsal(state)
    verified = {**state.verified, event.disk: event}
    doubted = state.doubted and not set(state.disks) <= verified.keys()
    return replace(state, verified=verified, differing=_without(state.differing, event.disk), doubted=doubted)


@take.register
def _(event: Synced, state: MachineState) -> MachineState:
    _need(event.round == state.round, f"round {event.round} is not the one that is open")
    _need(not state.uncopied, f"not copied yet: {', '.join(state.uncopied)}")
    _need(not state.final, "a final round ends with a verification")
    # A machine that was off has no view to start from; what changed since an older one is more, and right.
    marker, number = (state.view, event.round) if state.view else (state.marker, state.marker_round)
    written = state.written_by_target and state.since is not None
    return replace(state, marker=marker, marker_round=number, rounds=(*state.rounds, event), written_by_target=written)


@take.register
def _(event: RehearsalBegun, state: MachineState) -> MachineState:
    _need_no_rehearsal(state)
    _need(not state.target_may_run, "the target may be running on these disks")
    _need(bool(state.disks) and not state.unverified, f"not verified: {', '.join(state.unverified) or 'no disk'}")
    _need(event.roots == state.roots, "its roots are not those that were read back")
    return replace(state, rehearsal=Rehearsal(event))


@take.register
def _(event: RehearsalStarted, state: MachineState) -> MachineState:
    return replace(state, rehearsal=replace(_open_rehearsal(state), started=event))


@take.register
def _(event: RehearsalObserved, state: MachineState) -> MachineState:
    newest = _open_rehearsal(state)
    if event.app is None:
        return replace(state, rehearsal=replace(newest, observed=event))
    _need(newest.observed is not None and not newest.own_failing, "its own probes have not passed")
    return replace(state, rehearsal=replace(newest, app_observed=event))


@take.register
def _(event: RehearsalEnded, state: MachineState) -> MachineState:
    return replace(state, rehearsal=replace(_open_rehearsal(state), ended=event), verified={}, doubted=True)


@take.register
def _(event: Rehearsed, state: MachineState) -> MachineState:
    newest = state.rehearsal
    _need(newest is not None and newest.begun.number == event.number, f"rehearsal {event.number} is not the newest")
    if newest is None or newest.observed is None or newest.is_open:
        raise RuleBroken("nobody has looked at it, or it has not ended")
    _need(0 < newest.observed.passed == event.probes_passed, "no observation of it passed, or of another count")
    _need(not newest.failed, newest.failed)
    _need(not state.unverified, f"not read back since: {', '.join(state.unverified)}")
    _need(newest.begun.roots == event.roots == state.roots, "the disks are not as they were before it")
    return replace(state, rehearsed=event)


def _open_rehearsal(state: MachineState) -> Rehearsal:
    if state.rehearsal is None or not state.rehearsal.is_open:
        raise RuleBroken("no rehearsal is open")
    return state.rehearsal


def _need_no_rehearsal(state: MachineState) -> None:
    _need(not state.rehearsing, "a rehearsal may be running over these disks")


@take.register
def _(event: Approved, state: MachineState) -> MachineState:
    return replace(state, approved=event)


@take.register
def _(event: CutoverBegun, state: MachineState) -> MachineState:
    """Begun a second time when somebody started the source meanwhile: what was copied of it is stale, what it was
    before we first stopped it is not. Begun anew before any stop was asked for, it is from a fresh look."""
    _need(not state.target_may_run, "the target may be running")
    _need_no_rehearsal(state)
    again = state.resumes is Phase.CUTTING_OVER
    asked = again and state.stop_asked
    first = state if asked else event  # whose source was asked to stop, it may be down since
    return replace(
        state,
        power_before=state.power_before if asked and state.owes_restart else event.power_before,
        deadline=first.deadline,
        deadline_of=first.deadline_of,
        # What an older plan or another journal has left off, it has asked to stop.
        to_go_back=event.to_go_back,
        stop_asked=asked or bool(event.taken_from) or not event.stop_is_told,
        woken=state.woken + 1 if asked else 0,
        autostart=event.autostart or state.autostart,
        notes=event.notes or state.notes,
        target_may_run=event.target_may_run,
        removed=False,
        final=False,
        verified={},
        differing={},
        heard=None,
        stopped=None,
        applied=None,
        started=None,
        observed=None,
        app_observed=None,
        validated=None,
        rollback_reason="",
        rollback_cause="",
        source_restarted=False,
        cutovers=state.cutovers + 1,
        hooks={},
        undone=None,
        attempts=state.attempts if again else 0,
    )


@take.register
def _(_event: StopAsked, state: MachineState) -> MachineState:
    _need(not state.source_off, "the source is off already")
    return replace(state, stop_asked=True)


@take.register
def _(_event: StopNotDone, state: MachineState) -> MachineState:
    _need(not state.source_off, "the source was seen off after its stop")
    return replace(state, stop_asked=False)


@take.register
def _(event: LastWords, state: MachineState) -> MachineState:
    _need(not state.source_off, "the source is off already")
    return replace(state, heard=event)


@take.register
def _(event: AutostartRecorded, state: MachineState) -> MachineState:
    """The newest counts: who has switched it on again meanwhile wants it so."""
    _need(not state.source_off, "the source is off already")
    return replace(state, autostart=event.was)


@take.register
def _(event: SourceStopped, state: MachineState) -> MachineState:
    _need(not state.source_off, "it is recorded as off already")
    return replace(state, stopped=event)


@take.register
def _(_event: VariablesCarried | TpmCarried, state: MachineState) -> MachineState:
    _need_proof(state)
    _need(not state.target_may_run, "the target may be running with what this replaces")
    return state


@take.register
def _(event: Applied, state: MachineState) -> MachineState:
    _need_proof(state)
    return replace(state, applied=event, target_may_run=True, written_by_target=True)


@take.register
def _(event: Started, state: MachineState) -> MachineState:
    _need_proof(state)
    _need(state.applied is not None, "its manifests are not applied")
    return replace(state, started=event, observed=None, app_observed=None)


def _need_proof(state: MachineState) -> None:
    _need(state.source_off, "the source is not confirmed off")
    _need(state.final or not state.disks, "no final round was copied")
    _need(not state.unverified, f"not verified: {', '.join(state.unverified)}")


@take.register
def _(event: Observed, state: MachineState) -> MachineState:
    return replace(state, observed=event)


@take.register
def _(event: AppObserved, state: MachineState) -> MachineState:
    _need(state.probes_passed > 0, "its own probes have not passed")
    return replace(state, app_observed=event)


@take.register
def _(event: Validated, state: MachineState) -> MachineState:
    seen = state.probes_passed
    _need(seen > 0, "no observation passed")
    _need(event.probes_passed == seen, f"{seen} probes passed, not {event.probes_passed}")
    return replace(state, validated=event)


@take.register
def _(_event: Watched, state: MachineState) -> MachineState:
    _need(state.target_may_run, "the target does not run any more")
    return state


@take.register
def _(_event: TargetStopped, state: MachineState) -> MachineState:
    return replace(state, target_may_run=False)


@take.register
def _(event: Committed, state: MachineState) -> MachineState:
    _need(state.probes_passed > 0, "no observation passed")
    return replace(state, committed_by=event.by)


@take.register
def _(event: HookRun, state: MachineState) -> MachineState:
    why = why_not_now(event, state)
    _need(not why, why)
    return with_run(state, event)


@take.register
def _(event: NotesRecorded, state: MachineState) -> MachineState:
    return replace(state, notes=event, marked=False)


@take.register
def _(_event: SourceMarked, state: MachineState) -> MachineState:
    _need(state.notes is not None, "what stood there before is not recorded")
    return replace(state, marked=True)


@take.register
def _(event: Failed, state: MachineState) -> MachineState:
    return replace(state, failed=event, attempts=state.attempts + 1)


@take.register
def _(event: RollbackBegun, state: MachineState) -> MachineState:
    _need_no_rehearsal(state)
    undone = state.power_before if state.resumes in _UNDONE else None
    return replace(
        state, rollback_reason=event.reason, rollback_cause=event.cause, source_restarted=False, undone=undone
    )


@take.register
def _(_event: SourceRestarted, state: MachineState) -> MachineState:
    _need(not state.target_may_run, "the target may be running")
    return replace(state, stopped=None, source_restarted=True)


@take.register
def _(_event: RolledBack, state: MachineState) -> MachineState:
    _need(not state.target_may_run, "the target may be running")
    _need(not state.owes_restart, "the source ran before and was not started again")
    # The machine runs on, or is off, as its owner likes: how far behind the target is has to be seen anew, and what its
    # power was before this attempt says nothing of the next one.
    return replace(
        state,
        rounds=(),
        power_before=None,
        stopped=None,
        stop_asked=False,
        deadline="",
        deadline_of="",
        autostart=None,
        notes=None,
        marked=False,
    )


@take.register
def _(event: Released, state: MachineState) -> MachineState:
    """What was proven of a machine that has moved stays on record. For another attempt nothing is copied any more."""
    if not event.everything:
        return state
    if state.resumes is Phase.COMMITTED:
        return replace(state, removed=True)
    return replace(
        state,
        removed=True,
        view=None,
        since=None,
        since_round=0,
        left=False,
        marker=None,
        marker_round=0,
        rounds=(),
        copied={},
        verified={},
        differing={},
        rehearsal=None,
        rehearsed=None,
        doubted=False,
    )


def _without(facts: Mapping[str, Fact], disk: str) -> dict[str, Fact]:
    return {name: fact for name, fact in facts.items() if name != disk}
