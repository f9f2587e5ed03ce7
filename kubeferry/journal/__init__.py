"""The memory of every move: append-only events and the ledger of external things, in SQLite or PostgreSQL.

    with Journal.open(config.journal) as journal:
        journal.keep_plan(plan)
        with journal.lease(plan.digest, "web") as lease:
            journal.append(lease, CutoverBegun(power_before=Power.RUNNING))
        journal.state(plan.digest, "web").phase

An append is one transaction: the fence is the newest, the chain is whole, the event is legal for the machine's state;
then, and only then, it is written, and it is durable when `append` returns. Reading checks the
chain, from where this process has checked it before.

    engine   which database, opened so that a commit is durable;  schema: its tables;  records: rows as values
    chain    each event's digest covers the one before            leases: who may write, with a fence that only rises
    known    which machine a plan means by a name                 standing: what was read once is not read again
    documents what plans are made of, for workers that share no disk
    registry the plans, and the database that holds them  silence: a server that is frozen is not waited for
    cutovers which have begun, of all plans at once
    lately   what happened when, of whichever machines
    outbox   what is to be told to whom, in order;  slots: how many are at work, over all runners
    errands  runs of machines that are asked of other processes
    decided  what persons decided for a plan, chained as events are
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, insert, select, update

from kubeferry.errors import Fenced, InputInvalid, IntegrityFailed, KubeferryError, Problem
from kubeferry.journal.chain import Link, first_break
from kubeferry.journal.cutovers import Cutover, cutovers
from kubeferry.journal.documents import KeptDocument
from kubeferry.journal.engine import RESTORE, clock, damaged, exists, iso
from kubeferry.journal.errands import Errand, Errands
from kubeferry.journal.known import KnownMachine
from kubeferry.journal.leases import TTL_SECONDS, Lease, Owner, beating, may_succeed, refused, superseded
from kubeferry.journal.outbox import Outbox
from kubeferry.journal.records import (
    Holder,
    LedgerEntry,
    LedgerState,
    PlanRecord,
    RegisteredPlan,
    Room,
    Versions,
    highest_fence,
    holder,
    in_turn,
    insert_link,
    insert_once,
    leased_elsewhere,
    ledger_entry,
    links_of_plan,
    machine_row,
    machines_of_events,
    meant_by,
    same_thing,
    stored_links,
    take_room,
    taken_over,
    unknown_plan,
    update_machine,
)
from kubeferry.journal.schema import LEDGER, MACHINE, PLAN
from kubeferry.journal.slots import Slots
from kubeferry.journal.standing import Standing, Standings
from kubeferry.life.events import Event, event_from_json, event_to_json
from kubeferry.life.states import MachineState, Recorded, step

__all__ = [
    "Cutover",
    "Errand",
    "Holder",
    "Journal",
    "KeptDocument",
    "KnownMachine",
    "Lease",
    "LedgerEntry",
    "LedgerState",
    "Owner",
    "PlanRecord",
    "Recorded",
    "RegisteredPlan",
    "Room",
    "Standing",
    "Versions",
    "exists",
    "meant_by",
]

logger = logging.getLogger(__name__)

FIRST_SECOND = 1_700_000_000  # in 2023: fences are counted from here, in seconds, and never fall behind for long
GROWN = 50  # where so many machines have grown, all of them are read in one question
BEHIND_SECONDS = 60  # as far as a fence may be behind the clock; leases that follow each other closely count one by one


class Journal(Slots):
    """One open journal; threads may share it. All methods raise KubeferryError only."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._standings = Standings()
        self.outbox = Outbox(engine)
        self.errands = Errands(engine)

    # --- leases --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lease(self, plan: str, machine: str, *, ttl_seconds: float = TTL_SECONDS) -> Iterator[Lease]:
        """Own one machine for as long as the block lasts: taken, renewed in the background, given back.

        Raises Fenced when another runner owns it.
        """
        lease = self.acquire(plan, machine, ttl_seconds=ttl_seconds)
        try:
            with beating(lease, self.heartbeat):
                yield lease
        finally:
            # A lease that cannot be given back runs out; the error of the block, if any, is the one worth telling.
            with contextlib.suppress(KubeferryError):
                self.release(lease)

    def holders(self, plan: str) -> dict[str, Holder]:
        """Who has the lease of each machine of a plan that somebody has."""
        query = select(MACHINE).where(MACHINE.c.plan == plan, MACHINE.c.owner.is_not(None))
        with self._reading() as db:
            now = iso(clock(db))
            rows = db.execute(query).all()
        return {row.machine: holder(row, now) for row in rows}

    def acquire(
        self, plan: str, machine: str, *, owner: Owner | str | None = None, ttl_seconds: float = TTL_SECONDS
    ) -> Lease:
        """Take the machine's lease with a new fence, higher than all before, those under other plans as well: a new
        plan's movers find the state folders that an older one's have left. So do those of a new journal and of one
        from a backup: a fence is no lower than the second that it is. The owner is this process by default.

        A live lease is not taken from its owner, not even by the same process, nor while another plan's run holds the
        same machine; one that ran out, or whose owner is dead on this host, is, under whatever plan. But not one whose
        owner is another process that lives here: it is asleep, or a clock was set. Raises Fenced with the owner's name,
        InputInvalid if the plan is not registered.
        """
        holder = str(owner or Owner.here())
        with self._writing() as db:
            if db.execute(select(PLAN.c.digest).where(PLAN.c.digest == plan)).first() is None:
                raise unknown_plan(plan)
            in_turn(db, machine)
            insert_once(db, MACHINE, plan=plan, machine=machine)
            row = self._locked(db, plan, machine)
            now = clock(db)
            if row.owner is not None and not may_succeed(row.owner, holder, expired=row.expires_at <= iso(now)):
                raise refused(machine, row.owner, row.expires_at)
            for other in db.execute(leased_elsewhere(plan, machine)).all():
                if self._same_machine(db, machine, plan, other.plan):
                    if not may_succeed(other.owner, holder, expired=other.expires_at <= iso(now)):
                        raise refused(machine, other.owner, other.expires_at)
                    db.execute(taken_over(other.plan, machine))
            lease = Lease(
                plan,
                machine,
                self._next_fence(db, machine, now),
                holder,
                ttl_seconds,
                iso(now + timedelta(seconds=ttl_seconds)),
            )
            db.execute(update_machine(lease, fence=lease.fence, owner=holder, expires_at=lease.expires_at))
        return lease

    def newest_fence(self, machine: str) -> int:
        """The newest fence of a machine of this name, under whatever plan; 0 where it never had one."""
        with self._reading() as db:
            return int(db.execute(highest_fence(machine)).scalar_one() or 0)

    def heartbeat(self, lease: Lease) -> str:
        """Renew a lease from now for its `ttl_seconds`; returns the new expiry. Raises Fenced if it is not ours."""
        with self._fenced(lease) as (db, _row):
            expires_at = iso(clock(db) + timedelta(seconds=lease.ttl_seconds))
            db.execute(update_machine(lease, expires_at=expires_at))
        return expires_at

    def release(self, lease: Lease) -> None:
        """Give a lease back. One that was taken over already is left alone."""
        with contextlib.suppress(Fenced), self._fenced(lease) as (db, _row):
            db.execute(update_machine(lease, owner=None, expires_at=""))

    # --- events --------------------------------------------------------------------------------------------------

    def append(self, lease: Lease, event: Event) -> Recorded:
        """Record an event, durably. Nothing is recorded when it raises:

        Fenced for a stale or released lease, IllegalTransition for an event that the machine's state does not allow,
        IntegrityFailed when what stands there already is damaged.
        """
        return self._append(lease, event)

    def append_in(self, room: Room, lease: Lease, event: Event) -> Recorded:
        """The same of an event that needs a place in a room. Raises what the room says, too, where it is full."""
        return self._append(lease, event, room)

    def _append(self, lease: Lease, event: Event, room: Room | None = None) -> Recorded:
        with self._fenced(lease) as (db, row):
            at = iso(clock(db))
            standing = self._standing(db, row)
            step(standing.state, event, at)
            if room:
                take_room(db, lease, room)
            payload = event_to_json(event)
            link = Link(lease.plan, lease.machine, row.seq + 1, event.kind, payload, at, lease.fence, lease.owner)
            digest = link.digest(row.digest)
            insert_link(db, link, digest)
            db.execute(update_machine(lease, seq=link.seq, digest=digest))
        logger.info("%s: recorded %s as number %s", lease.machine, event.kind, link.seq)
        return Recorded(event, at, link.seq, lease.fence, lease.owner)

    def events(self, plan: str, machine: str) -> list[Recorded]:
        """A machine's events in order; none for a machine that the journal does not know.

        Raises IntegrityFailed if one was edited, reordered or removed.
        """
        with self._reading() as db:
            row = db.execute(machine_row(plan, machine)).one_or_none()
            if row is None:
                self._refuse_orphans(db, plan, machine)
                return []
            return self._checked(row, stored_links(db, plan, machine))

    def state(self, plan: str, machine: str) -> MachineState:
        """Where a machine stands: its events, folded."""
        return self.standing(plan, machine).state

    def standing(self, plan: str, machine: str) -> Standing:
        """The same, with the fences of its events. Raises IntegrityFailed as `events` does; but what this journal has
        checked once, and what is as long and ends as it did, is not read again."""
        with self._reading() as db:
            row = db.execute(machine_row(plan, machine)).one_or_none()
            if row is None:
                self._refuse_orphans(db, plan, machine)
                return Standing()
            return self._standing(db, row)

    def histories(self, plan: str) -> dict[str, list[Recorded]]:
        """The events of each machine of a plan of which something is recorded, asked for at once.

        Raises IntegrityFailed if one was edited, reordered or removed.
        """
        return dict(self._histories(plan))

    def states(self, plan: str) -> dict[str, MachineState]:
        """Where each machine of a plan stands of which something is recorded."""
        with self._reading() as db:
            rows = db.execute(select(MACHINE).where(MACHINE.c.plan == plan)).all()
            if sum(not self._standings.has(row) for row in rows) <= GROWN:
                for stray in machines_of_events(db, plan) - {row.machine for row in rows}:
                    self._refuse_orphans(db, plan, stray)
                found = {row.machine: self._standing(db, row) for row in rows}
                return {name: one.state for name, one in found.items() if one.seq}
        ends = {row.machine: row.digest for row in rows}
        whole = {one: Standing().after(told, ends.get(one, "")) for one, told in self._histories(plan) if told}
        for name, standing in whole.items():
            self._standings.remember(plan, name, standing)
        return {name: standing.state for name, standing in whole.items()}

    def _histories(self, plan: str) -> Iterator[tuple[str, list[Recorded]]]:
        with self._reading() as db:
            rows = {row.machine: row for row in db.execute(select(MACHINE).where(MACHINE.c.plan == plan))}
            for machine, stored in links_of_plan(db, plan):
                if machine not in rows:
                    raise damaged(self._name, f"it holds events of {machine}, and not where they end")
                yield machine, self._checked(rows.pop(machine), stored)
        for row in rows.values():
            self._checked(row, [])

    def cutovers(self) -> list[Cutover]:
        """The newest cutover of each machine by each plan. Nothing is checked: whoever goes by it reads the events."""
        with self._reading() as db:
            return cutovers(db)

    def machines(self, plan: str) -> list[str]:
        """The machines of a plan of which something is recorded, by name."""
        query = select(MACHINE.c.machine).where(MACHINE.c.plan == plan, MACHINE.c.seq > 0).order_by(MACHINE.c.machine)
        with self._reading() as db:
            return list(db.execute(query).scalars())

    def ends(self, plan: str) -> dict[str, tuple[int, str]]:
        """Where the events of each machine of a plan end: the number of the newest, and its digest. Who remembers that
        need not read again what has not grown."""
        query = select(MACHINE.c.machine, MACHINE.c.seq, MACHINE.c.digest)
        with self._reading() as db:
            rows = db.execute(query.where(MACHINE.c.plan == plan, MACHINE.c.seq > 0)).all()
        return {row.machine: (row.seq, row.digest) for row in rows}

    # --- ledger --------------------------------------------------------------------------------------------------

    def intend(self, lease: Lease, kind: str, name: str, where: str) -> LedgerEntry:
        """Write down an external thing before it is made. The same thing again, while it is not gone, is one entry."""
        thing = same_thing(lease, kind, name, where)
        with self._fenced(lease) as (db, _row):
            if db.execute(thing).first() is None:
                new = {"kind": kind, "name": name, "place": where, "state": LedgerState.INTENDED}
                at = iso(clock(db))
                db.execute(insert(LEDGER).values(plan=lease.plan, machine=lease.machine, intended_at=at, **new))
            return ledger_entry(db.execute(thing).one())

    def made(self, lease: Lease, entry: LedgerEntry) -> None:
        """The thing is known to exist."""
        self._settle(lease, entry, LedgerState.MADE, "made_at")

    def gone(self, lease: Lease, entry: LedgerEntry) -> None:
        """The thing was looked for and is not there any more."""
        self._settle(lease, entry, LedgerState.GONE, "gone_at")

    def ledger_open(self, plan: str | None = None, machine: str | None = None) -> list[LedgerEntry]:
        """Things that may still exist, the oldest first: of one machine, one plan, or all plans."""
        return self._ledger(plan, machine, LEDGER.c.state != LedgerState.GONE)

    def ledger(self, plan: str | None = None, machine: str | None = None) -> list[LedgerEntry]:
        """Everything that was ever written down, the oldest first. Raises InputInvalid where that is damaged."""
        return self._ledger(plan, machine)

    def _ledger(self, plan: str | None, machine: str | None, *which: ColumnElement[bool]) -> list[LedgerEntry]:
        query = select(LEDGER).where(*which).order_by(LEDGER.c.id)
        if plan is not None:
            query = query.where(LEDGER.c.plan == plan)
        if machine is not None:
            query = query.where(LEDGER.c.machine == machine)
        with self._reading() as db:
            rows = db.execute(query).all()
        try:
            return [ledger_entry(row) for row in rows]
        except ValueError as error:
            raise damaged(self._name, f"its ledger: {error}") from error

    # --- inside --------------------------------------------------------------------------------------------------

    def _settle(self, lease: Lease, entry: LedgerEntry, state: LedgerState, when: str) -> None:
        with self._fenced(lease) as (db, _row):
            mine = (LEDGER.c.id == entry.id, LEDGER.c.plan == lease.plan, LEDGER.c.machine == lease.machine)
            open_ones = update(LEDGER).where(*mine, LEDGER.c.state != LedgerState.GONE)
            db.execute(open_ones.values({"state": state, when: iso(clock(db))}))

    @contextlib.contextmanager
    def _fenced(self, lease: Lease) -> Iterator[tuple[Connection, Row[Any]]]:
        """A write under a lease: the machine's row is locked, and its fence and owner are the lease's."""
        with self._writing() as db:
            row = self._locked(db, lease.plan, lease.machine)
            if (row.fence, row.owner) != (lease.fence, lease.owner):
                raise superseded(lease, row.owner)
            yield db, row

    def _next_fence(self, db: Connection, machine: str, now: datetime) -> int:
        newest, second = db.execute(highest_fence(machine)).scalar_one(), int(now.timestamp()) - FIRST_SECOND
        return max(newest or second, second - BEHIND_SECONDS) + 1

    def _locked(self, db: Connection, plan: str, machine: str) -> Row[Any]:
        row = db.execute(machine_row(plan, machine).with_for_update()).one_or_none()
        if row is None:
            raise damaged(self._name, f"it holds nothing of {machine} any more")
        return row

    def _refuse_orphans(self, db: Connection, plan: str, machine: str) -> None:
        if stored_links(db, plan, machine):
            raise damaged(self._name, f"it holds events of {machine}, and not where they end")

    def _same_machine(self, db: Connection, machine: str, one: str, other: str) -> bool:
        """Whether two plans mean one machine of one source by this name; one that cannot be read may."""
        found = [self._known.of(db, plan, machine) for plan in (one, other)]
        return None in found or len({(known.source, known.id) for known in found if known}) == 1

    def _standing(self, db: Connection, row: Row[Any]) -> Standing:
        before = self._standings.before(row.plan, row.machine, row.seq, row.digest)
        if before.seq == row.seq and before.digest == row.digest and row.seq:
            return before
        stored = stored_links(db, row.plan, row.machine, after=before.seq)
        if before.seq and first_break(stored, row.seq, row.digest, after=(before.seq, before.digest)):
            before, stored = Standing(), stored_links(db, row.plan, row.machine)  # said of the chain as a whole
        standing = before.after(self._checked(row, stored, before), row.digest)
        self._standings.remember(row.plan, row.machine, standing)
        return standing

    def _checked(self, row: Row[Any], stored: list[tuple[Link, str]], after: Standing | None = None) -> list[Recorded]:
        before = (after.seq, after.digest) if after else (0, "")
        problem = first_break(stored, row.seq, row.digest, after=before)
        if problem:
            raise IntegrityFailed(
                "the journal is damaged", why=f"{self._name}: {problem}", fix=RESTORE, machine=row.machine
            )
        return [self._parsed(link) for link, _digest in stored]

    def _parsed(self, link: Link) -> Recorded:
        try:
            event = event_from_json(link.payload)
        except ValueError as error:
            why = f"event {link.seq} of {link.machine} ({link.kind}) is none that this version knows"
            problem = Problem(self._name, why, "Use the kubeferry that wrote it, or a newer one.")
            raise InputInvalid("the journal cannot be read", [problem]) from error
        return Recorded(event, link.at, link.seq, link.fence, link.writer)
