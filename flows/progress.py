"""What a person at the terminal sees while machines move, and the figures for the wave's table in Prefect.

Pure half: a transfer in words. Edge half: `Board`, which several machines' threads report to.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from kubeferry.jobs import MoverProgress
from kubeferry.life.pace import Rates
from kubeferry.words import plain

LINE_EVERY_SECONDS = 5.0

logger = logging.getLogger(__name__)


def describe(progress: MoverProgress, rates: Rates) -> str:
    """One transfer in words: phase, share, rate, time left as a range."""
    if not progress.total_bytes:
        return progress.phase
    share = 100 * progress.done_bytes / progress.total_bytes
    text = f"{progress.phase} {share:.0f} % of {progress.total_bytes / 2**20:.0f} MiB"
    if progress.bytes_per_second:
        text += f", {progress.bytes_per_second / 2**20:.0f} MiB/s"
    left = rates.seconds_left(progress.total_bytes - progress.done_bytes)
    if left and progress.done_bytes < progress.total_bytes:
        text += f", {left[0]:.0f} to {left[1]:.0f} s left"
    return text


def transfer_facts(progress: MoverProgress) -> dict[str, object]:
    """One transfer for a program."""
    return {
        "phase": progress.phase,
        "doneBytes": progress.done_bytes,
        "totalBytes": progress.total_bytes,
        "bytesPerSecond": round(progress.bytes_per_second),
    }


class Questions:
    """How far the questions before a run are: a line every few seconds on standard error, none where they are over
    sooner. Or, for a program, `tell` is called in its place, with the event's name and its facts."""

    def __init__(self, *, tell: Callable[..., None] | None = None) -> None:
        self._tell = tell
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, machines: int) -> None:
        """The source was asked about so many of them."""
        now = time.monotonic()
        if done == machines or now - self._said < LINE_EVERY_SECONDS:
            return
        self._said = now
        text = f"the source was asked about {done} of {machines} machines"
        logger.info("%s", text)
        if self._tell:
            self._tell("asked", done=done, machines=machines)
        else:
            click.echo(f"  {now - self._started:6.1f} s  {text}", err=True)


@dataclass(slots=True)
class Line:
    """Where one machine stands now."""

    action: str = "waiting"
    detail: str = ""
    rates: Rates = field(default_factory=Rates)
    newest: MoverProgress | None = None
    printed_at: float = 0.0
    projected: str = ""


@dataclass(frozen=True, slots=True)
class Glimpse:
    """One machine at this moment: what is done with it, and of the transfer that goes on, if one does, its rate in
    bytes per second and the time left, shortest and longest, in seconds. `projected` is its downtime, in words."""

    action: str
    detail: str = ""
    bytes_per_second: float = 0.0
    seconds_left: tuple[float, float] | None = None
    projected: str = ""


def _glimpse(line: Line) -> Glimpse:
    told = line.newest
    todo = (told.total_bytes or 0) - told.done_bytes if told else 0
    if told is None or not told.bytes_per_second or todo <= 0:
        return Glimpse(line.action, line.detail, projected=line.projected)
    left = line.rates.seconds_left(todo)
    return Glimpse(line.action, line.detail, told.bytes_per_second, left, line.projected)


class Board:
    """Every machine's present line. Says an action when it begins, and a transfer's progress every few seconds.

    `tell` is called for the same, with the event's name and its facts; the log of the run gets all of it. Neither may
    wait for whoever reads it: machines' threads call here between source and target.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        tell: Callable[..., None] | None = None,
        say: Callable[[str], None] = click.echo,
    ) -> None:
        self._lines: dict[str, Line] = {}
        self._lock = threading.Lock()
        self._quiet = quiet
        self._tell = tell
        self._print = say
        self._started = time.monotonic()

    def action(self, machine: str, what: str) -> None:
        """A machine begins something."""
        with self._lock:
            before = self._lines.get(machine, Line())
            self._lines[machine] = Line(what, before.detail, printed_at=time.monotonic(), projected=before.projected)
            self._say(machine, what, "action", {"what": what})

    def progress(self, machine: str, disk: str, progress: MoverProgress) -> None:
        """A transfer went on."""
        with self._lock:
            line = self._lines.setdefault(machine, Line())
            line.rates.add(progress.bytes_per_second)
            line.newest = progress
            line.detail = f"{disk}: {describe(progress, line.rates)}".removesuffix(": done")
            if time.monotonic() - line.printed_at >= LINE_EVERY_SECONDS:
                line.printed_at = time.monotonic()
                self._say(machine, line.detail, "progress", {"disk": disk, **transfer_facts(progress)})

    def projected(self, machine: str, downtime: str, facts: dict[str, object]) -> None:
        """What its downtime would be, as of its newest round: in words, and for a program."""
        with self._lock:
            self._lines.setdefault(machine, Line()).projected = downtime
            self._say(machine, f"downtime projected: {downtime}", "projected", facts)

    def glimpses(self) -> dict[str, Glimpse]:
        """Every machine of which something was told, for the table of its wave."""
        with self._lock:
            return {name: _glimpse(line) for name, line in self._lines.items()}

    def _say(self, machine: str, text: str, event: str, facts: dict[str, object]) -> None:
        logger.info("%s: %s", machine, text)
        if self._tell:
            self._tell(event, machine=machine, **facts)
        if not self._quiet:
            self._print(plain(f"  {time.monotonic() - self._started:6.1f} s  {machine:<16} {text}"))
