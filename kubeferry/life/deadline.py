"""Until when a cutover has to come to its end, and what follows where it does not. Pure; times are UTC in ISO 8601.

The deadline stands in the journal (`cutover-begun`), so whoever takes a machine up knows it: it is gone on with while
there is time, and led back when there is none. What has passed its probes serves, and is led back by no deadline.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from kubeferry.documents import DowntimePolicy
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.words import duration

BUDGET = "budget"
_WINDOW = "window "
_BOUND = frozenset({Phase.CUTTING_OVER, Phase.STARTED})
_WHOSE = {BUDGET: "its downtime budget"}


def from_budget(policy: DowntimePolicy | None, began: str) -> str:
    """When the downtime budget of a cutover that began then is used up; empty for no budget."""
    if policy is None or policy.budget_seconds is None:
        return ""
    return told(moment(began) + timedelta(seconds=policy.budget_seconds))


def of_window(name: str) -> str:
    """What the deadline of a cutover is of that has to be over, or back, before this window ends."""
    return f"{_WINDOW}{name}"


def is_of_window(state: MachineState) -> bool:
    """Whether it is the end of its window that bounds the cutover."""
    return state.deadline_of.startswith(_WINDOW)


def earliest(deadlines: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Of deadlines, each with what it is of, the first one that counts; two empty texts for none."""
    return min((one for one in deadlines if one[0]), key=lambda one: moment(one[0]), default=("", ""))


def seconds_left(state: MachineState, now: str) -> float | None:
    """How much time a cutover still has, 0 or less where it has none; None where nothing bounds it, as what has passed
    its probes."""
    if not state.deadline or state.resumes not in _BOUND or state.probes_passed:
        return None
    return (moment(state.deadline) - moment(now)).total_seconds()


def used_up(state: MachineState, now: str) -> str:
    """Why a cutover leads back now, as a sentence for an operator; empty where it has time left, or none is bounded."""
    left = seconds_left(state, now) if now else None
    if left is None or left > 0:
        return ""
    return f"{whose(state)} was used up at {state.deadline}: the source is wanted back"


def whose(state: MachineState) -> str:
    """What the deadline of a cutover is of, for the beginning of a sentence."""
    if is_of_window(state):
        return f"its {state.deadline_of}"
    return _WHOSE.get(state.deadline_of, state.deadline_of or "its time")


def too_slow(state: MachineState, now: str, fastest_seconds: float) -> str:
    """Why a transfer that takes no less than this is led back before its end; empty where it may still be in time."""
    left = seconds_left(state, now)
    if left is None or fastest_seconds <= max(left, 0.0):
        return ""
    return (
        f"what is left takes {duration(fastest_seconds)} or longer, and of {whose(state)} {duration(max(left, 0.0))} "
        "are left"
    )


def moment(at: str) -> datetime:
    """A time of the journal or of this host."""
    read = datetime.fromisoformat(at)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def told(at: datetime) -> str:
    """The same in the form of the journal's times."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
