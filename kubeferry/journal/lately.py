"""What was recorded lately, of whichever machines: asked for by kind of event and time, without reading them all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select

from kubeferry.journal.engine import clock
from kubeferry.journal.records import begun_between
from kubeferry.journal.registry import Registry
from kubeferry.journal.schema import EVENT
from kubeferry.life.event_kinds import EventKind


class Lately(Registry):
    """One open journal as far as it tells what happened when; threads may share it."""

    def now(self) -> datetime:
        """The time that all runners of this journal share, in UTC."""
        with self._reading() as db:
            return clock(db)

    def begun(self, plan: str, since: datetime, until: datetime) -> frozenset[str]:
        """The machines of a plan of which a cutover began in this time, its end not included."""
        with self._reading() as db:
            return begun_between(db, plan, since, until)

    def newest(self, kinds: Collection[EventKind], most: int, *, plan: str | None = None) -> list[tuple[str, str]]:
        """Plan and machine of those of which one of these was recorded last, the newest first; of one plan, or all."""
        last = func.max(EVENT.c.id)
        query = select(EVENT.c.plan, EVENT.c.machine).where(EVENT.c.kind.in_([str(kind) for kind in kinds]))
        if plan is not None:
            query = query.where(EVENT.c.plan == plan)
        with self._reading() as db:
            rows = db.execute(query.group_by(EVENT.c.plan, EVENT.c.machine).order_by(last.desc()).limit(most)).all()
        return [(row.plan, row.machine) for row in rows]
