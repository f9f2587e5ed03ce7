"""Measure: a disk read back past the page cache, and the root of its digests, where no fingerprint of it is at hand."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from converters.endpoints import Endpoint
from converters.engine import digest
from converters.engine.buffers import Buffer
from converters.engine.fingerprint import Fingerprint, Header
from converters.engine.transfer import Feed, Options, Pace, Watch, count_data, drive, extents_of, lanes, own
from converters.engine.verify import READS_AHEAD
from converters.extents import Chunk, block_count, chunks
from kubeferry.errors import TargetRefused


def measure(target: Endpoint, work: Path, header: Header, *, options: Options, watch: Watch) -> tuple[str, int]:
    """The root of the first `header.size` bytes of a disk, and how many bytes were read for it. `work` is a file that
    is made and removed. Holes are taken as the zeros that they read as.

    The endpoint should have been opened with `direct`. Raises TargetRefused where the disk is smaller.
    """
    if target.size < header.size:
        raise TargetRefused(
            f"the disk has {target.size} bytes, and {header.size} are expected",
            fix="Check the claim: it holds another disk.",
        )
    try:
        with Fingerprint.create(work, header) as found:
            run = _Measure(target, found, options, watch)
            count = lanes(options, target)
            feed = Feed(chunks(extents_of(target, options), header.size, header.block))
            drive(feed, [lambda feed: run.worker(feed, count)] * count, run.heartbeat)
            found.seal(work)
            return found.root, run.read
    finally:
        work.unlink(missing_ok=True)


class _Measure:
    def __init__(self, target: Endpoint, found: Fingerprint, options: Options, watch: Watch) -> None:
        self.target = target
        self.found = found
        self.watch = watch
        self.read = 0
        self._pace = Pace(options.bandwidth)
        self._lock = threading.Lock()
        self._total = count_data(extents_of(target, options), found.header.size, watch)

    def heartbeat(self) -> None:
        self.watch.still_ours()
        self.watch.progress("verifying", min(self.read, self._total), self._total)

    def worker(self, feed: Feed, count: int) -> None:
        head = self.found.header
        free = [Buffer(head.block) for _ in range(READS_AHEAD)]
        held: deque[tuple[Chunk, Buffer, Callable[[], None]]] = deque()
        with own(self.target, count) as target:
            while not feed.closed:
                while free and (chunk := feed.take()) is not None:
                    if not chunk.data:
                        self.found.put_zeros(chunk.offset // head.block, block_count(chunk.length, head.block))
                        continue
                    self._pace.spend(chunk.length, feed)
                    buffer = free.pop()
                    held.append((chunk, buffer, target.start_read(chunk.offset, buffer.view[: chunk.length])))
                if not held:
                    return
                chunk, buffer, finish = held.popleft()
                finish()
                known = digest.digest(head.algorithm, buffer.view[: chunk.length])
                self.found.put(chunk.offset // head.block, known)
                free.append(buffer)
                with self._lock:
                    self.read += chunk.length
