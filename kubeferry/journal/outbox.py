"""What is to be told to whom: messages in order, each until its receiver has taken it.

Messages are derived from events, and not written together with them. A receiver has a place in each machine's line of
events (`kubeferry_told`): up to there he was thought of. Events have numbers without gaps, and a machine's row says
where its line ends, so nothing is passed over, whoever commits when; a number of the whole table would not do, since
PostgreSQL hands those out before it commits. Messages and the new place are written in one transaction, under the lock
of the receiver's row: killed before it, the same is derived again; after it, never again. So an append knows no
receiver, costs a move nothing, and whoever reads the journal later tells what a runner of an earlier version wrote.

One process at a time tells a receiver (`turn`), so he hears in order. A message that was sent and whose record was cut
off is sent again under the same id: at least once, and the id says that it is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, insert, inspect, literal, select, update

from kubeferry.errors import Fenced, InputInvalid, Problem
from kubeferry.journal.engine import clock, iso
from kubeferry.journal.leases import Owner, describe, is_dead
from kubeferry.journal.records import insert_once
from kubeferry.journal.registry import Registry
from kubeferry.journal.schema import EVENT, MACHINE, OUTBOX, RECEIVER, TOLD

TURN_SECONDS = 120.0  # longer than one message may take
MOST_IN_DIGEST = 200
WAITING, DELIVERED, UNDELIVERABLE = "waiting", "delivered", "undeliverable"

_TABLES = (RECEIVER.name, TOLD.name, OUTBOX.name)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """Events of a machine that a receiver was not thought of for: those after `before`, up to `until`; of the kinds
    that he is told of, `seqs`."""

    plan: str
    machine: str
    before: int
    until: int
    seqs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be. `key` is its id, the same whoever derives it; `machine` is empty where it is about none."""

    key: str
    plan: str
    machine: str
    wave: str
    body: Body


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to tell one receiver, until it runs out or is given back."""

    receiver: str
    fence: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent next, as one message: one, or, as a `digest`, several of a wave."""

    key: str
    bodies: tuple[Body, ...]
    ids: tuple[int, ...]
    tries: int
    digest: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """What of a receiver is not delivered: how many messages wait, since when, how often the first was tried, why it
    was not taken, and when it is tried again; and how many were set aside. Times are UTC, ISO 8601."""

    receiver: str
    waiting: int = 0
    oldest_at: str = ""
    tries: int = 0
    error: str = ""
    next_at: str = ""
    undeliverable: int = 0
    refusal: str = ""


class Outbox(Registry):
    """The outbox of one open journal; threads may share it. All methods raise KubeferryError only."""

    _there = False

    def kept(self) -> bool:
        """Whether this journal has an outbox for this user: none where he may make no tables, and nobody made them for
        him, or gave him no right to them. Once it is there, it stays."""
        if not self._there:
            with self._reading() as db:
                there = set(inspect(db).get_table_names()).issuperset(_TABLES)
                self._there = there and _is_usable(db)
        return self._there

    # --- what is to be told --------------------------------------------------------------------------------------

    def know(self, receivers: Iterable[str]) -> None:
        """From now on these are told of what happens; one that was known already, from where he was."""
        if not self.kept():
            raise _no_outbox(self._name)
        with self._reading() as db:
            new = sorted(set(receivers) - set(db.execute(select(RECEIVER.c.name)).scalars()))
        for name in new:
            with self._writing() as db:
                if insert_once(db, RECEIVER, name=name, since=iso(clock(db)), fence=0, expires_at=""):
                    ends = select(literal(name), MACHINE.c.plan, MACHINE.c.machine, MACHINE.c.seq)
                    columns = ["receiver", "plan", "machine", "seq"]
                    db.execute(insert(TOLD).from_select(columns, ends.where(MACHINE.c.seq > 0)))

    def news(self, receiver: str, kinds: Iterable[str]) -> list[News]:
        """What happened to each machine since the receiver was thought of, those first of which something is told, in
        the order in which it happened."""
        place = func.coalesce(TOLD.c.seq, 0)
        mine = and_(TOLD.c.receiver == receiver, TOLD.c.plan == MACHINE.c.plan, TOLD.c.machine == MACHINE.c.machine)
        moved = MACHINE.outerjoin(TOLD, mine)
        later = and_(EVENT.c.plan == MACHINE.c.plan, EVENT.c.machine == MACHINE.c.machine, EVENT.c.seq > place)
        ends = select(MACHINE.c.plan, MACHINE.c.machine, place, MACHINE.c.seq).select_from(moved)
        told = select(EVENT.c.plan, EVENT.c.machine, EVENT.c.seq).select_from(moved.join(EVENT, later))
        told = told.where(MACHINE.c.seq > place, EVENT.c.kind.in_(list(kinds))).order_by(EVENT.c.at, EVENT.c.id)
        with self._reading() as db:
            rows = {(row[0], row[1]): News(*row) for row in db.execute(ends.where(MACHINE.c.seq > place))}
            found: dict[tuple[str, str], list[int]] = {}
            for plan, machine, seq in db.execute(told):
                found.setdefault((plan, machine), []).append(seq)
        order = [*found, *(key for key in rows if key not in found)]
        return [replace(rows[key], seqs=tuple(sorted(found.get(key, ())))) for key in order if key in rows]

    def add(self, receiver: str, news: Sequence[News], drafts: Sequence[Draft]) -> int:
        """Put these messages into the outbox, and remember that the receiver was thought of for these news. Where
        another process was quicker, nothing is. Returns how many were put there."""
        with self._writing() as db:
            self._locked_receiver(db, receiver)
            query = select(TOLD.c.plan, TOLD.c.machine, TOLD.c.seq).where(TOLD.c.receiver == receiver)
            plans = {one.plan for one in news}
            places = {(row.plan, row.machine): row.seq for row in db.execute(query.where(TOLD.c.plan.in_(plans)))}
            mine = [one for one in news if places.get((one.plan, one.machine), 0) == one.before]
            for one in mine:
                where = {"receiver": receiver, "plan": one.plan, "machine": one.machine}
                if one.before or (one.plan, one.machine) in places:
                    same = (TOLD.c[name] == value for name, value in where.items())
                    db.execute(update(TOLD).where(*same).values(seq=one.until))
                else:
                    db.execute(insert(TOLD).values(**where, seq=one.until))
            taken = {(one.plan, one.machine) for one in mine}
            kept = [draft for draft in drafts if (draft.plan, draft.machine) in taken]
            return sum(self._put(db, receiver, draft) for draft in kept)

    def post(self, receiver: str, draft: Draft) -> bool:
        """Put a message into the outbox that comes of no event; the same again is one. Whether it is new."""
        with self._writing() as db:
            self._locked_receiver(db, receiver)
            return self._put(db, receiver, draft)

    def _put(self, db: Connection, receiver: str, draft: Draft) -> bool:
        text = json.dumps(draft.body, ensure_ascii=False)
        told = {"key": draft.key, "plan": draft.plan, "wave": draft.wave, "body": text, "state": WAITING}
        now = iso(clock(db))
        return insert_once(db, OUTBOX, receiver=receiver, made_at=now, tries=0, digest="", next_at="", error="", **told)

    # --- telling it ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def turn(self, receiver: str) -> Iterator[Turn | None]:
        """Be the one who tells a receiver; None where another one is at it. It is renewed with each message."""
        owner = str(Owner.here())
        with self._writing() as db:
            row, now = self._locked_receiver(db, receiver), clock(db)
            turn = None
            if row.owner is None or is_dead(row.owner) or row.expires_at <= iso(now):
                turn = Turn(receiver, row.fence + 1)
                until = iso(now + timedelta(seconds=TURN_SECONDS))
                mine = update(RECEIVER).where(RECEIVER.c.name == receiver)
                db.execute(mine.values(owner=owner, fence=turn.fence, expires_at=until))
        try:
            yield turn
        finally:
            if turn:
                mine = update(RECEIVER).where(RECEIVER.c.name == receiver, RECEIVER.c.fence == turn.fence)
                with self._writing() as db:
                    db.execute(mine.values(owner=None, expires_at=""))

    def next(self, turn: Turn, now: str, digest_above: int) -> Parcel | None:
        """What is to be sent now; None where nothing is due. What belongs together is told together from then on, under
        one id, however often it is tried."""
        with self._ours(turn) as db:
            first = db.execute(_waiting(turn.receiver).limit(1)).first()
            if first is None or first.next_at > now:
                return None
            if not first.digest:
                alike = (OUTBOX.c.plan == first.plan, OUTBOX.c.wave == first.wave, OUTBOX.c.digest == "")
                due = db.execute(_waiting(turn.receiver).where(*alike).limit(MOST_IN_DIGEST)).all()
                if len(due) <= digest_above:
                    return _parcel(first.key, [first], digest=False)
                key = hashlib.sha256("\n".join(["digest", *(row.key for row in due)]).encode()).hexdigest()[:32]
                together = update(OUTBOX).where(OUTBOX.c.id.in_([row.id for row in due]))
                db.execute(together.values(digest=key))
                return _parcel(key, due, digest=True)
            same = _waiting(turn.receiver).where(OUTBOX.c.digest == first.digest)
            return _parcel(first.digest, db.execute(same).all(), digest=True)

    def delivered(self, turn: Turn, parcel: Parcel, note: str = "") -> None:
        """The receiver has taken it. Raises Fenced where another one tells him now: he may hear it again."""
        with self._ours(turn) as db:
            done = {"state": DELIVERED, "delivered_at": iso(clock(db)), "tries": parcel.tries + 1, "error": note}
            db.execute(update(OUTBOX).where(OUTBOX.c.id.in_(parcel.ids)).values(done))

    def failed(self, turn: Turn, parcel: Parcel, error: str, next_at: str) -> None:
        """He has not; it is tried again no sooner than `next_at`. Raises Fenced."""
        with self._ours(turn) as db:
            again = {"tries": parcel.tries + 1, "error": error, "next_at": next_at}
            db.execute(update(OUTBOX).where(OUTBOX.c.id.in_(parcel.ids)).values(again))

    def set_aside(self, turn: Turn, parcel: Parcel, error: str) -> None:
        """He never will: what comes after it is told, and this not, until somebody asks for it (`again`)."""
        with self._ours(turn) as db:
            aside = {"state": UNDELIVERABLE, "tries": parcel.tries + 1, "error": error}
            db.execute(update(OUTBOX).where(OUTBOX.c.id.in_(parcel.ids)).values(aside))

    def again(self, receivers: Iterable[str]) -> int:
        """What was set aside, and what waits for its next try, is due now. Returns how many messages that are."""
        chosen = OUTBOX.c.receiver.in_(list(receivers))
        aside = (chosen, OUTBOX.c.state == UNDELIVERABLE)
        with self._writing() as db:
            found = int(db.execute(select(func.count()).where(*aside)).scalar_one())
            db.execute(update(OUTBOX).where(*aside).values(state=WAITING, tries=0, next_at=""))
            db.execute(update(OUTBOX).where(chosen, OUTBOX.c.state == WAITING).values(next_at=""))
        return found

    def queues(self) -> list[Queue]:
        """What is not delivered, by receiver; none where nobody was ever to be told."""
        if not self.kept():
            return []
        with self._reading() as db:
            return [
                self._queue(db, name)
                for name in db.execute(select(RECEIVER.c.name).order_by(RECEIVER.c.name)).scalars()
            ]

    def _queue(self, db: Connection, receiver: str) -> Queue:
        mine = OUTBOX.c.receiver == receiver
        count = select(OUTBOX.c.state, func.count()).where(mine, OUTBOX.c.state != DELIVERED).group_by(OUTBOX.c.state)
        counts: dict[str, int] = {row[0]: row[1] for row in db.execute(count)}
        first = db.execute(_waiting(receiver).limit(1)).first()
        aside = select(OUTBOX.c.error).where(mine, OUTBOX.c.state == UNDELIVERABLE).order_by(OUTBOX.c.id.desc())
        refusal = db.execute(aside.limit(1)).scalar_one_or_none() or ""
        if first is None:
            return Queue(receiver, undeliverable=counts.get(UNDELIVERABLE, 0), refusal=refusal)
        return Queue(
            receiver,
            waiting=counts[WAITING],
            oldest_at=first.made_at,
            tries=first.tries,
            error=first.error,
            next_at=first.next_at,
            undeliverable=counts.get(UNDELIVERABLE, 0),
            refusal=refusal,
        )

    # --- inside --------------------------------------------------------------------------------------------------

    def _locked_receiver(self, db: Connection, receiver: str) -> Row[Any]:
        return db.execute(select(RECEIVER).where(RECEIVER.c.name == receiver).with_for_update()).one()

    @contextlib.contextmanager
    def _ours(self, turn: Turn) -> Iterator[Connection]:
        """A write of the one whose turn it is; it is his for as long as it was at first."""
        with self._writing() as db:
            row = self._locked_receiver(db, turn.receiver)
            if row.fence != turn.fence or row.owner is None:
                raise _overtaken(turn, row.owner)
            until = iso(clock(db) + timedelta(seconds=TURN_SECONDS))
            db.execute(update(RECEIVER).where(RECEIVER.c.name == turn.receiver).values(expires_at=until))
            yield db


def _is_usable(db: Connection) -> bool:
    if db.dialect.name != "postgresql":
        return True
    rights = [func.has_table_privilege(table, right) for table in _TABLES for right in ("SELECT", "INSERT", "UPDATE")]
    numbers = func.has_sequence_privilege(func.pg_get_serial_sequence(OUTBOX.name, "id"), "USAGE")
    return all(db.execute(select(*rights, numbers)).one())


def _waiting(receiver: str) -> Select[Any]:
    return select(OUTBOX).where(OUTBOX.c.receiver == receiver, OUTBOX.c.state == WAITING).order_by(OUTBOX.c.id)


def _parcel(key: str, rows: Sequence[Row[Any]], *, digest: bool) -> Parcel:
    bodies = tuple(json.loads(row.body) for row in rows)
    return Parcel(key, bodies, tuple(row.id for row in rows), max(row.tries for row in rows), digest)


def _overtaken(turn: Turn, owner: str | None) -> Fenced:
    return Fenced(
        f"another process tells {turn.receiver} now",
        why=f"{describe(owner)} took over" if owner else "this one's turn ran out",
        fix="Nothing is to be done: what was not recorded is told again, under the same id.",
    )


def _no_outbox(name: str) -> InputInvalid:
    what = "it has no tables for one, or its user has no right to them"
    fix = (
        "Let the owner of its tables run `kubeferry status` once, then grant SELECT, INSERT and UPDATE on "
        f"{', '.join(_TABLES)} and USAGE on {OUTBOX.name}_id_seq."
    )
    return InputInvalid("the journal has no outbox", [Problem(name, what, fix)])
