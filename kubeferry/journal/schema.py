"""The journal's tables, the same in SQLite and PostgreSQL. Names carry a prefix: a database may be shared.

    plan ──< machine ──< event      machine: who may write (owner, fence, expiry), where its chain ends (seq, digest)
        ├──< known  └──< ledger     event: append-only, held so by triggers; ledger: what of ours exists outside
        ├──< decision               known: which machine a plan means by a name
        └──< decided                decision: what persons decided, append-only like events; decided: where that ends
    receiver ──< told               who is told of what happens, and up to which event of each machine he was thought of
        └──< outbox                 what he is told, or will be
    document                        what a plan is made of, for workers that do not share a disk
    errand                          a machine's run that was asked of another process, and what came of it
    slot                            which machine has a place of those that are counted over all runners

Times are text, UTC, ISO 8601 with milliseconds: they sort as they read.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    event,
)

VERSION = 1

METADATA = MetaData()

META = Table(
    "kubeferry_meta",
    METADATA,
    Column("schema_version", Integer, primary_key=True, autoincrement=False),
    Column("created_at", String, nullable=False),
    Column("created_by", String, nullable=False),
)

PLAN = Table(
    "kubeferry_plan",
    METADATA,
    Column("digest", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("document", Text, nullable=False),
    Column("registered_at", String, nullable=False),
)

MACHINE = Table(
    "kubeferry_machine",
    METADATA,
    Column("plan", String, ForeignKey(PLAN.c.digest), primary_key=True),
    Column("machine", String, primary_key=True),
    Column("fence", Integer, nullable=False, default=0),
    Column("owner", String),
    Column("expires_at", String, nullable=False, default=""),
    Column("seq", Integer, nullable=False, default=0),
    Column("digest", String, nullable=False, default=""),
)

KNOWN = Table(
    "kubeferry_known",
    METADATA,
    Column("plan", String, ForeignKey(PLAN.c.digest), primary_key=True),
    Column("machine", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("source_id", String, nullable=False),
    Column("namespace", String, nullable=False),
    Column("target_name", String, nullable=False),
)
"""Came later; an earlier kubeferry leaves it alone."""

DOCUMENT = Table(
    "kubeferry_document",
    METADATA,
    Column("digest", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", String, nullable=False),
)
"""Came later, too: `at` is when the document was kept last."""
DECISION = Table(
    "kubeferry_decision",
    METADATA,
    Column("plan", String, ForeignKey(PLAN.c.digest), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("content", Text, nullable=False),
    Column("at", String, nullable=False),
    Column("digest", String, nullable=False),
)
"""Came later still, with DECIDED. `content` is a `Decided` as JSON."""

DECIDED = Table(
    "kubeferry_decided",
    METADATA,
    Column("plan", String, ForeignKey(PLAN.c.digest), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("digest", String, nullable=False),
)

_OF_MACHINE = ["kubeferry_machine.plan", "kubeferry_machine.machine"]

EVENT = Table(
    "kubeferry_event",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("plan", String, nullable=False),
    Column("machine", String, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("payload", Text, nullable=False),
    Column("at", String, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("writer", String, nullable=False),
    Column("digest", String, nullable=False),
    UniqueConstraint("plan", "machine", "seq"),
    ForeignKeyConstraint(["plan", "machine"], _OF_MACHINE),
)

LEDGER = Table(
    "kubeferry_ledger",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("plan", String, nullable=False),
    Column("machine", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("place", String, nullable=False),
    Column("state", String, nullable=False),
    Column("intended_at", String, nullable=False),
    Column("made_at", String),
    Column("gone_at", String),
    ForeignKeyConstraint(["plan", "machine"], _OF_MACHINE),
)

TURNS = ("cutover-begun", "rollback-begun", "committed", "rolled-back")
"""The kinds of events that begin a cutover or end it."""

IS_TURN = EVENT.c.kind.in_(bindparam("turns", TURNS, expanding=True, literal_execute=True))

INDEXES = (
    Index("kubeferry_machine_by_name", MACHINE.c.machine),
    Index("kubeferry_ledger_by_machine", LEDGER.c.plan, LEDGER.c.machine),
)
"""Came later: what is asked of one machine does not look at all of them."""

TURNS_INDEX = (
    "CREATE INDEX IF NOT EXISTS kubeferry_event_turns ON kubeferry_event (plan, machine, kind, seq) "
    f"WHERE kind IN ({', '.join(map(repr, TURNS))})"
)
"""Came later, too: where cutovers stand is asked each minute. As text, since SQLAlchemy would load both dialects."""


RECEIVER = Table(
    "kubeferry_receiver",
    METADATA,
    Column("name", String, primary_key=True),
    Column("since", String, nullable=False),
    Column("fence", Integer, nullable=False, default=0),
    Column("owner", String),
    Column("expires_at", String, nullable=False, default=""),
)

TOLD = Table(
    "kubeferry_told",
    METADATA,
    Column("receiver", String, ForeignKey(RECEIVER.c.name), primary_key=True),
    Column("plan", String, primary_key=True),
    Column("machine", String, primary_key=True),
    Column("seq", Integer, nullable=False),
)

OUTBOX = Table(
    "kubeferry_outbox",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("receiver", String, ForeignKey(RECEIVER.c.name), nullable=False),
    Column("key", String, nullable=False),
    Column("plan", String, nullable=False),
    Column("wave", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("digest", String, nullable=False, default=""),
    Column("made_at", String, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("next_at", String, nullable=False, default=""),
    Column("error", Text, nullable=False, default=""),
    Column("delivered_at", String),
    UniqueConstraint("receiver", "key"),
    Index("kubeferry_outbox_in_order", "receiver", "state", "id"),
)

SLOT = Table(
    "kubeferry_slot",
    METADATA,
    Column("slot", String, primary_key=True),
    Column("plan", String, primary_key=True),
    Column("machine", String, primary_key=True),
    Column("fence", Integer, nullable=False),
    Column("at", String, nullable=False),
)

ERRAND = Table(
    "kubeferry_errand",
    METADATA,
    Column("id", String, primary_key=True),
    Column("asker", String, nullable=False),
    Column("plan", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("goal", String, nullable=False),
    Column("state", String, nullable=False),
    Column("asked_at", String, nullable=False),
    Column("wanted_until", String, nullable=False),
    Column("owner", String),
    Column("taken_at", String),
    Column("alive_until", String, nullable=False, default=""),
    Column("stop", Integer, nullable=False, default=0),
    Column("result", Text, nullable=False, default=""),
    Column("ended_at", String),
    Index("kubeferry_errand_by_plan", "plan", "state"),
)
"""`unit` are the machines that move as one, as JSON; `result` what came of them, too."""

LATER = (KNOWN, DECISION, DECIDED, DOCUMENT, RECEIVER, TOLD, OUTBOX, SLOT, ERRAND)
"""Tables that came after the first version of the schema: made when a journal of an earlier one is opened."""


def _append_only(table: Table, function: str) -> None:
    """Triggers that let nobody change or delete a row, made with the table."""

    def after(dialect: str, statement: str) -> None:
        ddl = DDL(statement)  # type: ignore[no-untyped-call]
        event.listen(table, "after_create", ddl.execute_if(dialect=dialect))

    for verb in ("UPDATE", "DELETE"):
        after(
            "sqlite",
            f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
            "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
        )
    after(
        "postgresql",
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$",
    )
    after(
        "postgresql",
        f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
    )


_append_only(EVENT, "kubeferry_append_only")
_append_only(DECISION, "kubeferry_decision_append_only")  # of its own: the other one may be another user's

event.listen(EVENT, "after_create", DDL(TURNS_INDEX))  # type: ignore[no-untyped-call]
