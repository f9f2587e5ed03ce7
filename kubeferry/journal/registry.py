"""The database of a journal and the plans that are registered in it: what stands before anything is recorded."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Self

from sqlalchemy import Connection, Engine, select

from kubeferry.documents import JournalConfig, Plan, in_lines
from kubeferry.journal import decided, documents
from kubeferry.journal.documents import KeptDocument
from kubeferry.journal.engine import clock, damaged, iso, open_engine, reading, translated, writing
from kubeferry.journal.known import KnownMachine, KnownMachines
from kubeferry.journal.records import PlanRecord, RegisteredPlan, Versions, insert_once, plan_records, unknown_plan
from kubeferry.journal.schema import DECIDED, MACHINE, META, PLAN
from kubeferry.life.decisions import Decided, Decision


class Registry:
    """One open journal as far as plans go; threads may share it. All methods raise KubeferryError only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._name = engine.url.render_as_string(hide_password=True)
        self._known = KnownMachines()
        self._has_room = False

    @classmethod
    def open(cls, config: JournalConfig) -> Self:
        """The journal that a configuration names, made if it is not there.

        Raises InputInvalid for wrong settings, a damaged file or a newer schema; TransientError when the database does
        not answer.
        """
        return cls(open_engine(config))

    def close(self) -> None:
        """End the connections. Leases stay until they are released or run out."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def versions(self) -> Versions:
        """Which journal this is, and of which version."""
        with self._reading() as db:
            row = db.execute(select(META).order_by(META.c.schema_version.desc())).first()
        if row is None:
            raise damaged(self._name, "its schema version is missing")
        return Versions(self._name, *row)

    @property
    def identity(self) -> str:
        """What tells this journal from others, also after its database was moved or restored; nothing secret."""
        told = self.versions()
        return hashlib.sha256(f"{told.created_at} {told.created_by}".encode()).hexdigest()[:12]

    # --- plans ---------------------------------------------------------------------------------------------------

    def register_plan(self, digest: str, name: str, document: str) -> None:
        """Keep a plan, by its digest, before anything is recorded under it. Doing it again changes nothing."""
        with self._writing() as db:
            insert_once(db, PLAN, digest=digest, name=name, document=document, registered_at=iso(clock(db)))

    def keep_plan(self, plan: Plan) -> None:
        """Register a plan, in the form that is read fast, with which machines it means."""
        if not self._holds(plan.digest):
            self.register_plan(plan.digest, plan.name, in_lines(plan))
        with self._writing() as db:
            self._known.list(db, plan)

    def _holds(self, digest: str) -> bool:
        with self._reading() as db:
            return db.execute(select(PLAN.c.digest).where(PLAN.c.digest == digest)).first() is not None

    def plan(self, digest: str) -> RegisteredPlan:
        """A registered plan. Raises InputInvalid for an unknown one."""
        with self._reading() as db:
            row = db.execute(plan_records().add_columns(PLAN.c.document).where(PLAN.c.digest == digest)).one_or_none()
        if row is None:
            raise unknown_plan(digest)
        return RegisteredPlan(*row)

    def plans(self) -> list[PlanRecord]:
        """All registered plans, without their documents, the oldest first."""
        with self._reading() as db:
            return [PlanRecord(*row) for row in db.execute(plan_records())]

    def plans_of(self, machine: str) -> list[PlanRecord]:
        """The registered plans under which more is recorded of a machine of this name than that it was planned, the
        oldest first."""
        query = plan_records().join(MACHINE, MACHINE.c.plan == PLAN.c.digest)
        with self._reading() as db:
            rows = db.execute(query.where(MACHINE.c.machine == machine, MACHINE.c.seq > 1)).all()
        return [PlanRecord(*row) for row in rows]

    def known(self, plan: str, machine: str) -> KnownMachine | None:
        """Which machine a plan means by a name; None where its document cannot be read, or has none of this name."""
        with self._reading() as db:
            return self._known.of(db, plan, machine)

    # --- what plans are made of ----------------------------------------------------------------------------------

    def keep_document(self, kind: str, name: str, text: str) -> str:
        """Keep an inventory, say, as the newest of its name; returns its digest."""
        with self._writing() as db:
            return documents.keep(db, kind, name, text, iso(clock(db)))

    def document(self, kind: str, named: str) -> KeptDocument:
        """The newest document of a kind by its name, or the one of a digest. Raises InputInvalid for an unknown one."""
        with self._reading() as db:
            return documents.find(db, kind, named)

    # --- what persons decided ------------------------------------------------------------------------------------

    def time(self) -> str:
        """Now, by the clock that all runners share: UTC, ISO 8601, milliseconds."""
        with self._reading() as db:
            return iso(clock(db))

    def decide(self, plan: str, what: Decided) -> Decision:
        """Record what a person decided for a registered plan, durably. Raises InputInvalid for an unknown plan and
        where the journal has no place for decisions; IntegrityFailed where those before it are damaged."""
        with self._writing() as db:
            if db.execute(select(PLAN.c.digest).where(PLAN.c.digest == plan)).first() is None:
                raise unknown_plan(plan)
            if not self._decides(db):
                raise decided.no_room(self._name)
            return decided.record(db, self._name, plan, what, iso(clock(db)))

    def decisions(self, plan: str) -> list[Decision]:
        """What persons decided for a plan, in order. Raises IntegrityFailed if one was edited, reordered or removed."""
        with self._reading() as db:
            return decided.of_plan(db, self._name, plan) if self._decides(db) else []

    def decided_plans(self) -> list[PlanRecord]:
        """The registered plans for which something was decided, the oldest first."""
        with self._reading() as db:
            if not self._decides(db):
                return []
            rows = db.execute(plan_records().join(DECIDED, DECIDED.c.plan == PLAN.c.digest))
            return [PlanRecord(*row) for row in rows]

    def _decides(self, db: Connection) -> bool:
        """Whether there is room for decisions; once there is, there stays."""
        self._has_room = self._has_room or decided.has_room(db)
        return self._has_room

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with translated(self._name), writing(self._engine) as db:
            yield db

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(self._name), reading(self._engine) as db:
            yield db
