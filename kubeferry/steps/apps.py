"""The step that looks at an app as a whole, by one of its machines, once all of them run."""

from __future__ import annotations

from kubeferry.documents import Entry
from kubeferry.life.action_kinds import Action
from kubeferry.life.events import AppObserved
from kubeferry.life.machine_state import MachineState
from kubeferry.steps import power
from kubeferry.steps.in_time import with_time_left
from kubeferry.steps.work import Work


def observe_app(work: Work, _action: Action, state: MachineState) -> None:
    """Ask the app's probes of this machine and record what was seen, good or bad. Starts it first, as `observe` does;
    nothing is done, nor recorded, where somebody has started the source."""
    if not power.start_target(work):
        return
    seen = work.target.observe(asked_of_app(with_time_left(work, state)), state.last_words)
    work.record(AppObserved(app=work.entry.app or "", observation=seen.model_dump(mode="json", by_alias=True)))


def asked_of_app(entry: Entry) -> Entry:
    """The machine as it is asked the probes of its app, in the place of its own."""
    return entry.model_copy(update={"probes": entry.app_probes or (), "app_probes": None})


def tier_of(work: Work) -> int:
    """The machine's place in the order of its app."""
    app = work.plan.app_of(work.entry.name)
    return app.tier_of(work.entry.name) if app else 0
