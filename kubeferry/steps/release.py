"""Account for every external thing of a plan: drop what only the move needed, prove what is gone, name what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from kubeferry.documents import Entry, Plan
from kubeferry.errors import KubeferryError, TargetRefused
from kubeferry.events import EventKind, Released
from kubeferry.evidence import Phase
from kubeferry.journal import Journal, Lease, LedgerEntry
from kubeferry.ledger import AT_SOURCE, KEPT, PROCESS, External
from kubeferry.sources import Source
from kubeferry.states import TRANSITIONS
from kubeferry.steps.work import Work
from kubeferry.target import Target

MAY_STOP = frozenset({Phase.COMMITTED, Phase.ROLLED_BACK, Phase.PLANNED})

Opener = Callable[[], Source]
"""Gives the plan's source. Called only where something of ours may be left there: it need not be reachable else."""


def release_plan(
    plan: Plan, journal: Journal, target: Target, source: Opener, *, everything: bool, dry_run: bool
) -> Iterator[str]:
    """Release each machine, and say so line by line. `everything` removes the migrated machines as well.

    A machine under way is left alone unless `everything` is asked for. What machines share goes with the last of them,
    so that all are dropped before any is accounted for. Raises TargetRefused, at the end, when something that had to
    go is still there.
    """
    dropped: list[Entry] = []
    for entry in plan.entries:
        state = journal.state(plan.digest, entry.name)
        if not everything and state.phase not in MAY_STOP:
            yield f"{entry.name}: is {state.phase}: left alone"
        elif dry_run:
            open_things = journal.ledger_open(plan.digest, entry.name)
            yield from (f"{entry.name}: would account for {thing.kind} {thing.where}" for thing in open_things)
        else:
            yield from _drop(plan, entry, journal, target, source, everything=everything)
            dropped.append(entry)
    left: list[str] = []
    for entry in dropped:
        yield from _account_for(plan, entry, journal, target, source, left, everything=everything)
    if left:
        fix = "Remove them and run this again."
        raise TargetRefused(f"{len(left)} things are still there", why="; ".join(left), fix=fix)


def _drop(
    plan: Plan, entry: Entry, journal: Journal, target: Target, source: Opener, *, everything: bool
) -> Iterator[str]:
    """What only the move needed goes, at both ends; with `everything` the machine at the target, too."""
    with journal.lease(plan.digest, entry.name):
        if any(thing.kind in AT_SOURCE for thing in journal.ledger_open(plan.digest, entry.name)):
            yield from (f"{entry.name}: dropped at the source: {line}" for line in source().forget(entry.machine))
        if everything:
            yield from (f"{entry.name}: removed {line}" for line in target.remove(entry))
            return
        if not _runs_on(plan, entry, journal, target):
            target.stop(entry)
        yield from (f"{entry.name}: removed {line}" for line in target.tidy(entry))


def _account_for(
    plan: Plan,
    entry: Entry,
    journal: Journal,
    target: Target,
    source: Opener,
    left: list[str],
    *,
    everything: bool,
) -> Iterator[str]:
    with journal.lease(plan.digest, entry.name) as lease:
        state = journal.state(plan.digest, entry.name)
        gone, there = account(journal, lease, target, source)
        yield from (f"{entry.name}: gone: {thing.kind} {thing.where}" for thing in gone)
        kept = KEPT | ({PROCESS} if _runs_on(plan, entry, journal, target) else set())
        for thing in there:
            if everything or thing.kind not in kept:
                left.append(f"{thing.machine}: {thing.kind} {thing.name} at {thing.where}")
            else:
                yield f"{entry.name}: kept: {thing.kind} {thing.where}"
        if (state.phase, EventKind.RELEASED) in TRANSITIONS and state.plan_digest:
            journal.append(lease, Released(removed=tuple(f"{thing.kind} {thing.where}" for thing in gone)))


def _runs_on(plan: Plan, entry: Entry, journal: Journal, target: Target) -> bool:
    """Whether the machine has moved, and its place at the target is where it runs from now on."""
    phase = journal.state(plan.digest, entry.name).phase
    return phase is Phase.COMMITTED and target.capabilities.keeps_running


def settle(work: Work) -> None:
    """After a run: a machine that has moved leaves nothing of ours at its source; what is gone is recorded as gone.

    What cannot be dropped now stays in the ledger, for `release`: the move itself is done.
    """
    with contextlib.suppress(KubeferryError):
        if work.state().phase is Phase.COMMITTED:
            work.source.forget(work.entry.machine)
    account(work.journal, work.lease, work.target, lambda: work.source)


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
