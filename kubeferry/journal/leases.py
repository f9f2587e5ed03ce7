"""Who may write: a lease per machine, with a fence that only rises, and an owner that can be seen to be dead.

A second runner is refused while the lease lives. A runner that died on this host (same boot, same process namespace)
is succeeded at once; one on another host when its lease runs out. A runner that was only asleep finds its fence stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from kubeferry.errors import Fenced, KubeferryError

TTL_SECONDS = 60.0
BEATS_PER_TTL = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. `started` (clock ticks since boot) tells it from a later one with its pid; `place` is a digest of the
    boot and the process namespace, without which a pid means nothing, whatever the host is called."""

    host: str
    pid: int
    started: int
    place: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname().replace(":", "_"), pid, _start_of(pid) or 0, _place())

    @classmethod
    def parse(cls, text: str) -> Owner:
        """What `str` of an owner gave. Raises ValueError."""
        host, pid, started, place = text.split(":")
        return cls(host, int(pid), int(started), place)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started}:{self.place}"

    @property
    def is_dead(self) -> bool:
        """True only when it is certain: it ran here, and runs no more."""
        return bool(self.place) and self.place == _place() and _start_of(self.pid) != self.started

    @property
    def is_alive(self) -> bool:
        """True only when it is certain: it runs here."""
        return bool(self.place) and self.place == _place() and _start_of(self.pid) == self.started


@cache
def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 (a magic link: it has an inode, no path)
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]


def _start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None for one that has ended (as a zombie has)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write about one machine. Every write names it, and is refused when its fence is not the newest."""

    plan: str
    machine: str
    fence: int
    owner: str
    ttl_seconds: float
    expires_at: str
    _lost: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def check(self) -> None:
        """Raise Fenced if the heartbeat found that another runner has taken over. Asks no database."""
        if self._lost.is_set():
            raise superseded(self)

    @property
    def lost(self) -> threading.Event:
        """Set once another runner has taken over."""
        return self._lost


def superseded(lease: Lease, by: str | None = None) -> Fenced:
    """The error for a runner whose fence is stale."""
    successor = f"{describe(by)} took over" if by else "it was given up or taken over"
    return Fenced(
        "this runner no longer owns the machine",
        why=f"its lease (fence {lease.fence}) is not the newest: {successor}",
        fix="Leave it to the other runner, or end that one and run the same command again.",
        machine=lease.machine,
    )


def refused(machine: str, owner: str, expires_at: str) -> Fenced:
    """The error for a runner that comes second."""
    return Fenced(
        f"another runner is at work on this machine: {describe(owner)}",
        why=f"its lease runs until {expires_at}; while it lives it renews it, and on this host it keeps it asleep, too",
        fix="Wait for it, or end it and run the same command again: on the same host that goes on at once, "
        "from another host when the lease has run out.",
        machine=machine,
    )


def describe(owner: str) -> str:
    """An owner for people."""
    try:
        parsed = Owner.parse(owner)
    except ValueError:
        return owner
    return f"process {parsed.pid} on {parsed.host}"


def is_dead(owner: str) -> bool:
    """Whether an owner is certain to have ended; one that cannot be read is not."""
    try:
        return Owner.parse(owner).is_dead
    except ValueError:
        return False


def is_alive(owner: str) -> bool:
    """Whether an owner is certain to run on this host; one that cannot be read is not."""
    try:
        return Owner.parse(owner).is_alive
    except ValueError:
        return False


def may_succeed(owner: str, holder: str, *, expired: bool) -> bool:
    """Whether `holder` may take the lease of `owner`: of one that is certain to have ended, at once; of one that cannot
    be looked at, when its lease has run out. Another process that lives on this host is asleep (Ctrl-Z), was cut off
    from the journal, or somebody has set a clock: it goes on as it wakes, and is to be ended first."""
    if is_dead(owner):
        return True
    return expired and (owner == holder or not is_alive(owner))


@contextlib.contextmanager
def beating(lease: Lease, renew: Callable[[Lease], object]) -> Iterator[None]:
    """Renew the lease in the background for as long as the block lasts. What it finds is seen in `lease.check()`."""
    over = threading.Event()

    def beat() -> None:
        pause = regular = lease.ttl_seconds / BEATS_PER_TTL
        while not over.wait(pause):
            pause = regular
            try:
                renew(lease)
            except Fenced:
                lease.lost.set()
                return
            except Exception as error:  # noqa: BLE001 (whatever it was: without a heartbeat a second runner is let in)
                # The next beat, which comes soon, may find the database again; the fence guards meanwhile.
                told = error.what if isinstance(error, KubeferryError) else f"{type(error).__name__}: {error}"
                logger.warning("the lease of %s was not renewed: %s", lease.machine, told)
                pause = regular / BEATS_PER_TTL

    thread = threading.Thread(target=beat, name=f"lease-{lease.machine}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
