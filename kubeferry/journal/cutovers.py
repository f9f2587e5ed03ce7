"""Which cutovers have begun and come to no end, and which machines have moved: asked of all plans at once.

It is a list of where to look, made of the kinds of events alone: whoever goes there reads the machine's events, and
checks them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from kubeferry.journal.schema import EVENT, IS_TURN
from kubeferry.life.event_kinds import EventKind

_ENDS = (EventKind.COMMITTED, EventKind.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class Cutover:
    """The newest cutover of a machine by a plan, by its digest. `ended` with the commit or with the way back; `moved`:
    with the commit."""

    plan: str
    machine: str
    ended: bool
    moved: bool


def cutovers(db: Connection) -> list[Cutover]:
    """All of them, in the order of plans and machines."""
    newest: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    grouped = select(EVENT.c.plan, EVENT.c.machine, EVENT.c.kind, func.max(EVENT.c.seq)).where(IS_TURN)
    for plan, machine, kind, seq in db.execute(grouped.group_by(EVENT.c.plan, EVENT.c.machine, EVENT.c.kind)):
        newest[plan, machine][kind] = seq
    return [_cutover(plan, machine, kinds) for (plan, machine), kinds in sorted(newest.items())]


def _cutover(plan: str, machine: str, kinds: dict[str, int]) -> Cutover:
    last = max(kinds, key=kinds.__getitem__)
    return Cutover(plan, machine, ended=last in _ENDS, moved=last == EventKind.COMMITTED)
