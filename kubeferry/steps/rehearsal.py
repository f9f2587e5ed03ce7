"""The steps of a rehearsal: an isolated copy over the synced disks is started, looked at, and taken away again.

Its source runs on, so nothing of the copy may reach a network. What goes wrong with it is no failure of the move: the
machine stays as it was, and why stands in the journal.
"""

from __future__ import annotations

from kubeferry.errors import Fenced, KubeferryError, TransientError
from kubeferry.ledger import AT_SOURCE, External
from kubeferry.life import rehearsal
from kubeferry.life.action_kinds import Action
from kubeferry.life.machine_state import MachineState
from kubeferry.life.rehearsal_events import RehearsalBegun, RehearsalEnded, RehearsalObserved, Rehearsed
from kubeferry.outside import clock
from kubeferry.passwords import struck
from kubeferry.steps import power
from kubeferry.steps.work import Work


def begin(work: Work, _action: Action, state: MachineState) -> None:
    """From here on a copy may run over the disks, each of which was read back."""
    now = clock.now()
    since = state.marker.taken_at if state.marker and state.marker_round == state.round else now
    fields = rehearsal.intent(state.rehearsal, state.round, state.roots, now, since)
    work.record(RehearsalBegun.model_validate(fields))


def run(work: Work, _action: Action, _state: MachineState) -> None:
    """Start it, ask its probes, and record what was seen, good or bad. What cannot be started at all is seen, too."""
    try:
        power.start_rehearsal(work)
        seen = work.target.observe_rehearsal(work.entry)
    except (Fenced, TransientError):
        raise
    except KubeferryError as error:
        told(work, error)
    else:
        work.record(RehearsalObserved(observation=seen.model_dump(mode="json", by_alias=True)))


def told(work: Work, error: KubeferryError) -> None:
    """Record why nobody could look at it."""
    work.record(RehearsalObserved(why=struck(error.reason)))


def end(work: Work, _action: Action, _state: MachineState) -> None:
    """Take it away with all that was made for it; a target that is gone for good, as a person says, is not asked."""
    removed: list[str] = []
    if not work.target_is_down:
        removed = work.target.end_rehearsal(work.entry, work.lease.fence)
        _account(work)
    work.record(RehearsalEnded(at=clock.now(), removed=tuple(removed), told_by=work.target_is_down))


def _account(work: Work) -> None:
    """What is gone at the target is recorded as gone: a rehearsal leaves nothing to be asked about."""
    for thing in work.journal.ledger_open(work.plan.digest, work.entry.name):
        there = thing.kind in AT_SOURCE or work.target.exists(External(thing.kind, thing.name, thing.where))
        if not there:
            work.journal.gone(work.lease, thing)


def record(work: Work, _action: Action, state: MachineState) -> None:
    """Record that it showed what the plan asks for, and left every disk as it was."""
    work.record(Rehearsed.model_validate(rehearsal.claim(state.rehearsal, state.roots, clock.now())))
