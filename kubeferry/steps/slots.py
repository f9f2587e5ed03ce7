"""Slots of the machines of a run: looked at before they begin, and taken under their leases.

Who is past its stop, or goes back, waits for none: it has them whether there are any left or not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from kubeferry.documents import Limits, Outline, Plan
from kubeferry.journal import Journal
from kubeferry.journal.slots import Needed
from kubeferry.life.action_kinds import Goal
from kubeferry.life.held import sets_of
from kubeferry.life.machine_state import MachineState
from kubeferry.life.states import ENDS, UNTOUCHED
from kubeferry.schedule.slots import Full, slots
from kubeferry.steps.work import Work

COUNTED = frozenset({Goal.PRECOPY, Goal.MIGRATE, Goal.MIGRATE_AGAIN})
"""What copies disks, and so is bounded."""

Unit = tuple[str, ...]
Wanted = Mapping[Unit, Needed]
"""What each of several needs that move as one."""


def take(works: Sequence[Work], goal: Goal) -> tuple[Full, ...]:
    """Take what these machines need, which move as one. Where something is full, nothing is taken, and it is told."""
    first = works[0]
    wanted = slots(first.plan, first.limits, frozenset(work.entry.name for work in works))
    if not wanted or goal not in COUNTED:
        return ()
    if stay_back(goal, [work.state() for work in works]):
        return ()
    regardless = not all(_may_wait(work.state()) for work in works)
    return first.journal.take_slots([work.lease for work in works], wanted, regardless=regardless)


def stay_back(goal: Goal, states: Sequence[MachineState]) -> bool:
    """Whether one of them was rolled back and is not taken up again: nothing is copied of any."""
    return goal is Goal.MIGRATE and any(state.went_back for state in states)


def asked(plan: Plan | Outline, limits: Limits, units: Collection[Unit]) -> Wanted:
    """What each of these needs, where anything is limited."""
    found = slots(plan, limits, frozenset(name for unit in units for name in unit))
    return {unit: {name: found[name] for name in unit} for unit in units} if found else {}


def full(
    plan: str, journal: Journal, wanted: Wanted, state: Callable[[str], MachineState]
) -> dict[Unit, tuple[Full, ...]]:
    """What each of them would wait for if it began now, for those that would; nothing is taken. `state` tells where a
    machine stands."""
    waiting = {unit: one for unit, one in wanted.items() if all(_may_wait(state(name)) for name in unit)}
    if not waiting:
        return {}
    found = journal.all_full_slots(plan, list(waiting.values()))
    return {unit: told for unit, told in zip(waiting, found, strict=True) if told}


def full_for(
    plan: Plan | Outline,
    journal: Journal,
    limits: Limits,
    states: Mapping[str, MachineState],
    at_work: Collection[str],
) -> dict[str, str]:
    """In words the slots that machines would wait for if they began now, for those at which nobody is at work."""
    ended = {name for name, state in states.items() if state.resumes in ENDS}
    begin = {unit for name, unit in sets_of(plan).items() if name not in at_work and name not in ended}
    wanted = asked(plan, limits, begin)
    found = full(plan.digest, journal, wanted, lambda name: states.get(name, MachineState()))
    return {unit[0]: "; ".join(map(str, why)) for unit, why in found.items()}


def _may_wait(state: MachineState) -> bool:
    return state.resumes in UNTOUCHED and not state.source_off
