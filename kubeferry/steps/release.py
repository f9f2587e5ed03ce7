"""Account for every external thing of a plan: drop what only the move needed, prove what is gone, name what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from kubeferry.documents import Entry, Limits, Plan
from kubeferry.errors import Interrupted, KubeferryError, PermanentError, SourceGone, TargetRefused
from kubeferry.journal import Journal, Lease
from kubeferry.ledger import AT_SOURCE, KEPT, PROCESS
from kubeferry.life.action_kinds import Goal
from kubeferry.life.event_kinds import EventKind
from kubeferry.life.events import Released
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.states import TRANSITIONS
from kubeferry.steps import moved
from kubeferry.steps.accounts import Opener, account, is_last_copy, is_missing, left_at_source, settle
from kubeferry.steps.drive import drive
from kubeferry.steps.ended import at_target
from kubeferry.steps.other_plans import OtherPlans
from kubeferry.steps.power import refuse_unknown_copy
from kubeferry.steps.together import drive_set
from kubeferry.steps.work import Work
from kubeferry.targets import Target
from kubeferry.words import counted

__all__ = ["account", "release_plan", "settle"]

LAST_COPY = "its source is gone, and what is left there is the last copy of it"
WENT_BACK = "rolled back first, its source is as it was before"
NO_WAY_BACK = "there is no way back, its source is gone"
BACK_FIRST = "it is rolled back first, then what was copied of it is removed"
UNTOUCHED = frozenset({Phase.ROLLED_BACK, Phase.PLANNED})
MAY_STOP = UNTOUCHED | {Phase.COMMITTED}


def release_plan(
    plan: Plan, journal: Journal, target: Target, source: Opener, *, everything: bool, dry_run: bool
) -> Iterator[str]:
    """Release each machine, and say so line by line. `everything` removes the migrated machines as well.

    A machine under way is left alone unless `everything` is asked for: then it goes the way back first, so that its
    source is as it was before. One that another plan is moving is left alone, too. What another plan has moved stays,
    and runs on. What machines share goes with the last of them, so that all are dropped before any is accounted for;
    and a disk of a set goes when none that attaches it is left. One that fails does not stop the others. Raises
    TargetRefused, at the end, when something that had to go is still there; else the first error.
    """
    dropped: list[Entry] = []
    failed: list[KubeferryError] = []
    others = OtherPlans(plan, journal, target)
    release = _Release(plan, journal, target, source, others, everything=everything)
    for entry in _who_attaches_first(plan):
        state = journal.state(plan.digest, entry.name)
        if not everything and state.resumes not in MAY_STOP:
            yield from _tried(entry, release.left_alone(entry, state, dry_run=dry_run), failed)
        elif everything and (users := _still_attach(entry, plan, dropped)) and not dry_run:
            yield f"{entry.name}: {', '.join(users)} still {'has' if len(users) == 1 else 'have'} its disk: left alone"
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


def _who_attaches_first(plan: Plan) -> list[Entry]:
    """All machines in the plan's order, but those of a set the other way round: the first of them carries the disk."""
    found: dict[str, Entry] = {}
    for entry in plan.entries:
        whole = {entry.name, *(other.name for other in entry.moves_with or ())}
        found |= {one.name: one for one in reversed(plan.entries) if one.name in whole} if len(whole) > 1 else {}
        found.setdefault(entry.name, entry)
    return list(found.values())


def _still_attach(entry: Entry, plan: Plan, dropped: list[Entry]) -> list[str]:
    """The machines that attach a disk of this one, and were not dropped."""
    users = {name for disk in entry.disks for name in disk.shared_with or ()} - {one.name for one in dropped}
    return [one.name for one in plan.entries if one.name in users]


def losses(plan: Plan, journal: Journal, target: Target, source: Opener) -> list[str]:
    """What `everything` would take from whom, a line a machine that has moved or is under way; before it is done. The
    source is asked where it may say that this is the last of a machine."""
    found = []
    for entry in plan.entries:
        state = journal.state(plan.digest, entry.name)
        found += [line] if (line := _loss(plan, entry, journal, target)) else []
        arrived = state.resumes is Phase.COMMITTED
        with contextlib.suppress(KubeferryError):  # what cannot be asked cannot be dropped, either
            copied = "" if arrived else at_target(journal, plan.digest, entry.name)
            if (arrived or copied) and not state.removed and is_missing(source(), entry.machine):
                left = f", and {copied}: that is deleted for good" if copied else ": this copy may be the only one"
                found.append(f"{entry.name}: its source is not seen any more{left}")
            held = not arrived and left_at_source(journal, plan.digest, entry.name)
            if held and is_last_copy(source(), entry.machine):
                found.append(f"{entry.name}: {LAST_COPY}: it is deleted for good")
    return found


def _loss(plan: Plan, entry: Entry, journal: Journal, target: Target) -> str:
    if mark := moved.unknown(journal, entry, target):
        return (
            f"{entry.name}: was {mark}, of which this plan's journal knows nothing: its copy at the target is removed "
            "for good, disks and all, with what was written there since"
        )
    state = journal.state(plan.digest, entry.name)
    behind = [one for one in plan.set_of(entry.name) if journal.state(plan.digest, one).resumes not in MAY_STOP]
    if state.resumes is Phase.COMMITTED and behind:
        return f"{entry.name}: moves together with {behind[0]}, which has not arrived: {BACK_FIRST}"
    if state.resumes is Phase.COMMITTED and not state.removed:
        return (
            f"{entry.name}: has moved: its copy at the target is removed for good, disks and all, with what was "
            "written there since; nothing is done to its source"
        )
    if state.resumes not in MAY_STOP:
        return f"{entry.name}: is {state.phase}: {BACK_FIRST}"
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
    last_copies: set[str] = field(default_factory=set)
    """Machines whose last copy is at their source, and stays there: nobody is asked to remove it."""
    went_back: set[str] = field(default_factory=set)
    """Machines that went back with their sets, but for those whose source is gone: there is no way back for them."""

    def drop(self, entry: Entry) -> Iterator[str]:
        """What only the move needed goes, at both ends; with `everything` the machine at the target, too."""
        if self.everything:
            yield from self._set_first(entry)
        with self.journal.lease(self.plan.digest, entry.name) as lease:
            if self.everything:
                yield from self._first(entry, lease)
            refuse_unknown_copy(self.target, entry, self._newest(entry))
            yield from self._at_source(entry)
            if self.everything:
                self.journal.heartbeat(lease)  # who slept since the look removes nothing
                yield from (f"{entry.name}: removed {line}" for line in self.target.remove(entry, lease.fence))
                return
            if not self.others.runs_on(entry):
                self.target.stop(entry, lease.fence)
            yield from (f"{entry.name}: removed {line}" for line in self.target.tidy(entry))

    def left_alone(self, entry: Entry, state: MachineState, *, dry_run: bool) -> Iterator[str]:
        """Of a machine under way nothing goes but a rehearsal that its command did not end."""
        if state.rehearsing and dry_run:
            yield f"{entry.name}: would end a rehearsal that was left"
        elif state.rehearsing:
            with self.journal.lease(self.plan.digest, entry.name) as lease:
                drive(self._work(entry, lease), Goal.END_REHEARSAL, lambda _action, step: step())
                account(self.journal, lease, self.target, self.source)
            yield f"{entry.name}: its rehearsal was left, and has ended"
        yield f"{entry.name}: is {state.phase}: left alone"

    def _at_source(self, entry: Entry) -> Iterator[str]:
        """What is left at the source goes, but for the last copy of a machine that has not arrived: only `everything`
        takes that."""
        if not left_at_source(self.journal, self.plan.digest, entry.name):
            return
        arrived = self._newest(entry).resumes is Phase.COMMITTED
        if not arrived and is_last_copy(self.source(), entry.machine):
            if not self.everything:
                self.last_copies.add(entry.name)
                yield f"{entry.name}: kept at the source: {LAST_COPY}; `release --everything` deletes it for good"
                return
            yield f"{entry.name}: {LAST_COPY}, and it goes now"
        dropped = self.source().forget(entry.machine)
        yield from (f"{entry.name}: dropped at the source: {line}" for line in dropped)

    def _newest(self, entry: Entry) -> MachineState:
        """Where the machine stands, by the plan that has moved it and whose copy runs on, if there is one."""
        held = self.others.holding(entry)
        return self.journal.state(held.by.digest if held else self.plan.digest, entry.name)

    def _first(self, entry: Entry, lease: Lease) -> Iterator[str]:
        """Before a machine is removed from the target: what that means for it, and the way back of one under way."""
        state = self.journal.state(self.plan.digest, entry.name)
        if state.resumes is Phase.COMMITTED and not state.removed:
            yield f"{entry.name}: has moved: its copy goes, disks and all; nothing is done to its source"
        elif state.resumes not in MAY_STOP and entry.name not in self.went_back:
            try:
                drive(self._work(entry, lease), Goal.ROLLBACK, lambda _action, step: step())
            except SourceGone:
                yield f"{entry.name}: was {state.resumes}: {NO_WAY_BACK}"
            else:
                went = NO_WAY_BACK if is_missing(self.source(), entry.machine) else WENT_BACK
                yield f"{entry.name}: was {state.resumes}: {went}"

    def _set_first(self, entry: Entry) -> Iterator[str]:
        """The way back of a set of which one is under way, all of them as one, and once."""
        names = self.plan.set_of(entry.name)
        phases = {name: self._phase(name) for name in names}
        if len(names) == 1 or entry.name in self.went_back or all(phase in MAY_STOP for phase in phases.values()):
            return
        with contextlib.ExitStack() as held:
            leases = {name: held.enter_context(self.journal.lease(self.plan.digest, name)) for name in names}
            works = [self._work(self.plan.entry(name), lease) for name, lease in leases.items()]
            try:
                drive_set(works, Goal.ROLLBACK, lambda _work, _action, step: step())
            except SourceGone:  # the others are back all the same
                under_way = [work.entry.machine for work in works if self._phase(work.entry.name) not in MAY_STOP]
                if not all(is_last_copy(self.source(), machine) for machine in under_way):
                    raise
        self.went_back.update(names)
        for name, phase in ((name, phase) for name, phase in phases.items() if phase not in UNTOUCHED):
            yield f"{name}: was {phase}: {WENT_BACK if self._phase(name) in MAY_STOP else NO_WAY_BACK}"

    def _phase(self, name: str) -> Phase:
        return self.journal.state(self.plan.digest, name).resumes

    def _work(self, entry: Entry, lease: Lease) -> Work:
        source = self.source()
        return Work(self.plan, entry, source, self.target, self.journal, lease, Limits(), progress=lambda *_told: None)

    def account_for(self, entry: Entry, left: list[str]) -> Iterator[str]:
        """What is gone is recorded as gone; what had to go and is still there is added to `left`."""
        with self.journal.lease(self.plan.digest, entry.name) as lease:
            state = self.journal.state(self.plan.digest, entry.name)
            gone, there = account(self.journal, lease, self.target, self.source)
            yield from (f"{entry.name}: gone: {thing.kind} {thing.where}" for thing in gone)
            kept = KEPT | ({PROCESS} if self.others.runs_on(entry) else set())
            for thing in there:
                last_copy = thing.kind in AT_SOURCE and entry.name in self.last_copies
                if self.everything or not (thing.kind in kept or last_copy):
                    left.append(f"{thing.machine}: {thing.kind} {thing.name} at {thing.where}")
                else:
                    yield f"{entry.name}: kept: {thing.kind} {thing.where}"
            if (state.resumes, EventKind.RELEASED) in TRANSITIONS and state.plan_digest:
                removed = tuple(f"{thing.kind} {thing.where}" for thing in gone)
                whole = self.everything and not there
                self.journal.append(lease, Released(removed=removed, everything=whole))
