"""The steps of a rehearsal: an isolated copy over the synced disks is started, looked at, and taken away again.

Its source runs on, so nothing of the copy may reach a network. What goes wrong with it is no failure of the move: the
machine stays as it was, and why stands in the journal.
"""

from __future__ import annotations

from collections.abc import Callable

from kubeferry.documents import Entry
from kubeferry.errors import Fenced, KubeferryError, TransientError
from kubeferry.ledger import AT_SOURCE, External
from kubeferry.life import rehearsal
from kubeferry.life.action_kinds import Action
from kubeferry.life.machine_state import MachineState
from kubeferry.life.rehearsal_events import (
    RehearsalBegun,
    RehearsalEnded,
    RehearsalObserved,
    RehearsalStarted,
    Rehearsed,
)
from kubeferry.life.rehearsed_together import why_ended
from kubeferry.outside import clock
from kubeferry.passwords import struck
from kubeferry.steps import power
from kubeferry.steps.apps import asked_of_app
from kubeferry.steps.work import Work


def begin(work: Work, _action: Action, state: MachineState) -> None:
    """From here on a copy may run over the disks, each of which was read back."""
    now = clock.now()
    since = state.marker.taken_at if state.marker and state.marker_round == state.round else now
    fields = rehearsal.intent(state.rehearsal, state.round, state.roots, now, since)
    together = work.plan.rehearsed_with(work.entry.name) or None
    work.record(RehearsalBegun.model_validate(fields | {"together": together}))


def start(work: Work, _action: Action, _state: MachineState) -> None:
    """Start one of those that are rehearsed together, and ask it nothing yet."""
    if _goes_well(work, lambda: power.start_rehearsal(work)):
        work.record(RehearsalStarted())


def run(work: Work, _action: Action, _state: MachineState) -> None:
    """Start it, ask its probes, and record what was seen, good or bad. What cannot be started at all is seen, too."""

    def look() -> None:
        power.start_rehearsal(work)
        _see(work, work.entry, None)

    _goes_well(work, look)


def run_app(work: Work, _action: Action, _state: MachineState) -> None:
    """Ask this machine the probes of its app, with all of the app running apart, and record what was seen."""
    app = work.entry.app or ""
    _goes_well(work, lambda: _see(work, asked_of_app(work.entry), app), app)


def _see(work: Work, asked: Entry, app: str | None) -> None:
    seen = work.target.observe_rehearsal(asked)
    work.record(RehearsalObserved(observation=seen.model_dump(mode="json", by_alias=True), app=app))


def _goes_well(work: Work, deed: Callable[[], None], app: str | None = None) -> bool:
    """Whether it did; why not is recorded as what was seen. Raises what may pass, and Fenced."""
    try:
        deed()
    except (Fenced, TransientError):
        raise
    except KubeferryError as error:
        told(work, error, app)
        return False
    return True


def told(work: Work, error: KubeferryError, app: str | None = None) -> None:
    """Record why nobody could look at it, or at its app."""
    work.record(RehearsalObserved(why=struck(error.reason), app=app))


def end(work: Work, _action: Action, state: MachineState) -> None:
    """Take it away with all that was made for it; a target that is gone for good, as a person says, is not asked. Of
    one that was rehearsed with others is recorded why none of them passed, where that is so."""
    removed: list[str] = []
    if not work.target_is_down:
        removed = work.target.end_rehearsal(work.entry, work.lease.fence)
        _account(work)
    why = _why_as_a_whole(work, state)
    work.record(RehearsalEnded(at=clock.now(), removed=tuple(removed), told_by=work.target_is_down, why=why))


def _why_as_a_whole(work: Work, state: MachineState) -> str | None:
    names = state.rehearsal.together if state.rehearsal else ()
    others = {name: work.journal.state(work.plan.digest, name) for name in names if name != work.entry.name}
    states = {name: others.get(name, state) for name in names}
    app = work.plan.app_of(work.entry.name)
    return why_ended(states, frozenset(name for name in names if app and app.asked_of(name))) or None


def _account(work: Work) -> None:
    """What is gone at the target is recorded as gone: a rehearsal leaves nothing to be asked about."""
    for thing in work.journal.ledger_open(work.plan.digest, work.entry.name):
        there = thing.kind in AT_SOURCE or work.target.exists(External(thing.kind, thing.name, thing.where))
        if not there:
            work.journal.gone(work.lease, thing)


def record(work: Work, _action: Action, state: MachineState) -> None:
    """Record that it showed what the plan asks for, and left every disk as it was."""
    work.record(Rehearsed.model_validate(rehearsal.claim(state.rehearsal, state.roots, clock.now())))
