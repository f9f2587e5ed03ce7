"""How often a step is tried, and how long is waited in between: a function of the error and of where the machine
stands. Pure.

Before the stop a few tries are enough: nobody is waiting. After it the source is off, and somebody has to act: what may
pass by itself is tried until the cutover's deadline, or where it has none for as long as the plan's patience lasts.
Then it leads back, and who leads back has the same patience.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubeferry.documents import DowntimePolicy
from kubeferry.life.deadline import moment, seconds_left, whose
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.words import duration

DELAYS_SECONDS = [2.0, 10.0, 30.0]
"""Before the second, third and fourth try; after the stop the last of them before any further one, too."""
LAST_SECONDS = 1.0
"""So long before the end of the time there is comes the last try: what it says is why it leads back."""
_LEADS_BACK = frozenset({Phase.CUTTING_OVER, Phase.STARTED})
_UNDER_WAY = _LEADS_BACK | {Phase.VALIDATED, Phase.ROLLING_BACK}


def is_past_stop(state: MachineState) -> bool:
    """Whether the source is off by our doing, or may be, and nothing has come to its end."""
    asked = state.stop_asked or state.source_off
    return asked and state.resumes in _UNDER_WAY


@dataclass(slots=True)
class Tries:
    """The tries of one step that may pass by itself. `since`: when the first one began. Without a `policy` a few are
    enough after the stop as well: somebody comes again."""

    since: str
    policy: DowntimePolicy | None
    number: int = 0

    def wait(self, state: MachineState, now: str) -> float | None:
        """Seconds until the next try, after one more that failed; None where none comes."""
        self.number += 1
        delays = DELAYS_SECONDS
        if self.policy is None or not is_past_stop(state):
            return delays[self.number - 1] if self.number <= len(delays) else None
        left = self._left(state, now, self.policy) - LAST_SECONDS
        return min(delays[min(self.number, len(delays)) - 1], left) if delays and left > 0 else None

    def why_no_more(self, state: MachineState, now: str) -> str:
        """Why a cutover leads back that could go on as far as the error says; empty where it does not lead back: before
        the stop, on the way back, and once all probes have passed."""
        if self.policy is None or not is_past_stop(state) or state.resumes not in _LEADS_BACK or state.probes_passed:
            return ""
        tried = f"it was tried {self.number} times in {duration(self._passed(now))}"
        if seconds_left(state, now) is None:
            return f"{tried}, which is all the patience that the plan has"
        return f"{tried}, and {whose(state)} is used up"

    def _left(self, state: MachineState, now: str, policy: DowntimePolicy) -> float:
        left = seconds_left(state, now)
        return policy.patience_seconds - self._passed(now) if left is None else left

    def _passed(self, now: str) -> float:
        return (moment(now) - moment(self.since)).total_seconds()
