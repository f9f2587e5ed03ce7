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
# As VMware's products spell them (`encoding` here, `.encoding` in a VMX), and as Python does.
_CODECS = {"windows-31j": "cp932", "gb2312": "gbk", "us-ascii": "ascii", "shift-jis": "shift_jis"} | {
    name: name
    for name in (
        *(f"windows-{number}" for number in range(1250, 1259)),
        *(f"iso-8859-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 15)),
        *("utf-8", "koi8-r", "gbk", "gb18030", "big5", "euc-jp", "euc-kr"),
    )
}
_NAMED = re.compile(rb"^\s*encoding\s*=\s*\"?([A-Za-z0-9_-]{1,40})", re.IGNORECASE | re.MULTILINE)
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
    named = _NAMED.search(text)
    codec = codec_of(named[1].decode()) if named else None
    # A byte that is no letter there stays one, as in names of files.
    for line in text.decode(codec or "utf-8", errors="surrogateescape").splitlines():
        line = line.strip()  # noqa: PLW2901
        if extent := _EXTENT.fullmatch(line):
            sectors, kind, name, offset = extent.group(2, 3, 4, 5)
            parts.append(Part(int(sectors), kind, name or "", int(offset or 0)))
        elif field := _FIELD.fullmatch(line):
            fields[field[1]] = field[2].strip()
    if len(parts) > LIMIT_EXTENTS:
        raise ValueError(f"its descriptor names {len(parts)} extents")
    parent = fields.get("parentCID", NO_PARENT).lower()
    hinted = bool(fields.get("parentFileNameHint"))
    return Descriptor(fields.get("createType", ""), parent != NO_PARENT or hinted, tuple(parts), fields)


def codec_of(encoding: str) -> str | None:
    """Python's name of an encoding that a VMDK or VMX names; None for one that is not known."""
    return _CODECS.get(encoding.strip().lower().replace("_", "-"))
