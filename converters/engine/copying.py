"""Copy: every block of the source to the target, with its digest, resumable at the last durable checkpoint.

A worker reads a block, tests it for zeros, digests it and writes it: all of it to a target that is known to read as
zeros (but not its zeros), only when it differs to any other. The main thread flushes the target and puts the digests of
what was flushed into the checkpoint, in this order. Blocks that the source calls the same as in the round before are
not read: their digests are those of that round's fingerprint.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from converters.endpoints import Cached, Endpoint
from converters.engine import checkpoint, digest, earlier, verify
from converters.engine.buffers import Buffer
from converters.engine.earlier import Proven
from converters.engine.fingerprint import UNKNOWN, Fingerprint, Header
from converters.engine.landing import Landing
from converters.engine.transfer import Feed, Options, Pace, Watch, count_data, drive, extents_of, lanes, own, secondary
from converters.extents import Chunk, Extent, block_count, chunks, settled
from kubeferry.errors import Fenced, SourceRefused, TargetRefused

READS_AHEAD = 2  # blocks of each worker that are being read while one is processed


@dataclass(slots=True)
class Tally:
    """What a copy did, in bytes. `data` counts what the source does not know to be zeros or the same, `resumed` all
    that an earlier attempt had made durable, `zero` what was found to be zeros, `same` what the round before had.
    `held` was read back from the target's storage and was there already; nothing else was looked at again. `blind`
    could not be read there, and was written without a look. `anew`: there was an attempt before, and its source or
    target is another one now."""

    data: int = 0
    read: int = 0
    written: int = 0
    zero: int = 0
    resumed: int = 0
    same: int = 0
    held: int = 0
    blind: int = 0
    anew: bool = False


@dataclass(slots=True)
class _Held:
    """A block on its way through a worker."""

    chunk: Chunk
    buffer: Buffer
    reads: list[Callable[[], None]] = field(default_factory=list)


def copy(
    source: Endpoint,
    target: Endpoint,
    fingerprint: Path,
    header: Header,
    *,
    reads_zero: bool,
    options: Options,
    watch: Watch,
) -> tuple[str, Tally]:
    """Make the target equal to the source and write the fingerprint. Returns the root and what was done.

    `header` says of what: size, algorithm, and the label that a checkpoint must have to be gone on from. `reads_zero`
    is the caller's word that the target reads as zeros; it counts only for a target that was never written by us and
    shows no data. Raises TargetRefused before any byte when the target is too small. On any error but Fenced,
    KeyboardInterrupt and that of a flush, what was done is flushed and in the checkpoint.
    """
    if target.size < source.size:
        raise TargetRefused(
            f"the target has {target.size} bytes, the source {source.size}",
            fix="Make the target at least as large as the source.",
        )
    if target.size > source.size and earlier.larger(fingerprint, source.size):
        raise TargetRefused(
            "the target holds a larger disk of an earlier copy",
            why=f"the source has {source.size} bytes now, and the rest of the old disk would follow them",
            fix="Give another target, or make this one anew.",
        )
    place = checkpoint.beside(fingerprint)
    written = any(path.exists() for path in (fingerprint, place, earlier.left_beside(fingerprint)))
    fresh = reads_zero and not written and not options.read_holes and _empty(target)
    watch.still_ours()
    if fresh or place.exists():  # what happened to the target since an attempt broke off nobody knows
        earlier.disprove(fingerprint)
    with contextlib.ExitStack() as opened:
        proven = opened.enter_context(Proven(fingerprint, header, writable=True))
        stored = target if fresh else _stored(target, opened)
        before = earlier.base(fingerprint, header, options)
        if before is not None and not _holds_the_same(opened.enter_context(before), source, stored):
            earlier.disprove(fingerprint)
            before = None
        begun = checkpoint.start(place, header, stored)
        partial = opened.enter_context(begun.checkpoint)
        past = _Past(before, proven, stored, fresh=fresh)
        run = _Copy(source, target, partial, past, options=options, watch=watch)
        run.tally.anew = begun.touched and not begun.resumed
        if begun.resumed and options.recheck:
            run.tally.held += verify.recheck(stored, partial, options=options, watch=watch)
        run.work(resumed=begun.resumed)
        watch.still_ours()
        partial.seal(fingerprint)
        earlier.left_beside(fingerprint).unlink(missing_ok=True)
        return partial.root, run.tally


def _stored(target: Endpoint, opened: contextlib.ExitStack) -> Endpoint:
    """What a target that was written before is compared with: a write of then may have failed unnoticed, and its bytes
    be shown all the same."""
    return opened.enter_context(target.stored()) if isinstance(target, Cached) else target


def _holds_the_same(before: Fingerprint, source: Endpoint, target: Endpoint) -> bool:
    try:
        return earlier.holds_the_same(before, source, target)
    except ValueError as error:
        raise _nonsense(error) from error


def _empty(target: Endpoint) -> bool:
    """Whether a target shows no data; one that does not tell is believed."""
    return not target.knows_holes or all(extent.zero for extent in target.extents())


def ask(source: Endpoint, chunk: Chunk, buffer: Buffer) -> list[Callable[[], None]]:
    """Ask for the data of a block and clear what lies between; the buffer holds it when all that is returned was
    called."""
    reads = []
    position = 0
    for start, stop in chunk.data:
        if start > position:
            buffer.clear(position, start)
        reads.append(source.start_read(chunk.offset + start, buffer.view[start:stop]))
        position = stop
    if position < chunk.length:
        buffer.clear(position, chunk.length)
    return reads


@dataclass(frozen=True, slots=True)
class _Past:
    """What is known of the target: the round before, what was read back, what its storage holds, whether it reads as
    zeros."""

    before: Fingerprint | None
    proven: Proven
    stored: Endpoint
    fresh: bool


class _Copy:
    """One attempt."""

    def __init__(
        self, source: Endpoint, target: Endpoint, partial: Fingerprint, past: _Past, *, options: Options, watch: Watch
    ) -> None:
        self.source = source
        self.target = target
        self.partial = partial
        self.before = past.before
        self.proven = past.proven
        self.stored = past.stored
        self.fresh = past.fresh
        self.options = options
        self.watch = watch
        self.tally = Tally()
        self.algorithm = partial.header.algorithm
        self.block = partial.header.block
        self._pace = Pace(options.bandwidth)
        self._lanes = lanes(options, source, target)
        # First block, count, digest; empty: so many blocks of zeros, None: so many that are as in the round before.
        self._done: deque[tuple[int, int, bytes | None]] = deque()
        self._progress = 0
        self._tally_lock = threading.Lock()
        self._checkpoint_at = time.monotonic() + options.checkpoint_seconds
        self._flushes = True

    def work(self, *, resumed: bool) -> None:
        """Copy all that is not in the checkpoint, and put it there."""
        try:
            self.tally.data = count_data(self._extents(), self.source.size, self.watch)
        except ValueError as error:
            raise _nonsense(error) from error
        feed = Feed(self._chunks(resumed=resumed))
        try:
            drive(feed, [self._worker] * self._lanes, self._heartbeat)
            self.source.end()
        except (Fenced, KeyboardInterrupt):
            raise
        except BaseException:
            secondary(self._checkpoint)
            raise
        self.watch.progress("flushing", self._progress, self.tally.data)
        self._checkpoint()

    def _extents(self) -> Iterator[Extent]:
        """The source's extents; without the round before nothing is the same as in it."""
        if self.before is not None:
            return settled(extents_of(self.source, self.options), self.source.size, self.block)
        return (Extent(one.offset, one.length, one.zero) for one in extents_of(self.source, self.options))

    def _chunks(self, *, resumed: bool) -> Iterator[Chunk]:
        try:
            for chunk in chunks(self._extents(), self.source.size, self.block):
                for part in self._kept(chunk, self.before) if chunk.same and self.before else [chunk]:
                    yield from self._remaining(part) if resumed else [part]
        except ValueError as error:
            raise _nonsense(error) from error

    def _kept(self, chunk: Chunk, before: Fingerprint) -> Iterator[Chunk]:
        """Blocks that are as they were: the digests that the round before knows go into the checkpoint as they are. The
        others, of a round that was left, are given as data."""
        position, stop = chunk.offset // self.block, chunk.offset // self.block + block_count(chunk.length, self.block)
        for first, count in before.unknown(position, stop - position):
            self._keep(position, first)
            for index in range(first, first + count):
                length = min(self.block, self.source.size - index * self.block)
                yield Chunk(index * self.block, length, ((0, length),))
            position = first + count
        self._keep(position, stop)

    def _keep(self, start: int, stop: int) -> None:
        if start == stop:
            return
        self._done.append((start, stop - start, None))
        with self._tally_lock:
            self.tally.same += min(stop * self.block, self.source.size) - start * self.block

    def _remaining(self, chunk: Chunk) -> Iterator[Chunk]:
        """The parts of a chunk whose digests the checkpoint does not hold."""
        left = 0
        for first, count in self.partial.unknown(*self._blocks(chunk)):
            start = first * self.block
            part = Chunk(start, min(count * self.block, chunk.end - start), chunk.data)
            left += part.length
            yield part
        with self._tally_lock:
            self.tally.resumed += chunk.length - left
            if not left:
                self._progress += sum(stop - start for start, stop in chunk.data)

    def _blocks(self, chunk: Chunk) -> tuple[int, int]:
        return chunk.offset // self.block, block_count(chunk.length, self.block)

    # --- main thread ---

    def _heartbeat(self) -> None:
        self.watch.progress("copying", self._progress, self.tally.data)
        if time.monotonic() >= self._checkpoint_at:
            self._checkpoint()
            self._checkpoint_at = time.monotonic() + self.options.checkpoint_seconds

    def _checkpoint(self) -> None:
        """Flush, then remember. What workers finish meanwhile waits for the next one. After a flush that failed there
        is none: what could not be written is forgotten below the target, and the next flush would say nothing of it."""
        if not self._flushes:
            return
        self.watch.still_ours()
        finished = [self._done.popleft() for _ in range(len(self._done))]
        self.proven.sync()
        self._flushes = False
        self.target.flush()
        self._flushes = True
        self.watch.still_ours()
        run, first = bytearray(), -1
        for index, count, known in sorted(finished, key=lambda one: one[0]):
            if known and index == first + len(run) // digest.DIGEST_BYTES:
                run += known
                continue
            if run:
                self.partial.put(first, bytes(run))
            run, first = bytearray(known or b""), index
            if not known:
                self._put_many(index, count, zeros=known is not None)
        if run:
            self.partial.put(first, bytes(run))
        self.partial.sync()

    def _put_many(self, first: int, count: int, *, zeros: bool) -> None:
        """Digests that nobody holds: those of zeros, or those of the round before."""
        if zeros:
            self.partial.put_zeros(first, count)
        elif self.before is not None:
            for start, digests in self.before.batches(first, count):
                self.partial.put(start, digests)

    # --- workers ---

    def _worker(self, feed: Feed) -> None:
        free = [Buffer(self.block) for _ in range(READS_AHEAD)]
        held: deque[_Held] = deque()
        tally = Tally()
        with (
            own(self.source, self._lanes) as source,
            own(self.target, self._lanes) as writing,
            self._own_stored(writing) as stored,
        ):
            target = Landing(writing, stored, self.block)
            try:
                while not feed.closed:
                    while free and (chunk := feed.take()) is not None:
                        if chunk.data:
                            held.append(self._ask(source, chunk, free.pop(), feed))
                        else:
                            self._zeros(target, chunk, tally, feed)
                    if not held:
                        return
                    block = held.popleft()
                    self._block(target, block, tally, feed)
                    free.append(block.buffer)
            finally:
                tally.blind = target.blind
                self._add(tally)

    def _own_stored(self, writing: Endpoint) -> contextlib.AbstractContextManager[Endpoint]:
        """A worker's own view of what the target's storage holds."""
        return contextlib.nullcontext(writing) if self.stored is self.target else own(self.stored, self._lanes)

    def _ask(self, source: Endpoint, chunk: Chunk, buffer: Buffer, feed: Feed) -> _Held:
        self._pace.spend(sum(stop - start for start, stop in chunk.data), feed)
        return _Held(chunk, buffer, ask(source, chunk, buffer))

    def _block(self, target: Landing, held: _Held, tally: Tally, feed: Feed) -> None:
        for read in held.reads:
            read()
        chunk, buffer = held.chunk, held.buffer
        size = sum(stop - start for start, stop in chunk.data)
        tally.read += size
        if buffer.is_zero(0, chunk.length):
            self._zeros(target, chunk, tally, feed)
        else:
            known = digest.digest(self.algorithm, buffer.view[: chunk.length])
            written = self._write(target, chunk, buffer, known)
            tally.written += written
            tally.held += 0 if written or self.fresh else chunk.length
            self._done.append((chunk.offset // self.block, 1, known))
        self._progress += size  # shown only: a lost update between threads is caught up by the next block

    def _write(self, target: Landing, chunk: Chunk, buffer: Buffer, known: bytes) -> int:
        """Write what the target lacks of a block; returns the bytes written."""
        if not self.fresh:
            if not self._another(chunk, known) and target.holds(chunk, buffer):
                return 0
            self.proven.forget(*self._blocks(chunk))
            target.disk.write(chunk.offset, buffer.view[: chunk.length])
            return chunk.length
        written = 0
        for start, stop in chunk.data:
            for begin, end in buffer.data_runs(start, stop):
                target.disk.write(chunk.offset + begin, buffer.view[begin:end])
                written += end - begin
        return written

    def _another(self, chunk: Chunk, known: bytes) -> bool:
        """Whether a block was another one in the round before: what a target holds of that round needs no look then."""
        was = UNKNOWN if self.before is None else self.before.at(chunk.offset // self.block)
        return was not in (UNKNOWN, known)

    def _zeros(self, target: Landing, run: Chunk, tally: Tally, feed: Feed) -> None:
        """A run of zeros: nothing to do where the target reads as zeros, elsewhere done piece by piece."""
        for chunk in [run] if self.fresh else target.stride.pieces(run):
            if feed.closed:
                return
            if not self.fresh:
                self.proven.forget(*self._blocks(chunk))
                target.disk.zero(chunk.offset, chunk.length)
            tally.zero += chunk.length
            self._done.append((*self._blocks(chunk), b""))

    def _add(self, tally: Tally) -> None:
        with self._tally_lock:
            self.tally.read += tally.read
            self.tally.written += tally.written
            self.tally.zero += tally.zero
            self.tally.held += tally.held
            self.tally.blind += tally.blind


def _nonsense(error: ValueError) -> SourceRefused:
    fix = "Check that the source's server can be trusted."
    return SourceRefused("the source describes its extents wrongly", why=str(error), fix=fix)
