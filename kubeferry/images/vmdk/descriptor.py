"""The text that describes a VMDK: its kind, its parent, its extents. Pure; what it names is opened by nobody here."""

from __future__ import annotations

import re
from dataclasses import dataclass

LIMIT_BYTES = 128 << 10
LIMIT_EXTENTS = 4096  # a disk of 8 TiB in files of 2 GiB
NO_PARENT = "ffffffff"
READ_PARTS = ("FLAT", "VMFS", "SPARSE", "ZERO")
"""The kinds of extents that are read."""
_FIELD = re.compile(r"([A-Za-z0-9_.]++)\s*+=\s*+\"?+([^\"]*+)\"?+\s*+")  # nothing is tried twice: lines are hostile
_EXTENT = re.compile(r"(RW|RDONLY|NOACCESS)\s+(\d{1,18})\s+([A-Z0-9]+)(?:\s+\"([^\"]*)\"(?:\s+(\d{1,18}))?)?.*")


@dataclass(frozen=True, slots=True)
class Part:
    """One extent: `kind` is SPARSE, FLAT, ZERO, VMFS, …; `name` a file beside the descriptor. Sectors of 512 bytes."""

    sectors: int
    kind: str
    name: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Descriptor:
    """`create_type` is streamOptimized, monolithicSparse, monolithicFlat, … as the writer spelled it."""

    create_type: str
    has_parent: bool
    parts: tuple[Part, ...]
    fields: dict[str, str]

    @property
    def sectors(self) -> int:
        return sum(part.sectors for part in self.parts)


def is_descriptor(head: bytes) -> bool:
    """Whether a file that starts so is a descriptor of its own, without data."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(b"# disk descriptorfile")


def parse(text: bytes) -> Descriptor:
    """Read a descriptor, padded with zeros or not. Raises ValueError with the reason for a person."""
    text = text.partition(b"\0")[0]
    if len(text) > LIMIT_BYTES:
        raise ValueError(f"its descriptor has {len(text)} bytes")
    fields: dict[str, str] = {}
    parts: list[Part] = []
    # Latin-1 takes every byte: names may be in any encoding, and only those in it are looked at.
    for line in text.decode("latin-1").splitlines():
        line = line.strip()  # noqa: PLW2901
        if extent := _EXTENT.fullmatch(line):
            sectors, kind, name, offset = extent.group(2, 3, 4, 5)
            parts.append(Part(int(sectors), kind, name or "", int(offset or 0)))
        elif field := _FIELD.fullmatch(line):
            fields[field[1]] = field[2].strip()
    if len(parts) > LIMIT_EXTENTS:
        raise ValueError(f"its descriptor names {len(parts)} extents")
    parent = fields.get("parentCID", NO_PARENT).lower()
    named = bool(fields.get("parentFileNameHint"))
    return Descriptor(fields.get("createType", ""), parent != NO_PARENT or named, tuple(parts), fields)
