"""PNG as rows of dots: every filter, whatever is cut off or wrong, and how pictures differ."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.targets.guest.screen import pictures
from kubeferry.targets.guest.screen.pictures import Picture, changed, decoded, main_colour

BLACK, WHITE = bytes(3), b"\xff" * 3


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows: list[bytes], filters: list[int], channels: int = 3, **head: int) -> bytes:
    """The rows as a PNG whose rows have these filters, by the rules of PNG, 9.2."""
    packed, above = b"", bytes(len(rows[0]))
    for row, kind in zip(rows, filters, strict=True):
        packed += bytes([kind]) + bytes(
            (value - guess(kind, row, above, at, channels)) & 255 for at, value in enumerate(row)
        )
        above = row
    width, depth, interlaced = len(rows[0]) // channels, head.get("depth", 8), head.get("interlaced", 0)
    colour = head.get("colour", {3: 2, 4: 6}[channels])
    told = struct.pack(">IIBBBBB", width, head.get("height", len(rows)), depth, colour, 0, 0, interlaced)
    half = len(zlib.compress(packed)) // 2
    parts = [zlib.compress(packed)[:half], zlib.compress(packed)[half:]]
    return pictures.MAGIC + chunk(b"IHDR", told) + b"".join(chunk(b"IDAT", one) for one in parts) + chunk(b"IEND", b"")


def guess(kind: int, row: bytes, above: bytes, at: int, channels: int) -> int:
    left, corner = (row[at - channels], above[at - channels]) if at >= channels else (0, 0)
    up = above[at]
    if kind == 4:
        return min((left, up, corner), key=lambda one: abs(left + up - corner - one))
    return (0, left, up, (left + up) // 2)[kind]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), width=st.integers(1, 7), height=st.integers(1, 6), channels=st.sampled_from([3, 4]))
def test_every_filter_is_undone(data: st.DataObject, width: int, height: int, channels: int) -> None:
    row = st.binary(min_size=width * channels, max_size=width * channels)
    rows = data.draw(st.lists(row, min_size=height, max_size=height))
    filters = data.draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    found = decoded(png(rows, filters, channels))
    shown = tuple(
        b"".join(one[at : at + 3] for at in range(0, len(one), channels)) if channels == 4 else one for one in rows
    )
    assert found == Picture(width, shown)


ROWS = [bytes(range(12)), bytes(range(12, 24))]
WHOLE = png(ROWS, [0, 1])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no PNG"),
        (b"P6 2 2 255 " + bytes(12), "no PNG"),
        (pictures.MAGIC, "head is cut off"),
        (png(ROWS, [0, 0], depth=16), "not in the form"),
        (png(ROWS, [0, 0], colour=3), "not in the form"),
        (png(ROWS, [0, 0], interlaced=1), "not in the form"),
        (png(ROWS, [0, 0], height=0), "4 x 0 dots"),
        (png(ROWS, [0, 0], height=4_000_000), "4 x 4000000 dots"),
        (png(ROWS, [0, 0], height=3), "cut off"),
        (WHOLE[:-30], "cut off"),
        (png(ROWS, [0, 0]).replace(b"IDAT", b"JDAT"), "cut off"),
    ],
)
def test_what_is_no_whole_picture_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decoded(content)


def test_a_filter_that_nobody_knows_is_refused() -> None:
    packed = zlib.compress(b"\x05" + bytes(12))
    head = struct.pack(">IIBBBBB", 4, 1, 8, 2, 0, 0, 0)
    with pytest.raises(ValueError, match="unknown filter 5"):
        decoded(pictures.MAGIC + chunk(b"IHDR", head) + chunk(b"IDAT", packed))


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, len(WHOLE)), more=st.binary(max_size=20))
def test_no_cut_and_no_addition_is_anything_but_a_picture_or_an_error(cut: int, more: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert decoded(WHOLE[:cut] + more).width == 4


def plain(width: int, height: int, colour: bytes = BLACK) -> Picture:
    return Picture(width, (colour * width,) * height)


def with_dots(picture: Picture, *places: tuple[int, int]) -> Picture:
    rows = [bytearray(row) for row in picture.rows]
    for x, y in places:
        rows[y][x * 3 : x * 3 + 3] = WHITE
    return Picture(picture.width, tuple(map(bytes, rows)))


def test_differences_are_counted_in_squares() -> None:
    empty = plain(100, 50)
    assert changed(empty, empty) == 0
    assert changed(empty, with_dots(empty, (0, 0), (15, 15))) == 1
    assert changed(empty, with_dots(empty, (15, 0), (16, 0), (99, 49))) == 3
    assert changed(empty, plain(100, 51)) > 1000


def test_the_main_colour_and_its_share() -> None:
    assert main_colour(plain(31, 3, b"\x00\x78\xd7")) == ((0, 0x78, 0xD7), 1.0)
    striped = Picture(30, (BLACK * 20 + WHITE * 10,) * 30)
    assert main_colour(striped) == ((0, 0, 0), pytest.approx(2 / 3))
