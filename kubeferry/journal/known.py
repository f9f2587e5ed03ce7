"""Which machine each plan means by a name: a row a machine, so that nobody reads a plan's document to ask it.

An earlier kubeferry registered a plan without these rows; its document is read for them then, once. So it is in a
journal whose user may not make the table for them, or has no right to it.
"""

from __future__ import annotations

import threading
from dataclasses import astuple, dataclass

from sqlalchemy import Connection, func, insert, inspect, select

from kubeferry.documents import Outline, Plan, outline_in
from kubeferry.errors import KubeferryError
from kubeferry.journal.schema import KNOWN, PLAN


@dataclass(frozen=True, slots=True)
class KnownMachine:
    """What a plan says of a machine: which one it is at its source, and its place at the target."""

    source: str
    id: str
    namespace: str
    target_name: str


class KnownMachines:
    """The machines of a journal's plans; threads may share it."""

    def __init__(self) -> None:
        self._there = False
        self._read: dict[str, dict[str, KnownMachine]] = {}
        self._lock = threading.Lock()

    def of(self, db: Connection, plan: str, machine: str) -> KnownMachine | None:
        """A plan's machine; None where its document cannot be read, or has none of this name."""
        if not self._kept(db):
            return self._documented(db, plan).get(machine)
        mine = (KNOWN.c.plan == plan, KNOWN.c.machine == machine)
        row = db.execute(select(KNOWN.c.source, KNOWN.c.source_id, KNOWN.c.namespace, KNOWN.c.target_name).where(*mine))
        if (found := row.one_or_none()) is not None:
            return KnownMachine(*found)
        return None if _is_listed(db, plan) else self._documented(db, plan).get(machine)

    def list(self, db: Connection, plan: Plan) -> None:
        """Write down which machines a plan means."""
        if plan.entries and self._kept(db) and not _is_listed(db, plan.digest):
            names = ("source", "source_id", "namespace", "target_name")
            known = _machines_of(plan)
            db.execute(
                insert(KNOWN),
                [
                    {"plan": plan.digest, "machine": name, **dict(zip(names, astuple(one), strict=True))}
                    for name, one in known.items()
                ],
            )

    def _kept(self, db: Connection) -> bool:
        """Whether there is a table for these rows that this user may use; once it is there, it stays."""
        self._there = self._there or (inspect(db).has_table(KNOWN.name) and _is_usable(db))
        return self._there

    def _documented(self, db: Connection, plan: str) -> dict[str, KnownMachine]:
        with self._lock:
            if plan not in self._read:
                document = db.execute(select(PLAN.c.document).where(PLAN.c.digest == plan)).scalar_one_or_none()
                self._read[plan] = _machines_in(document or "")
            return self._read[plan]


def _is_usable(db: Connection) -> bool:
    if db.dialect.name != "postgresql":
        return True
    rights = (func.has_table_privilege(KNOWN.name, right) for right in ("SELECT", "INSERT"))
    return all(db.execute(select(*rights)).one())


def _is_listed(db: Connection, plan: str) -> bool:
    return db.execute(select(KNOWN.c.plan).where(KNOWN.c.plan == plan).limit(1)).first() is not None


def _machines_in(document: str) -> dict[str, KnownMachine]:
    try:
        return _machines_of(outline_in(document))
    except KubeferryError:
        return {}


def _machines_of(plan: Plan | Outline) -> dict[str, KnownMachine]:
    return {
        entry.name: KnownMachine(entry.machine.source, entry.machine.id, entry.namespace, entry.target_name)
        for entry in plan.entries
    }
