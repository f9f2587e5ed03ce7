"""What every step is given: one machine's entry, the two seams, the journal under a lease."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kubeferry.documents import Entry, Limits, MoverProgress, Plan
from kubeferry.errors import TransientError
from kubeferry.journal import Journal, Lease
from kubeferry.life.events import Event
from kubeferry.life.evidence import MachineState
from kubeferry.outside import clock
from kubeferry.sources import Source
from kubeferry.targets import External, Target

Progress = Callable[[str, str, MoverProgress], None]
"""Called with machine, disk and how far its transfer is."""


def _nobody(_state: MachineState) -> None:
    """Nobody asks where the machine stands."""


@dataclass(frozen=True, slots=True)
class Work:
    """One machine under way. `record` is the only way to remember something; it raises Fenced for a stale runner.

    `target_is_down` names the person who has said that the target is gone for good: it is not asked any more, and that
    is recorded. `seen` is told where the machine stands, each time that is read. `by` names the person who has asked
    for what is done, where that is recorded. `patient`: what may pass is tried until the deadline; else somebody comes
    again (`kubeferry.steps.patience`).
    """

    plan: Plan
    entry: Entry
    source: Source
    target: Target
    journal: Journal
    lease: Lease
    limits: Limits
    progress: Progress
    target_is_down: str = ""
    seen: Callable[[MachineState], None] = _nobody
    by: str = ""
    patient: bool = True
    _ahead: list[timedelta] = field(default_factory=list)
    _last: list[MachineState] = field(default_factory=lambda: [MachineState()])

    def record(self, event: Event) -> None:
        """Append what was seen, durably."""
        self.journal.append(self.lease, event)

    def ledger(self, thing: External) -> None:
        """Write an external thing down before it is made."""
        self.journal.intend(self.lease, thing.kind, thing.name, thing.where)

    def state(self) -> MachineState:
        """Where the machine stands, from the journal and nothing else."""
        state = self.journal.state(self.plan.digest, self.entry.name)
        self._last[0] = state
        self.seen(state)
        return state

    def now(self) -> str:
        """The journal's time (UTC, ISO 8601), by this host's clock and how far that was ahead when it was asked first:
        what is recorded is compared with it, and it is known while the journal is away."""
        if not self._ahead:
            with contextlib.suppress(TransientError):
                self._ahead.append(clock.moment() - datetime.fromisoformat(self.journal.time()))
        return (clock.moment() - next(iter(self._ahead), timedelta())).isoformat(timespec="milliseconds")

    def last_seen(self) -> MachineState:
        """Where it was seen to stand last by `state`; asks nobody."""
        return self._last[0]
