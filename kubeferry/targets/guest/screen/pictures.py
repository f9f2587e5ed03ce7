"""A picture of a screen: a PNG as QEMU writes it, as rows of dots; pure.

The file is made by the machine's own QEMU, what its dots show by the guest.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

MAGIC = b"\x89PNG\r\n\x1a\n"
LIMIT_DOTS = 4096 * 2304
SQUARE = 16
CHANNELS = {2: 3, 6: 4}
"""By PNG's type of colour: red, green and blue, without and with a fourth for what shines through."""


@dataclass(frozen=True, slots=True)
class Picture:
    """`rows` from top to bottom, three bytes a dot."""

    width: int
    rows: tuple[bytes, ...]


def decoded(png: bytes) -> Picture:
    """Raises ValueError for what is no whole PNG of 8 bits a channel in red, green and blue, or too large a one."""
    if not png.startswith(MAGIC):
        raise ValueError("it is no PNG")
    chunks = list(_chunks(png))
    head = next((content for kind, content in chunks if kind == b"IHDR"), b"")
    if len(head) != 13:
        raise ValueError("its head is cut off")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    if depth != 8 or colour not in CHANNELS or interlaced:
        raise ValueError("its dots are not in the form that is read")
    if not 0 < width * height <= LIMIT_DOTS:
        raise ValueError(f"it has {width} x {height} dots")
    rows = _rows(b"".join(content for kind, content in chunks if kind == b"IDAT"), width, height, CHANNELS[colour])
    return Picture(width, rows)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(MAGIC)
    while at + 8 <= len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += size + 12


def _rows(packed: bytes, width: int, height: int, channels: int) -> tuple[bytes, ...]:
    length = width * channels
    try:
        raw = zlib.decompressobj().decompress(packed, (length + 1) * height)
    except zlib.error as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error
    if len(raw) < (length + 1) * height:
        raise ValueError("it is cut off")
    rows, above = [], bytes(length)
    for start in range(0, (length + 1) * height, length + 1):
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + length], above, channels)
        rows.append(above if channels == 3 else _without_fourth(above))
    return tuple(rows)


def _without_fourth(row: bytes) -> bytes:
    kept = bytearray(len(row) // 4 * 3)
    for channel in range(3):
        kept[channel::3] = row[channel::4]
    return bytes(kept)


def _unfiltered(kind: int, row: bytes, above: bytes, channels: int) -> bytes:
    """One row without its filter (PNG, 9.2)."""
    if kind == 0:
        return row
    if kind == 1:
        whole = bytearray(row)
        for channel in range(channels):
            whole[channel::channels] = bytes(value & 255 for value in accumulate(row[channel::channels]))
        return bytes(whole)
    if kind == 2:
        return _added(row, above)
    if kind in {3, 4}:
        return _predicted(kind, row, above, channels)
    raise ValueError(f"a row has the unknown filter {kind}")


def _added(one: bytes, other: bytes) -> bytes:
    """Byte by byte, each without a carry into the next one: all at once in two large numbers."""
    low, high = _masks(len(one))
    first, second = int.from_bytes(one, "big"), int.from_bytes(other, "big")
    return (((first & low) + (second & low)) ^ ((first ^ second) & high)).to_bytes(len(one), "big")


@cache
def _masks(length: int) -> tuple[int, int]:
    return int.from_bytes(b"\x7f" * length, "big"), int.from_bytes(b"\x80" * length, "big")


def _predicted(kind: int, row: bytes, above: bytes, channels: int) -> bytes:
    whole = bytearray(channels) + row
    corners = bytes(channels) + above
    for at in range(channels, len(whole)):
        left, up, corner = whole[at - channels], corners[at], corners[at - channels]
        if kind == 3:
            guess = (left + up) // 2
        else:
            by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            guess = left if by_left <= by_up and by_left <= by_corner else up if by_up <= by_corner else corner
        whole[at] = (whole[at] + guess) & 255
    return bytes(whole[channels:])


def changed(one: Picture, other: Picture) -> int:
    """How many squares of 16 dots differ; more than any picture has where the sizes do."""
    if (one.width, len(one.rows)) != (other.width, len(other.rows)):
        return LIMIT_DOTS
    step = SQUARE * 3
    found = {
        (line // SQUARE, at)
        for line, (before, after) in enumerate(zip(one.rows, other.rows, strict=True))
        if before != after
        for at in range(0, len(before), step)
        if before[at : at + step] != after[at : at + step]
    }
    return len(found)


def main_colour(picture: Picture) -> tuple[tuple[int, int, int], float]:
    """The colour that most dots have, as red, green and blue, and the share of the dots that have it."""
    seen: Counter[tuple[int, int, int]] = Counter()
    for row in picture.rows[::2]:
        seen.update(zip(row[0::6], row[1::6], row[2::6], strict=True))
    colour, count = seen.most_common(1)[0]
    return colour, count / seen.total()
