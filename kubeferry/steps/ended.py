"""A machine that is not at its source any more, and was not frozen for the last time: what is left of it, what is lost.

What the target has then is called by what it is: the disks of one moment of a running machine, or, where a round was
under way, of no moment at all. Nothing of it is proven.
"""

from __future__ import annotations

from kubeferry.errors import LoginLost, SourceRefused
from kubeferry.journal import Journal
from kubeferry.life.events import CopyBegun
from kubeferry.life.machine_state import Phase
from kubeferry.steps.accounts import is_missing
from kubeferry.steps.work import Work

OFF = "off"
WHILE_IT_RAN = {
    "frozen": "while it ran, its file systems held still",
    "crash": "while it ran, as after a loss of power",
}


def taken(consistency: str, at: str) -> str:
    """What a view of a running machine shows."""
    how = WHILE_IT_RAN.get(consistency, WHILE_IT_RAN["crash"])
    return f"as they were at {at}, {how}"


def at_target(journal: Journal, plan: str, machine: str) -> str:
    """What the target has of a machine that has not moved, as a sentence without its end; empty for nothing."""
    state = journal.state(plan, machine)
    if not state.copied:
        return ""
    if state.uncopied:
        return f"what the target has of its disks may be as they never were: round {state.round} was under way"
    begun, at = [(one.event, one.at) for one in journal.events(plan, machine) if isinstance(one.event, CopyBegun)][-1]
    if state.final:
        return f"the target has its disks as they were at {at}, when it was off"
    seen = taken(begun.consistency, state.view.taken_at if state.view else at)
    return f"the target has its disks {seen}; what was written since then is in no copy of ours"


def with_loss(work: Work, error: SourceRefused) -> SourceRefused:
    """The error of a source that does not have the machine any more, with what is left of it at the target; any other
    one as it is."""
    moved = work.state().resumes is Phase.COMMITTED
    left = "" if moved else at_target(work.journal, work.plan.digest, work.entry.name)
    if not left or isinstance(error, LoginLost) or not is_missing(work.source, work.entry.machine):
        return error
    fix = f"{error.fix} What is at the target stays until `kubeferry release --everything`; it is no proven copy."
    why = "; ".join(part for part in (error.why, left) if part)
    return type(error)(error.what, why=why, fix=fix, machine=error.machine, disk=error.disk)
