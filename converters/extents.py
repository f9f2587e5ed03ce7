"""Where a disk has data and where it reads as zeros; cut into the blocks that are copied, hashed and compared.

    extents    |####|......|##|......................|#####|
    blocks     |         |         |         |         |         |
    chunks     [data     ][data    ][zero              ][data    ]

Pure: knows offsets and lengths in bytes, no storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCK_BYTES = 1 << 20
COALESCE_BYTES = 64 << 10  # two reads cost more than the zeros of a gap this small


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of a disk. `zero` promises that it reads as zeros; without it nothing is promised."""

    offset: int
    length: int
    zero: bool = False

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Chunk:
    """One block with its data ranges (relative to `offset`), or a run of whole blocks that read as zeros (no data)."""

    offset: int
    length: int
    data: tuple[tuple[int, int], ...] = ()

    @property
    def end(self) -> int:
        return self.offset + self.length


def block_count(size: int, block: int = BLOCK_BYTES) -> int:
    """How many blocks a disk of `size` bytes has; the last may be short."""
    return -(-size // block)


def merge(extents: Iterable[Extent], size: int) -> Iterator[Extent]:
    """Neighbours of one kind joined, clipped to `size`, gaps filled as data: unknown is not zero.

    Raises ValueError for extents that are not in order, overlap or are empty.
    """
    current = Extent(0, 0)
    for extent in _filled(extents, size):
        if extent.zero == current.zero or not current.length:
            current = Extent(current.offset, current.length + extent.length, extent.zero)
        else:
            yield current
            current = extent
    if current.length:
        yield current


def _filled(extents: Iterable[Extent], size: int) -> Iterator[Extent]:
    position = 0
    for extent in extents:
        if extent.length <= 0 or extent.offset < position:
            raise ValueError(f"extent at {extent.offset} of {extent.length} bytes does not follow {position}")
        if extent.offset >= size:
            break
        if extent.offset > position:
            yield Extent(position, extent.offset - position)
        position = min(extent.end, size)
        yield Extent(extent.offset, position - extent.offset, extent.zero)
    if position < size:
        yield Extent(position, size - position)


def data_ranges(extents: Iterable[Extent], size: int, gap: int = COALESCE_BYTES) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of data; zeros shorter than `gap` between two of them count as data."""
    start = end = -1
    for extent in merge(extents, size):
        if extent.zero:
            continue
        if start >= 0 and extent.offset - end < gap:
            end = extent.end
            continue
        if start >= 0:
            yield start, end
        start, end = extent.offset, extent.end
    if start >= 0:
        yield start, end


def chunks(extents: Iterable[Extent], size: int, block: int = BLOCK_BYTES) -> Iterator[Chunk]:
    """The whole disk in order: a chunk for each block that has data, one for each run of blocks that has none."""
    pieces: list[tuple[int, int]] = []
    base = done = 0
    for start, end in data_ranges(extents, size):
        position = start
        while position < end:
            here = position - position % block
            if pieces and here != base:
                done = min(base + block, size)
                yield Chunk(base, done - base, tuple(pieces))
                pieces = []
            if not pieces:
                if here > done:
                    yield Chunk(done, here - done)
                base = here
            stop = min(end, here + block)
            pieces.append((position - here, stop - here))
            position = stop
    if pieces:
        done = min(base + block, size)
        yield Chunk(base, done - base, tuple(pieces))
    if done < size:
        yield Chunk(done, size - done)
