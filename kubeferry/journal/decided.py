"""The decisions of a plan as rows: append-only, numbered, each covered by the digest of the next.

A journal of an earlier kubeferry gets the tables when it is opened. Where its user may not make them there is no place
for decisions: none is recorded, and a plan that asks for an approval waits.
"""

from __future__ import annotations

from pydantic import ValidationError
from sqlalchemy import Connection, func, insert, inspect, select, update

from kubeferry.errors import InputInvalid, IntegrityFailed, Problem
from kubeferry.journal.chain import DecisionLink, first_break
from kubeferry.journal.engine import RESTORE
from kubeferry.journal.records import in_turn
from kubeferry.journal.schema import DECIDED, DECISION
from kubeferry.life.decisions import Decided, Decision


def has_room(db: Connection) -> bool:
    """Whether there are tables for decisions that this user may read."""
    if not all(inspect(db).has_table(table.name) for table in (DECISION, DECIDED)):
        return False
    if db.dialect.name != "postgresql":
        return True
    rights = (func.has_table_privilege(table.name, "SELECT") for table in (DECISION, DECIDED))
    return all(db.execute(select(*rights)).one())


def no_room(name: str) -> InputInvalid:
    """The error where there are none."""
    fix = "Let the owner of its tables run `kubeferry status` once, and give this user his rights on those it makes."
    problem = Problem(name, "it was made by an earlier kubeferry, and this user may not add to it", fix)
    return InputInvalid("the journal has no place for what persons decide", [problem])


def record(db: Connection, name: str, plan: str, what: Decided, at: str) -> Decision:
    """Append a decision to those of its plan. Raises IntegrityFailed where they are damaged."""
    in_turn(db, f"decisions of {plan}")
    before = of_plan(db, name, plan)
    seq, previous = (before[-1].seq, before[-1].digest) if before else (0, "")
    link = DecisionLink(plan, seq + 1, what.kind, what.model_dump_json(by_alias=True), at)
    digest = link.digest(previous)
    db.execute(
        insert(DECISION).values(
            plan=plan, seq=link.seq, kind=link.kind, content=link.content, at=link.at, digest=digest
        )
    )
    end = {"seq": link.seq, "digest": digest}
    if before:
        db.execute(update(DECIDED).where(DECIDED.c.plan == plan).values(**end))
    else:
        db.execute(insert(DECIDED).values(plan=plan, **end))
    return Decision(plan, link.seq, at, what, digest)


def of_plan(db: Connection, name: str, plan: str) -> list[Decision]:
    """The decisions of a plan in order, with their chain looked through. `name` is the journal's, for errors."""
    rows = db.execute(select(DECISION).where(DECISION.c.plan == plan).order_by(DECISION.c.seq)).all()
    end = db.execute(select(DECIDED.c.seq, DECIDED.c.digest).where(DECIDED.c.plan == plan)).one_or_none()
    links = [(DecisionLink(row.plan, row.seq, row.kind, row.content, row.at), row.digest) for row in rows]
    if problem := first_break(links, *(end or (0, "")), noun="decision"):
        raise IntegrityFailed("the journal is damaged", why=f"{name}: of plan {plan[:12]}, {problem}", fix=RESTORE)
    return [Decision(link.plan, link.seq, link.at, _content(link, name), digest) for link, digest in links]


def _content(link: DecisionLink, name: str) -> Decided:
    try:
        return Decided.model_validate_json(link.content)
    except ValidationError as error:
        why = f"decision {link.seq} of plan {link.plan[:12]} ({link.kind}) is none that this version knows"
        problem = Problem(name, why, "Use the kubeferry that wrote it, or a newer one.")
        raise InputInvalid("the journal cannot be read", [problem]) from error
