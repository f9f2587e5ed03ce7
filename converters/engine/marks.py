"""Blocks that are marked, one bit each: of a disk of 16 TiB of which every block differs they take 2 MiB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


class Marks:
    """Which of `count` blocks are marked; gone through in order. Written by one thread at a time."""

    def __init__(self, count: int, marked: Iterable[int] = ()) -> None:
        self._bits = bytearray(-(-count // 8))
        self._number = 0
        self.add(marked)

    def add(self, blocks: Iterable[int]) -> None:
        """Mark these as well."""
        bits = self._bits
        for index in blocks:
            place, bit = index >> 3, 1 << (index & 7)
            if not bits[place] & bit:
                bits[place] |= bit
                self._number += 1

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[int]:
        for place, eight in enumerate(self._bits):
            if eight:
                yield from (place * 8 + bit for bit in range(8) if eight >> bit & 1)

    @property
    def first(self) -> int:
        """The first marked block. Raises ValueError where none is."""
        for index in self:
            return index
        raise ValueError("no block is marked")

    def tolist(self) -> list[int]:
        """All of them, for who knows that they are few."""
        return list(self)


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where marked blocks of `block` bytes begin, in order."""

    marks: Marks = field(default_factory=lambda: Marks(0))
    block: int = 1

    def __len__(self) -> int:
        return len(self.marks)

    def __iter__(self) -> Iterator[int]:
        return (index * self.block for index in self.marks)

    @property
    def first(self) -> int:
        """The first of them. Raises ValueError where there is none."""
        return self.marks.first * self.block
