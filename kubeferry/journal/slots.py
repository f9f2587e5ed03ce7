"""Slots, counted over all runners: a row for each that a machine has, which counts while its lease lives.

Nobody has to give one back. A runner that ends gives its lease back, one that was killed lets it run out, and what is
left of rows goes when the next one takes a slot of the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, and_, delete, insert, inspect, select

from kubeferry.errors import PermanentError
from kubeferry.journal.engine import clock, iso
from kubeferry.journal.lately import Lately
from kubeferry.journal.leases import Lease
from kubeferry.journal.records import in_turn
from kubeferry.journal.schema import MACHINE, SLOT
from kubeferry.schedule.slots import Full, Slot

Needed = Mapping[str, Sequence[Slot]]
"""By machine, what it needs a slot of."""
_Taken = Mapping[str, set[tuple[str, str]]]


class Slots(Lately):
    """One open journal as far as its slots go; threads may share it."""

    def take_slots(self, leases: Iterable[Lease], needed: Needed, *, regardless: bool = False) -> tuple[Full, ...]:
        """Take all that these machines need, which move as one, or none of it: then what is full is returned. Runners
        that ask at once are answered one after the other.

        `regardless`: they have them whether there are any left or not, and count for others. So have machines that are
        more than there are of a slot, where nobody else has one: they would wait for ever. Raises PermanentError where
        the journal has no place for slots.
        """
        owned = {lease.machine: lease for lease in leases}
        plan = next(iter(owned.values())).plan
        with self._writing() as db:
            _require_table(db)
            in_turn(db, "kubeferry slots")
            taken = _taken(db, needed)
            if (full := _full(taken, plan, needed)) and not regardless:
                return full
            _sweep(db, taken)
            rows = [
                {"slot": slot.key, "plan": plan, "machine": name, "fence": lease.fence, "at": iso(clock(db))}
                for name, lease in owned.items()
                for slot in needed.get(name, ())
            ]
            for row in rows:
                db.execute(delete(SLOT).where(*(SLOT.c[one] == row[one] for one in ("slot", "plan", "machine"))))
            if rows:
                db.execute(insert(SLOT), rows)
        return ()

    def all_full_slots(self, plan: str, needed: Sequence[Needed]) -> list[tuple[Full, ...]]:
        """What is full at this moment of what machines need, for each of several that move as one; nothing is taken."""
        with self._reading() as db:
            if not inspect(db).has_table(SLOT.name):
                return [() for _ in needed]
            taken = _taken(db, *needed)
        return [_full(taken, plan, one) for one in needed]


def _taken(db: Connection, *needed: Needed) -> _Taken:
    """By slot the machines that have it, with their plans: those whose lease lives."""
    keys = {slot.key for one in needed for slots in one.values() for slot in slots}
    same = and_(MACHINE.c.plan == SLOT.c.plan, MACHINE.c.machine == SLOT.c.machine, MACHINE.c.fence == SLOT.c.fence)
    lives = (MACHINE.c.owner.is_not(None), MACHINE.c.expires_at > iso(clock(db)))
    query = select(SLOT.c.slot, SLOT.c.plan, SLOT.c.machine).select_from(SLOT.join(MACHINE, same)).where(*lives)
    found: dict[str, set[tuple[str, str]]] = defaultdict(set, {key: set() for key in keys})
    for row in db.execute(query.where(SLOT.c.slot.in_(keys))):
        found[row.slot].add((row.plan, row.machine))
    return found


def _full(taken: _Taken, plan: str, needed: Needed) -> tuple[Full, ...]:
    asked: dict[Slot, set[tuple[str, str]]] = defaultdict(set)
    for name, slots in needed.items():
        for slot in slots:
            asked[slot].add((plan, name))
    found = ((slot, taken[slot.key] - own, len(own)) for slot, own in asked.items())
    return tuple(
        Full(slot, tuple(sorted(machine for _plan, machine in others)))
        for slot, others, number in found
        if others and len(others) + number > slot.most
    )


def _sweep(db: Connection, taken: _Taken) -> None:
    """Rows of these slots that count no more."""
    for key, live in taken.items():
        for row in db.execute(select(SLOT.c.plan, SLOT.c.machine).where(SLOT.c.slot == key)).all():
            if (row.plan, row.machine) not in live:
                mine = (SLOT.c.slot == key, SLOT.c.plan == row.plan, SLOT.c.machine == row.machine)
                db.execute(delete(SLOT).where(*mine))


def _require_table(db: Connection) -> None:
    if not inspect(db).has_table(SLOT.name):
        raise PermanentError(
            "this journal counts no slots",
            why=f"it has no table {SLOT.name}, and this user may not make it",
            fix="Let the owner of its tables run `kubeferry status` once, then give the others their rights on it; or "
            "take the limits per host, wave and storage class out of the configuration.",
        )
