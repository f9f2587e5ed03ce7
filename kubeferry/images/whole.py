"""Whether the file of a qcow2 image holds all that the image's tables name, looked at before QEMU opens it.

Behind the end of a file QEMU reads zeros, and says nothing: of an image that was cut off, that is a wrong disk. Looked
at are the active tables of every qcow2 image of a chain, compressed clusters among them. A raw one may be shorter than
what lies above it: that reads as zeros by right. So does the rest of a last cluster in which the file ends.

Tables of 2 MiB together are held at a time. A TiB in clusters of the usual size takes a second or two; on another host
each of these is one call.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

from kubeferry.errors import SourceRefused
from kubeferry.faults import Side, of_os
from kubeferry.images import qcow2
from kubeferry.images.clusters import COMPRESSED, ENTRY_BYTES, PLACE, SECTOR_BYTES, ZEROS, CutOff, entries_in
from kubeferry.images.nodes import chain_of, part_of, path_of
from kubeferry.uris import Part
from kubeferry.values import DiskRef

ENTRIES_AT_ONCE = 1 << 16  # of the first table, which has up to 32 MiB
ALLOCATED_PARTS = (1 << 32) - 1  # of an entry with parts, the half that says which of them have bytes
TABLES_BYTES = 2 << 20  # held at a time
Read = Callable[[Sequence[int], int], Sequence[bytes]]
"""The bytes of a file at several places, so many at each."""


class Files(Protocol):
    """Where images are. Both raise KubeferryError or OSError."""

    def size(self, path: Path, /) -> int:
        """The length of a file or device."""

    def pieces(self, path: Path, places: Sequence[int], length: int, /) -> Sequence[bytes]:
        """As `Read`, of one of them; fewer bytes at its end."""


class Here:
    """The files and devices of this host."""

    def size(self, path: Path) -> int:
        with _opened(path) as fd:
            return os.lseek(fd, 0, os.SEEK_END)

    def pieces(self, path: Path, places: Sequence[int], length: int) -> Sequence[bytes]:
        with _opened(path) as fd:
            return [os.pread(fd, length, place) for place in places]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def check(ref: DiskRef, look: Callable[[], None], files: Files | None = None) -> None:
    """Refuse a chain of images in which one is cut off; of this host, unless `files` are of another. `look` is called
    between tables. After `nodes.check`. Raises SourceRefused."""
    there = files or Here()
    for link in chain_of(ref):
        if link.format != "qcow2":
            continue
        path, part = path_of(link.uri), part_of(link.uri)
        try:
            size = there.size(path) if part is None else part.length
            read = partial(there.pieces, path) if part is None else partial(_pieces_of, there, part)
            (head,) = read([0], qcow2.READ_BYTES)
            find_missing(qcow2.parse(head), size, read, look)
        except (CutOff, ValueError) as error:  # the latter where it became another image since its header was checked
            raise refusal(path, error) from error
        except OSError as error:
            raise of_os(Side.SOURCE, f"{path} cannot be read", error) from error


def _pieces_of(files: Files, part: Part, places: Sequence[int], length: int) -> Sequence[bytes]:
    """Bytes of an image that is a part of a file."""
    found = files.pieces(part.path, [part.offset + place for place in places], length)
    return [one[: max(0, part.length - place)] for one, place in zip(found, places, strict=True)]


def refusal(path: Path, error: Exception) -> SourceRefused:
    """The error for an image that is cut off."""
    return SourceRefused(
        f"{path} is cut off, or damaged",
        why=f"{error}; QEMU would read zeros there, and say nothing",
        fix="Copy the image here again, whole; if it is like that at its source: `qemu-img check` and "
        "`qemu-img convert` it there.",
    )


# --- pure ------------------------------------------------------------------------------------------------------------


def find_missing(header: qcow2.Qcow2, file_size: int, read: Read, look: Callable[[], None]) -> None:
    """Raise CutOff at the first thing that the active tables name behind the end of a file of this size."""
    cluster = 1 << header.cluster_bits
    parts = bool(header.features & qcow2.EXTENDED_L2)
    per_table = cluster // (2 * ENTRY_BYTES if parts else ENTRY_BYTES)
    clusters = -(-header.size // cluster)
    tables = _tables(header, -(-clusters // per_table), file_size, read)
    while some := list(islice(tables, max(1, TABLES_BYTES // cluster))):
        look()
        found = _entries([place for _, place in some], cluster, file_size, read)
        for (number, _), entries in zip(some, found, strict=True):
            wanted = (_with_bytes(entries) if parts else entries)[: min(per_table, clusters - number * per_table)]
            _find_behind(wanted, header, file_size, zeros=0 if parts or header.version < 3 else ZEROS)


def _tables(header: qcow2.Qcow2, count: int, file_size: int, read: Read) -> Iterator[tuple[int, int]]:
    """Which tables of level 2 there are, and where. One that lies where the one before it does, as in a hostile image
    alone, is left out."""
    before = 0
    for first in range(0, min(count, header.l1_entries), ENTRIES_AT_ONCE):
        some = min(ENTRIES_AT_ONCE, min(count, header.l1_entries) - first)
        (entries,) = _entries([header.l1_at + first * ENTRY_BYTES], some * ENTRY_BYTES, file_size, read)
        for number, entry in enumerate(entries, first):
            place = entry & PLACE
            if place and place != before:
                yield number, place
            before = place or before


def _entries(places: Sequence[int], length: int, file_size: int, read: Read) -> Iterator[array[int]]:
    last = max(places)
    found = read(places, length) if last + length <= file_size else [b""]
    if any(len(one) != length for one in found):
        raise CutOff(f"a table of it lies at {last}, and its file ends at {file_size}")
    yield from map(entries_in, found)


def _with_bytes(entries: array[int]) -> array[int]:
    """Of a table whose clusters have parts, those of which a part has bytes; 0 for the others."""
    pairs = zip(entries[::2], entries[1::2], strict=True)
    return array("Q", (one if used & ALLOCATED_PARTS else 0 for one, used in pairs))


def _find_behind(entries: array[int], header: qcow2.Qcow2, file_size: int, *, zeros: int) -> None:
    counted_from = 62 - (header.cluster_bits - 8)  # below it the offset, from it on the number of sectors
    offsets, sectors = (1 << counted_from) - 1, (1 << (62 - counted_from)) - 1
    for entry in entries:
        if entry & COMPRESSED:
            begins = entry & offsets
            # Bytes are in its last sector, but need not fill it.
            more = (entry >> counted_from & sectors) * SECTOR_BYTES
            place = begins - begins % SECTOR_BYTES + more if more else begins
        elif entry & zeros:
            continue
        else:
            place = entry & PLACE
        if place >= file_size:
            raise CutOff(f"bytes of its disk lie at {place}, and its file ends at {file_size}")
