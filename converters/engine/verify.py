"""Verify: read a disk back past the page cache and compare every block with a fingerprint."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from converters.endpoints import Endpoint
from converters.engine import digest
from converters.engine.buffers import Buffer
from converters.engine.earlier import Proven
from converters.engine.fingerprint import UNKNOWN, Fingerprint
from converters.engine.marks import Marks
from converters.engine.transfer import Feed, Options, Pace, Watch, count_data, drive, extents_of, lanes, own
from converters.extents import Chunk, block_count, chunks
from kubeferry.errors import TargetRefused

READS_AHEAD = 2


@dataclass(slots=True)
class Findings:
    """The blocks that differ, in order, and how many bytes were read to know; `kept` had been read back before."""

    differing: Marks
    read: int = 0
    kept: int = 0


def compare(target: Endpoint, expected: Fingerprint, *, options: Options, watch: Watch) -> Findings:
    """Compare a disk with a fingerprint. Holes of the disk are taken as the zeros that they read as.

    The endpoint should have been opened with `direct`. Raises TargetRefused when the disk is smaller than the
    fingerprint says; what lies beyond the fingerprint's size is not looked at. Without `options.all_blocks`, neither is
    what was read back since it was last written.
    """
    if target.size < expected.header.size:
        raise TargetRefused(
            f"the disk has {target.size} bytes, its fingerprint speaks of {expected.header.size}",
            fix="Check that this fingerprint belongs to this disk.",
        )
    run = _Verify(target, expected, options, watch)
    count = lanes(options, target)
    with Proven(expected.path, expected.header) as proven:
        found = chunks(extents_of(target, options), expected.header.size, expected.header.block)
        feed = Feed(found if options.all_blocks else run.unproven(found, proven))
        drive(feed, [lambda feed: run.worker(feed, count)] * count, run.heartbeat)
    return run.findings


def recheck(target: Endpoint, left: Fingerprint, *, options: Options, watch: Watch) -> int:
    """Read back what an attempt that broke off has left, and forget the digests of blocks that are others now: they are
    copied again. Returns how many bytes are as they were left."""
    run = _Verify(target, left, options, watch)
    count = lanes(options, target)
    found = chunks(extents_of(target, options), left.header.size, left.header.block)
    drive(Feed(run.known(found)), [lambda feed: run.worker(feed, count)] * count, run.heartbeat)
    wrong = 0
    for index in run.findings.differing:
        if left.at(index) != UNKNOWN:
            left.put(index, UNKNOWN)
            wrong += 1
    return max(0, run.findings.read - wrong * left.header.block)


class _Verify:
    def __init__(self, target: Endpoint, expected: Fingerprint, options: Options, watch: Watch) -> None:
        self.target = target
        self.expected = expected
        self.watch = watch
        self.findings = Findings(Marks(expected.count))
        self._pace = Pace(options.bandwidth)
        self._progress = 0
        self._lock = threading.Lock()
        self._total = count_data(extents_of(target, options), expected.header.size, watch)

    def unproven(self, found: Iterator[Chunk], proven: Proven) -> Iterator[Chunk]:
        """Without the blocks that were read back since they were last written."""
        for chunk in found:
            index = chunk.offset // self.expected.header.block
            if not chunk.data or not proven.holds(index, self.expected.at(index)):
                yield chunk
                continue
            self.findings.kept += chunk.length
            self._progress += sum(stop - start for start, stop in chunk.data)

    def known(self, found: Iterator[Chunk]) -> Iterator[Chunk]:
        """Without the blocks of data that no digest is known of."""
        block = self.expected.header.block
        return (one for one in found if not one.data or self.expected.at(one.offset // block) != UNKNOWN)

    def heartbeat(self) -> None:
        self.watch.still_ours()
        self.watch.progress("verifying", min(self._progress, self._total), self._total)

    def worker(self, feed: Feed, count: int) -> None:
        free = [Buffer(self.expected.header.block) for _ in range(READS_AHEAD)]
        held: deque[tuple[Chunk, Buffer, Callable[[], None]]] = deque()
        read = 0
        with own(self.target, count) as target:
            while not feed.closed:
                while free and (chunk := feed.take()) is not None:
                    if not chunk.data:
                        self._differ(self._not_zero(chunk))
                        continue
                    self._pace.spend(chunk.length, feed)
                    buffer = free.pop()
                    held.append((chunk, buffer, target.start_read(chunk.offset, buffer.view[: chunk.length])))
                if not held:
                    break
                chunk, buffer, finish = held.popleft()
                finish()
                read += chunk.length
                if not self._right(chunk, buffer):
                    self._differ([chunk.offset // self.expected.header.block])
                free.append(buffer)
                self._progress += sum(stop - start for start, stop in chunk.data)  # shown only, see copying
        with self._lock:
            self.findings.read += read

    def _differ(self, blocks: Iterable[int]) -> None:
        with self._lock:
            self.findings.differing.add(blocks)

    def _right(self, chunk: Chunk, buffer: Buffer) -> bool:
        found = digest.digest(self.expected.header.algorithm, buffer.view[: chunk.length])
        return found == self.expected.at(chunk.offset // self.expected.header.block)

    def _not_zero(self, chunk: Chunk) -> Iterator[int]:
        """The blocks of a hole that should hold something. The disk's last block may be short."""
        first = chunk.offset // self.expected.header.block
        count = block_count(chunk.length, self.expected.header.block)
        last = first + count - 1
        if count > 1:
            yield from self.expected.unlike(self.expected.zero_of(first), first, count - 1)
        yield from self.expected.unlike(self.expected.zero_of(last), last, 1)
