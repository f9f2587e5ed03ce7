"""What is left at a source that we stop, and what is read off it: the power before, for whoever finds the machine off.

The journal comes first: a mark counts only where the journal at hand knows nothing of the move that it names. That is
another journal's, or this one's own from after a backup. Another plan does not go on from there: somebody may be at it.
But any can roll the machine back, to the power that the mark tells.
"""

from __future__ import annotations

import logging

from kubeferry.errors import Fenced, Interrupted, KubeferryError, PermanentError
from kubeferry.life.events import Note, StopAsked
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.marks import StopMark, short
from kubeferry.model import UP, Power
from kubeferry.outside import clock
from kubeferry.passwords import struck
from kubeferry.steps.work import Work

logger = logging.getLogger(__name__)


def leave(work: Work, state: MachineState, last_start: str, *, off: bool = False) -> bool:
    """Say at a source that ran that we are about to stop it, or that it is `off` by our stop: a journal from between
    the two knows no stop, and finds it there. Returns whether it was said; where it cannot be, a note in the journal is
    all: the journal knows the power before."""
    if state.power_before not in UP or not work.source.capabilities.runs:
        return False
    mark = StopMark(
        of=short(work.entry.machine.id),
        before=state.power_before or Power.RUNNING,
        at=clock.now("seconds"),
        plan=work.plan.digest,
        move=began(state),
        start=short(last_start),
        name=work.plan.name,
        off=clock.now("seconds") if off else "",
    )
    try:
        where = work.source.mark(work.entry.machine, mark, work.ledger)
        if where and not off:
            work.record(Note(text=struck(f"the mark that kubeferry stops it is left {where}")))
    except (Fenced, Interrupted):
        raise
    except KubeferryError as error:
        tell(work, "no mark could be left at the source that kubeferry stops it", error)
        return False
    return True


def take_away(work: Work) -> None:
    """The source is as it was before: nothing at it says otherwise. Where that fails, its newer start does."""
    if not work.source.capabilities.runs:
        return
    try:
        work.source.unmark(work.entry.machine)
    except (Fenced, Interrupted):
        raise
    except KubeferryError as error:
        tell(work, "the mark at the source could not be taken away", error)


LEFT_OFF = (
    "it is off, and a mark at it says that kubeferry was about to stop it; this journal knows of no stop, so it counts "
    "as shut down by its owner, and is left off. Where this journal was restored from a backup, start it by hand"
)


def settle(work: Work, state: MachineState) -> bool:
    """What the mark says of a source of which this journal knows no stop. Returns whether this plan has stopped it all
    the same, so that a journal from a backup has forgotten it: that is recorded then.

    Else the mark of this very move is taken away: it was left, and then no stop was asked for, as far as anybody knows.
    That the source is off all the same is said.
    """
    if not work.source.capabilities.runs:
        return False
    try:
        mark = work.source.marked(work.entry.machine)
        if mark is None or mark.plan != work.plan.digest:
            return False
        off = work.source.power(work.entry.machine) is Power.OFF
        if off and is_of_a_stop(work, state, mark):
            text = f"this journal does not know that the source was {mark}; it counts as stopped by this plan"
            logger.warning("%s: %s", work.entry.name, text)
            work.record(Note(text=text))
            work.record(StopAsked())
            return True
        if (Phase.CUTTING_OVER, mark.move) in state.timeline:
            if off:
                logger.warning("%s: %s", work.entry.name, LEFT_OFF)
                work.record(Note(text=LEFT_OFF))
            work.source.unmark(work.entry.machine)
    except (Fenced, Interrupted):
        raise
    except KubeferryError as error:
        tell(work, "whether a mark is at the source that nobody has stopped could not be settled", error)
    return False


def is_of_a_stop(work: Work, state: MachineState, mark: StopMark) -> bool:
    """Whether a source that is off is off by what the mark tells: by a stop of this very move that was seen to its end,
    or by a move that the journal does not know."""
    if mark.of != short(work.entry.machine.id) or not mark.holds(work.source.last_start(work.entry.machine)):
        return False
    known = (Phase.CUTTING_OVER, mark.move) in state.timeline
    return bool(mark.off) and mark.move == began(state) if known else True


def unknown_move(work: Work) -> StopMark | None:
    """The mark of a move that this plan knows nothing of, at a source that is off and was not started since. Asked
    where no other plan of the journal has the machine in hand."""
    machine = work.entry.machine
    if not work.source.capabilities.runs or work.source.power(machine) is not Power.OFF:
        return None
    mark = work.source.marked(machine)
    if mark is None or mark.of != short(machine.id) or not mark.holds(work.source.last_start(machine)):
        return None
    return None if _knows(work, mark) else mark


def taken_over(work: Work) -> StopMark | None:
    """The mark by which this plan goes on where a move that the journal does not know has stopped the source: a move by
    the very same plan, whose copy has the same place, so that its fences keep the two apart. It is said in the journal.

    Raises PermanentError for a move by another plan: its copy may run where this one neither looks nor stops.
    """
    mark = unknown_move(work)
    if mark is None:
        return None
    if mark.plan != work.plan.digest:
        raise PermanentError(
            "the source is off because a move of which this plan knows nothing has stopped it",
            why=f"it was {mark}; another journal holds that move, or this one was restored from an older backup, or "
            "calls the machine or its source by another name",
            fix="Go on with that plan, and with the journal that holds it. If neither is there any more, see that its "
            "copy runs nowhere, and start the source with `kubeferry rollback`.",
            machine=work.entry.name,
        )
    logger.warning("%s: was %s; this journal does not know that move, and goes on with it", work.entry.name, mark)
    work.record(Note(text=f"this journal does not know that the source was {mark}; it goes on with that move"))
    return mark


def owed(work: Work) -> str:
    """Why the way back of a plan that has done nothing yet begins by taking over what a mark tells; nothing where none
    does, or where the source cannot be asked."""
    try:
        mark = unknown_move(work)
    except (Fenced, Interrupted):
        raise
    except KubeferryError as error:
        logger.warning("%s: whether another journal has stopped it could not be asked: %s", work.entry.name, error.what)
        return ""
    return f"it was {mark}: what that move owes the source is owed by this one from now on" if mark else ""


def began(state: MachineState) -> str:
    """When this move began: the newest of the moments at which the journal has seen it do so."""
    return next((at for phase, at in reversed(state.timeline) if phase is Phase.CUTTING_OVER), "")


def _knows(work: Work, mark: StopMark) -> bool:
    """Whether the journal says what became of that move: it is this plan's own, or was rolled back. One by another plan
    that is under way and has not this machine in hand means it by another name: of its source, say."""
    if mark.plan not in {plan.digest for plan in work.journal.plans_of(work.entry.name)}:
        return False
    state = work.journal.state(mark.plan, work.entry.name)
    settled = mark.plan == work.plan.digest or state.phase is Phase.ROLLED_BACK
    return settled and (Phase.CUTTING_OVER, mark.move) in state.timeline


def tell(work: Work, what: str, error: KubeferryError) -> None:
    """What came of a mark is no reason to stop: it is said in the log, and in the journal."""
    logger.warning("%s: %s: %s", work.entry.name, what, error.what)
    work.record(Note(text=struck(f"{what}: {error.reason}. {error.fix}".strip())))
