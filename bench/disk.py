"""The disk that is copied: a raw file with data and holes of many sizes, the same each time, and its qcow2 twin."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

SHARE_OF_DATA = 0.43
PIECES = (4096, 64 << 10, 256 << 10, 1 << 20, 8 << 20, 32 << 20)
GRAIN = 4096
PART = 1 << 20  # small: what this process held counts in the peak of the programs that it starts
SEED = 20240229


def make(folder: Path, size: int, data: int) -> tuple[Path, Path]:
    """The raw file and the qcow2 file, made unless they are there. `data` bytes of `size` are no holes."""
    name = f"source-{size >> 20}-{data >> 20}"
    raw, qcow2 = folder / f"{name}.raw", folder / f"{name}.qcow2"
    if not raw.exists():
        unfinished = raw.with_suffix(".new")
        _fill(unfinished, size, data)
        unfinished.replace(raw)
    if not qcow2.exists():
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), f"{qcow2}.new"], check=True)
        Path(f"{qcow2}.new").replace(qcow2)
    return raw, qcow2


def _fill(path: Path, size: int, data: int) -> None:
    chance = random.Random(SEED)  # noqa: S311 (the same disk each time, not a secret)
    pieces = []
    wanted = data
    while wanted > 0:
        length = min(chance.choice(PIECES) + chance.randrange(16) * GRAIN, wanted)
        length = -(-length // GRAIN) * GRAIN
        pieces.append(length)
        wanted -= length
    gap = (size - sum(pieces)) // len(pieces) // GRAIN
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.ftruncate(fd, size)
    offset = 0
    for length in pieces:
        for start in range(0, length, PART):
            os.pwrite(fd, chance.randbytes(min(PART, length - start)), offset + start)
        offset += length + chance.randrange(2 * gap + 1) * GRAIN
    os.fsync(fd)
    os.close(fd)
    if path.stat().st_size > size:
        os.truncate(path, size)


def evict(path: Path) -> None:
    """Drop a file from the page cache."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def warm(path: Path) -> None:
    """Read a file's data, not its holes, into the page cache."""
    buffer = bytearray(PART)
    end = 0
    with path.open("rb", buffering=0) as file:
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                return
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            file.seek(start)
            while file.tell() < end:
                file.readinto(buffer)
