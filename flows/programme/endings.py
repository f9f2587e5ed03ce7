"""How a machine and a run ended, as a state of Prefect with a name that says more than Failed; pure.

RolledBack   it went back: its source runs again          Held       what it waits for has not moved
Deferred     it waits for a time at which it may move      NotBegun   nothing was done to any machine
Rehearsed    its copy was started and proven, apart
Refused      somebody who was asked said no                Void       the plan was changed while he was asked
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from flows.told import NOT_BEGUN, Outcome
from kubeferry.errors import Deferred, HeldBack, Interrupted
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase, way_of
from kubeferry.words import counted, first_of

TOLD = 10  # machines that are named in a state's message

Kind = Literal["completed", "failed", "cancelled"]
SUCCESS: dict[str, str] = {"rollback": "RolledBack", "rehearse": "Rehearsed"}
"""What a machine has come to that reached a goal, where it is not simply done."""


@dataclass(frozen=True, slots=True)
class Ending:
    """One state. An empty name is the usual one of its kind."""

    kind: Kind
    name: str = ""
    message: str = ""


def of_machine(goal: Goal, outcome: Outcome) -> Ending:
    """How the run of one machine ended."""
    error = outcome.error
    if error is None:
        left = f"; {outcome.left}" if outcome.left else ""
        return Ending("completed", SUCCESS.get(str(goal), ""), f"{outcome.phase}{left}")
    if went_back(outcome):
        return Ending("failed", "RolledBack", str(error))
    if isinstance(error, Interrupted):
        return Ending("cancelled", "", str(error))
    if isinstance(error, Deferred):
        return Ending("completed", "Deferred", str(error))
    if isinstance(error, HeldBack):
        return Ending("cancelled", "Held", str(error))
    return Ending("failed", "", str(error))


def of_run(
    goal: Goal,
    machines: Sequence[str],
    outcomes: Iterable[Outcome],
    held: Mapping[str, str],
    *,
    called_off: bool = False,
) -> Ending:
    """How a run of these machines ended. `outcomes` are those of machines that began, `held` has the reason of each
    that did not, since it waits for something. One that was `called_off` in Prefect is cancelled, whatever it has come
    to: its message tells that."""
    found = list(outcomes)
    number = len(machines)
    back = [one.machine for one in found if went_back(one)]
    failed = [one.machine for one in found if one.error and not went_back(one) and not _no_failure(one)]
    stopped = [one.machine for one in found if isinstance(one.error, Interrupted) and not went_back(one)]
    ways = _by_way(one for one in found if one.machine in stopped)
    later = [one.machine for one in found if isinstance(one.error, Deferred)]
    done = sum(one.error is None for one in found)
    waiting = [f"{name}: {why}" for name, why in held.items()]
    silent = number - len(found) - len(held)
    parts = [
        _of(number, failed, "failed"),
        _of(number, back, "rolled back"),
        f"{counted(len(waiting), 'machine')} held back: {first_of(waiting, TOLD)}" if waiting else "",
        _of(number, later, "deferred to their next window"),
        *(
            _of(number, names, f"stopped on request{way and f', {way}'}; the same command goes on")
            for way, names in ways
        ),
        f"{silent} of {number} not begun" if silent > 0 else "",
        f"{done} of {number} done" if done else "",
    ]
    message = "; ".join(filter(None, parts))
    if called_off:
        return Ending("cancelled", "", message)
    if failed:
        return Ending("failed", "", message)
    if back:
        return Ending("failed", "RolledBack", message)
    if stopped or (silent > 0 and not waiting):
        return Ending("cancelled", "" if found else "NotBegun", message)
    if waiting:
        return Ending("cancelled", "Held", message)
    return Ending("completed", "Deferred" if later else SUCCESS.get(str(goal), ""), message)


def went_back(outcome: Outcome) -> bool:
    """Whether the machine went back though nobody had asked for that."""
    return outcome.error is not None and outcome.stands == Phase.ROLLED_BACK


def _by_way(stopped: Iterable[Outcome]) -> list[tuple[str, list[str]]]:
    """Machines that were stopped on request, by the way that each is going."""
    ways: dict[str, list[str]] = {}
    for one in stopped:
        phase = Phase(one.stands) if one.stands in set(Phase) else Phase.PLANNED
        ways.setdefault(way_of(phase), []).append(one.machine)
    return list(ways.items())


def _no_failure(outcome: Outcome) -> bool:
    return isinstance(outcome.error, Interrupted | HeldBack) or outcome.phase == NOT_BEGUN


def _of(number: int, names: Sequence[str], what: str) -> str:
    return f"{len(names)} of {number} {what}: {first_of(names, TOLD)}" if names else ""
