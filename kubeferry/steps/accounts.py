"""What of ours exists outside the journal: looked for, given back, and recorded as gone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from kubeferry.errors import KubeferryError, LoginLost, SourceGone, SourceRefused
from kubeferry.journal import Journal, Lease, LedgerEntry
from kubeferry.ledger import AT_SOURCE, External
from kubeferry.life.events import Note, Released
from kubeferry.life.machine_state import Phase
from kubeferry.model import Machine
from kubeferry.passwords import struck
from kubeferry.sources import Source
from kubeferry.steps import afterwards
from kubeferry.steps.work import Work
from kubeferry.targets import Target

Opener = Callable[[], Source]
"""Gives the plan's source. Called only where something of ours may be left there: it need not be reachable else."""

logger = logging.getLogger(__name__)


def account(
    journal: Journal, lease: Lease, target: Target, source: Opener
) -> tuple[list[LedgerEntry], list[LedgerEntry]]:
    """Look for every open thing of a machine; what is gone is recorded as gone. Returns gone, and still there."""
    gone: list[LedgerEntry] = []
    there: list[LedgerEntry] = []
    for thing in journal.ledger_open(lease.plan, lease.machine):
        external = External(thing.kind, thing.name, thing.where)
        found = source().exists(external) if thing.kind in AT_SOURCE else target.exists(external)
        (there if found else gone).append(thing)
    for thing in gone:
        journal.gone(lease, thing)
    return gone, there


def left_at_source(journal: Journal, plan: str, machine: str) -> bool:
    """Whether something of ours may be left at the source."""
    return any(thing.kind in AT_SOURCE for thing in journal.ledger_open(plan, machine))


def is_last_copy(source: Source, machine: Machine) -> bool:
    """Whether the machine is gone at its source, so that what is left of ours there exists nowhere else."""
    try:
        source.power(machine)
    except SourceGone:
        return True
    except KubeferryError:
        return False
    return False


def is_missing(source: Source, machine: Machine) -> bool:
    """Whether the source says that it has no such machine, or not in this form: perhaps for good."""
    try:
        source.power(machine)
    except LoginLost:
        return False
    except SourceRefused:
        return True
    except KubeferryError:
        return False
    return False


def give_back(work: Work) -> None:
    """On the way back of a machine of which nothing but its plan is recorded: a view may have been opened all the same,
    whose round was not recorded any more. One that failed before that is as it was."""
    left = left_at_source(work.journal, work.plan.digest, work.entry.name)
    if not left and work.state().phase is not Phase.FAILED:
        return
    if left and not is_last_copy(work.source, work.entry.machine):
        work.source.forget(work.entry.machine)
    gone, _ = account(work.journal, work.lease, work.target, lambda: work.source)
    work.record(Released(removed=tuple(f"{thing.kind} {thing.where}" for thing in gone)))


def settle(work: Work) -> str:
    """After a run: a machine that has moved leaves nothing of ours at its source but a line that says where it is; what
    is gone is recorded as gone.

    What cannot be dropped now stays in the ledger, for `release`: the move itself is done. Returns what that is, and
    why, as a sentence that the journal has as well; empty where nothing is left.
    """
    moved, why, there = False, list[str](), list[LedgerEntry]()
    with _told(work, why):
        moved = work.state().phase is Phase.COMMITTED
        if moved:
            work.source.forget(work.entry.machine)
            afterwards.mark(work)
    with _told(work, why):
        _, there = account(work.journal, work.lease, work.target, lambda: work.source)
    left = [f"{thing.kind} {thing.where}" for thing in there if thing.kind in AT_SOURCE]
    if not moved or not (left or why):
        return ""
    reason = f" ({'; '.join(dict.fromkeys(why))})" if why else ""
    said = struck(f"left at the source: {', '.join(left) or 'what, is not known'}{reason}; `release` tries again")
    with _told(work, []):
        work.record(Note(text=said))
    return said


@contextlib.contextmanager
def _told(work: Work, why: list[str]) -> Iterator[None]:
    """What goes wrong in the block ends there: in the log, and in `why`."""
    try:
        yield
    except KubeferryError as error:
        logger.info("%s: left for `release`: %s", work.entry.name, error.reason)
        why.append(error.reason)
    except Exception as error:
        logger.exception("%s: a defect; what it was about is left for `release`", work.entry.name)
        why.append(f"a defect: {type(error).__name__}")
