"""A stop that was asked for and never confirmed: whether it is what the source is off by.

Between the record that a stop is asked for and the stop itself a runner may die, and somebody else may shut the machine
down later. Only the source can tell the two apart: who stopped it, or when. What it does not tell counts as ours: a
source that is started once too often is there, one that is left off is not.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from kubeferry.errors import Fenced, Interrupted, KubeferryError
from kubeferry.life.events import CutoverBegun, StopAsked
from kubeferry.life.machine_state import MachineState
from kubeferry.model import Power
from kubeferry.sources import WentOff
from kubeferry.steps.marks import is_of_a_stop
from kubeferry.steps.work import Work

logger = logging.getLogger(__name__)

LATE_TO_ASK = timedelta(minutes=10)
"""A runner asks for the stop right after it was recorded: the guest's last words, and clocks that differ, take less."""
LATE_TO_END = timedelta(hours=4)
"""A guest that is asked to shut down may take its time: updates of Windows took an hour."""


TOLD_ANEW = timedelta(minutes=1)
"""After so long a stop that is asked for again is recorded again: what the source tells is measured from there."""


def asked_before(work: Work) -> bool:
    """Whether this move has asked for the stop already, or owes it to another one, so that it need not be told anew."""
    if not work.state().stop_asked:
        return False
    at = _asked_at(work)
    return not at or datetime.now(UTC) - datetime.fromisoformat(at) < TOLD_ANEW


def not_done(work: Work, state: MachineState) -> str:
    """Why a source that is off is not off by the stop that this move has asked for; empty where it may be, or where the
    source does not tell."""
    asked_at = _asked_at(work) if state.stop_asked and state.stopped is None else ""
    if not asked_at:
        return ""
    try:
        if work.source.power(work.entry.machine) is not Power.OFF:
            return ""
        mark = work.source.marked(work.entry.machine)
        if mark is not None and is_of_a_stop(work, state, mark):
            return ""
        return by_another(work.source.went_off(work.entry.machine), asked_at)
    except (Fenced, Interrupted):
        raise
    except KubeferryError as error:
        logger.warning("%s: who has stopped it could not be asked: %s", work.entry.name, error.what)
        return ""


def by_another(told: WentOff, asked_at: str) -> str:
    """What the source tells, where that was not by the stop that was asked for at this time (UTC, ISO 8601)."""
    if told.by:
        return f"it was stopped by {told.by}"
    late = LATE_TO_ASK if told.asked else LATE_TO_END
    if told.at and datetime.fromisoformat(told.at) - datetime.fromisoformat(asked_at) > late:
        what = "its stop was asked for" if told.asked else "it went off"
        return f"{what} at {told.at}, long after kubeferry was about to stop it, at {asked_at}"
    return ""


def _asked_at(work: Work) -> str:
    """When this move has asked for a stop last; empty where that was another plan, or an earlier version."""
    for record in reversed(work.journal.events(work.plan.digest, work.entry.name)):
        if isinstance(record.event, StopAsked):
            return record.at
        if isinstance(record.event, CutoverBegun):
            return ""
    return ""
