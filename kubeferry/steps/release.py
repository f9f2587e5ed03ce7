"""Account for every external thing of a plan: drop what only the move needed, prove what is gone, name what is left."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.documents import Entry, Plan
from kubeferry.errors import TargetRefused
from kubeferry.events import EventKind, Released
from kubeferry.evidence import Phase
from kubeferry.journal import Journal, Lease, LedgerEntry
from kubeferry.states import TRANSITIONS
from kubeferry.target import External, Target

KEPT = frozenset({"disk", "machine-folder"})
"""What a move leaves on purpose: the migrated machine itself."""

MAY_STOP = frozenset({Phase.COMMITTED, Phase.ROLLED_BACK, Phase.PLANNED})


def release_plan(plan: Plan, journal: Journal, target: Target, *, everything: bool, dry_run: bool) -> Iterator[str]:
    """Release each machine in turn, and say so line by line. `everything` removes the migrated machines as well.

    A machine under way is left alone unless `everything` is asked for. Raises TargetRefused, at the end, when something
    that had to go is still there.
    """
    left: list[str] = []
    for entry in plan.entries:
        state = journal.state(plan.digest, entry.name)
        if not everything and state.phase not in MAY_STOP:
            yield f"{entry.name}: is {state.phase}: left alone"
            continue
        if dry_run:
            open_things = journal.ledger_open(plan.digest, entry.name)
            yield from (f"{entry.name}: would account for {thing.kind} {thing.where}" for thing in open_things)
            continue
        yield from _release_machine(plan, entry, journal, target, left, everything=everything)
    if left:
        fix = "Remove them and run this again."
        raise TargetRefused(f"{len(left)} things are still there", why="; ".join(left), fix=fix)


def _release_machine(
    plan: Plan, entry: Entry, journal: Journal, target: Target, left: list[str], *, everything: bool
) -> Iterator[str]:
    with journal.lease(plan.digest, entry.name) as lease:
        state = journal.state(plan.digest, entry.name)
        if everything:
            removed = target.remove(entry)
            yield from (f"{entry.name}: removed {line}" for line in removed)
        elif not (state.phase is Phase.COMMITTED and target.capabilities.keeps_running):
            target.stop(entry)
        gone, there = account(journal, lease, target)
        yield from (f"{entry.name}: gone: {thing.kind} {thing.where}" for thing in gone)
        for thing in there:
            if everything or thing.kind not in KEPT:
                left.append(f"{thing.machine}: {thing.kind} {thing.name} at {thing.where}")
            else:
                yield f"{entry.name}: kept: {thing.kind} {thing.where}"
        if (state.phase, EventKind.RELEASED) in TRANSITIONS and state.plan_digest:
            journal.append(lease, Released(removed=tuple(f"{thing.kind} {thing.where}" for thing in gone)))


def account(journal: Journal, lease: Lease, target: Target) -> tuple[list[LedgerEntry], list[LedgerEntry]]:
    """Look for every open thing of a machine; what is gone is recorded as gone. Returns gone, and still there."""
    gone: list[LedgerEntry] = []
    there: list[LedgerEntry] = []
    for thing in journal.ledger_open(lease.plan, lease.machine):
        found = target.exists(External(thing.kind, thing.name, thing.where))
        (there if found else gone).append(thing)
    for thing in gone:
        journal.gone(lease, thing)
    return gone, there
