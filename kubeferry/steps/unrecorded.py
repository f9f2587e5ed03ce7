"""The way back where the journal does not answer and the time of a cutover is over: what nobody can write down is done
all the same, and written down as soon as the journal is there again.

Only a cutover with a deadline comes here, and one that is on its way back. Both stand in the journal, so whoever takes
the machine up later, this runner or another one, knows by it that the source was wanted back, and does not stop it once
more. Who was let in by the journal meanwhile, since it was away from us alone, is kept apart as ever: by the fence at
the target, and by looks at the source before and after anything is started.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from kubeferry.errors import TargetUnavailable, TransientError
from kubeferry.life.deadline import seconds_left
from kubeferry.life.machine_state import Phase
from kubeferry.life.tries import LAST_SECONDS, is_past_stop
from kubeferry.model import UP
from kubeferry.outside import stopping
from kubeferry.steps.patience import patiently
from kubeferry.steps.work import Work

ASK_AGAIN_SECONDS = 5.0
WHY = "the time of the cutover was over while the journal did not answer"
Deed = Callable[[Work], None]

logger = logging.getLogger(__name__)


def is_due(works: Iterable[Work]) -> bool:
    """Whether the time of any of these cutovers is over, by what was read of the journal last: no further try comes."""
    return any(_is_over(work) for work in works)


def _is_over(work: Work) -> bool:
    state = work.last_seen()
    if not is_past_stop(state):
        return False
    if state.resumes is Phase.ROLLING_BACK:  # it was tried for as long as the plan's patience lasts
        return _is_away(work)
    left = seconds_left(state, work.now())
    return left is not None and left <= 2 * LAST_SECONDS


def _is_away(work: Work) -> bool:
    """Whether it is the journal that does not answer, and not a source or a target."""
    try:
        work.journal.heartbeat(work.lease)
    except TransientError:
        return True
    return False


def go_back(works: Sequence[Work]) -> None:
    """Stop the copies, start the sources, and wait until the journal is there to be told. Machines of a set are given
    together: none of their sources runs before all of their copies are down. Raises Fenced where another runner has
    one of them by now, at the target or in the journal."""
    for work in works:
        logger.warning(
            "%s: the journal does not answer, and the time of the cutover is over: it goes back unrecorded",
            work.entry.name,
        )
        _patiently(work, _stop_copy)
    for work in works:
        _patiently(work, _start_source)
    for work in works:
        _wait_for_journal(work)


def _patiently(work: Work, deed: Deed) -> None:
    unbound = replace(work.last_seen(), deadline="")  # that is over: as on any way back, patience is what counts now
    patiently(work, lambda: deed(work), stands=lambda: unbound)


def _stop_copy(work: Work) -> None:
    work.target.stop(work.entry, work.lease.fence)
    if work.target.runs(work.entry):
        raise TargetUnavailable("its copy was stopped, and runs", machine=work.entry.name)


def _start_source(work: Work) -> None:
    if work.last_seen().ran_before and work.source.power(work.entry.machine) not in UP:
        work.source.start(work.entry.machine)


def _wait_for_journal(work: Work) -> None:
    while True:
        try:
            work.journal.heartbeat(work.lease)
        except TransientError as error:
            logger.info("%s: the journal is waited for: %s", work.entry.name, error.what)
            stopping.pause(ASK_AGAIN_SECONDS)
        else:
            return
