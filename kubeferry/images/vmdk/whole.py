"""Whether all of a sparse VMDK is there, by its own tables: none of its bytes are inflated. Pure.

header ──> directory ──> table, 512 entries ──> grain: its sector in the file
           or, at the end of a stream: footer, end-of-stream marker ──> directory …
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from dataclasses import replace

from kubeferry.images.vmdk import header
from kubeferry.images.vmdk.header import SECTOR_BYTES, TABLE_ENTRIES, Header

FOOTER_SECTORS = 2  # the footer, and the marker of the end
PIECE_BYTES = 1 << 20
ZEROS_LIMIT_BYTES = 64 << 20  # behind a stream; who has more has no end that anybody looks for
_ZERO_GRAIN = 1


def check_whole(found: Header, size: int, read: Callable[[int, int], bytes]) -> None:
    """Raise ValueError with the reason where tables or grains of an image of `size` bytes lie behind its end. `read`
    gives bytes at an offset."""
    if found.directory_at_end:
        found = _with_footer(found, size, read)
    directory = _words(found.directory * SECTOR_BYTES, found.directory_entries, size, read)
    last = 0
    for sector in set(directory):
        if sector > _ZERO_GRAIN:
            last = max(last, *_words(sector * SECTOR_BYTES, TABLE_ENTRIES, size, read))
    if last * SECTOR_BYTES >= size and last > _ZERO_GRAIN:
        raise ValueError(f"it is cut off: bytes of its disk lie at {last * SECTOR_BYTES}, and it ends at {size}")


def _with_footer(found: Header, size: int, read: Callable[[int, int], bytes]) -> Header:
    """The header with the place of the directory, which a stream has at its end: in the last sector that is not all
    zeros, before a marker that is."""
    at = _last_sector(size, read)
    footer = read(at, SECTOR_BYTES)
    if footer[:4] != header.MAGIC or at + FOOTER_SECTORS * SECTOR_BYTES > size:
        raise ValueError(f"it is cut off: a stream ends with a footer and a marker, which are not at its end, {size}")
    return replace(found, directory=header.parse(footer).directory)


def _last_sector(size: int, read: Callable[[int, int], bytes]) -> int:
    """Where the last sector is that holds anything; bytes behind a stream are zeros."""
    end = size
    while end > max(0, size - ZEROS_LIMIT_BYTES):
        begin = max(0, end - PIECE_BYTES)
        if piece := read(begin, end - begin).rstrip(b"\0"):
            return (begin + len(piece) - 1) // SECTOR_BYTES * SECTOR_BYTES
        end = begin
    return 0


def _words(place: int, count: int, size: int, read: Callable[[int, int], bytes]) -> array[int]:
    if not 0 < place <= size - count * 4:
        raise ValueError(f"it is cut off, or damaged: a table of it lies at {place}, and it ends at {size}")
    words = array("I", read(place, count * 4))
    if sys.byteorder == "big":
        words.byteswap()
    return words
