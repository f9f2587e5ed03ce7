"""What is told of a run, kept for whoever shows it: each machine's steps in order, read as often as need be.

Prefect is a display, never in a move's path: its server may be slow, hung, killed or never there. So its flows
(`flows.programme`) do nothing of a run. They follow what the machines' threads have told, and no machine waits for
them; what could not be shown is shown once the server answers again, or not at all: the journal has it.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from flows.migrate import Run
from flows.serving.server import Api
from flows.told import Audience, Outcome, Told
from kubeferry.errors import Interrupted
from kubeferry.life.action_kinds import Goal
from kubeferry.outside import stopping

AGAIN_SECONDS = 3.0  # after the server did not answer
PATIENCE_SECONDS = 20.0  # at the end: how long without a sign of progress
HURRIED_SECONDS = 5.0  # ... and altogether, where somebody asked to stop, or the server refused the run before
LOOKS_AWAY = 2  # so often without an answer, a second apart, and the server is away

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Track:
    """What was told of one machine so far."""

    machine: str
    told: list[Told] = field(default_factory=list)
    more: threading.Condition = field(default_factory=threading.Condition)

    def add(self, told: Told) -> None:
        """One thing more."""
        with self.more:
            self.told.append(told)
            self.more.notify_all()

    def follow(self) -> Iterator[Told]:
        """All of it in order, waiting for what is not told yet; ends with the machine's outcome."""
        at = 0
        while True:
            with self.more:
                while at == len(self.told):
                    self.more.wait()
                told = self.told[at]
            yield told
            if isinstance(told, Outcome):
                return
            at += 1

    @property
    def outcome(self) -> Outcome | None:
        last = self.told[-1] if self.told else None
        return last if isinstance(last, Outcome) else None


@dataclass(slots=True)
class Following(Audience):
    """One run and who shows it. Use it as a context at a terminal: a thread shows the run from then on, and at the end
    what is left to be shown is given a moment. `config` is the configuration's path."""

    api: Api
    run: Run
    machines: tuple[str, ...]
    config: Path
    given_up: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Somebody has cancelled the run in Prefect, or its worker was told to end."""
    held_back: dict[str, str] = field(default_factory=dict)
    """Machines whose run does not begin, and why: they have no track, and stand in their wave's table."""
    _tracks: dict[str, Track] = field(default_factory=dict)
    _order: list[Track] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _unsettled: dict[str, Outcome] = field(default_factory=dict)
    _closed: bool = False
    _signs: int = 0
    _refused: bool = False
    _imported: threading.Event = field(default_factory=threading.Event)
    """Prefect is there whole: until then the thread that shows the run may be in the midst of importing it."""

    def tell(self, machine: str, told: Told) -> None:
        if self.cancelled.is_set() and isinstance(told, Outcome) and isinstance(told.error, Interrupted):
            self._unsettled[machine] = told  # what comes of it is still to be seen
            return
        with self._news:
            track = self._tracks.get(machine)
            if track is None:
                track = self._tracks[machine] = Track(machine)
                self._order.append(track)
                self._news.notify_all()
        track.add(told)

    def called_off(self) -> bool:
        return self.cancelled.is_set()

    def settle(self, found: Mapping[str, Outcome]) -> None:
        for machine, outcome in self._unsettled.items():
            with self._news:
                track = self._tracks.get(machine)
            if track:
                track.add(found.get(machine, outcome))

    def held(self, machine: str, why: str) -> None:
        with self._news:
            self.held_back[machine] = why

    # --- for who shows it --------------------------------------------------------------------------------------------

    def begun(self, every_seconds: float, at: int = 0) -> Iterator[Track | None]:
        """Each machine that begins, in order, from this one on; None when so much time has passed. Ends when none
        begins any more."""
        while True:
            with self._news:
                if at == len(self._order) and not self._closed:
                    self._news.wait(every_seconds)
                track, closed = (self._order[at] if at < len(self._order) else None), self._closed
            if track:
                yield track
                at += 1
            elif closed:
                return
            else:
                yield None

    def follow(self, machine: str) -> Iterator[Told]:
        """What was told of a machine that has begun, from its beginning."""
        for told in self._tracks[machine].follow():
            self._signs += 1
            self._refused = False
            yield told

    def outcomes(self) -> list[Outcome]:
        """Those of the machines that began."""
        with self._news:
            return [track.outcome for track in self._order if track.outcome]

    def cancel(self) -> None:
        """Stop the run at a safe point: somebody wants that who does not look at this terminal."""
        self.cancelled.set()
        stopping.request(signal.SIGTERM)

    # --- its time ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """While the block lasts, flows of this process find the run by what they are called with."""
        key = (self.run.plan.digest, str(self.run.goal))
        _here[key] = self
        try:
            yield
        finally:
            _here.pop(key, None)

    def close(self) -> None:
        """No machine begins any more."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def __enter__(self) -> Following:
        threading.Thread(target=self._show, daemon=True, name="shows the run").start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()
        if self._wait() and self._imported.is_set():
            self.api.hand_in()
        self.given_up.set()

    def _show(self) -> None:
        while not self.given_up.is_set():
            if self.api.answers():
                try:
                    from flows.programme.moving import show  # it brings Prefect, which takes seconds

                    self._imported.set()
                    with self.here():
                        show(self)
                except Exception as error:  # noqa: BLE001 (whatever Prefect's client makes of a server that went away)
                    self._refused = True
                    logger.info("Prefect does not show the run: %s: %s", type(error).__name__, error)
                else:
                    self.given_up.set()
            self.given_up.wait(AGAIN_SECONDS)

    def _wait(self) -> bool:
        """Wait until all is shown, as long as that comes on; returns whether the server answers. No machine waits for
        it: all are done."""
        begun = seen_at = time.monotonic()
        signs, silent = self._signs, 0
        while not self.given_up.wait(1.0):
            silent = 0 if self.api.answers() else silent + 1
            if self._signs != signs:
                signs, seen_at = self._signs, time.monotonic()
            hurried = (stopping.requested() or self._refused) and time.monotonic() - begun > HURRIED_SECONDS
            if silent == LOOKS_AWAY or hurried or time.monotonic() - seen_at > PATIENCE_SECONDS:
                logger.info("Prefect was not shown all of this run: the journal has it")
                return silent == 0
        return True


_here: dict[tuple[str, str], Following] = {}


def of(plan: str, goal: Goal) -> Following | None:
    """The run of this process that takes machines of a plan, by its digest, to this goal; None where there is none."""
    return _here.get((plan, str(goal)))
