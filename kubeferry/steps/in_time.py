"""Steps that would outlast the time of their cutover: ended while there is time to go back, or made shorter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from kubeferry.documents import Entry, MoverProgress, Probe
from kubeferry.errors import OutOfTime
from kubeferry.life.deadline import seconds_left, too_slow, used_up
from kubeferry.life.machine_state import MachineState
from kubeferry.life.pace import Rates
from kubeferry.steps.work import Work

SHORTEST_SECONDS = 1.0
AnyProbe = TypeVar("AnyProbe", bound=Probe)
FIX = "What was copied is kept. Copy it ahead (`mode: warm`), or give it a longer `downtime.budgetSeconds` or window."


@dataclass(slots=True)
class InTime:
    """Watches one disk's transfer in a cutover. It is over once the deadline is, and as soon as its fastest pace is
    seen to be too slow; a machine that still runs has no deadline."""

    work: Work
    disk: str
    rates: Rates = field(default_factory=Rates)

    def check(self, progress: MoverProgress) -> None:
        """Raises OutOfTime."""
        state, now = self.work.last_seen(), self.work.now()
        if seconds_left(state, now) is None:
            return
        self.rates.add(progress.bytes_per_second)
        why = used_up(state, now) or self._too_slow(state, now, progress)
        if why:
            raise OutOfTime("it was not copied in time", why=why, fix=FIX, machine=self.work.entry.name, disk=self.disk)

    def _too_slow(self, state: MachineState, now: str, progress: MoverProgress) -> str:
        left = self.rates.seconds_left((progress.total_bytes or 0) - progress.done_bytes)
        return too_slow(state, now, left[0]) if left and self.rates.known else ""


def with_time_left(work: Work, state: MachineState) -> Entry:
    """The machine's entry with probes that wait no longer than the cutover has time."""
    entry, left = work.entry, seconds_left(state, work.now())
    if left is None:
        return entry
    longest = max(left, SHORTEST_SECONDS)
    probes = tuple(_within(one, longest) for one in entry.probes)
    of_app = tuple(_within(one, longest) for one in entry.app_probes or ())
    return entry.model_copy(update={"probes": probes, "app_probes": of_app or None})


def _within(probe: AnyProbe, seconds: float) -> AnyProbe:
    return probe if probe.timeout_seconds <= seconds else probe.model_copy(update={"timeout_seconds": seconds})
