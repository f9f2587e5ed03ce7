"""The dirty bitmaps that a qcow2 image keeps, read by us from its header and their directory. Pure, but for `read`.

A bitmap can be believed only if QEMU put it away in order: the image says that its bitmaps are up to date, and the
bitmap says that nobody was writing when the image was left. Everything else reads as "anything may have changed".
Bounded: the directory is read up to 1 MiB, and no number in it is used before it was checked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from kubeferry.images import qcow2
from kubeferry.images.qcow2 import Read

CONTEXT = "qemu:dirty-bitmap:"
"""What stands before a bitmap's name where NBD speaks of it."""
ENTRY = struct.Struct(">QIIBBHI")
IN_USE, AUTO = 1 << 0, 1 << 1
DIRTY_TRACKING = 1
LIMIT_BITMAPS = 65535
LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bitmap:
    """One bitmap. `sound`: it was put away in order, and records every write since it was made."""

    name: str
    sound: bool


def parse(directory: bytes, count: int, *, up_to_date: bool) -> list[Bitmap]:
    """The bitmaps of a directory. Raises ValueError where it is not one of `count` bitmaps."""
    found: list[Bitmap] = []
    position = 0
    for _ in range(count):
        if position + ENTRY.size > len(directory):
            raise ValueError(f"its directory of bitmaps ends within bitmap {len(found)} of {count}")
        _, _, flags, kind, granularity, name_length, more = ENTRY.unpack_from(directory, position)
        start = position + ENTRY.size + more
        if not 0 < name_length <= qcow2.NAME_LIMIT_BYTES or start + name_length > len(directory):
            raise ValueError(f"its bitmap {len(found)} claims a name of {name_length} bytes")
        name = directory[start : start + name_length].decode("utf-8", "replace")
        plain = kind == DIRTY_TRACKING and not more and 9 <= granularity <= 31
        found.append(Bitmap(name, sound=up_to_date and plain and flags == AUTO))
        position += -(-(ENTRY.size + more + name_length) // 8) * 8
    return found


def read(path: Path, read: Read = qcow2.read_piece) -> list[Bitmap]:
    """The bitmaps of a qcow2 image; none where there are none, or where they cannot be made out.

    Raises SourceRefused and SourceUnavailable where the file cannot be read.
    """
    head = read(path, 0, qcow2.READ_BYTES)
    try:
        header = qcow2.parse(head)
        if not header.bitmaps or header.bitmaps_bytes > LIMIT_BYTES or header.bitmaps > LIMIT_BITMAPS:
            return []
        directory = read(path, header.bitmaps_at, header.bitmaps_bytes)
        return parse(directory, header.bitmaps, up_to_date=header.bitmaps_up_to_date)
    except ValueError:
        return []


def is_sound(chain: list[Path], name: str, read_piece: Read = qcow2.read_piece) -> bool:
    """Whether the top image of a chain alone has a bitmap of this name, in order. One of the same name further down
    says that images were made and merged meanwhile: then neither tells everything."""
    top = [bitmap for bitmap in read(chain[0], read_piece) if bitmap.name == name]
    below = any(bitmap.name == name for path in chain[1:] for bitmap in read(path, read_piece))
    return len(top) == 1 and top[0].sound and not below
