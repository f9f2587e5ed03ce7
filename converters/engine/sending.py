"""Send: a disk read once from its first block to its last, with the digest of every block, into a stream.

For targets that can neither be read, nor written at an offset, nor gone on with: what was sent is proven by reading it
back where it landed, and an attempt that fails is begun anew.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from converters.endpoints import Endpoint, Stream
from converters.engine import digest
from converters.engine.buffers import Buffer
from converters.engine.copying import READS_AHEAD, Tally, ask
from converters.engine.fingerprint import Fingerprint, Header
from converters.engine.transfer import Feed, Options, Pace, Watch, count_data, drive, extents_of
from converters.extents import Chunk, Extent, block_count, chunks
from kubeferry.errors import HostileImage, SourceRefused

HEAD_BYTES = 512
# What CDI takes for an image of another format, by its first bytes (CDI v1.66): it would open it as one.
FORMATS = {
    "gzip": (0, b"\x1f\x8b"),
    "xz": (0, b"\xfd7zXZ\x00"),
    "zstd": (0, b"\x28\xb5\x2f\xfd"),
    "qcow2": (0, b"QFI\xfb"),
    "vmdk": (0, b"KDMV"),
    "a vmdk descriptor": (0, b"# Disk DescriptorFile"),
    "vdi": (64, b"\x7f\x10\xda\xbe"),
    "vhd": (0, b"conectix"),
    "vhdx": (0, b"vhdxfile"),
    "tar": (257, b"ustar"),
}


def taken_for(head: bytes) -> str | None:
    """The format that a raw disk with these first bytes would be taken for; None for none."""
    for name, (offset, magic) in FORMATS.items():
        if head[offset : offset + len(magic)] == magic:
            return name
    return None


def check_head(head: bytes) -> None:
    """Raise HostileImage for a disk whose first bytes make it look like an image of another format."""
    if name := taken_for(head):
        raise HostileImage(
            f"the disk begins like {name}",
            why="CDI would unpack it as such, with whatever files its header names",
            fix="Let movers read the source: they write the disk as it is.",
        )


def send(
    source: Endpoint,
    opening: Callable[[], AbstractContextManager[Stream]],
    fingerprint: Path,
    header: Header,
    *,
    options: Options,
    watch: Watch,
) -> tuple[str, Tally]:
    """Send the whole disk and write its fingerprint. Returns the root and what was done.

    The stream is opened when the first block was read, and found to be no image's head: HostileImage.
    """
    watch.still_ours()
    with Fingerprint.create(fingerprint, header) as known, contextlib.ExitStack() as opened:
        run = _Send(source, lambda: opened.enter_context(opening()), known, options, watch)
        try:
            drive(Feed(chunks(_extents(source, options), source.size, header.block)), [run.worker], run.heartbeat)
            source.end()
        except ValueError as error:
            fix = "Check that the source's server can be trusted."
            raise SourceRefused("the source describes its extents wrongly", why=str(error), fix=fix) from error
        known.seal(fingerprint)
        return known.root, run.tally


def _extents(source: Endpoint, options: Options) -> Iterator[Extent]:
    """The source's extents; there is no round before, so nothing is the same as in it."""
    return (Extent(one.offset, one.length, one.zero) for one in extents_of(source, options))


@dataclass(slots=True)
class _Held:
    """A chunk on its way; one without a buffer is zeros."""

    chunk: Chunk
    buffer: Buffer | None = None
    reads: list[Callable[[], None]] = field(default_factory=list)


class _Send:
    def __init__(
        self, source: Endpoint, opening: Callable[[], Stream], known: Fingerprint, options: Options, watch: Watch
    ) -> None:
        self.source = source
        self._opening = opening
        self._opened: Stream | None = None
        self.known = known
        self.watch = watch
        self.tally = Tally()
        self._pace = Pace(options.bandwidth)
        self.tally.data = count_data(_extents(source, options), source.size, watch)

    @property
    def stream(self) -> Stream:
        self._opened = self._opened or self._opening()
        return self._opened

    def heartbeat(self) -> None:
        self.watch.still_ours()
        self.watch.progress("uploading", self.tally.read, self.tally.data)

    def worker(self, feed: Feed) -> None:
        """Read ahead a little, and hand on in order."""
        free = [Buffer(self.known.header.block) for _ in range(READS_AHEAD)]
        held: deque[_Held] = deque()
        while not feed.closed:
            while free and (chunk := feed.take()) is not None:
                held.append(self._ask(chunk, free, feed))
            if not held:
                if not feed.closed:  # else there is more of it
                    self.stream.finish()
                return
            first = held.popleft()
            if first.buffer is None:
                self._zeros(first.chunk)
            else:
                self._block(first.chunk, first.buffer, first.reads)
                free.append(first.buffer)

    def _ask(self, chunk: Chunk, free: list[Buffer], feed: Feed) -> _Held:
        if not chunk.data:
            return _Held(chunk)
        self._pace.spend(sum(stop - start for start, stop in chunk.data), feed)
        buffer = free.pop()
        return _Held(chunk, buffer, ask(self.source, chunk, buffer))

    def _block(self, chunk: Chunk, buffer: Buffer, reads: list[Callable[[], None]]) -> None:
        for read in reads:
            read()
        size = sum(stop - start for start, stop in chunk.data)
        if buffer.is_zero(0, chunk.length):
            self._zeros(chunk)
        else:
            head = self.known.header
            view = buffer.view[: chunk.length]
            if chunk.offset == 0:
                check_head(bytes(view[:HEAD_BYTES]))
            self.known.put(chunk.offset // head.block, digest.digest(head.algorithm, view))
            self.stream.data(view)
            self.tally.written += chunk.length
        self.tally.read += size

    def _zeros(self, chunk: Chunk) -> None:
        block = self.known.header.block
        self.known.put_zeros(chunk.offset // block, block_count(chunk.length, block))
        self.stream.zeros(chunk.length)
        self.tally.zero += chunk.length
