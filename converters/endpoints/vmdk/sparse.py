"""A sparse VMDK in a file, read anywhere through its grain tables: monolithicSparse, and streams that are at rest.

directory ──> table, 512 entries ──> grain: its sector in the file; 0: never written; 1: zeros, where a flag says so
"""

from __future__ import annotations

import struct
import sys
import threading
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from typing import Protocol

from converters.extents import Extent
from kubeferry.errors import HostileImage, SourceRefused
from kubeferry.images.vmdk import descriptor, header
from kubeferry.images.vmdk.header import SECTOR_BYTES, TABLE_ENTRIES, Header

TABLE_BYTES = TABLE_ENTRIES * 4
TABLES_KEPT = 1024  # 2 MiB, for 32 GiB of a disk with usual grains
GRAIN_HEAD = struct.Struct("<QI")
AGAIN = "Export the machine again, or check the image with `qemu-img check`."


class File(Protocol):
    """Bytes that can be read anywhere."""

    size: int

    def read_at(self, offset: int, view: memoryview, /) -> None: ...


class Sparse:
    """`capacity` is the disk's size in bytes. May be used from several threads at once. Raises HostileImage for numbers
    that lie, SourceRefused for what is cut off or damaged, each with its offset in the file. `tables` are the most
    grain tables that it keeps, of 2 KiB each."""

    def __init__(self, file: File, where: str, *, tables: int = TABLES_KEPT) -> None:
        self.where = where
        self._file = file
        self._kept = tables
        self.header = self._usable(self._header_at(0))
        self.capacity = self.header.capacity_bytes
        self.descriptor = self._descriptor()
        self._directory = self._words(self.header.directory * SECTOR_BYTES, self.header.directory_entries)
        self._tables: OrderedDict[int, array[int]] = OrderedDict()
        self._lock = threading.Lock()

    def extents(self) -> Iterator[Extent]:
        """Where grains are, and where there are none."""
        begun, zero = 0, False
        for start, end, place in self._runs(0, self.capacity):
            if (not place) != zero and start > begun:
                yield Extent(begun, start - begun, zero=zero)
                begun = start
            zero = not place
            del end
        if begun < self.capacity:
            yield Extent(begun, self.capacity - begun, zero=zero)

    def places(self) -> tuple[int, int]:
        """How many grains the tables list, and the sum of their sectors: see `converters.endpoints.vmdk.stream`."""
        count = total = 0
        for number in range(len(self._directory)):
            table = self._table(number) or ()
            listed = [place for place in table if place > 1]
            count, total = count + len(listed), total + sum(listed)
        return count, total

    def read_into(self, offset: int, view: memoryview) -> None:
        for start, end, place in self._runs(offset, offset + len(view)):
            part = view[start - offset : end - offset]
            if not place:
                part[:] = bytes(len(part))
            elif place < self.header.overhead:
                raise self._hostile(0, f"its grain of offset {start} is said to be at sector {place}, in its tables")
            elif self.header.compression:
                inside = start % self.header.grain_bytes
                part[:] = self._inflated(start - inside, place)[inside : inside + len(part)]
            else:
                self._read(place * SECTOR_BYTES + start % self.header.grain_bytes, part)

    # --- tables ---

    def _runs(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Start and end of what one grain has of a range, or of what a missing table leaves out, with its sector."""
        size = self.header.grain_bytes
        position = start
        while position < stop:
            number = position // size
            table = self._table(number // TABLE_ENTRIES)
            if table is None:
                end = min((number // TABLE_ENTRIES + 1) * TABLE_ENTRIES * size, stop)
                yield position, end, 0
            else:
                end = min((number + 1) * size, stop)
                place = table[number % TABLE_ENTRIES]
                yield position, end, 0 if place == 1 and self.header.flags & header.ZERO_GRAINS else place
            position = end

    def _table(self, number: int) -> array[int] | None:
        place = self._directory[number]
        if not place:
            return None
        with self._lock:
            found = self._tables.get(number)
            if found is None:
                found = self._words(place * SECTOR_BYTES, TABLE_ENTRIES)
                self._tables[number] = found
                if len(self._tables) > self._kept:
                    self._tables.popitem(last=False)
            return found

    def _words(self, at: int, count: int) -> array[int]:
        content = bytearray(count * 4)
        self._read(at, memoryview(content))
        found = array("I")
        found.frombytes(content)
        if sys.byteorder == "big":
            found.byteswap()
        return found

    # --- grains ---

    def _inflated(self, offset: int, place: int) -> bytes:
        at, size = place * SECTOR_BYTES, self.header.grain_bytes
        head = bytearray(GRAIN_HEAD.size)
        self._read(at, memoryview(head))
        lba, length = GRAIN_HEAD.unpack(head)
        if not self.header.is_stream:
            # Without markers a grain has its length only.
            length, skipped = struct.unpack_from("<I", head)[0], 4
        else:
            skipped = GRAIN_HEAD.size
            if lba * SECTOR_BYTES != offset:
                raise self._hostile(at, f"its grain there is of sector {lba} instead of {offset // SECTOR_BYTES}")
        if not 0 < length <= size + size // 8 + SECTOR_BYTES:
            raise self._hostile(at, f"its grain there claims {length} bytes")
        content = bytearray(length)
        self._read(at + skipped, memoryview(content))
        unpacker = zlib.decompressobj()
        try:
            data = unpacker.decompress(content, size + 1)
        except zlib.error as error:
            raise self._damaged(at, f"its grain there is damaged: {error}") from error
        wanted = min(size, self.capacity - offset)
        if len(data) > size:
            raise self._hostile(at, f"its grain there inflates to more than {size} bytes")
        if not unpacker.eof or len(data) < wanted:
            raise self._damaged(at, f"its grain there has only {len(data)} of {wanted} bytes")
        return data

    def _read(self, at: int, view: memoryview) -> None:
        if at + len(view) > self._file.size:
            raise self._damaged(at, f"it ends after {self._file.size} bytes, and has to have {len(view)}")
        self._file.read_at(at, view)

    # --- the front ---

    def _header_at(self, at: int) -> Header:
        sector = bytearray(SECTOR_BYTES)
        self._read(at, memoryview(sector))
        try:
            return header.parse(bytes(sector))
        except ValueError as error:
            raise self._hostile(at, str(error)) from error

    def _usable(self, found: Header) -> Header:
        """The header with the directory's place, which is in the footer where it is not in the header."""
        if found.directory_at_end:
            at = self._file.size - 2 * SECTOR_BYTES  # before the end-of-stream marker
            footer = self._header_at(at)
            if footer.directory_at_end or (footer.capacity, footer.grain) != (found.capacity, found.grain):
                raise self._hostile(at, "its footer describes another disk than its header")
            found = footer
        if found.grains and not found.directory:
            raise self._hostile(56, "it does not say where its directory is")
        return found

    def _descriptor(self) -> descriptor.Descriptor | None:
        head = self.header
        if not head.descriptor_size:
            return None
        at = head.descriptor * SECTOR_BYTES
        text = bytearray(head.descriptor_size * SECTOR_BYTES)
        self._read(at, memoryview(text))
        try:
            found = descriptor.parse(bytes(text))
        except ValueError as error:
            raise self._hostile(at, str(error)) from error
        if found.has_parent:
            raise SourceRefused(
                f"{self.where} holds only what differs from another disk (its descriptor at offset {at})",
                fix="Export the machine without snapshots, so that each disk is one whole file.",
            )
        if found.parts and found.sectors != head.capacity:
            raise self._hostile(at, f"its descriptor says {found.sectors} sectors, its header {head.capacity}")
        return found

    def _damaged(self, at: int, what: str) -> SourceRefused:
        return SourceRefused(f"{self.where}: {what}, at offset {at}", fix=AGAIN)

    def _hostile(self, at: int, what: str) -> HostileImage:
        return HostileImage(f"{self.where}: {what}, at offset {at}", fix=AGAIN)
