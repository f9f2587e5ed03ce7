"""Machines of a run that other processes drive: asked for in the journal, taken by any worker, and waited for there.

Whoever carries the word to the workers (Prefect) is no part of it: who has taken a machine, that he lives and what came
of it stands in the journal. So its server may go away at any time. A machine that was taken goes on; one that was not
waits, and where no worker is there at all, this process drives it itself, and says so.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from flows.migrate import Here, Run
from flows.moves import Move
from flows.results import from_text
from flows.told import NOT_BEGUN, Outcome
from kubeferry.documents import SpreadConfig
from kubeferry.errors import KubeferryError, TransientError
from kubeferry.journal import Errand, Journal
from kubeferry.journal.errands import ENDED, OPEN, TAKEN
from kubeferry.outside import stopping

LOOK_SECONDS = 1.0
SEND_AGAIN_SECONDS = 10.0
ALIVE_EVERY_SECONDS = 5.0
LATER_SECONDS = 2.0
TRIES = 3
"""So often a machine is asked for whose worker was killed."""

Send = Callable[[Errand, int], None]
"""Tell workers of an errand, for the how manieth time. Raises where nobody can be told now."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Asked:
    """One that is waited for. `sent`: how often workers were told of it."""

    errand: Errand
    news: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    sent_at: float = 0.0
    tried_at: float = 0.0
    asked_at: float = field(default_factory=time.monotonic)
    mine: bool = True
    said: str = ""


class Elsewhere:
    """The machines of one run that are driven elsewhere; its threads share it. Use it as a context."""

    def __init__(self, journal: Journal, move: Move, spread: SpreadConfig, send: Send) -> None:
        self.at_once = spread.machines
        self._journal, self._move, self._spread, self._send = journal, move, spread, send
        self._asker = uuid.uuid4().hex
        self._asked: dict[str, _Asked] = {}
        self._lock = threading.Lock()
        self._itself = threading.Semaphore(move.settings.limits.concurrent_machines)
        self._over = threading.Event()
        self._heard_at = time.monotonic()

    def __enter__(self) -> Elsewhere:
        for what, name in ((self._look_on, "looks at what is driven elsewhere"), (self._tell_on, "tells workers")):
            threading.Thread(target=what, name=name, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()

    def driven(self, run: Run, unit: tuple[str, ...], here: Here) -> list[Outcome]:
        """How these machines' run ended, which move as one, whoever drove them: a worker, or `here`. Raises
        KubeferryError where the journal does not answer."""
        lost = ""
        for _ in range(TRIES):
            asked = self._ask(unit)
            try:
                found = self._wait(run, asked)
            finally:
                with self._lock:
                    self._asked.pop(asked.errand.id, None)
            if found is not None and found.state == ENDED:
                return self._told(run, unit, found)
            if found is None:
                return self._drive_here(run, unit, here)
            if found.state != TAKEN:  # it was called off before anybody had taken it
                return [Outcome(one, "stopped", stopping.interrupted()) for one in unit] if lost else []
            lost = found.who
            self._say(run, unit, f"{lost} was at work on it, and is not heard of any more")
            self._free(unit)
        fix = "Look at that worker; then run the same again: it goes on from here."
        what = f"its run was lost {TRIES} times"
        return [Outcome(one, "failed", TransientError(what, why=f"by {lost}", fix=fix, machine=one)) for one in unit]

    def _free(self, unit: tuple[str, ...]) -> None:
        """Who can be seen here to have ended has his leases no longer: the next one may be on another host."""
        for name in unit:
            with contextlib.suppress(KubeferryError):
                self._journal.release(self._journal.acquire(self._move.plan.digest, name))

    def _ask(self, unit: tuple[str, ...]) -> _Asked:
        errand = self._journal.errands.ask(self._asker, self._move.plan.digest, unit, str(self._move.goal))
        asked = _Asked(errand, mine=errand.asker == self._asker)
        with self._lock:
            if not self._asked:
                self._heard_at = time.monotonic()
            self._asked[errand.id] = asked
        return asked

    def _wait(self, run: Run, asked: _Asked) -> Errand | None:
        """The errand once it is ended, lost or withdrawn; None where no worker is there to take it."""
        told_to_stop = False
        while True:
            errand = asked.errand
            if errand.state not in {OPEN, TAKEN} or errand.lost:
                return errand
            try:
                if stopping.requested() and not told_to_stop:
                    told_to_stop = self._call_off(asked)
                elif errand.state == OPEN and self._nobody_comes() and self._journal.errands.withdraw(errand.id):
                    return None
            except KubeferryError as error:  # whoever has it goes on, and is waited for
                logger.warning("the journal does not answer: %s", error.reason)
            if errand.state == TAKEN:
                self._show(run, asked)
            asked.news.wait(LOOK_SECONDS)
            asked.news.clear()

    def _call_off(self, asked: _Asked) -> bool:
        if not self._journal.errands.withdraw(asked.errand.id):
            self._journal.errands.stop([asked.errand.id])
        return True

    def _nobody_comes(self) -> bool:
        return time.monotonic() - self._heard_at > self._spread.take_seconds

    def _show(self, run: Run, asked: _Asked) -> None:
        """Who has it, and where each of its machines stands."""
        with contextlib.suppress(KubeferryError):  # it is looked at again
            for name in asked.errand.unit:
                run.standing[name] = self._journal.state(run.plan.digest, name)
        text = f"{asked.errand.who} is at work on it"
        if asked.said != text:
            asked.said = text
            self._say(run, asked.errand.unit, text)

    def _say(self, run: Run, unit: Sequence[str], text: str) -> None:
        for name in unit:
            logger.info("%s: %s", name, text)
            run.board.action(name, text)

    def _told(self, run: Run, unit: tuple[str, ...], errand: Errand) -> list[Outcome]:
        with contextlib.suppress(KubeferryError):  # what became of them stands in what is told
            for name in unit:
                run.standing[name] = self._journal.state(run.plan.digest, name)
        try:
            found = {one.machine: one for one in from_text(errand.result)}
        except (ValueError, KeyError, TypeError) as error:
            what, fix = f"what {errand.who} says of it cannot be read: {error}", "Use one kubeferry for all workers."
            return [Outcome(name, "failed", TransientError(what, fix=fix, machine=name)) for name in unit]
        return [found.get(name, Outcome(name, NOT_BEGUN)) for name in unit]

    def _drive_here(self, run: Run, unit: tuple[str, ...], here: Here) -> list[Outcome]:
        """Nobody has taken it, nor anything else: as many at a time as a run without workers drives."""
        with self._itself:
            self._say(run, unit, f"no worker has taken it for {self._spread.take_seconds:g} s: it is driven here")
            return here(run, unit)

    # --- the one that looks ------------------------------------------------------------------------------------------

    def _look_on(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._lock:
                waiting = list(self._asked.values())
            if waiting:
                try:
                    self._look(waiting)
                except KubeferryError as error:
                    logger.warning("it is not known how far the workers are: %s", error.reason)

    def _look(self, waiting: Sequence[_Asked]) -> None:
        found = self._journal.errands.look(self._asker, [one.errand.id for one in waiting])
        for one in waiting:
            now = found.get(one.errand.id) or replace(one.errand, state=TAKEN, lost=True)  # an older journal, say
            if now.state != OPEN and not now.lost:
                self._heard_at = time.monotonic()
            changed = (now.state, now.lost) != (one.errand.state, one.errand.lost)
            one.errand = now
            if changed:
                one.news.set()

    def _tell_on(self) -> None:
        """In a thread of its own: a server that hangs holds up nobody who waits for what is under way."""
        while not self._over.wait(LOOK_SECONDS / 4):
            with self._lock:
                waiting = [one for one in self._asked.values() if one.mine and self._is_due(one)]
            for one in waiting:
                if one.errand.state == OPEN and not self._over.is_set():
                    self._tell(one)

    def _is_due(self, one: _Asked) -> bool:
        """Workers were not told of it; or its run may have been cancelled there, or have died before it took it: then
        there is another one, after twice the time each. Whichever comes first takes it."""
        return not one.sent or time.monotonic() - one.sent_at > self._spread.take_seconds * 2 ** (one.sent - 1)

    def _tell(self, one: _Asked) -> None:
        if one.tried_at and time.monotonic() - one.tried_at < SEND_AGAIN_SECONDS:
            return
        if self._spread.linger_seconds and time.monotonic() - one.asked_at < LATER_SECONDS:
            return  # somebody who is done may take it
        one.tried_at = time.monotonic()
        try:
            self._send(one.errand, one.sent + 1)
        except Exception as error:  # noqa: BLE001 (whatever a client makes of a server that went away)
            logger.warning("no worker can be told of %s now: %s: %s", one.errand.unit[0], type(error).__name__, error)
        else:
            one.sent, one.sent_at = one.sent + 1, time.monotonic()


def stays_alive(journal: Journal, errand: Callable[[], str], cancel: Callable[[], None], over: threading.Event) -> None:
    """Say that the process that has taken an errand lives, until it is over; `cancel` where it is to stop."""
    called_off = functools.cache(cancel)
    while not over.wait(ALIVE_EVERY_SECONDS):
        try:
            if journal.errands.alive(errand()):
                called_off()
        except KubeferryError as error:
            logger.warning("the journal does not hear that this run lives: %s", error.reason)
