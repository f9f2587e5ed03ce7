"""Sending what is due, to one receiver after the other's fashion: each in order, none waits for another one.

A receiver that is away (no answer, 5xx, 408, 425, 429, a certificate that does not fit) is tried again after 5 seconds,
then twice as long each time, at most every 15 minutes, for as long as it takes; what comes after waits behind it. What
a receiver refuses (any other 4xx, a redirect, 5xx of SMTP) is tried REFUSED_TRIES times, then set aside, and what comes
after is told: one message that a filter does not like must not silence all that follow. It is kept, `status` and
`doctor` say so, and `kubeferry notify --again` sends it after all.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from kubeferry.documents import Config
from kubeferry.documents.notify import NotifyConfig
from kubeferry.errors import Fenced, Problem
from kubeferry.journal import Journal
from kubeferry.journal.engine import iso
from kubeferry.journal.outbox import Outbox, Queue, Turn
from kubeferry.notices.answers import Answer, Fate
from kubeferry.notices.deriving import derive, names_of
from kubeferry.notices.digests import body_of
from kubeferry.notices.notice import Notice, id_of
from kubeferry.notices.receivers import Sending, ways
from kubeferry.outside import clock

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 900.0
REFUSED_TRIES = 5
DELIVER_SECONDS = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """One receiver after a delivery: how many messages it took, and what is left. `busy`: another process is at it.
    `problems` keep everything from it."""

    receiver: str
    sent: int
    left: Queue
    busy: bool = False
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one call came to. `unread`, in words: machines whose events could not be read, so nothing is told of them
    yet."""

    told: tuple[Told, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def sent(self) -> int:
        return sum(one.sent for one in self.told)

    @property
    def waiting(self) -> int:
        return sum(one.left.waiting for one in self.told)

    @property
    def undeliverable(self) -> int:
        return sum(one.left.undeliverable for one in self.told)


def problems(config: Config, environ: Mapping[str, str] = os.environ) -> list[Problem]:
    """What of the settings keeps receivers from being told, all of it: variables that are not set, keys that are
    none."""
    if config.notify is None:
        return []
    return [problem for way in ways(config.notify, environ).values() for problem in way.problems()]


def deliver(
    journal: Journal, config: Config, now: datetime | None = None, *, seconds: float = DELIVER_SECONDS
) -> Delivered:
    """Tell every receiver what is due by `now` (this moment without one). After `seconds` nothing more is begun; what
    has begun may take a minute longer. Several processes may call this at once. No receiver raises anything.

    Raises KubeferryError where the journal does not answer, or has no outbox.
    """
    if config.notify is None:
        return Delivered()
    unread = derive(journal, config.notify)
    for text in unread:
        logger.warning("%s", text)
    until = time.monotonic() + seconds
    found = ways(config.notify, os.environ)
    with ThreadPoolExecutor(max(1, len(found)), thread_name_prefix="notify") as pool:
        tell = partial(_tell, journal.outbox, config.notify, now, until)
        begun = [pool.submit(tell, name, way) for name, way in found.items()]
    return Delivered(tuple(one.result() for one in begun), tuple(unread))


def _tell(outbox: Outbox, settings: NotifyConfig, now: datetime | None, until: float, name: str, way: Sending) -> Told:
    """One receiver, for as long as it takes what is due, and there is time."""
    sent, busy = 0, False
    wrong = tuple(way.problems())
    if not wrong:
        try:
            with outbox.turn(name) as turn:
                busy = turn is None
                while turn and time.monotonic() < until and (came := _next(outbox, settings, turn, way, now)):
                    sent += came is Came.TAKEN
        except Fenced as error:
            logger.info("%s: %s", name, error.reason)
            busy = True
    left = next((one for one in outbox.queues() if one.receiver == name), Queue(name))
    return Told(name, sent, left, busy, wrong)


class Came(StrEnum):
    """What came of a message after which the next one is looked at."""

    TAKEN = "taken"
    SET_ASIDE = "set aside"


def _next(outbox: Outbox, settings: NotifyConfig, turn: Turn, way: Sending, now: datetime | None) -> Came | None:
    """Send what is next; None where nothing more is to be sent now."""
    moment = now or clock.moment()
    parcel = outbox.next(turn, iso(moment), names_of(settings)[turn.receiver].digest_above)
    if parcel is None:
        return None
    answer = way.send(parcel.key, body_of(parcel))
    level = logging.INFO if answer.fate is Fate.TAKEN else logging.WARNING
    logger.log(level, "%s: message %s is %s: %s", turn.receiver, parcel.key, answer.fate, answer.said)
    if answer.fate is Fate.TAKEN:
        outbox.delivered(turn, parcel, answer.said)
        return Came.TAKEN
    if answer.fate is Fate.REFUSED and parcel.tries + 1 >= REFUSED_TRIES:
        outbox.set_aside(turn, parcel, answer.said)
        return Came.SET_ASIDE
    outbox.failed(turn, parcel, answer.said, iso(moment + timedelta(seconds=pause(parcel.tries, answer))))
    return None


def pause(tries: int, answer: Answer) -> float:
    """How long to wait after so many tries before this one, in seconds."""
    ours: float = min(FIRST_PAUSE_SECONDS * 2 ** min(tries, 20), LONGEST_PAUSE_SECONDS)
    return max(ours, answer.wait_seconds)


def try_out(journal: Journal, config: Config) -> dict[str, Answer]:
    """Send each receiver a message that says that it is a test, past the outbox, and what came back."""
    if config.notify is None:
        return {}
    ident = id_of(journal.identity, "test", time.time_ns())
    at = iso(clock.moment())
    notice = Notice(event="test", time=at, id=ident, plan="test", reason="`kubeferry notify --test` was called")
    answers = {}
    for name, way in ways(config.notify, os.environ).items():
        wrong = "; ".join(f"{one.where}: {one.what}" for one in way.problems())
        answers[name] = Answer(Fate.AWAY, f"not tried: {wrong}") if wrong else way.send(ident, notice.body())
    return answers
