"""What the journal hands out beside events, and the few statements that its methods share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, Update, func, insert, select, update
from sqlalchemy.dialects import sqlite

from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.journal.chain import Link
from kubeferry.journal.engine import iso
from kubeferry.journal.leases import Lease, Owner, describe, may_succeed
from kubeferry.journal.schema import EVENT, LEDGER, MACHINE, PLAN
from kubeferry.life.event_kinds import EventKind
from kubeferry.words import meant

SHORTEST_DIGEST = 6  # characters of a digest that may stand for a plan


class LedgerState(StrEnum):
    INTENDED = "intended"
    MADE = "made"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One external thing. `intended` means that it may exist: the entry is written before the thing is made."""

    id: int
    plan: str
    machine: str
    kind: str
    name: str
    where: str
    state: LedgerState
    intended_at: str
    made_at: str | None = None
    gone_at: str | None = None


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """That a plan was registered."""

    digest: str
    name: str
    registered_at: str


@dataclass(frozen=True, slots=True)
class RegisteredPlan(PlanRecord):
    """A plan as it was registered; `document` is its text, tens of megabytes for thousands of machines."""

    document: str


@dataclass(frozen=True, slots=True)
class Versions:
    """Which journal this is: its database without a password, its schema, and which kubeferry made it when."""

    url: str
    schema: int
    created_at: str
    created_by: str


@dataclass(frozen=True, slots=True)
class Room:
    """Room for `most` of these machines of a plan to begin their cutover in a time, its end not included. `full` is
    raised where so many others have: runners that ask at once are counted one after the other."""

    name: str
    machines: frozenset[str]
    since: datetime
    until: datetime
    most: int
    full: KubeferryError


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lease of a machine; `expired` where he has not renewed it."""

    machine: str
    owner: str
    fence: int
    expires_at: str
    expired: bool

    @property
    def who(self) -> str:
        """The process, for people."""
        return describe(self.owner)

    @property
    def may_be_succeeded(self) -> bool:
        """Whether this process may take the lease: its owner has ended, or nobody can see him, and it ran out."""
        return may_succeed(self.owner, str(Owner.here()), expired=self.expired)


def holder(row: Row[Any], now: str) -> Holder:
    """Who has the lease of a machine, by its row."""
    return Holder(row.machine, row.owner, row.fence, row.expires_at, row.expires_at <= now)


def plan_records() -> Select[Any]:
    """All registered plans, the oldest first, without their documents."""
    return select(PLAN.c.digest, PLAN.c.name, PLAN.c.registered_at).order_by(PLAN.c.registered_at, PLAN.c.digest)


def ledger_entry(row: Row[Any]) -> LedgerEntry:
    """A row of the ledger as a value."""
    return LedgerEntry(
        row.id,
        row.plan,
        row.machine,
        row.kind,
        row.name,
        row.place,
        LedgerState(row.state),
        row.intended_at,
        row.made_at,
        row.gone_at,
    )


def same_thing(lease: Lease, kind: str, name: str, where: str) -> Select[Any]:
    """The open entry of one external thing."""
    return select(LEDGER).where(
        LEDGER.c.plan == lease.plan,
        LEDGER.c.machine == lease.machine,
        LEDGER.c.kind == kind,
        LEDGER.c.name == name,
        LEDGER.c.place == where,
        LEDGER.c.state != LedgerState.GONE,
    )


def machine_row(plan: str, machine: str) -> Select[Any]:
    """Who may write about a machine, and where its chain ends."""
    return select(MACHINE).where(MACHINE.c.plan == plan, MACHINE.c.machine == machine)


def leased_elsewhere(plan: str, machine: str) -> Select[Any]:
    """Plan, owner and expiry of each lease that was not given back on a machine of this name under another plan, run
    out or not."""
    query = select(MACHINE.c.plan, MACHINE.c.owner, MACHINE.c.expires_at)
    return query.where(MACHINE.c.machine == machine, MACHINE.c.plan != plan, MACHINE.c.owner.is_not(None))


def taken_over(plan: str, machine: str) -> Update:
    """Nobody owns a machine under this plan any more."""
    return update(MACHINE).where(MACHINE.c.plan == plan, MACHINE.c.machine == machine).values(owner=None, expires_at="")


def highest_fence(machine: str) -> Select[Any]:
    """The newest fence of a machine of this name, under whatever plan."""
    return select(func.max(MACHINE.c.fence)).where(MACHINE.c.machine == machine)


def update_machine(lease: Lease, **values: object) -> Update:
    """Change the row of the lease's machine."""
    return update(MACHINE).where(MACHINE.c.plan == lease.plan, MACHINE.c.machine == lease.machine).values(**values)


def stored_links(db: Connection, plan: str, machine: str, *, after: int = 0) -> list[tuple[Link, str]]:
    """A machine's events as they are stored, with the digest that stands beside each; those `after` a number alone, if
    one is given."""
    query = select(EVENT).where(EVENT.c.plan == plan, EVENT.c.machine == machine).order_by(EVENT.c.seq)
    return [link_of(row) for row in db.execute(query.where(EVENT.c.seq > after) if after else query)]


def links_of_plan(db: Connection, plan: str) -> Iterator[tuple[str, list[tuple[Link, str]]]]:
    """The same for one machine of a plan after the other, of which there are any, in one question."""
    query = select(EVENT).where(EVENT.c.plan == plan).order_by(EVENT.c.machine, EVENT.c.seq)
    rows = db.execution_options(yield_per=1000).execute(query)
    for machine, found in groupby(rows, key=lambda row: str(row.machine)):
        yield machine, [link_of(row) for row in found]


def machines_of_events(db: Connection, plan: str) -> set[str]:
    """The machines of a plan of which there are any events."""
    return set(db.execute(select(EVENT.c.machine).where(EVENT.c.plan == plan).distinct()).scalars())


def link_of(e: Row[Any]) -> tuple[Link, str]:
    """An event as it is stored, and its digest."""
    return Link(e.plan, e.machine, e.seq, e.kind, e.payload, e.at, e.fence, e.writer), e.digest


def insert_link(db: Connection, link: Link, digest: str) -> None:
    """Store one event."""
    db.execute(
        insert(EVENT).values(
            plan=link.plan,
            machine=link.machine,
            seq=link.seq,
            kind=link.kind,
            payload=link.payload,
            at=link.at,
            fence=link.fence,
            writer=link.writer,
            digest=digest,
        )
    )


def insert_once(db: Connection, table: Table, **values: object) -> bool:
    """Insert a row unless one with its key is there; whether it was inserted."""
    counting = db.execution_options(preserve_rowcount=True)
    if db.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # a part of SQLAlchemy that SQLite's users need not wait for

        done = counting.execute(postgresql.insert(table).values(**values).on_conflict_do_nothing())
    else:
        done = counting.execute(sqlite.insert(table).values(**values).on_conflict_do_nothing())
    return done.rowcount > 0


def in_turn(db: Connection, machine: str) -> None:
    """Until this transaction ends, nobody else takes a lease on a machine of this name, under whatever plan, or a place
    in a room of it: each would see only its own row. SQLite has one writer anyway."""
    if db.dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(func.hashtext(machine))))


def take_room(db: Connection, lease: Lease, room: Room) -> None:
    """Raise what the room says where it is full. Until this transaction ends nobody else takes a place in it."""
    in_turn(db, f"{lease.plan} {room.name}")
    others = (begun_between(db, lease.plan, room.since, room.until) & room.machines) - {lease.machine}
    if len(others) >= room.most:
        raise room.full


def begun_between(db: Connection, plan: str, since: datetime, until: datetime) -> frozenset[str]:
    """The machines of a plan of which a cutover began in this time, its end not included."""
    query = select(EVENT.c.machine).where(
        EVENT.c.plan == plan, EVENT.c.kind == EventKind.CUTOVER_BEGUN, EVENT.c.at >= iso(since), EVENT.c.at < iso(until)
    )
    return frozenset(db.execute(query).scalars())


def meant_by(word: str, plans: Sequence[PlanRecord]) -> PlanRecord:
    """The plan that a person means by its name, or by its digest or the first characters of it. Raises InputInvalid
    where none is, or several are: then by the digests that tell them apart."""
    found = [plan for plan in plans if plan.name == word]
    if not found and len(word) >= SHORTEST_DIGEST:
        found = [plan for plan in plans if plan.digest.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        told = ", ".join(f"{plan.digest[:12]} of {plan.registered_at}" for plan in found)
        problem = Problem(f"--plan {word}", f"{len(found)} plans are: {told}", "Name one by its digest.")
        raise InputInvalid("the journal holds several such plans", [problem])
    near = meant(word, [plan.name for plan in plans])
    fix = " ".join(filter(None, (near, "`kubeferry status` lists the plans that the journal holds.")))
    raise InputInvalid(
        "the journal holds no such plan", [Problem(f"--plan {word}", "none has this name or digest", fix)]
    )


def unknown_plan(digest: str) -> InputInvalid:
    """The error for a plan that the journal does not hold."""
    return InputInvalid(
        "the journal does not know this plan",
        [Problem(digest[:12] or "plan", "it is not registered", "Use the journal that the plan was begun with.")],
    )
