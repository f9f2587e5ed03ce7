"""What changes a power state, each deed between two looks.

A runner may sleep between a look and its deed for longer than its lease lasts (Ctrl-Z, a paused machine, a closed lid),
and another one goes on, or back, meanwhile. So the lease is asked directly before the deed and again after it, the
target itself refuses who comes with an older fence than it has seen, and what was done too late all the same is undone,
where whoever owns the machine now wants it otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from kubeferry.documents import Entry
from kubeferry.errors import (
    Fenced,
    KubeferryError,
    PermanentError,
    SourceGone,
    SourceRefused,
    SourceUnavailable,
    TargetRefused,
    TransientError,
)
from kubeferry.life.events import LastWords, StopAsked
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import UP, Autostart, Power
from kubeferry.sources import Stopped
from kubeferry.steps import afterwards
from kubeferry.steps.precedence import newest_state
from kubeferry.steps.unconfirmed import asked_before
from kubeferry.steps.work import Work
from kubeferry.targets import Target

ALREADY_OFF = "already-off"
"""How a source was stopped that nobody had to stop."""

Undo = Callable[[MachineState], str]
"""Given where the machine stands now, puts back what was done too late. Returns what it did, nothing for nothing."""

_MOVING = frozenset({Phase.CUTTING_OVER, Phase.STARTED, Phase.VALIDATED, Phase.COMMITTED})
_TARGET_WANTED = frozenset({Phase.STARTED, Phase.VALIDATED, Phase.COMMITTED})
_SOURCE_WANTED = frozenset({Phase.COPYING, Phase.SYNCED, Phase.REHEARSED, Phase.APPROVED, Phase.ROLLED_BACK})


def refuse_unknown_copy(target: Target, entry: Entry, state: MachineState) -> None:
    """Raise TargetRefused where the machine runs at the target and the journal knows nothing of it: somebody started
    it, or the journal is older than the world. It is not stopped in silence: what it wrote exists nowhere else."""
    if state.target_may_run or not target.runs(entry):
        return
    raise TargetRefused(
        "its copy runs at the target, and this journal knows nothing of it",
        why=f"{entry.namespace}/{entry.target_name} runs: somebody started it, another plan or journal has moved it, "
        "or this journal was restored from a backup",
        fix="Look at it: what was written there exists nowhere else. If that is wanted, leave the source off. If not, "
        "stop it at the target and run the same command again.",
        machine=entry.name,
    )


def look_for_unknown_copy(work: Work, state: MachineState) -> None:
    """`refuse_unknown_copy`, unless a person has said that the target is down for good."""
    if not work.target_is_down:
        refuse_unknown_copy(work.target, work.entry, state)


def refuse_lost_sources(works: Sequence[Work]) -> None:
    """Raise SourceRefused where these machines, one or a whole set, have moved and a source to go back to is not there,
    or lets nobody in: their copies run on, and none of them begins the way back. What has not moved goes back all the
    same: its source may run."""
    states = [(work, work.state()) for work in works]
    if all(state.resumes is Phase.COMMITTED for _, state in states):
        for work in (work for work, state in states if state.owes_restart):
            _refuse_lost_source(work)


def _refuse_lost_source(work: Work) -> None:
    """A source that does not answer now may do so when it is started. One of an estate may run where nobody answers:
    while it is not known that it does not, its copy runs on."""
    try:
        seen = work.source.power(work.entry.machine)
    except TransientError:
        return
    except SourceRefused as error:
        raise SourceRefused(
            "there is no source to go back to: its copy at the target runs on",
            why=error.reason,
            fix="Keep the copy where its source is gone for good; else bring that back, and run the command again.",
            machine=work.entry.name,
        ) from error
    if seen is Power.OFF and _may_run_elsewhere(work):
        raise SourceUnavailable(
            "it may run at a source of its estate that does not answer: its copy at the target runs on",
            fix="Run the same command again once all of them answer; or take the one that is gone for good out of it.",
            machine=work.entry.name,
        )


def _may_run_elsewhere(work: Work) -> bool:
    machine = work.entry.machine
    of_estate = machine.source != work.plan.source
    return of_estate and work.source.powers([machine]).get(machine.id) is Power.UNKNOWN


def source_power(work: Work, state: MachineState) -> Power:
    """How the source is seen now. One that was stopped, started by somebody and shut down again counts as running: what
    was copied of it is stale all the same. One that somebody has ended since it was stopped is off for good."""
    try:
        seen = work.source.power(work.entry.machine)
        if seen is not Power.OFF or state.stopped is None or not state.stopped.last_start:
            return seen
        last_start = work.source.last_start(work.entry.machine)
    except SourceGone:
        if state.stopped is None:
            raise
        return Power.OFF
    return Power.RUNNING if last_start and last_start != state.stopped.last_start else seen


def _is_up(work: Work) -> bool:
    """Whether a source that was stopped runs now. Nobody starts one that is not there any more."""
    try:
        return work.source.power(work.entry.machine) in UP
    except SourceGone:
        return False


def start_target(work: Work) -> bool:
    """Start the copy where the source is off, before and after. Returns whether it was; the copy is down where not."""
    if _is_up(work):
        return False
    with _deed(work, lambda newest: _stop_again(work, newest)):
        work.target.start(work.entry, work.ledger, work.lease.fence)
    if _is_up(work):
        work.target.stop(work.entry, work.lease.fence)
        return False
    return True


def hand_over(work: Work) -> str | None:
    """From now on the target runs the copy as its plan says. Returns the run strategy; None, with the copy down, where
    the source is not off before and after."""
    if _is_up(work):
        return None
    with _deed(work, lambda newest: _stop_again(work, newest)):
        strategy = work.target.hand_over(work.entry, work.lease.fence)
    if _is_up(work):
        work.target.stop(work.entry, work.lease.fence)
        return None
    return strategy


def stop_target(work: Work) -> None:
    """Stop the copy. Where a person has said that the target is down for good, nobody is asked."""
    if work.target_is_down:
        return
    with _deed(work, lambda newest: _start_copy_again(work, newest)):
        work.target.stop(work.entry, work.lease.fence)


def stop_source(work: Work) -> Stopped:
    """Stop the source. That it is asked for is recorded just before, unless it is seen off already; what its guest said
    last, before anything is touched."""
    seen = _seen(work)
    with _deed(work, lambda newest: _start_source_again(work, newest) if seen in UP else ""):
        if seen is not Power.OFF:
            if work.source.capabilities.replaces_stopped and work.entry.stop.detaches:
                keep_from_starting(work)
            _tell_stop(work)
        stopped = work.source.stop(
            work.entry.machine,
            work.entry.stop,
            lambda words, at, said=None: work.record(LastWords(at=at, words=words, said=said)),
        )
        if stopped.how != ALREADY_OFF and seen is Power.OFF:  # somebody has started it since the look
            _tell_stop(work)
        return stopped


def _tell_stop(work: Work) -> None:
    if not asked_before(work):
        work.record(StopAsked())
        work.state()  # who is stopped at once tells from memory what is off, or may be


def start_rehearsal(work: Work) -> None:
    """Run the isolated copy of a rehearsal; what was started too late is ended again, unless another one is on."""
    with _deed(work, lambda _newest: _end_rehearsal_again(work)):
        beside = tuple(map(work.plan.entry, work.plan.rehearsed_with(work.entry.name)))
        work.target.rehearse(work.entry, work.ledger, work.lease.fence, beside)


def start_source(work: Work) -> None:
    """Run the source again."""
    was_up = _seen(work) in UP
    with _deed(work, lambda newest: "" if was_up else _stop_source_again(work, newest)):
        work.source.start(work.entry.machine)


def stays_off(work: Work) -> bool | None:
    """After its stop: nothing starts the source by itself any more. Returns whether that was seen, None where nothing
    at that source starts machines, or what does is left as it is."""
    if not work.source.capabilities.autostarts:
        return None
    if work.source.capabilities.replaces_stopped:  # it was off before the stop, where the policy wants it off
        return None if work.source.autostart(work.entry.machine) else True
    keep_from_starting(work)
    return True


def keep_from_starting(work: Work) -> None:
    """What starts the source by itself is recorded, then switched off."""
    was = afterwards.recorded(work)
    if was is not None:
        with _deed(work, lambda newest: _autostart_again(work, newest, was)):
            afterwards.switch_off(work)


def put_autostart_back(work: Work, state: MachineState) -> None:
    """What was recorded starts the source by itself again."""
    if state.autostart is not None:
        with _deed(work, lambda newest: _autostart_off_again(work, newest)):
            afterwards.put_back(work, state)


def _seen(work: Work) -> Power:
    """How the source is; unknown for one that does not answer now, and may do so for the deed."""
    with contextlib.suppress(TransientError):
        return work.source.power(work.entry.machine)
    return Power.UNKNOWN


@contextlib.contextmanager
def _deed(work: Work, undo: Undo) -> Iterator[None]:
    """The lease is ours before the deed and after it, whether it went well or not; else it is undone. Raises Fenced."""
    work.journal.heartbeat(work.lease)
    try:
        try:
            yield
        except Fenced:
            raise
        except Exception:
            with contextlib.suppress(TransientError):
                work.journal.heartbeat(work.lease)
            raise
        work.journal.heartbeat(work.lease)
    except Fenced as fenced:
        raise _too_late(work, fenced, undo) from fenced


def _too_late(work: Work, fenced: Fenced, undo: Undo) -> Fenced:
    try:
        undone = undo(newest_state(work))
    except Fenced:
        return fenced  # a runner with another journal has it
    except KubeferryError as error:
        return Fenced(
            fenced.what,
            why=f"{fenced.why}; what it did too late could not be undone: {error.what}",
            fix="Look at once whether both source and target run, and stop the one that is not wanted.",
            machine=work.entry.name,
        )
    why = f"{fenced.why}; {undone}" if undone else fenced.why
    return Fenced(fenced.what, why=why, fix=fenced.fix, machine=work.entry.name)


# --- what is put back ------------------------------------------------------------------------------------------------


def _stop_again(work: Work, newest: MachineState) -> str:
    if newest.target_may_run and newest.source_off and newest.resumes in _MOVING:
        return ""  # whoever owns the machine now counts on it
    work.target.stop(work.entry, work.journal.newest_fence(work.entry.name))
    return "the copy that it started too late was stopped again"


def _end_rehearsal_again(work: Work) -> str:
    if work.state().rehearsing:
        return ""  # whoever owns the machine now looks at it, or ends it
    removed = work.target.end_rehearsal(work.entry, work.journal.newest_fence(work.entry.name))
    return "the copy that it started too late was taken away again" if removed else ""


def _start_copy_again(work: Work, newest: MachineState) -> str:
    wanted = newest.target_may_run and newest.source_off and newest.resumes in _TARGET_WANTED
    if not wanted or newest.started is None or work.source.power(work.entry.machine) in UP:
        return ""
    if work.target.runs(work.entry):
        return ""  # it did not come to that
    fence = work.journal.newest_fence(work.entry.name)
    work.target.start(work.entry, lambda _thing: None, fence)  # in the ledger it is, by whoever has started it
    if newest.resumes is Phase.COMMITTED:
        work.target.hand_over(work.entry, fence)
    return "the copy that it stopped too late was started again"


def _start_source_again(work: Work, newest: MachineState) -> str:
    owed = newest.resumes is Phase.ROLLING_BACK and not newest.target_may_run
    if not (owed or newest.resumes in _SOURCE_WANTED) or work.source.power(work.entry.machine) in UP:
        return ""
    if work.target.runs(work.entry):
        raise PermanentError("the source is off, and the copy at the target runs")
    work.source.start(work.entry.machine)
    return "the source that it stopped too late was started again"


def _stop_source_again(work: Work, newest: MachineState) -> str:
    if not newest.source_off or newest.resumes not in _MOVING:
        return ""
    work.source.stop(work.entry.machine, work.entry.stop, lambda _words, _at, _said=None: None)
    return "the source that it started too late was stopped again"


def _autostart_again(work: Work, newest: MachineState, was: Autostart) -> str:
    if newest.autostart is not None and newest.resumes in _MOVING:
        return ""
    work.source.set_autostart(work.entry.machine, was)
    return "what starts the source by itself, which it switched off too late, was put back"


def _autostart_off_again(work: Work, newest: MachineState) -> str:
    if not newest.source_off or newest.resumes not in _MOVING:
        return ""
    work.source.set_autostart(work.entry.machine, None)
    return "what starts the source by itself, which it put back too late, was switched off again"
