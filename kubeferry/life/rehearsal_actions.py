"""What is next in a rehearsal, and why. Pure."""

from __future__ import annotations

from kubeferry.life import rehearsal
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.action_kinds import of_disks as _of
from kubeferry.life.machine_state import MachineState, Phase

A = ActionKind

REHEARSABLE = frozenset({Phase.SYNCED, Phase.REHEARSED, Phase.APPROVED})
"""Phases in which a machine has a synced copy, and nobody has begun to stop it."""

MOVED = frozenset({Phase.VALIDATED, Phase.COMMITTED})
"""Phases of machines that run at the target: of their app the others are left."""


def of_rehearsal(state: MachineState, goal: Goal) -> Action:
    """One rehearsal of what is durable. One that was left ends first, whatever is wanted: nothing goes on below it."""
    newest = state.rehearsal
    if newest is not None and newest.is_open:
        if goal is Goal.REHEARSING and newest.observed is None:
            return Action(A.REHEARSE, "nobody has looked at its copy")
        seen = "its copy was looked at" if newest.observed else "it was left before anybody looked at its copy"
        return Action(A.END_REHEARSAL, f"rehearsal {newest.begun.number} is open: {seen}")
    if goal is Goal.END_REHEARSAL or state.resumes not in REHEARSABLE:
        return Action(A.DONE, "no rehearsal is open")
    if unseen := tuple(disk for disk in state.unverified if disk not in state.differing):
        return Action(A.VERIFY_DISKS, f"{_of(unseen)} not read back since round {state.round}, or a rehearsal", unseen)
    if goal is Goal.REHEARSE and not state.differing:
        return Action(A.BEGIN_REHEARSAL, f"every disk is proven as of round {state.round}", round=state.round)
    return _rehearsed(state)


def _rehearsed(state: MachineState) -> Action:
    """What is said of one that has ended, when every disk was read back."""
    if why := rehearsal.why_not(state, read_back=not state.unverified):
        return Action(A.DONE, why)
    if state.rehearsal is None or rehearsal.has_passed(state):
        return Action(A.DONE, "no rehearsal is open")
    return Action(A.RECORD_REHEARSAL, "its copy passed, and the disks are as they were before")
