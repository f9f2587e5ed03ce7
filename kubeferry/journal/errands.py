"""Runs of machines that one process asks of others, and what came of them.

Whoever carries the word from one to the other, that a run is wanted, is no part of it: who takes it, who is alive, who
is to stop and what came of it stands here.

    open ──> taken ──> ended          who takes it says now and then that he lives; who asked, that he still wants it
      └────> withdrawn                an open one that nobody wants any more is taken by nobody
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine, Row, Select, Update, delete, inspect, select, update

from kubeferry.errors import PermanentError
from kubeferry.journal.engine import clock, iso, reading, translated, writing
from kubeferry.journal.leases import Owner, describe, is_dead
from kubeferry.journal.schema import ERRAND

OPEN, TAKEN, ENDED, WITHDRAWN = "open", "taken", "ended", "withdrawn"
WANTED_SECONDS = 120.0  # so long after its asker was heard of last an errand may still be taken
LOOKED_AT = 10  # open ones that are tried, where others try at the same time
KEPT_DAYS = 30  # so long after nobody wants them any more they go: what came of the machines stands in their events
ALIVE_SECONDS = 90.0  # so long after its taker was heard of last it counts as under way: its leases have run out


@dataclass(frozen=True, slots=True)
class Errand:
    """One that was asked for. `lost`: whoever took it is not heard of any more; `stop`: it is to stop."""

    id: str
    asker: str
    plan: str
    unit: tuple[str, ...]
    goal: str
    state: str
    owner: str = ""
    lost: bool = False
    stop: bool = False
    result: str = ""

    @property
    def who(self) -> str:
        """Who took it, for people."""
        return describe(self.owner) if self.owner else ""


class Errands:
    """The errands of a journal; threads may share it. All methods raise KubeferryError only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._name = engine.url.render_as_string(hide_password=True)
        self._there = self._swept = False

    def ask(self, asker: str, plan: str, unit: Sequence[str], goal: str) -> Errand:
        """Ask for a run of these machines, which move as one. Where one is under way that somebody has taken and who is
        alive, whoever asked for it, that one is meant. Raises PermanentError where the journal has no place for it."""
        with self._writing() as db:
            under_way = select(ERRAND).where(ERRAND.c.plan == plan, ERRAND.c.state == TAKEN)
            for row in db.execute(under_way.where(ERRAND.c.unit == json.dumps(list(unit)), ERRAND.c.goal == goal)):
                if not (found := _errand(row, iso(clock(db)))).lost:
                    return found
            new, now = uuid.uuid4().hex, clock(db)
            if not self._swept:
                old = ERRAND.c.wanted_until < iso(now - timedelta(days=KEPT_DAYS))
                db.execute(delete(ERRAND).where(ERRAND.c.state != TAKEN, old))
                self._swept = True
            db.execute(
                ERRAND.insert().values(
                    id=new,
                    asker=asker,
                    plan=plan,
                    unit=json.dumps(list(unit)),
                    goal=goal,
                    state=OPEN,
                    asked_at=iso(now),
                    wanted_until=iso(now + timedelta(seconds=WANTED_SECONDS)),
                )
            )
        return Errand(new, asker, plan, tuple(unit), goal, OPEN)

    def take(self, errand: str) -> Errand | None:
        """Take one, for this process, which says from now on that it lives (`alive`). None where nobody wants it any
        more, or somebody else has it."""
        with self._writing() as db:
            now = clock(db)
            values = {"state": TAKEN, "owner": str(Owner.here()), "taken_at": iso(now), "alive_until": _until(db)}
            wanted = _of(errand).where(ERRAND.c.state == OPEN, ERRAND.c.wanted_until > iso(now))
            if not _done(db, wanted.values(**values)):
                return None
            return _errand(db.execute(_one(errand)).one(), iso(now))

    def take_another(self, errand: str) -> Errand | None:
        """The same of the oldest one that nobody has taken, of whoever asked for this one, and for the same goal."""
        with translated(self._name), reading(self._engine) as db:
            first = db.execute(_one(errand)).one_or_none()
            if first is None:
                return None
            same = (ERRAND.c.asker == first.asker, ERRAND.c.plan == first.plan, ERRAND.c.goal == first.goal)
            query = select(ERRAND.c.id).where(*same, ERRAND.c.state == OPEN).order_by(ERRAND.c.asked_at, ERRAND.c.id)
            found = db.execute(query.limit(LOOKED_AT)).scalars().all()
        return next(filter(None, map(self.take, found)), None)

    def alive(self, errand: str) -> bool:
        """Say that whoever has taken it lives; whether it is to stop."""
        with self._writing() as db:
            db.execute(_of(errand).where(ERRAND.c.state == TAKEN).values(alive_until=_until(db)))
            return bool(db.execute(select(ERRAND.c.stop).where(ERRAND.c.id == errand)).scalar_one_or_none())

    def end(self, errand: str, result: str) -> None:
        """Say what came of it."""
        with self._writing() as db:
            values = {"state": ENDED, "result": result, "ended_at": iso(clock(db))}
            db.execute(_of(errand).where(ERRAND.c.state == TAKEN).values(**values))

    def look(self, asker: str, errands: Collection[str]) -> dict[str, Errand]:
        """How these stand, which their asker still wants."""
        with self._writing() as db:
            until = iso(clock(db) + timedelta(seconds=WANTED_SECONDS))
            mine = update(ERRAND).where(ERRAND.c.asker == asker, ERRAND.c.state == OPEN)
            db.execute(mine.values(wanted_until=until))
            now = iso(clock(db))
            rows = db.execute(select(ERRAND).where(ERRAND.c.id.in_(errands))).all()
        return {row.id: _errand(row, now) for row in rows}

    def withdraw(self, errand: str) -> bool:
        """Nobody is to take it any more; False where somebody has."""
        with self._writing() as db:
            values = {"state": WITHDRAWN, "ended_at": iso(clock(db))}
            return _done(db, _of(errand).where(ERRAND.c.state == OPEN).values(**values))

    def stop(self, errands: Collection[str]) -> None:
        """Ask whoever has taken these to stop at a safe point."""
        with self._writing() as db:
            db.execute(update(ERRAND).where(ERRAND.c.id.in_(errands), ERRAND.c.state == TAKEN).values(stop=1))

    def of_plan(self, plan: str) -> list[Errand]:
        """All that were asked for, the oldest first; none where the journal has no place for them."""
        with translated(self._name), reading(self._engine) as db:
            if not inspect(db).has_table(ERRAND.name):
                return []
            now = iso(clock(db))
            query = select(ERRAND).where(ERRAND.c.plan == plan).order_by(ERRAND.c.asked_at, ERRAND.c.id)
            return [_errand(row, now) for row in db.execute(query)]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with translated(self._name), writing(self._engine) as db:
            self._there = self._there or inspect(db).has_table(ERRAND.name)
            if not self._there:
                raise PermanentError(
                    "this journal cannot hand runs of machines to other processes",
                    why=f"it has no table {ERRAND.name}, and this user may not make it",
                    fix="Let the owner of its tables run `kubeferry status` once, then give the others their rights on "
                    "it; or take `spread` out of the configuration.",
                )
            yield db


def _of(errand: str) -> Update:
    return update(ERRAND).where(ERRAND.c.id == errand)


def _one(errand: str) -> Select[tuple[object, ...]]:
    return select(ERRAND).where(ERRAND.c.id == errand)


def _done(db: Connection, statement: Update) -> bool:
    return bool(db.execution_options(preserve_rowcount=True).execute(statement).rowcount)


def _until(db: Connection) -> str:
    return iso(clock(db) + timedelta(seconds=ALIVE_SECONDS))


def _errand(row: Row[tuple[object, ...]], now: str) -> Errand:
    owner = row.owner or ""
    lost = row.state == TAKEN and (row.alive_until <= now or is_dead(owner))
    unit = tuple(json.loads(row.unit))
    return Errand(row.id, row.asker, row.plan, unit, row.goal, row.state, owner, lost, bool(row.stop), row.result)
