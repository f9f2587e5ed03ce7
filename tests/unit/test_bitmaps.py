"""Bitmaps in headers made by hand, and in images that QEMU made: what is not sound tells nothing."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.images import bitmaps, qcow2
from kubeferry.images.bitmaps import Bitmap
from kubeferry.outside.process import run
from tests.needs import here

AUTO, IN_USE = 2, 1


def entry(name: bytes = b"one", *, flags: int = AUTO, kind: int = 1, granularity: int = 16, more: bytes = b"") -> bytes:
    head = struct.pack(">QIIBBHI", 0x50000, 1, flags, kind, granularity, len(name), len(more))
    body = head + more + name
    return body.ljust(-(-len(body) // 8) * 8, b"\0")


def test_a_directory_is_read() -> None:
    told = entry() + entry(b"two", flags=AUTO | IN_USE) + entry("drei ä".encode(), flags=0)
    assert bitmaps.parse(told, 3, up_to_date=True) == [
        Bitmap("one", sound=True),
        Bitmap("two", sound=False),
        Bitmap("drei ä", sound=False),
    ]


@pytest.mark.parametrize(
    "told",
    [entry(flags=AUTO | IN_USE), entry(flags=AUTO | 4), entry(kind=2), entry(granularity=70), entry(more=b"extra")],
    ids=["in use", "more flags", "another kind", "granularity", "more data"],
)
def test_a_bitmap_that_is_not_plain_is_not_sound(told: bytes) -> None:
    assert bitmaps.parse(told, 1, up_to_date=True) == [Bitmap("one", sound=False)]


def test_bitmaps_that_the_image_does_not_vouch_for_are_not_sound() -> None:
    assert bitmaps.parse(entry(), 1, up_to_date=False) == [Bitmap("one", sound=False)]


@pytest.mark.parametrize(
    "told",
    [b"", entry()[:20], entry(b""), entry()[:24], struct.pack(">QIIBBHI", 0, 0, 2, 1, 16, 3, 0xFFFFFFF0) + b"one"],
)
def test_a_directory_that_lies_is_refused(told: bytes) -> None:
    with pytest.raises(ValueError, match="its "):
        bitmaps.parse(told, 1, up_to_date=True)


@given(st.binary(max_size=200), st.integers(0, 70000))
def test_noise_is_read_or_refused(told: bytes, count: int) -> None:
    try:
        found = bitmaps.parse(told, count, up_to_date=True)
    except ValueError:
        return
    assert len(found) == count


@given(st.binary(min_size=24, max_size=24))
def test_a_header_with_a_lying_extension_is_read_and_names_no_bitmap_that_is_not_there(content: bytes) -> None:
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1 << 20, 0, 1, 0x30000, 0x10000, 1, 0, 0)
    head += struct.pack(">QQQII", 0, 0, 1, 4, 104) + struct.pack(">II", 0x23852875, 24) + content
    found = qcow2.parse(head.ljust(1024, b"\0"))
    assert found.bitmaps_up_to_date
    assert found.bitmaps_at < 1 << 56


@pytest.fixture
def image(tmp_path: Path) -> Path:
    here("qemu-img")
    path = tmp_path / "a.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"])
    run(["qemu-img", "bitmap", "--add", str(path), "one"])
    run(["qemu-img", "bitmap", "--add", "--disable", str(path), "two"])
    return path


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ bit]))


def test_bitmaps_of_a_real_image(image: Path, tmp_path: Path) -> None:
    assert {one.name: one.sound for one in bitmaps.read(image)} == {"one": True, "two": False}
    assert bitmaps.is_sound([image], "one")
    assert not bitmaps.is_sound([image], "two")
    assert not bitmaps.is_sound([image], "three")
    above = tmp_path / "b.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "qcow2", str(above)])
    assert not bitmaps.is_sound([above, image], "one")
    run(["qemu-img", "bitmap", "--add", str(above), "one"])
    assert not bitmaps.is_sound([above, image], "one")  # the same notes in two images: neither tells everything
    run(["qemu-img", "bitmap", "--remove", str(image), "one"])
    assert bitmaps.is_sound([above, image], "one")


def test_an_image_that_another_program_wrote_to_vouches_for_none(image: Path) -> None:
    flip(image, 95, 1)  # the autoclear bit: a program that knows no bitmaps takes it away
    assert [one.sound for one in bitmaps.read(image)] == [False, False]


def test_a_directory_that_is_too_large_or_elsewhere_names_none(image: Path, tmp_path: Path) -> None:
    whole = image.read_bytes()
    at = whole.index(struct.pack(">II", 0x23852875, 24)) + 8
    for changed in (struct.pack(">IIQQ", 2, 0, 2 << 20, 0x10000), struct.pack(">IIQQ", 2, 0, 64, 1 << 50)):
        bad = tmp_path / "bad.qcow2"
        bad.write_bytes(whole[:at] + changed + whole[at + 24 :])
        assert bitmaps.read(bad) == []
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(100))
    assert bitmaps.read(raw) == []
