"""A streamOptimized VMDK, read once and forward only: what an export lease and an OVA give.

    header | descriptor, tables | grain grain … table | grain … table | directory | footer | end of stream
            <---- overhead ---->  every record starts at a sector; a grain is its LBA, its length and a zlib stream

The tables are not needed to read it, but to notice what is missing: a grain that they list and the stream lacks would
read as zeros. So the places of all grains are summed up, and must be those that the tables have, once or twice. A
stream whose tables stand in front may end without a marker, as qemu-img leaves it: then they tell that it is whole.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from kubeferry.errors import HostileImage, SourceRefused
from kubeferry.images.vmdk import descriptor, header
from kubeferry.images.vmdk.header import SECTOR_BYTES, TABLE_SECTORS, Header

PIECE_BYTES = 1 << 20
RECORD = struct.Struct("<QII")  # a grain's LBA, or a marker's sectors; bytes of the grain, 0 in a marker; marker's type
GRAIN_HEAD_BYTES = 12
DIRECTORY_ROOM = 128  # sectors that a writer may reserve beyond what the directory needs; nothing is read from it
END, TABLE, DIRECTORY, FOOTER = range(4)
AGAIN = "Export the machine again, and compare the file with its manifest."
_ZEROS = bytes(SECTOR_BYTES)


class Reader(Protocol):
    """Bytes in order."""

    def read(self, count: int, /) -> bytes:
        """At least one and at most `count` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class _Grain:
    """A grain that was not inflated yet: its offset in the disk, the offset of its record, its zlib stream."""

    offset: int
    at: int
    packed: memoryview


class _Places:
    """Sectors of grains, as a number and a sum: equal for the same grains, in whatever order they are told."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0

    def add(self, sectors: array[int] | list[int]) -> None:
        self.count += len(sectors)
        self.sum += sum(sectors)

    def agree(self, tables: _Places) -> bool:
        """Whether tables list just these: once, or twice where they are kept twice."""
        return any((self.count * times, self.sum * times) == (tables.count, tables.sum) for times in (1, 2))


class Stream:
    """See the package for how it is used. `where` names the stream in errors."""

    def __init__(self, reader: Reader, where: str) -> None:
        self.where = where
        self._input = _Input(reader, self)
        self.header = self._read_header()
        self.capacity = self.header.capacity_bytes
        self._grains = _Places()
        self._listed = _Places()
        self._footer: Header | None = None
        self._directory_at = -1
        self._end_at = -1
        self.descriptor = self._read_overhead()
        self._records = self._walk()
        self._current: _Grain | None = next(self._records, None)
        self._inflated: bytes | None = None
        self._position = 0

    @property
    def consumed(self) -> int:
        """How many bytes of the stream have been looked at."""
        return self._input.position

    @property
    def places(self) -> tuple[int, int]:
        """How many grains were met so far, and the sum of their sectors."""
        return self._grains.count, self._grains.sum

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the disk's bytes at `offset`; no byte of it may lie before one that was read already."""
        if offset < self._position or offset + len(view) > self.capacity:
            why = f"asked for {len(view)} bytes at {offset}, and it was read up to {self._position} of {self.capacity}"
            fix = "Read it from its start again, in order."
            raise SourceRefused(f"{self.where} is read forward only", why=why, fix=fix)
        position, end = offset, offset + len(view)
        while position < end:
            grain = self._reach(position)
            start = end if grain is None else min(max(grain.offset, position), end)
            if start > position:
                view[position - offset : start - offset] = bytes(start - position)
            if grain is None or start == end:
                break
            data = self._inflate(grain)
            position = min(grain.offset + len(data), end)
            view[start - offset : position - offset] = data[start - grain.offset : position - grain.offset]
        self._position = end

    def finish(self) -> None:
        """Read up to the end of the reader, inflating nothing; raises where the stream as a whole is wrong."""
        while self._current is not None:
            self._next()
        self._nothing_behind()
        if self._listed.count and not self._grains.agree(self._listed):
            raise self.damaged(
                self._end_at, f"its tables list {self._listed.count} grains, and other {self._grains.count} are in it"
            )

    # --- the order of grains ---

    def _reach(self, position: int) -> _Grain | None:
        """The first grain that ends behind a position; None when there is none."""
        while (grain := self._current) is not None and grain.offset + self.header.grain_bytes <= position:
            self._next()
        return grain

    def _next(self) -> None:
        self._current = next(self._records, None)
        self._inflated = None

    def _inflate(self, grain: _Grain) -> bytes:
        """The bytes of the current grain, up to the disk's end."""
        if self._inflated is None:
            size = self.header.grain_bytes
            wanted = min(size, self.capacity - grain.offset)
            unpacker = zlib.decompressobj()
            try:
                data = unpacker.decompress(grain.packed, size + 1)
            except zlib.error as error:
                raise self.damaged(grain.at, f"its grain there is damaged: {error}") from error
            if len(data) > size:
                raise self.hostile(grain.at, f"its grain there inflates to more than {size} bytes")
            if not unpacker.eof or len(data) < wanted:
                raise self.damaged(grain.at, f"its grain there has only {len(data)} of {wanted} bytes")
            self._inflated = data if len(data) == wanted else data[:wanted]
        return self._inflated

    def _walk(self) -> Iterator[_Grain]:
        """Every grain, up to the end-of-stream marker."""
        following = 0
        while True:
            at = self._input.position
            if self._whole() and self._input.ended():
                self._end_at = at
                return
            first = self._input.take(SECTOR_BYTES)
            value, size, kind = RECORD.unpack_from(first)
            if size:
                if value < following or value % self.header.grain or value >= self.header.capacity:
                    raise self._misplaced(at, value, following)
                following = value + self.header.grain
                self._grains.add([at // SECTOR_BYTES])
                yield _Grain(value * SECTOR_BYTES, at, self._packed(at, first, size))
            elif kind == END:
                self._ended(at, first)
                return
            else:
                self._marker(at, kind, value)

    def _whole(self) -> bool:
        """Whether tables in front list no grain but those that were met."""
        return not self.header.directory_at_end and self._grains.count > 0 and self._grains.agree(self._listed)

    def _packed(self, at: int, first: memoryview, size: int) -> memoryview:
        limit = self.header.grain_bytes + self.header.grain_bytes // 8 + SECTOR_BYTES
        if size > limit:
            raise self.hostile(at, f"its grain there claims {size} bytes, of at most {limit}")
        rest = GRAIN_HEAD_BYTES + size - SECTOR_BYTES
        if rest <= 0:
            return first[GRAIN_HEAD_BYTES : GRAIN_HEAD_BYTES + size]
        more = self._input.take(rest + -rest % SECTOR_BYTES)
        return memoryview(b"".join((first[GRAIN_HEAD_BYTES:], more[:rest])))

    def _misplaced(self, at: int, value: int, following: int) -> HostileImage | SourceRefused:
        if value >= self.header.capacity:
            return self.hostile(at, f"its grain there lies at sector {value} of {self.header.capacity}")
        if value % self.header.grain:
            return self.hostile(at, f"its grain there lies at sector {value}, inside another")
        return SourceRefused(
            f"{self.where}: its grains are not in order, at offset {at}",
            why=f"sector {value} comes after sector {following - self.header.grain}; a stream is read forward only",
            fix="Write it anew with `qemu-img convert -O vmdk -o subformat=streamOptimized`.",
        )

    # --- markers ---

    def _marker(self, at: int, kind: int, sectors: int) -> None:
        expected = {
            TABLE: TABLE_SECTORS,
            DIRECTORY: -(-self.header.directory_entries * 4 // SECTOR_BYTES),
            FOOTER: 1,
        }
        if kind not in expected:
            raise self.hostile(at, f"its marker there has the unknown type {kind}")
        room = DIRECTORY_ROOM if kind == DIRECTORY else 0
        if not expected[kind] <= sectors <= expected[kind] + room:
            raise self.hostile(at, f"its marker there announces {sectors} sectors instead of {expected[kind]}")
        if kind == TABLE:
            self._listed.add([place for place in _words(self._input.take(sectors * SECTOR_BYTES)) if place > 1])
        elif kind == DIRECTORY:
            self._directory_at = self._input.position // SECTOR_BYTES
            self._input.skip(sectors * SECTOR_BYTES)
        else:
            self._footer = self._parsed(bytes(self._input.take(SECTOR_BYTES)), at + SECTOR_BYTES)

    def _ended(self, at: int, marker: memoryview) -> None:
        if marker != _ZEROS:
            raise self.hostile(at, "its end-of-stream marker holds something")
        self._end_at = at
        footer = self._footer
        if self.header.directory_at_end:
            if footer is None:
                raise self.damaged(at, "its footer is missing")
            if footer.directory != self._directory_at:
                raise self.damaged(at, f"its footer says that the directory is at sector {footer.directory}")
        if footer and (footer.capacity, footer.grain) != (self.header.capacity, self.header.grain):
            raise self.hostile(at, "its footer describes another disk than its header")

    def _nothing_behind(self) -> None:
        """Up to the reader's end there are zeros only."""
        while piece := self._input.some():
            if piece.count(0) != len(piece):
                raise self.hostile(self._end_at, "something follows its end-of-stream marker")

    # --- the front ---

    def _read_header(self) -> Header:
        found = self._parsed(bytes(self._input.take(SECTOR_BYTES)), 0)
        if not found.is_stream:
            raise SourceRefused(
                f"{self.where} is no streamOptimized VMDK (flags {found.flags:#x} at offset 8)",
                why="its grains are not compressed, or have no markers: it cannot be read as a stream",
                fix="Write it anew with `qemu-img convert -O vmdk -o subformat=streamOptimized`.",
            )
        return found

    def _parsed(self, sector: bytes, at: int) -> Header:
        try:
            return header.parse(sector)
        except ValueError as error:
            raise self.hostile(at, str(error)) from error

    def _read_overhead(self) -> descriptor.Descriptor | None:
        """All that stands before the first grain: the descriptor, and the tables where they come first."""
        head = self.header
        start, size = head.descriptor, head.descriptor_size
        text = None
        if size:
            self._input.skip((start - 1) * SECTOR_BYTES)
            text = self._described(bytes(self._input.take(size * SECTOR_BYTES)), start * SECTOR_BYTES)
        if not head.directory_at_end:
            self._tables_in_front()
        self._input.skip(head.overhead * SECTOR_BYTES - self._input.position)
        return text

    def _tables_in_front(self) -> None:
        """Entries of tables are sectors of grains, behind the overhead; entries of directories are those of tables."""
        head = self.header
        places = [place for place in (head.spare_directory, head.directory) if place]
        start = min(places, default=head.overhead) * SECTOR_BYTES
        if not self._input.position <= start <= head.overhead * SECTOR_BYTES:
            raise self.hostile(0, f"its directory is said to be at sector {start // SECTOR_BYTES}")
        self._input.skip(start - self._input.position)
        while left := min(head.overhead * SECTOR_BYTES - self._input.position, PIECE_BYTES):
            self._listed.add([place for place in _words(self._input.take(left)) if place >= head.overhead])

    def _described(self, text: bytes, at: int) -> descriptor.Descriptor:
        try:
            found = descriptor.parse(text)
        except ValueError as error:
            raise self.hostile(at, str(error)) from error
        if found.has_parent:
            raise SourceRefused(
                f"{self.where} holds only what differs from another disk (its descriptor at offset {at})",
                fix="Export the machine without snapshots, so that each disk is one whole file.",
            )
        if found.parts and found.sectors != self.header.capacity:
            what = f"its descriptor says {found.sectors} sectors, its header {self.header.capacity}"
            raise self.hostile(at, what)
        return found

    # --- errors ---

    def damaged(self, at: int, what: str) -> SourceRefused:
        return SourceRefused(f"{self.where}: {what}, at offset {at}", fix=AGAIN)

    def hostile(self, at: int, what: str) -> HostileImage:
        return HostileImage(f"{self.where}: {what}, at offset {at}", fix=AGAIN)


def _words(sectors: memoryview) -> array[int]:
    found = array("I")
    found.frombytes(sectors)
    if sys.byteorder == "big":
        found.byteswap()
    return found


class _Input:
    """The reader with a position, taken from in pieces."""

    def __init__(self, reader: Reader, stream: Stream) -> None:
        self._reader = reader
        self._stream = stream
        self._piece = memoryview(b"")
        self.position = 0

    def take(self, count: int) -> memoryview:
        """Just so many bytes. Raises SourceRefused at the end of the reader."""
        if len(self._piece) < count:
            self._fill(count)
        found, self._piece = self._piece[:count], self._piece[count:]
        self.position += count
        return found

    def _fill(self, count: int) -> None:
        pieces, have = [self._piece], len(self._piece)
        while have < count:
            more = self._reader.read(max(count - have, PIECE_BYTES))
            if not more:
                end = self.position + have
                raise self._stream.damaged(end, f"it ends in the middle ({count - have} bytes more were expected)")
            pieces.append(memoryview(more))
            have += len(more)
        self._piece = pieces[-1] if have == len(pieces[-1]) else memoryview(b"".join(pieces))

    def skip(self, count: int) -> None:
        while count:
            count -= len(self.take(min(count, PIECE_BYTES)))

    def ended(self) -> bool:
        """Whether there is nothing more."""
        if not self._piece:
            self._piece = memoryview(self._reader.read(PIECE_BYTES))
        return not self._piece

    def some(self) -> bytes:
        """What there is next; nothing at the end of the reader."""
        found = bytes(self._piece) or self._reader.read(PIECE_BYTES)
        self._piece = memoryview(b"")
        self.position += len(found)
        return found
