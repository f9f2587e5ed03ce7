"""Whether the file of a qcow2 image holds all that the image's tables name, looked at before QEMU opens it.

Behind the end of a file QEMU reads zeros, and says nothing: of an image that was cut off, that is a wrong disk. Looked
at are the active tables of every qcow2 image of a chain, compressed clusters among them. A raw one may be shorter than
what lies above it: that reads as zeros by right. So does the rest of a last cluster in which the file ends.

One table is held at a time: a cluster, 2 MiB at most. A TiB in clusters of the usual size takes a second or two.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

from kubeferry.errors import SourceRefused
from kubeferry.faults import Side, of_os
from kubeferry.images import qcow2
from kubeferry.images.clusters import ENTRY_BYTES, PLACE, SECTOR_BYTES, ZEROS, CutOff
from kubeferry.images.nodes import chain_of, path_of
from kubeferry.values import DiskRef

COMPRESSED = 1 << 62
ENTRIES_AT_ONCE = 1 << 16  # of the first table, which has up to 32 MiB
ALLOCATED_PARTS = (1 << 32) - 1  # of an entry with parts, the half that says which of them have bytes
Read = Callable[[int, int], bytes]


def check(ref: DiskRef, look: Callable[[], None]) -> None:
    """Refuse a chain of images of this host in which one is cut off. `look` is called between tables. After
    `nodes.check`. Raises SourceRefused."""
    for link in chain_of(ref):
        if link.format != "qcow2":
            continue
        path = path_of(link.uri)
        try:
            _look(path, look)
        except (CutOff, ValueError) as error:  # the latter where it became another image since its header was checked
            raise refusal(path, error) from error
        except OSError as error:
            raise of_os(Side.SOURCE, f"{path} cannot be read", error) from error


def refusal(path: Path, error: Exception) -> SourceRefused:
    """The error for an image that is cut off."""
    return SourceRefused(
        f"{path} is cut off, or damaged",
        why=f"{error}; QEMU would read zeros there, and say nothing",
        fix="Copy the image here again, whole; if it is like that at its source: `qemu-img check` and "
        "`qemu-img convert` it there.",
    )


def _look(path: Path, look: Callable[[], None]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        header = qcow2.parse(os.pread(fd, qcow2.READ_BYTES, 0))
        find_missing(header, os.lseek(fd, 0, os.SEEK_END), lambda offset, length: os.pread(fd, length, offset), look)
    finally:
        os.close(fd)


# --- pure ------------------------------------------------------------------------------------------------------------


def find_missing(header: qcow2.Qcow2, file_size: int, read: Read, look: Callable[[], None]) -> None:
    """Raise CutOff at the first thing that the active tables name behind the end of a file of this size."""
    cluster = 1 << header.cluster_bits
    parts = bool(header.features & qcow2.EXTENDED_L2)
    per_table = cluster // (2 * ENTRY_BYTES if parts else ENTRY_BYTES)
    clusters = -(-header.size // cluster)
    before = 0
    for number, place in enumerate(_tables(header, -(-clusters // per_table), file_size, read)):
        if place == before or not place:  # an entry says the same as the one before it only in a hostile image
            continue
        before = place
        look()
        entries = _entries(place, cluster, file_size, read)
        wanted = min(per_table, clusters - number * per_table)
        if parts:
            entries = array("Q", (one if some & ALLOCATED_PARTS else 0 for one, some in _pairs(entries)))
        _find_behind(entries[:wanted], header, file_size, zeros=0 if parts or header.version < 3 else ZEROS)


def _tables(header: qcow2.Qcow2, count: int, file_size: int, read: Read) -> Iterator[int]:
    """Where the tables of level 2 are; 0 for none."""
    for first in range(0, min(count, header.l1_entries), ENTRIES_AT_ONCE):
        some = min(ENTRIES_AT_ONCE, min(count, header.l1_entries) - first)
        entries = _entries(header.l1_at + first * ENTRY_BYTES, some * ENTRY_BYTES, file_size, read)
        yield from (entry & PLACE for entry in entries)


def _entries(place: int, length: int, file_size: int, read: Read) -> array[int]:
    found = read(place, length) if place + length <= file_size else b""
    if len(found) != length:
        raise CutOff(f"a table of it lies at {place}, and its file ends at {file_size}")
    entries = array("Q", found)
    if sys.byteorder == "little":
        entries.byteswap()
    return entries


def _pairs(entries: array[int]) -> Iterator[tuple[int, int]]:
    return zip(entries[::2], entries[1::2], strict=True)


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
