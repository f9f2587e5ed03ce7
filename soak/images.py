"""Disks of random content, and what happens to them behind our back: written to, holed, swapped, cut."""

from __future__ import annotations

import os
import random
import zlib
from pathlib import Path

from converters.extents import BLOCK_BYTES
from kubeferry.model import DiskRef

MIB = 1 << 20
ODD = (1, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 300_001, MIB, MIB + 1, 2 * MIB)
SIZES = (0, 1, 511, 512, 513, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1)
CHURNS = ("nothing", "nothing", "a bit is flipped", "a hole is punched", "a block is swapped", "made anew, empty")


def ref(path: Path) -> DiskRef:
    return DiskRef(uri=path.as_uri())


def a_size(r: random.Random, most: int) -> int:
    """Edges of sectors, pages and blocks, or anything up to `most` bytes."""
    return r.choice([*SIZES, r.randrange(1, most), r.randrange(1, most)])


def empty(path: Path, size: int) -> Path:
    """A file that is a hole all through."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def filled(r: random.Random, path: Path, size: int) -> Path:
    """Data, holes, written zeros, and pieces of zeros with one byte at an edge; pieces of odd lengths."""
    empty(path, size)
    position = 0
    with path.open("r+b") as file:
        while position < size:
            length = min(r.choice(ODD), size - position)
            if (piece := _piece(r, length)) is not None:
                file.seek(position)
                file.write(piece)
            position += length
    return path


def _piece(r: random.Random, length: int) -> bytes | None:
    kind = r.random()
    if kind < 0.45:
        return r.randbytes(length)
    if kind < 0.6:
        return bytes(length)
    if kind < 0.7:
        return bytes(length - 1) + b"\1"
    return b"\1" + bytes(length - 1) if kind < 0.8 else None


def written_to(r: random.Random, path: Path, times: int) -> list[tuple[int, int]]:
    """Write here and there; the ranges, as start and stop."""
    size, ranges = path.stat().st_size, []
    with path.open("r+b") as file:
        for _ in range(times if size else 0):
            start = r.randrange(size)
            length = min(r.choice((1, 512, 4096, 65536, MIB, MIB + 7)), size - start)
            file.seek(start)
            file.write(r.randbytes(length) if r.random() < 0.6 else bytes(length))
            ranges.append((start, start + length))
    return ranges


def flipped(r: random.Random, path: Path, times: int, size: int) -> list[int]:
    """Flip bits of the first `size` bytes, in holes and at the very end too; offsets of the blocks that differ now."""
    bits = dict[int, int]()
    for number in range(times):
        at = size - 1 - r.randrange(min(size, 4096)) if number == 0 else r.randrange(size)
        bits[at] = bits.get(at, 0) ^ (1 << r.randrange(8))
    with path.open("r+b") as file:
        for at, bit in bits.items():
            file.seek(at)
            before = file.read(1)[0]
            file.seek(at)
            file.write(bytes([before ^ bit]))
    return sorted({at // BLOCK_BYTES * BLOCK_BYTES for at, bit in bits.items() if bit})


def churned(r: random.Random, path: Path, kind: str) -> None:
    """Somebody does something to a target between two runs of its copy."""
    size = path.stat().st_size
    if not size or kind == "nothing":
        return
    if kind == "a bit is flipped":
        flipped(r, path, 1, size)
    elif kind == "made anew, empty":
        path.unlink()
        empty(path, size)
    else:
        at = r.randrange(size) // BLOCK_BYTES * BLOCK_BYTES
        length = min(BLOCK_BYTES, size - at)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes(length) if kind == "a hole is punched" else r.randbytes(length))


def same(one: Path, other: Path, size: int) -> bool:
    """Whether two files or devices hold the same in their first bytes."""
    with one.open("rb") as first, other.open("rb") as second:
        while size:
            piece = min(size, 8 * MIB)
            mine, theirs = first.read(piece), second.read(piece)
            if len(mine) != piece or mine != theirs:
                return False
            size -= piece
    return True


def sum_of(path: Path, start: int) -> int:
    """What lies behind `start`, as a number to compare."""
    with path.open("rb") as file:
        file.seek(start)
        return zlib.crc32(file.read())


def on_storage(path: Path, size: int) -> bytes:
    """The first bytes as the storage has them, whatever the host's page cache shows. For whole MiB."""
    import mmap

    found = mmap.mmap(-1, size)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        os.preadv(fd, [found], 0)
    finally:
        os.close(fd)
    return bytes(found)
