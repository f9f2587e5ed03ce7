"""Where a disk has data and where it reads as zeros; cut into the blocks that are copied, hashed and compared.

    extents    |####|......|##|......................|#####|=====================|
    blocks     |         |         |         |         |         |         |         |
    chunks     [data     ][data    ][zero              ][data    ][same              ]

Pure: knows offsets and lengths in bytes, no storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCK_BYTES = 1 << 20
DISK_LIMIT_BYTES = 64 << 40  # files and memory are made by a disk's size, which a source only claims
GRAIN_BYTES = 4096
COALESCE_BYTES = 64 << 10  # two reads cost more than the zeros of a gap this small


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of a disk. `zero` promises that it reads as zeros, `same` that it holds what it held in the round before;
    without either nothing is promised. What is the same can be read all the same."""

    offset: int
    length: int
    zero: bool = False
    same: bool = False

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Chunk:
    """One block with its data ranges (relative to `offset`); or, without data, a run of whole blocks: of zeros, or
    (`same`) of what they held in the round before."""

    offset: int
    length: int
    data: tuple[tuple[int, int], ...] = ()
    same: bool = False

    @property
    def end(self) -> int:
        return self.offset + self.length


def block_count(size: int, block: int = BLOCK_BYTES) -> int:
    """How many blocks a disk of `size` bytes has; the last may be short."""
    return -(-size // block)


def of_bytes(content: bytes | bytearray) -> Iterator[Extent]:
    """Where bytes in memory have data, to `GRAIN_BYTES`."""
    pieces = range(0, len(content), GRAIN_BYTES)
    return merge((Extent(at, GRAIN_BYTES, zero=not any(content[at : at + GRAIN_BYTES])) for at in pieces), len(content))


def merge(extents: Iterable[Extent], size: int) -> Iterator[Extent]:
    """Neighbours of one kind joined, clipped to `size`, gaps filled as data: unknown is not zero.

    Raises ValueError for extents that are not in order, overlap or are empty.
    """
    current = Extent(0, 0)
    for extent in _filled(extents, size):
        if (extent.zero, extent.same) == (current.zero, current.same) or not current.length:
            current = Extent(current.offset, current.length + extent.length, extent.zero, extent.same)
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
        yield Extent(extent.offset, position - extent.offset, extent.zero, extent.same)
    if position < size:
        yield Extent(position, size - position)


def overlaid(extents: Iterable[Extent], clean: Iterable[Extent]) -> Iterator[Extent]:
    """Where `clean` says that a range is the same it is; elsewhere `extents` counts. Both cover the disk in order."""
    told, upper = iter(extents), iter(clean)
    below, above = next(told, None), next(upper, None)
    position = 0
    while below is not None and above is not None:
        stop = min(below.end, above.end)
        yield Extent(position, stop - position, zero=below.zero and not above.same, same=above.same)
        position = stop
        below = next(told, None) if below.end == stop else below
        above = next(upper, None) if above.end == stop else above


def unchanged(changed: Iterable[tuple[int, int]], size: int) -> Iterator[Extent]:
    """The whole disk in order, the same wherever `changed` (starts and ends, in order) does not say otherwise."""
    position = 0
    for start, end in changed:
        begin, stop = min(start, size), min(end, size)
        if begin > position:
            yield Extent(position, begin - position, same=True)
        if stop > begin:
            yield Extent(begin, stop - begin)
        position = max(position, stop)
    if position < size:
        yield Extent(position, size - position, same=True)


def settled(extents: Iterable[Extent], size: int, block: int = BLOCK_BYTES) -> Iterator[Extent]:
    """What is the same, in whole blocks: a block of which a part may have changed has to be read, and is data."""
    return merge(_in_blocks(merge(extents, size), size, block), size)


def _in_blocks(extents: Iterable[Extent], size: int, block: int) -> Iterator[Extent]:
    for extent in extents:
        if not extent.same:
            yield extent
            continue
        start = min(block_count(extent.offset, block) * block, extent.end)
        stop = extent.end if extent.end == size else max(extent.end // block * block, start)
        cuts = ((extent.offset, start, False), (start, stop, True), (stop, extent.end, False))
        yield from (Extent(begin, end - begin, same=same) for begin, end, same in cuts if begin < end)


def data_ranges(extents: Iterable[Extent], size: int, gap: int = COALESCE_BYTES) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of data; zeros shorter than `gap` between two of them count as data."""
    return ((start, end) for start, end, same in _stretches(merge(extents, size), gap) if not same)


def _stretches(extents: Iterable[Extent], gap: int) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each stretch that is data or (True) the same, in order."""
    start = end = -1
    for extent in extents:
        if extent.zero:
            continue
        if not extent.same and start >= 0 and extent.offset - end < gap:
            end = extent.end
            continue
        if start >= 0:
            yield start, end, False
        start, end = (-1, -1) if extent.same else (extent.offset, extent.end)
        if extent.same:
            yield extent.offset, extent.end, True
    if start >= 0:
        yield start, end, False


def chunks(extents: Iterable[Extent], size: int, block: int = BLOCK_BYTES) -> Iterator[Chunk]:
    """The whole disk in order: a chunk for each block that has data, one for each run of blocks that has none."""
    done = 0
    for chunk in _told(_stretches(settled(extents, size, block), COALESCE_BYTES), size, block):
        if chunk.offset > done:
            yield Chunk(done, chunk.offset - done)
        yield chunk
        done = chunk.end
    if done < size:
        yield Chunk(done, size - done)


def _told(stretches: Iterable[tuple[int, int, bool]], size: int, block: int) -> Iterator[Chunk]:
    """A chunk for each block that has data and for each run that is the same."""
    pieces: list[tuple[int, int]] = []
    base = 0
    for start, end, same in stretches:
        position = start
        while position < end:
            here = position - position % block
            if pieces and (same or here != base):
                yield Chunk(base, min(block, size - base), tuple(pieces))
                pieces = []
            if same:
                yield Chunk(start, end - start, same=True)
                break
            base, stop = here, min(end, here + block)
            pieces.append((position - here, stop - here))
            position = stop
    if pieces:
        yield Chunk(base, min(block, size - base), tuple(pieces))
