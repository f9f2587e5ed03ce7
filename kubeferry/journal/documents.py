"""What a plan is made of and what is said of it, kept in the journal: an inventory, a policy, an assessment.

A chain of deployments runs on several workers, which share no disk but the journal: each step finds here, by name or
digest, what the one before it has left. A file is the person's own copy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, inspect, select, update

from kubeferry.errors import InputInvalid, PermanentError, Problem
from kubeferry.journal.records import SHORTEST_DIGEST, insert_once
from kubeferry.journal.schema import DOCUMENT
from kubeferry.words import meant


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A document as it was kept. `digest` is the SHA-256 of its kind, name and text."""

    digest: str
    kind: str
    name: str
    text: str
    at: str


def keep(db: Connection, kind: str, name: str, text: str, at: str) -> str:
    """Keep a document, as the newest of its kind and name; returns its digest."""
    _require_table(db)
    digest = hashlib.sha256(f"{kind}/{name}/{text}".encode()).hexdigest()
    insert_once(db, DOCUMENT, digest=digest, kind=kind, name=name, text=text, at=at)
    db.execute(update(DOCUMENT).where(DOCUMENT.c.digest == digest).values(at=at))
    return digest


def find(db: Connection, kind: str, named: str) -> KeptDocument:
    """The newest document of this name, or the one of this digest. Raises InputInvalid where there is none."""
    _require_table(db)
    of_kind = select(DOCUMENT).where(DOCUMENT.c.kind == kind)
    newest = of_kind.order_by(DOCUMENT.c.at.desc(), DOCUMENT.c.digest)
    row = db.execute(newest.where(DOCUMENT.c.name == named).limit(1)).first()
    if row is None and len(named) >= SHORTEST_DIGEST and named.isalnum():
        found = db.execute(newest.where(DOCUMENT.c.digest.startswith(named)).limit(2)).all()
        row = found[0] if len(found) == 1 else None
    if row is None:
        names = sorted(set(db.execute(select(DOCUMENT.c.name).where(DOCUMENT.c.kind == kind)).scalars()))
        fix = f"{meant(named, names) or 'It holds: ' + (', '.join(names) or 'none') + '.'}"
        problem = Problem(named, "it has none of this name or digest", fix)
        raise InputInvalid(f"the journal holds no such {kind.lower()}", [problem])
    return KeptDocument(row.digest, row.kind, row.name, row.text, row.at)


def _require_table(db: Connection) -> None:
    if not inspect(db).has_table(DOCUMENT.name):
        raise PermanentError(
            "this journal keeps no documents",
            why=f"it has no table {DOCUMENT.name}, and this user may not make it",
            fix="Let the owner of its tables run `kubeferry status` once, then give the others their rights on it.",
        )
