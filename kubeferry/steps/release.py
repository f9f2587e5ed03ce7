"""Account for every external thing of a plan: drop what only the move needed, prove what is gone, name what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from kubeferry.documents import Entry, Plan
from kubeferry.errors import Interrupted, KubeferryError, TargetRefused
from kubeferry.journal import Journal, Lease, LedgerEntry
from kubeferry.ledger import AT_SOURCE, KEPT, PROCESS, External
from kubeferry.life.events import EventKind, Released
from kubeferry.life.evidence import Phase
from kubeferry.life.states import TRANSITIONS
from kubeferry.sources import Source
from kubeferry.steps.other_plans import OtherPlans
from kubeferry.steps.work import Work
from kubeferry.targets import Target
from kubeferry.words import counted

MAY_STOP = frozenset({Phase.COMMITTED, Phase.ROLLED_BACK, Phase.PLANNED})

Opener = Callable[[], Source]
"""Gives the plan's source. Called only where something of ours may be left there: it need not be reachable else."""


def release_plan(
    plan: Plan, journal: Journal, target: Target, source: Opener, *, everything: bool, dry_run: bool
) -> Iterator[str]:
    """Release each machine, and say so line by line. `everything` removes the migrated machines as well.

    A machine under way is left alone unless `everything` is asked for, and so is one that another plan is moving. What
    another plan has moved stays, and runs on. What machines share goes with the last of them, so that all are dropped
    before any is accounted for. One that fails does not stop the others. Raises TargetRefused, at the end, when
    something that had to go is still there; else the first error.
    """
    dropped: list[Entry] = []
    failed: list[KubeferryError] = []
    others = OtherPlans(plan, journal, target)
    release = _Release(plan, journal, target, source, others, everything=everything)
    for entry in plan.entries:
        state = journal.state(plan.digest, entry.name)
        if not everything and state.phase not in MAY_STOP:
            yield f"{entry.name}: is {state.phase}: left alone"
        elif (held := others.holding(entry)) and (everything or held.phase is not Phase.COMMITTED):
            yield f"{entry.name}: is {held}: left alone"
        elif dry_run:
            open_things = journal.ledger_open(plan.digest, entry.name)
            yield from (f"{entry.name}: would account for {thing.kind} {thing.where}" for thing in open_things)
        elif (yield from _tried(entry, release.drop(entry), failed)):
            dropped.append(entry)
    left: list[str] = []
    for entry in dropped:
        yield from _tried(entry, release.account_for(entry, left), failed)
    if left:
        fix = "Remove them and run this again."
        raise TargetRefused(f"{counted(len(left), 'thing is', 'things are')} still there", why="; ".join(left), fix=fix)
    if failed:
        raise failed[0]


def _tried(entry: Entry, lines: Iterator[str], failed: list[KubeferryError]) -> Generator[str, None, bool]:
    """The lines of one machine; returns whether it came to its end."""
    try:
        yield from lines
    except Interrupted:
        raise
    except KubeferryError as error:
        failed.append(error)
        yield f"{entry.name}: not released: {error.what}"
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Release:
    """What is done with one machine after another."""

    plan: Plan
    journal: Journal
    target: Target
    source: Opener
    others: OtherPlans
    everything: bool

    def drop(self, entry: Entry) -> Iterator[str]:
        """What only the move needed goes, at both ends; with `everything` the machine at the target, too."""
        with self.journal.lease(self.plan.digest, entry.name):
            if any(thing.kind in AT_SOURCE for thing in self.journal.ledger_open(self.plan.digest, entry.name)):
                dropped = self.source().forget(entry.machine)
                yield from (f"{entry.name}: dropped at the source: {line}" for line in dropped)
            if self.everything:
                yield from (f"{entry.name}: removed {line}" for line in self.target.remove(entry))
                return
            if not self.others.runs_on(entry):
                self.target.stop(entry)
            yield from (f"{entry.name}: removed {line}" for line in self.target.tidy(entry))

    def account_for(self, entry: Entry, left: list[str]) -> Iterator[str]:
        """What is gone is recorded as gone; what had to go and is still there is added to `left`."""
        with self.journal.lease(self.plan.digest, entry.name) as lease:
            state = self.journal.state(self.plan.digest, entry.name)
            gone, there = account(self.journal, lease, self.target, self.source)
            yield from (f"{entry.name}: gone: {thing.kind} {thing.where}" for thing in gone)
            kept = KEPT | ({PROCESS} if self.others.runs_on(entry) else set())
            for thing in there:
                if self.everything or thing.kind not in kept:
                    left.append(f"{thing.machine}: {thing.kind} {thing.name} at {thing.where}")
                else:
                    yield f"{entry.name}: kept: {thing.kind} {thing.where}"
            if (state.phase, EventKind.RELEASED) in TRANSITIONS and state.plan_digest:
                removed = tuple(f"{thing.kind} {thing.where}" for thing in gone)
                self.journal.append(lease, Released(removed=removed))


def settle(work: Work) -> None:
    """After a run: a machine that has moved leaves nothing of ours at its source; what is gone is recorded as gone.

    What cannot be dropped now stays in the ledger, for `release`: the move itself is done.
    """
    with contextlib.suppress(KubeferryError):
        if work.state().phase is Phase.COMMITTED:
            work.source.forget(work.entry.machine)
    with contextlib.suppress(KubeferryError):
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
