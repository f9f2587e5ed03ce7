"""Errors of a step: recorded before they go on, and defects of ours in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from kubeferry.errors import Deferred, Fenced, KubeferryError, PermanentError, SourceRefused
from kubeferry.life.action_kinds import ActionKind
from kubeferry.life.event_kinds import EventKind
from kubeferry.life.events import Failed
from kubeferry.life.machine_state import MachineState
from kubeferry.life.states import TRANSITIONS
from kubeferry.passwords import struck
from kubeferry.steps.ended import with_loss
from kubeferry.steps.patience import by_journal
from kubeferry.steps.work import Work

_NO_FAILURE = frozenset(
    {ActionKind.BEGIN_REHEARSAL, ActionKind.START_REHEARSAL, ActionKind.REHEARSE, ActionKind.REHEARSE_APP}
)
"""What goes wrong with a rehearsal is no failure of the move."""


@contextlib.contextmanager
def recorded(work: Work, at: str) -> Iterator[None]:
    """An error of the block is recorded before it goes on."""
    try:
        with without_defects(work, "looked at it"):
            yield
    except (Fenced, Deferred):  # who waits for its window has not failed
        raise
    except KubeferryError as error:
        told = with_loss(work, error) if isinstance(error, SourceRefused) else error
        if at not in _NO_FAILURE:
            _keep(work, _failure(at, told))
        if told is error:
            raise
        raise told from error


@contextlib.contextmanager
def without_defects(work: Work, doing: str) -> Iterator[None]:
    """What nothing should raise is a defect of ours, and no reason to leave a machine between its source and target."""
    try:
        yield
    except KubeferryError:
        raise
    except Exception as error:
        raise PermanentError(
            f"a defect: {type(error).__name__}: {error}",
            why=f"it came up while kubeferry {doing}",
            fix="Report it with the log of this run.",
            machine=work.entry.name,
        ) from error


def _keep(work: Work, failure: Failed) -> None:
    """Record it. Where the source is off, a journal that does not answer is waited for while the cutover has time: what
    leads back then is no reason to leave the machine there. Raises TransientError where it stays away."""

    def keep() -> None:
        if _can_fail(work.state()):
            work.record(failure)

    by_journal(work, keep)


def _can_fail(state: MachineState) -> bool:
    """Before its plan is recorded a machine has no place where a failure could stand."""
    return bool(state.plan_digest) and (state.resumes, EventKind.FAILED) in TRANSITIONS


def _failure(at: str, error: KubeferryError) -> Failed:
    """The error as it is kept for good, and shown in reports: what a library quotes may hold a password."""
    return Failed(
        at=at,
        what=struck(error.what),
        why=struck(error.why),
        fix=struck(error.fix),
        transient=error.transient,
        error_type=type(error).__name__,
    )
