"""What the journal hands out beside events, and the few statements that its methods share."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, Update, func, insert, select, update
from sqlalchemy.dialects import sqlite

from kubeferry.documents import Plan, parse
from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.journal.chain import Link
from kubeferry.journal.leases import Lease, describe
from kubeferry.journal.schema import EVENT, LEDGER, MACHINE, PLAN
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
    """A plan as it was registered; `document` is its text."""

    digest: str
    name: str
    document: str
    registered_at: str


@dataclass(frozen=True, slots=True)
class PlanHead:
    """A registered plan without its document, which may be large."""

    digest: str
    name: str
    registered_at: str


@dataclass(frozen=True, slots=True)
class Versions:
    """Which journal this is: its database without a password, its schema, and which kubeferry made it when."""

    url: str
    schema: int
    created_at: str
    created_by: str


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
    """Plan, owner, expiry and plan document of each lease that was not given back on a machine of this name under
    another plan, run out or not."""
    query = select(MACHINE.c.plan, MACHINE.c.owner, MACHINE.c.expires_at, PLAN.c.document)
    query = query.join(PLAN, PLAN.c.digest == MACHINE.c.plan)
    return query.where(MACHINE.c.machine == machine, MACHINE.c.plan != plan, MACHINE.c.owner.is_not(None))


def taken_over(plan: str, machine: str) -> Update:
    """Nobody owns a machine under this plan any more."""
    return update(MACHINE).where(MACHINE.c.plan == plan, MACHINE.c.machine == machine).values(owner=None, expires_at="")


def same_machine(one: str, other: str, name: str) -> bool:
    """Whether two plans' documents mean one machine of one source by this name; one that cannot be read may."""
    found = [machine_in(document, name) for document in (one, other)]
    return None in found or found[0] == found[1]


@dataclass(frozen=True, slots=True)
class KnownMachine:
    """What a plan's document says of a machine: which one it is at its source, and its place at the target."""

    source: str
    id: str
    namespace: str
    target_name: str


def machine_in(document: str, name: str) -> tuple[str, str] | None:
    """Source and id of a plan's machine; None where the document cannot be read, or has none of this name."""
    known = known_in(document, name)
    return (known.source, known.id) if known else None


def known_in(document: str, name: str) -> KnownMachine | None:
    """A plan's machine; None where the document cannot be read, or has none of this name."""
    return _machines_in(document).get(name)


@functools.lru_cache(maxsize=16)  # a plan of hundreds of machines takes seconds to read, and is asked for each of them
def _machines_in(document: str) -> dict[str, KnownMachine]:
    try:
        entries = parse(document, Plan).entries
    except KubeferryError:
        return {}
    return {
        entry.name: KnownMachine(entry.machine.source, entry.machine.id, entry.namespace, entry.target_name)
        for entry in entries
    }


def highest_fence(machine: str) -> Select[Any]:
    """The newest fence of a machine of this name, under whatever plan."""
    return select(func.max(MACHINE.c.fence)).where(MACHINE.c.machine == machine)


def update_machine(lease: Lease, **values: object) -> Update:
    """Change the row of the lease's machine."""
    return update(MACHINE).where(MACHINE.c.plan == lease.plan, MACHINE.c.machine == lease.machine).values(**values)


def stored_links(db: Connection, plan: str, machine: str) -> list[tuple[Link, str]]:
    """A machine's events as they are stored, with the digest that stands beside each."""
    query = select(EVENT).where(EVENT.c.plan == plan, EVENT.c.machine == machine).order_by(EVENT.c.seq)
    return [_link(row) for row in db.execute(query)]


def links_of_plan(db: Connection, plan: str) -> dict[str, list[tuple[Link, str]]]:
    """The same for every machine of a plan that has any, in one question."""
    found: dict[str, list[tuple[Link, str]]] = {}
    for row in db.execute(select(EVENT).where(EVENT.c.plan == plan).order_by(EVENT.c.machine, EVENT.c.seq)):
        found.setdefault(row.machine, []).append(_link(row))
    return found


def _link(e: Row[Any]) -> tuple[Link, str]:
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


def insert_once(db: Connection, table: Table, **values: object) -> None:
    """Insert a row unless one with its key is there."""
    if db.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # a part of SQLAlchemy that SQLite's users need not wait for

        db.execute(postgresql.insert(table).values(**values).on_conflict_do_nothing())
    else:
        db.execute(sqlite.insert(table).values(**values).on_conflict_do_nothing())


def in_turn(db: Connection, machine: str) -> None:
    """Until this transaction ends, nobody else takes a lease on a machine of this name, under whatever plan: each would
    see only its own row. SQLite has one writer anyway."""
    if db.dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(func.hashtext(machine))))


def meant_by(word: str, heads: Sequence[PlanHead]) -> PlanHead:
    """The plan that a person means by its name, or by its digest or the first characters of it. Raises InputInvalid
    where none is, or several are: then by the digests that tell them apart."""
    found = [head for head in heads if head.name == word]
    if not found and len(word) >= SHORTEST_DIGEST:
        found = [head for head in heads if head.digest.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        told = ", ".join(f"{head.digest[:12]} of {head.registered_at}" for head in found)
        problem = Problem(f"--plan {word}", f"{len(found)} plans are: {told}", "Name one by its digest.")
        raise InputInvalid("the journal holds several such plans", [problem])
    near = meant(word, [head.name for head in heads])
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
