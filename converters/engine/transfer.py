"""The engine below copy, verify and repair: chunks handed to workers, a watching main thread, the first error raised.

    chunks ──> Feed ──take()──> worker threads (each with its own endpoints and buffers)
                 │                      │ results
    main thread: heartbeat (progress, checkpoint, fence, stop) every 100 ms until the workers have ended

The feed is drawn from lazily: what is waiting is bounded by what the workers hold.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from converters.endpoints import Endpoint
from converters.extents import Chunk, Extent
from kubeferry.errors import KubeferryError
from kubeferry.outside import stopping

HEARTBEAT_SECONDS = 0.1
COUNTING_SECONDS = 0.5
LEAVE_SECONDS = 15.0  # how long workers are waited for after an error; their requests have ends of their own


@dataclass(frozen=True, slots=True)
class Options:
    """How to move: worker threads, bytes per second at most (None: no limit), digests, seconds between checkpoints.

    `since`: the root of the round before, for a source that names what changed, and `since_copy` the name of a copy
    that was left unfinished then; without either nothing counts as the same.
    `may_lose`: what the target holds need not be ours; without it that is looked at first.
    `exact`: a target that goes on with data behind the end of the disk is refused.
    `read_holes`: no word that something reads as zeros is believed, it is read.
    `recheck`: what an earlier attempt has left is read back before it is gone on from.
    `all_blocks`: a verification reads blocks back, too, that were read back since they were last written.
    """

    workers: int = 8
    bandwidth: int | None = None
    algorithm: str = "blake3"
    checkpoint_seconds: float = 2.0
    since: str | None = None
    since_copy: str | None = None
    all_blocks: bool = True
    may_lose: bool = True
    exact: bool = False
    read_holes: bool = False
    recheck: bool = False


class Watch:
    """Who looks on. This one does nothing; the mover's writes progress and looks at its fence."""

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Called often; `done` and `total` are bytes of data, holes not counted."""

    def still_ours(self) -> None:
        """Called before each checkpoint, and often where there is none. Raises Fenced when another runner has taken
        over."""


class Feed:
    """Chunks for several threads. After `close` there are none."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def take(self) -> Chunk | None:
        """The next chunk, None when there is none."""
        with self._lock:
            return None if self.closed else next(self._chunks, None)

    def close(self) -> None:
        """Drop what is left."""
        self._closed.set()

    def pause(self, seconds: float) -> None:
        """Wait, unless the feed is closed."""
        self._closed.wait(seconds)


class Pace:
    """Keeps the bytes of all workers together below a rate."""

    def __init__(self, bandwidth: int | None) -> None:
        self._bandwidth = bandwidth
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def spend(self, count: int, feed: Feed) -> None:
        """Account for `count` bytes and wait until they fit the rate."""
        if self._bandwidth is None:
            return
        with self._lock:
            start = max(self._free_at, time.monotonic())
            self._free_at = start + count / self._bandwidth
        feed.pause(start - time.monotonic())


def drive(feed: Feed, works: Sequence[Callable[[Feed], None]], heartbeat: Callable[[], None]) -> None:
    """Run each work in a thread until the feed is empty. `heartbeat` is called meanwhile, and once at the end.

    The first error of a worker, or one of the heartbeat (a fence, a stop), closes the feed and is raised when all
    workers have ended, or do not end: those that hang below us are left behind, and end with the process. Asked to stop
    at once (KeyboardInterrupt), nobody waits.
    """
    errors: list[BaseException] = []

    def run(work: Callable[[Feed], None]) -> None:
        try:
            work(feed)
        except BaseException as error:  # noqa: BLE001 (carried to the main thread and raised there)
            errors.append(error)
            feed.close()

    threads = [
        threading.Thread(target=run, args=(work,), name=f"mover-{at}", daemon=True) for at, work in enumerate(works)
    ]
    for thread in threads:
        thread.start()
    try:
        _watch(threads, heartbeat)
    except BaseException as error:
        feed.close()
        _leave(threads, 0.0 if isinstance(error, KeyboardInterrupt) else LEAVE_SECONDS)
        raise
    if errors:
        raise errors[0]
    heartbeat()


def _watch(threads: Sequence[threading.Thread], heartbeat: Callable[[], None]) -> None:
    for thread in threads:
        while thread.is_alive():
            thread.join(HEARTBEAT_SECONDS)
            if thread.is_alive():
                stopping.check()
                heartbeat()


def _leave(threads: Sequence[threading.Thread], seconds: float) -> None:
    limit = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, limit - time.monotonic()))


def extents_of(disk: Endpoint, options: Options) -> Iterator[Extent]:
    """What a disk says of itself; not where it says zeros, if that is not believed."""
    for one in disk.extents():
        stopping.check()  # a server may tell of many, and slowly
        yield Extent(one.offset, one.length, same=one.same) if options.read_holes else one


def count_data(extents: Iterable[Extent], size: int, watch: Watch) -> int:
    """How many bytes of a disk's first `size` are neither zeros nor the same. Whoever looks on is asked meanwhile."""
    total, told_at = 0, time.monotonic()
    watch.progress("counting", 0, None)
    for one in extents:
        if not (one.zero or one.same):
            total += max(0, min(one.end, size) - one.offset)
        if time.monotonic() - told_at >= COUNTING_SECONDS:
            watch.still_ours()
            watch.progress("counting", total, None)
            told_at = time.monotonic()
    return total


def lanes(options: Options, *endpoints: Endpoint) -> int:
    """How many workers may work at once: one, unless every endpoint can be cloned."""
    return options.workers if all(endpoint.parallel for endpoint in endpoints) else 1


@contextlib.contextmanager
def own(endpoint: Endpoint, count: int) -> Iterator[Endpoint]:
    """A worker's own endpoint: a clone, or the endpoint itself where there is one worker only."""
    if count == 1:
        yield endpoint
        return
    with endpoint.clone() as clone:
        yield clone


def secondary(action: Callable[[], None]) -> None:
    """Do something while an error is on its way; its own error must not hide the first one."""
    with contextlib.suppress(KubeferryError):
        action()
