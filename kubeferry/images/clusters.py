"""Where a qcow2 image has its disk's bytes, by its own tables; for images so plain that no QEMU is needed.

    level 1     an entry for each table of level 2
    level 2     an entry for each cluster: where it is, or that it reads as zeros

Plain is an image alone (nothing below it, no other file), without a feature that its header would have to name, whose
tables are what they should be: each inside the file, each there once, no reserved bit set, no cluster compressed. All
of them are looked at before the first is believed. What is not plain is no error; QEMU knows what to make of it. Only
an image whose tables name what lies behind its file's end is: of a file that was cut off QEMU reads zeros there.
"""

from __future__ import annotations

import functools
import sys
from array import array
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kubeferry.images.qcow2 import Qcow2

ENTRY_BYTES = 8
SECTOR_BYTES = 512
LEVEL_1_LIMIT_BYTES = 1 << 20  # 64 TiB in clusters of the usual size
TABLES_KEPT = 4
LEAST_CLUSTER_BITS = 12  # smaller ones have so many entries that QEMU is faster
PLACE = 0x00FFFFFFFFFFFE00  # the bits of an entry that say where
OURS_ALONE = 1 << 63  # says that no snapshot shares it; nothing to a reader
COMPRESSED = 1 << 62  # in a table of level 2
ZEROS = 1  # in a table of level 2, from version 3 on
TOGETHER = 512  # entries that are looked at as one where they follow each other: most do, and one by one takes seconds


class NotPlain(Exception):
    """QEMU has to read this image."""


class CutOff(Exception):
    """A part of this image is missing; in words, what for."""


@dataclass(frozen=True, slots=True)
class Run:
    """A range of the disk, and where in the file its bytes are; None: it reads as zeros."""

    offset: int
    length: int
    place: int | None


@dataclass(frozen=True, slots=True)
class Stretches:
    """A table of level 2: the clusters that begin a stretch, and where in the file each of these is; 0: it reads as
    zeros. The clusters of a stretch follow each other in the file, too."""

    cluster: int
    firsts: array[int] = field(default_factory=lambda: array("L"))
    places: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, first: int, place: int) -> None:
        """Clusters from `first` on."""
        if not self.firsts or place != self._expected(first):
            self.firsts.append(first)
            self.places.append(place)

    def _expected(self, first: int) -> int:
        place = self.places[-1]
        return place and place + (first - self.firsts[-1]) * self.cluster

    def between(self, start: int, stop: int) -> Iterator[tuple[int, int | None]]:
        """Where a stretch begins in [start, stop), bytes of the table's part of the disk, and where its bytes are."""
        for at in range(bisect(self.firsts, start // self.cluster) - 1, len(self.firsts)):
            begun, place = self.firsts[at] * self.cluster, self.places[at]
            if begun >= stop:
                return
            offset = max(begun, start)
            yield offset, place + offset - begun if place else None


def entries_in(table: bytes) -> array[int]:
    """The entries of a table as it lies in the file."""
    entries = array("Q", table)
    if sys.byteorder == "little":
        entries.byteswap()
    return entries


class Clusters:
    """The tables of a plain image. Raises NotPlain for any other, CutOff for one that its file does not hold whole;
    and where they are others later on. `file_size` and `read` (offset, length) are of the file; `look` is called
    between its tables. Several threads may ask."""

    def __init__(
        self, header: Qcow2, file_size: int, read: Callable[[int, int], bytes], look: Callable[[], None]
    ) -> None:
        others = header.features or header.encrypted or header.backing or header.data_file
        if others or header.size % SECTOR_BYTES or header.cluster_bits < LEAST_CLUSTER_BITS:
            raise NotPlain
        self.size = header.size
        self._file_size = file_size
        self._read = read
        self._cluster = 1 << header.cluster_bits
        self._per_table = self._cluster // ENTRY_BYTES
        self._span = self._cluster * self._per_table
        self._table = functools.lru_cache(TABLES_KEPT)(self._level_2)
        self._flags = ZEROS if header.version > 2 else 0
        self._tables = self._level_1(header)
        for _ in self.runs(0, self.size, look):
            pass

    def _level_1(self, header: Qcow2) -> array[int]:
        count = -(-self.size // self._span)
        length = count * ENTRY_BYTES
        if header.l1_entries < count or length > LEVEL_1_LIMIT_BYTES or header.l1_at % self._cluster:
            raise NotPlain
        tables = self._entries(header.l1_at, length)
        places = [one & PLACE for one in tables if one]
        if any(one & ~(PLACE | OURS_ALONE) for one in tables) or 0 in places or len(places) != len(set(places)):
            raise NotPlain
        return array("Q", (one & PLACE for one in tables))

    def _level_2(self, number: int) -> Stretches:
        place = self._tables[number]
        if place % self._cluster:
            raise NotPlain
        clusters = -(-(self.size - number * self._span) // self._cluster)
        entries = self._entries(place, self._cluster)[:clusters]
        found = Stretches(self._cluster)
        for first in range(0, len(entries), TOGETHER):
            some = entries[first : first + TOGETHER]
            if self._follow_each_other(some):
                self._place(some[-1])
                found.add(first, self._place(some[0]))
                continue
            for which, entry in enumerate(some, first):
                found.add(which, self._place(entry))
        return found

    def _follow_each_other(self, entries: array[int]) -> bool:
        """Whether all are nowhere, or each is one cluster behind the one before."""
        first, last = entries[0], entries[-1]
        if not first:
            return not any(entries)
        step = self._cluster if first & PLACE else 0
        if not step or last - first != step * (len(entries) - 1):
            return False
        return entries == array("Q", range(first, last + 1, step))

    def _entries(self, place: int, length: int) -> array[int]:
        if place + length > self._file_size:
            raise CutOff(f"a table of it lies at {place}, and its file ends at {self._file_size}")
        return entries_in(self._read(place, length))

    def runs(self, start: int, stop: int, look: Callable[[], None] = lambda: None) -> Iterator[Run]:
        """The runs of [start, stop), in order, neighbours joined where their bytes are, too."""
        begun, place = start, None
        for offset, found in self._pieces(start, stop, look):
            if offset == begun:
                place = found
            elif found != (None if place is None else place + offset - begun):
                yield Run(begun, offset - begun, place)
                begun, place = offset, found
        if begun < stop:
            yield Run(begun, stop - begun, place)

    def _pieces(self, start: int, stop: int, look: Callable[[], None]) -> Iterator[tuple[int, int | None]]:
        """Where each stretch of [start, stop) begins, or a whole table's span of zeros, and where its bytes are."""
        offset = start
        while offset < stop:
            look()
            number, within = divmod(offset, self._span)
            following = min(stop, offset - within + self._span)
            if not self._tables[number]:
                yield offset, None
                offset = following
                continue
            begun = offset - within
            for inside, place in self._table(number).between(within, following - begun):
                yield begun + inside, place
            offset = following

    def _place(self, entry: int) -> int:
        """Where a cluster is; 0: it reads as zeros."""
        if entry & ~(PLACE | OURS_ALONE | self._flags):
            raise NotPlain  # compressed, or of a kind that is not known here
        place = entry & PLACE
        if place % self._cluster:
            raise NotPlain
        if entry & self._flags:
            return 0
        if place >= self._file_size:
            raise CutOff(f"bytes of its disk lie at {place}, and its file ends at {self._file_size}")
        return place
