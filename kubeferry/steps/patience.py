"""Steps that are tried again where that can help: before the stop a few times, after it until the cutover's deadline.

Before the stop nobody waits for us. After it the source is off: what may pass by itself is no reason to end the run
there, and what does not pass in time leads back (`kubeferry.life.tries`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from kubeferry.documents import DowntimePolicy
from kubeferry.errors import Interrupted, KubeferryError, OutOfTime, TransientError
from kubeferry.life.machine_state import MachineState
from kubeferry.life.tries import Tries, is_past_stop
from kubeferry.outside import stopping
from kubeferry.steps.work import Work

Tell = Callable[[BaseException | None, bool], None]
"""Called after each try: the error, None where it went well, and whether there is another try."""
Found = TypeVar("Found")

logger = logging.getLogger(__name__)


def nobody(_error: BaseException | None, _again: bool) -> None:
    """Nobody is told."""


def patiently(
    work: Work, step: Callable[[], Found], tell: Tell = nobody, *, stands: Callable[[], MachineState] | None = None
) -> Found:
    """Do the step, again where it may go well the next time; a stop that is asked for ends the waits at once. `stands`
    is where the machine counts as standing, by default where it was seen last.

    Raises what the step has raised in the end; OutOfTime where it is a cutover that leads back because of that.
    """
    where = stands or work.last_seen
    tries = Tries(work.now(), (work.entry.downtime or DowntimePolicy()) if work.patient else None)
    while True:
        try:
            found = step()
        except BaseException as error:  # noqa: BLE001 (who was cut off is told, too; and it is raised again)
            pause = tries.wait(where(), work.now()) if _may_pass(error) else None
            tell(error, pause is not None)
            if pause is None:
                raise _last(work, error, tries, where()) from error.__cause__
            logger.info("%s: it is tried again in %s s: %s", work.entry.name, pause, error)
            if isinstance(error, KubeferryError):
                work.waits(error)
        else:
            tell(None, False)
            return found
        _pause(pause, tell)


def look(work: Work, ask: Callable[[], Found]) -> Found:
    """The same for a question between two steps: before the stop it is asked once, and the run ends where it fails."""
    return patiently(work, ask) if is_past_stop(work.last_seen()) else ask()


def by_journal(work: Work, ask: Callable[[], Found]) -> Found:
    """The same for what the journal alone is asked, or told. Raises TransientError where it stays away: nothing was
    recorded of the way back then."""
    try:
        return look(work, ask)
    except OutOfTime as error:
        raise TransientError(error.what, why=error.why, fix=error.fix, machine=work.entry.name) from error


def _pause(seconds: float, tell: Tell) -> None:
    try:
        stopping.pause(seconds)
    except Interrupted as error:
        tell(error, False)
        raise


def _may_pass(error: BaseException) -> bool:
    """A defect of ours, whatever it is, will be the same again."""
    if isinstance(error, Interrupted) or stopping.requested():
        return False
    return isinstance(error, KubeferryError) and error.transient


def _last(work: Work, error: BaseException, tries: Tries, state: MachineState) -> BaseException:
    if not _may_pass(error) or not isinstance(error, KubeferryError):
        return error
    why = tries.why_no_more(state, work.now())
    if not why:
        return error
    return OutOfTime(error.what, why="; ".join(filter(None, (error.why, why))), fix=error.fix, machine=work.entry.name)
