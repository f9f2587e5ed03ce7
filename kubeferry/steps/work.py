"""What every step is given: one machine's entry, the two seams, the journal under a lease."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from kubeferry.documents import Entry, Limits, MoverProgress, Plan
from kubeferry.errors import KubeferryError, TransientError
from kubeferry.journal import Journal, Lease, Room
from kubeferry.life.events import Event
from kubeferry.life.machine_state import MachineState
from kubeferry.outside import clock
from kubeferry.sources import Source
from kubeferry.steps.gate import Gate
from kubeferry.targets import External, Target

Progress = Callable[[str, str, MoverProgress], None]
"""Called with machine, disk and how far its transfer is."""


def _nobody(_told: object) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class Work:
    """One machine under way. `record` is the only way to remember something; it raises Fenced for a stale runner.

    `target_is_down` names the person who has said that the target is gone for good: it is not asked any more, and that
    is recorded. `seen` is told where the machine stands, each time that is read, and `waits` why it does not go on
    now: that is tried again, or asked. `by` names the person who has asked for what is done, where that is recorded.
    `patient`: what may pass is tried until the deadline; else somebody comes again (`kubeferry.steps.patience`), who
    leaves a hook that failed after the end to a person.
    `run_gate` is the gate that all machines of the run are asked at.
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
    waits: Callable[[KubeferryError], None] = _nobody
    by: str = ""
    patient: bool = True
    run_gate: Gate | None = None
    _ahead: list[timedelta] = field(default_factory=list)
    _last: list[MachineState] = field(default_factory=lambda: [MachineState()])
    _own_gate: list[Gate] = field(default_factory=list)

    @property
    def gate(self) -> Gate:
        """The run's gate, or one of its own where the run has none."""
        if self.run_gate is None and not self._own_gate:
            self._own_gate.append(Gate(self.plan, self.journal))
        return self.run_gate or self._own_gate[0]

    def record(self, event: Event, *, room: Room | None = None) -> None:
        """Append what was seen, durably; in a room, where it needs a place in one."""
        if room:
            self.journal.append_in(room, self.lease, event)
        else:
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

    def of_set(self, state: MachineState) -> list[MachineState]:
        """Where those stand that move as one: the machine itself, as given, and the others, from the journal."""
        others = (one.name for one in self.entry.moves_with or ())
        return [state, *(self.journal.state(self.plan.digest, name) for name in others)]

    def now(self) -> str:
        """The journal's time (UTC, ISO 8601), by this host's clock and how far that was ahead when it was asked first:
        what is recorded is compared with it, and it is known while the journal is away."""
        if not self._ahead:
            with contextlib.suppress(TransientError):
                self._ahead.append(clock.moment() - self.journal.now())
        return (clock.moment() - next(iter(self._ahead), timedelta())).isoformat(timespec="milliseconds")

    def last_seen(self) -> MachineState:
        """Where it was seen to stand last by `state`; asks nobody."""
        return self._last[0]
