"""Account for every external thing of a plan: drop what only the move needed, prove what is gone, name what is left."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from kubeferry.documents import Entry, Limits, Plan
from kubeferry.errors import Interrupted, KubeferryError, PermanentError, TargetRefused
from kubeferry.journal import Journal, Lease
from kubeferry.ledger import KEPT, PROCESS
from kubeferry.life.actions import Goal
from kubeferry.life.events import EventKind, Released
from kubeferry.life.evidence import MachineState, Phase
from kubeferry.life.states import TRANSITIONS
from kubeferry.steps import moved
from kubeferry.steps.accounts import Opener, account, left_at_source, settle
from kubeferry.steps.drive import drive
from kubeferry.steps.other_plans import OtherPlans
from kubeferry.steps.power import refuse_unknown_copy
from kubeferry.steps.work import Work
from kubeferry.targets import Target
from kubeferry.words import counted

__all__ = ["account", "release_plan", "settle"]

MAY_STOP = frozenset({Phase.COMMITTED, Phase.ROLLED_BACK, Phase.PLANNED})


def release_plan(
    plan: Plan, journal: Journal, target: Target, source: Opener, *, everything: bool, dry_run: bool
) -> Iterator[str]:
    """Release each machine, and say so line by line. `everything` removes the migrated machines as well.

    A machine under way is left alone unless `everything` is asked for: then it goes the way back first, so that its
    source is as it was before. One that another plan is moving is left alone, too. What another plan has moved stays,
    and runs on. What machines share goes with the last of them, so that all are dropped
    before any is accounted for. One that fails does not stop the others. Raises TargetRefused, at the end, when
    something that had to go is still there; else the first error.
    """
    dropped: list[Entry] = []
    failed: list[KubeferryError] = []
    others = OtherPlans(plan, journal, target)
    release = _Release(plan, journal, target, source, others, everything=everything)
    for entry in plan.entries:
        state = journal.state(plan.digest, entry.name)
        if not everything and state.resumes not in MAY_STOP:
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


def losses(plan: Plan, journal: Journal, target: Target) -> list[str]:
    """What `everything` would take from whom, a line a machine that has moved or is under way; before it is done."""
    return [line for entry in plan.entries if (line := _loss(plan, entry, journal, target))]


def _loss(plan: Plan, entry: Entry, journal: Journal, target: Target) -> str:
    if mark := moved.unknown(journal, entry, target):
        return (
            f"{entry.name}: was {mark}, of which this plan's journal knows nothing: its copy at the target is removed "
            "for good, disks and all, with what was written there since"
        )
    state = journal.state(plan.digest, entry.name)
    if state.resumes is Phase.COMMITTED and not state.removed:
        return (
            f"{entry.name}: has moved: its copy at the target is removed for good, disks and all, with what was "
            "written there since; its source stays as it is"
        )
    if state.resumes not in MAY_STOP:
        return f"{entry.name}: is {state.phase}: it is rolled back first, then what was copied of it is removed"
    return ""


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
    except Exception as error:  # noqa: BLE001 (a defect of ours in one machine does not keep the others)
        what = f"a defect: {type(error).__name__}: {error}"
        failed.append(PermanentError(what, fix="Report it with the log of this run.", machine=entry.name))
        yield f"{entry.name}: not released: {what}"
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
        with self.journal.lease(self.plan.digest, entry.name) as lease:
            if self.everything:
                yield from self._first(entry, lease)
            refuse_unknown_copy(self.target, entry, self._newest(entry))
            if left_at_source(self.journal, self.plan.digest, entry.name):
                dropped = self.source().forget(entry.machine)
                yield from (f"{entry.name}: dropped at the source: {line}" for line in dropped)
            if self.everything:
                self.journal.heartbeat(lease)  # who slept since the look removes nothing
                yield from (f"{entry.name}: removed {line}" for line in self.target.remove(entry, lease.fence))
                return
            if not self.others.runs_on(entry):
                self.target.stop(entry, lease.fence)
            yield from (f"{entry.name}: removed {line}" for line in self.target.tidy(entry))

    def _newest(self, entry: Entry) -> MachineState:
        """Where the machine stands, by the plan that has moved it and whose copy runs on, if there is one."""
        held = self.others.holding(entry)
        return self.journal.state(held.by.digest if held else self.plan.digest, entry.name)

    def _first(self, entry: Entry, lease: Lease) -> Iterator[str]:
        """Before a machine is removed from the target: what that means for it, and the way back of one under way."""
        state = self.journal.state(self.plan.digest, entry.name)
        if state.resumes is Phase.COMMITTED and not state.removed:
            yield f"{entry.name}: has moved: its copy goes, disks and all; its source stays as it is until `rollback`"
        elif state.resumes not in MAY_STOP:
            source = self.source()
            work = Work(
                self.plan, entry, source, self.target, self.journal, lease, Limits(), progress=lambda *_told: None
            )
            drive(work, Goal.ROLLBACK, lambda _action, step: step())
            yield f"{entry.name}: was {state.resumes}: rolled back first, its source is as it was before"

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
            if (state.resumes, EventKind.RELEASED) in TRANSITIONS and state.plan_digest:
                removed = tuple(f"{thing.kind} {thing.where}" for thing in gone)
                whole = self.everything and not there
                self.journal.append(lease, Released(removed=removed, everything=whole))
