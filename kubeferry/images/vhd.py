"""What a VHD's footer and header ask for, read by us before QEMU opens the image (Microsoft's "Virtual Hard Disk Image
Format Specification" 1.0, numbers big-endian).

    fixed       the disk's bytes | footer
    dynamic     copy of the footer | header | table of blocks, blocks | footer

One that differs from another disk names it, and is refused. Bounded: 512 bytes of the footer and 1024 of the header are
read, and no number in them is used before it was checked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import HostileImage, SourceRefused
from kubeferry.images.qcow2 import SIZE_LIMIT_BYTES, Read

FOOTER_BYTES = 512
FOOTER = struct.Struct(">8sIIQI4sI4sQQIII")  # up to the sum
HEADER = struct.Struct(">8sQQIII")  # of a dynamic disk, up to the sum
COOKIE, HEADER_COOKIE = b"conectix", b"cxsparse"
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
_KINDS = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}


@dataclass(frozen=True, slots=True)
class Vhd:
    """`size` is the disk's, in bytes; `header_at` where a dynamic disk's header is."""

    kind: int
    size: int
    header_at: int


def parse(footer: bytes) -> Vhd:
    """The footer of an image. Raises ValueError with the reason for a person."""
    if len(footer) < FOOTER_BYTES or footer[:8] != COOKIE:
        raise ValueError("it does not end like a VHD")
    _, _, version, header_at, _, _, _, _, _, size, _, kind, told = FOOTER.unpack_from(footer)
    if told != _sum(footer[:FOOTER_BYTES], FOOTER.size - 4):
        raise ValueError("the sum in its footer is another: it is damaged")
    if version >> 16 != 1:
        raise ValueError(f"it has version {version >> 16}")
    if kind not in _KINDS:
        raise ValueError(f"it is of type {kind}")
    if not 0 < size <= SIZE_LIMIT_BYTES or size % 512:
        raise ValueError(f"it claims {size} bytes")
    return Vhd(kind, size, header_at)


def _sum(content: bytes, at: int) -> int:
    """All bytes but the sum itself, inverted."""
    return ~(sum(content) - sum(content[at : at + 4])) & 0xFFFF_FFFF


def check(path: Path, length: int, read: Read) -> Vhd:
    """Refuse an image of `length` bytes unless it is a whole disk by itself. Raises HostileImage for numbers that lie,
    SourceRefused for what cannot be read."""
    try:
        footer = read(path, length - FOOTER_BYTES, FOOTER_BYTES) if length >= FOOTER_BYTES else b""
        found = parse(footer)
        _check_start(read(path, 0, FOOTER_BYTES), footer, found)
        if found.kind == FIXED:
            _check_length(found, length)
        if found.kind == DYNAMIC:
            _check_header(read(path, found.header_at, 1024) if found.header_at <= length - 1024 else b"", found)
    except ValueError as error:
        fix = "Get the file again from where it was exported; if it is so there: `qemu-img check -f vpc` tells more."
        raise HostileImage(f"{path} is not an acceptable VHD", why=str(error), fix=fix) from error
    if found.kind == DIFFERENCING:
        fix = "Merge it at the source (Hyper-V: Merge-VHD), or export the machine without checkpoints."
        raise SourceRefused(f"{path} holds only what differs from another disk", fix=fix)
    return found


def _check_start(head: bytes, footer: bytes, found: Vhd) -> None:
    """QEMU looks in front first: there must be the same footer, or, in front of a disk's own bytes, none."""
    if (found.kind == DYNAMIC and head != footer) or (found.kind == FIXED and head[:8] == COOKIE):
        raise ValueError("another footer than its own stands in front of it")


def _check_length(found: Vhd, length: int) -> None:
    if found.size + FOOTER_BYTES > length:
        raise ValueError(f"it has {length} bytes, and its disk {found.size}")


def _check_header(header: bytes, found: Vhd) -> None:
    if len(header) < 1024 or header[:8] != HEADER_COOKIE:
        raise ValueError("its header is not where its footer says")
    _, _, _, _, entries, block = HEADER.unpack_from(header)
    if struct.unpack_from(">I", header, HEADER.size)[0] != _sum(header, HEADER.size):
        raise ValueError("the sum in its header is another: it is damaged")
    if block < 512 or block & (block - 1) or block > 256 << 20:
        raise ValueError(f"its blocks have {block} bytes")
    if entries * block < found.size:
        raise ValueError(f"its {entries} blocks of {block} bytes are fewer than its disk of {found.size}")
