"""The mark at the target that a machine has moved there: left at the commit, asked for before anything is written.

A journal may be restored from a backup, or be another one; the copy at the target may be off, so that nothing of it is
seen to run. What was written there since the move exists nowhere else: only a person gives it up.
"""

from __future__ import annotations

import logging

from kubeferry.documents import Entry
from kubeferry.errors import AlreadyMoved, Fenced, KubeferryError, TransientError
from kubeferry.journal import Journal
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.marks import MoveMark
from kubeferry.outside import clock
from kubeferry.steps.marks import began, tell
from kubeferry.steps.work import Work
from kubeferry.targets import Target

logger = logging.getLogger(__name__)

_SEEN_BACK = frozenset({Phase.VALIDATED, Phase.ROLLED_BACK})


def leave(work: Work, state: MachineState) -> None:
    """Say at the target that the machine has moved. Where that is refused, a note in the journal is all."""
    mark = MoveMark(clock.now("seconds"), work.plan.digest, began(state), work.plan.name)
    try:
        work.target.mark(work.entry, mark, work.lease.fence)
    except (Fenced, TransientError):
        raise
    except KubeferryError as error:
        tell(work, "no mark could be left at the target that the machine has moved", error)


def take_away(work: Work) -> None:
    """The source is the machine again: what this journal has moved is a copy as any other. A mark of which it knows
    nothing stays. Where the target does not answer, the mark stays too: this journal knows what became of it."""
    if work.target_is_down:
        return
    try:
        mark = work.target.marked(work.entry)
        if mark is not None and Phase.VALIDATED in _since(work.journal, work.entry.name, mark):
            work.target.unmark(work.entry, work.lease.fence)
    except Fenced:
        raise
    except KubeferryError as error:
        logger.warning("%s: the mark at the target could not be taken away: %s", work.entry.name, error.what)


def refuse(work: Work) -> None:
    """Raise AlreadyMoved where what is at the target has moved there, and this journal does not say that it went back
    since: one restored from the middle of that very move says neither. Nothing may be written over it."""
    mark = work.target.marked(work.entry)
    if mark is not None and not _SEEN_BACK.issubset(_since(work.journal, work.entry.name, mark)):
        raise _already(work.entry, mark)


def refuse_unseen(work: Work) -> None:
    """Raise AlreadyMoved where what is at the target has moved there, and this journal has not seen it proven: it is
    neither started for a proof nor stopped for a way back that nobody has asked for."""
    if mark := unknown(work.journal, work.entry, work.target):
        raise _already(work.entry, mark)


def _already(entry: Entry, mark: MoveMark) -> AlreadyMoved:
    return AlreadyMoved(
        "it has moved already, and what is at the target is not written over",
        why=f"{entry.namespace}/{entry.target_name} was {mark}; another plan or journal holds that move, or "
        "this journal was restored from an older backup",
        fix="Leave the source off, and go on with that plan and its journal: `kubeferry rollback` there leads back. If "
        "nothing that was written at the target is wanted, `kubeferry release --everything` removes it, disks and all; "
        "then the same command moves the machine anew.",
        machine=entry.name,
    )


def unknown(journal: Journal, entry: Entry, target: Target) -> MoveMark | None:
    """The mark at the target of a move that the journal has not seen proven."""
    mark = target.marked(entry)
    return None if mark is None or Phase.VALIDATED in _since(journal, entry.name, mark) else mark


def _since(journal: Journal, machine: str, mark: MoveMark) -> tuple[Phase, ...]:
    """The phases that the journal has seen since that move began; none where it does not know it."""
    if mark.plan not in {plan.digest for plan in journal.plans_of(machine)}:
        return ()
    timeline = journal.state(mark.plan, machine).timeline
    begun = (Phase.CUTTING_OVER, mark.move)
    return tuple(phase for phase, _at in timeline[timeline.index(begun) :]) if begun in timeline else ()
