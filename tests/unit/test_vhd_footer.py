"""What a VHD says of itself: whole disks are read, everything else is refused before QEMU opens it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.errors import HostileImage, SourceRefused
from kubeferry.images import vhd
from kubeferry.outside import process
from tests.needs import here

SIZE = 4 << 20


def summed(content: bytes, at: int) -> bytes:
    """With the sum that makes it sound."""
    zeroed = content[:at] + bytes(4) + content[at + 4 :]
    return content[:at] + struct.pack(">I", ~sum(zeroed) & 0xFFFF_FFFF) + content[at + 4 :]


def footer(kind: int = vhd.FIXED, size: int = SIZE, version: int = 1 << 16, header_at: int = 512) -> bytes:
    head = vhd.FOOTER.pack(vhd.COOKIE, 2, version, header_at, 0, b"win ", 0, b"Wi2k", size, size, 0, kind, 0)
    return summed(head.ljust(vhd.FOOTER_BYTES, b"\0"), vhd.FOOTER.size - 4)


def header(entries: int = 2, block: int = 2 << 20) -> bytes:
    head = vhd.HEADER.pack(vhd.HEADER_COOKIE, 0xFFFF_FFFF_FFFF_FFFF, 1536, 1 << 16, entries, block)
    return summed(head.ljust(1024, b"\0"), vhd.HEADER.size)


def image(kind: int = vhd.DYNAMIC, *, end: bytes | None = None, head: bytes | None = None) -> bytes:
    end = footer(kind) if end is None else end
    return bytes(SIZE) + end if kind == vhd.FIXED else end + (header() if head is None else head) + bytes(512) + end


def checked(content: bytes) -> vhd.Vhd:
    return vhd.check(Path("a.vhd"), len(content), lambda _path, at, length: content[at : at + length])


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_what_qemu_writes_is_read(subformat: str, tmp_path: Path) -> None:
    here("qemu-img")
    path = tmp_path / "a.vhd"
    process.run(
        ["qemu-img", "create", "-q", "-f", "vpc", "-o", f"subformat={subformat},force_size=on", str(path), "5M"]
    )
    content = path.read_bytes()
    assert (checked(content).size, checked(content).kind) == (5 << 20, {"fixed": 2, "dynamic": 3}[subformat])


def test_our_own_images_are_sound() -> None:
    assert (checked(image()).size, checked(image(vhd.FIXED)).size) == (SIZE, SIZE)


def test_one_that_differs_from_another_disk_is_refused() -> None:
    with pytest.raises(SourceRefused, match="differs from another"):
        checked(image(vhd.DIFFERENCING))


WRONG = {
    "nothing": (b"", "does not end like"),
    "no footer": (bytes(4096), "does not end like"),
    "a damaged footer": (image(end=footer()[:-1] + b"x"), "the sum in its footer"),
    "a later version": (image(end=footer(vhd.DYNAMIC, version=2 << 16)), "version 2"),
    "another type": (image(end=footer(7)), "type 7"),
    "no bytes": (image(end=footer(vhd.DYNAMIC, size=0)), "claims 0 bytes"),
    "too many bytes": (image(end=footer(vhd.DYNAMIC, size=1 << 62)), "claims"),
    "a disk that is cut off": (image(vhd.FIXED)[512:], "and its disk"),
    "a header elsewhere": (image(end=footer(vhd.DYNAMIC, header_at=1 << 60)), "not where"),
    "another footer in front": (b"x" * 512 + image()[512:], "in front of it"),
    "a guest that begins like one": (vhd.COOKIE + image(vhd.FIXED)[8:], "in front of it"),
    "a damaged header": (image(head=header()[:-1] + b"x"), "the sum in its header"),
    "blocks of an odd size": (image(head=header(block=3 << 20)), "blocks have"),
    "few blocks": (image(head=header(entries=1)), "are fewer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_numbers_that_lie_are_refused_with_the_reason(case: str) -> None:
    content, what = WRONG[case]
    with pytest.raises(HostileImage) as refused:
        checked(content)
    assert what in refused.value.why


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2048), st.integers(0, 3000), st.sampled_from([vhd.FIXED, vhd.DYNAMIC]))
def test_whatever_the_bytes_it_is_read_or_refused(noise: bytes, at: int, kind: int) -> None:
    content = image(kind)
    at = min(at, len(content)) if at % 2 else max(0, len(content) - at)
    try:
        checked(content[:at] + noise + content[at + len(noise) :])
    except (HostileImage, SourceRefused) as error:
        assert error.fix  # noqa: PT017 (either is right)
