"""Where machines stand, remembered: what was read and checked once in this process is not read again.

A machine that is copied ahead each hour has thousands of events after some weeks, and a round asks dozens of times
where it stands. What came since the last time is all that is read then: it has to fit on the chain where that ended.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from kubeferry.life.event_kinds import EventKind
from kubeferry.life.machine_state import MachineState
from kubeferry.life.states import Recorded, step


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a machine stands after so many events, whose last one has this digest. `fences`: the newest fence under
    which each kind of event was recorded; they only rise."""

    seq: int = 0
    digest: str = ""
    state: MachineState = field(default_factory=MachineState)
    fences: Mapping[EventKind, int] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The fence of its newest event; 0 where it has none."""
        return max(self.fences.values(), default=0)

    def newest_of(self, kinds: Iterable[EventKind]) -> int:
        """The fence under which one of these was recorded last; 0 where none was."""
        return max((self.fences.get(kind, 0) for kind in kinds), default=0)

    def after(self, records: Iterable[Recorded], digest: str) -> Standing:
        """With these events more. Raises IllegalTransition."""
        seq, state, fences = self.seq, self.state, dict(self.fences)
        for record in records:
            seq, state = record.seq, step(state, record.event, record.at)
            fences[record.event.kind] = record.fence
        return Standing(seq, digest, state, fences)


class Standings:
    """The newest of each machine that was asked for; threads may share it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Standing] = {}
        self._lock = threading.Lock()

    def before(self, plan: str, machine: str, seq: int, digest: str) -> Standing:
        """From where to read on, for a chain that ends so; from its beginning, where it does not end as it did."""
        with self._lock:
            known = self._known.get((plan, machine), Standing())
        ended = known.seq == seq and known.digest == digest
        return known if ended or known.seq < seq else Standing()

    def has(self, row: Row[Any]) -> bool:
        """Whether the machine of this row has not grown since it was read."""
        known = self._known.get((row.plan, row.machine))
        return known is not None and (known.seq, known.digest) == (row.seq, row.digest)

    def remember(self, plan: str, machine: str, standing: Standing) -> None:
        """Where the machine was found to stand."""
        with self._lock:
            self._known[plan, machine] = standing
