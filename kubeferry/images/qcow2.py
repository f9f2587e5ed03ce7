"""What a qcow2 image's header asks for, read by us before QEMU opens the image.

A header can make QEMU open other files of the host: a backing file, an external data file. An image from elsewhere is
hostile until its header names exactly what its owner, the hypervisor, says that it names. Bounded: at most one header
cluster's first 64 KiB is read, and no number in it is used before it was checked.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import HostileImage, KubeferryError, SourceRefused
from kubeferry.faults import Side, of_os

MAGIC = b"QFI\xfb"
HEADER = struct.Struct(">4sIQIIQIIQQIIQ")  # version 2: up to the snapshots' offset
HEADER_3 = struct.Struct(">QQQII")  # feature bits, refcount order, header length
READ_BYTES = 64 << 10
SIZE_LIMIT_BYTES = 64 << 40
L1_LIMIT_ENTRIES = 4 << 20
NAME_LIMIT_BYTES = 1023
DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION, EXTENDED_L2 = (1 << bit for bit in range(5))
KNOWN_FEATURES = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2
EXTENSION_END, EXTENSION_BACKING_FORMAT, EXTENSION_DATA_FILE = 0, 0xE2792ACA, 0x44415441
EXTENSION_BITMAPS = 0x23852875
BITMAPS = struct.Struct(">IIQQ")
AUTOCLEAR_BITMAPS = 1 << 0
OFFSET_LIMIT = 1 << 56
Read = Callable[[Path, int, int], bytes]
"""How an image's bytes are had: path, offset, length. Raises KubeferryError."""
PROTOCOL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Qcow2:
    """The parts of a header that matter here. `backing` and `data_file` are names as the image holds them; `bitmaps` is
    how many dirty bitmaps it keeps, `bitmaps_at` and `bitmaps_bytes` where their directory is, `l1_at` and `l1_entries`
    where its first table is."""

    version: int
    size: int
    cluster_bits: int
    encrypted: bool
    features: int
    l1_entries: int = 0
    l1_at: int = 0
    backing: str = ""
    backing_format: str = ""
    data_file: str = ""
    bitmaps: int = 0
    bitmaps_at: int = 0
    bitmaps_bytes: int = 0
    bitmaps_up_to_date: bool = False


def parse(head: bytes) -> Qcow2:
    """Read a header from the first bytes of an image. Raises ValueError with the reason for a person."""
    if len(head) < HEADER.size or head[:4] != MAGIC:
        raise ValueError("it does not start like a qcow2 image")
    fields = HEADER.unpack_from(head)
    _, version, backing_at, backing_length, cluster_bits, size, encryption, l1_entries, l1_at, *_ = fields
    if version not in {2, 3}:
        raise ValueError(f"it has version {version}")
    if not 9 <= cluster_bits <= 21:
        raise ValueError(f"its clusters have 2^{cluster_bits} bytes")
    if size > SIZE_LIMIT_BYTES or l1_entries > L1_LIMIT_ENTRIES:
        raise ValueError(f"it claims {size} bytes with {l1_entries} level-1 entries")
    features, autoclear, length = 0, 0, HEADER.size
    if version == 3:
        if len(head) < HEADER.size + HEADER_3.size:
            raise ValueError("its header is cut off")
        features, _, autoclear, _, length = HEADER_3.unpack_from(head, HEADER.size)
        if not HEADER.size + HEADER_3.size <= length <= min(1 << cluster_bits, READ_BYTES) or length % 8:
            raise ValueError(f"its header claims {length} bytes")
    extensions = _extensions(head[: 1 << cluster_bits], length)
    bitmaps, directory_bytes, directory_at = _bitmaps(extensions.get(EXTENSION_BITMAPS, b""))
    return Qcow2(
        version=version,
        size=size,
        cluster_bits=cluster_bits,
        encrypted=encryption != 0,
        features=features,
        l1_entries=l1_entries,
        l1_at=l1_at,
        backing=_name(head, backing_at, backing_length),
        backing_format=os.fsdecode(extensions.get(EXTENSION_BACKING_FORMAT, b"")),
        data_file=os.fsdecode(extensions.get(EXTENSION_DATA_FILE, b"")),
        bitmaps=bitmaps,
        bitmaps_at=directory_at,
        bitmaps_bytes=directory_bytes,
        bitmaps_up_to_date=bool(autoclear & AUTOCLEAR_BITMAPS),
    )


def _extensions(head: bytes, position: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while position + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, position)
        position += 8
        if kind == EXTENSION_END:
            return found
        if length > len(head) - position:
            raise ValueError(f"a header extension claims {length} bytes")
        if kind in {EXTENSION_BACKING_FORMAT, EXTENSION_DATA_FILE, EXTENSION_BITMAPS}:
            found[kind] = head[position : position + length]
        position += -(-length // 8) * 8
    return found


def _bitmaps(extension: bytes) -> tuple[int, int, int]:
    """How many bitmaps, and the bytes and place of their directory; zeros for what cannot be made out."""
    if len(extension) != BITMAPS.size:
        return 0, 0, 0
    count, _, length, offset = BITMAPS.unpack(extension)
    return (count, length, offset) if offset < OFFSET_LIMIT else (0, 0, 0)


def _name(head: bytes, offset: int, length: int) -> str:
    if not offset:
        return ""
    if not 0 < length <= NAME_LIMIT_BYTES or offset + length > len(head):
        raise ValueError(f"its backing file's name claims {length} bytes at {offset}")
    return os.fsdecode(head[offset : offset + length])


def check(path: Path, backing: Path | None, backing_format: str = "", *, read: Read | None = None) -> Qcow2:
    """Refuse an image unless its header names `backing` (None: nothing at all) and no other file. Opens `path` only,
    with `read` if it is not of this host.

    Raises HostileImage for a name or number that must not be there, SourceRefused for what cannot be read: missing,
    encrypted, marked as corrupt, made by a newer program.
    """
    header = accepted(path, (read or read_piece)(path, 0, READ_BYTES))
    problem = _backing(path, header, backing, backing_format)
    if problem is not None:
        raise problem
    return header


def accepted(path: Path, head: bytes) -> Qcow2:
    """The header in the first bytes of an image; what it names below it is left to the caller. Raises HostileImage for
    a name or number that must not be there, SourceRefused for what cannot be read."""
    try:
        header = parse(head)
    except ValueError as error:
        fix = "Do not open it with other tools either; ask its owner for a sound image."
        raise HostileImage(f"{path} is not an acceptable qcow2 image", why=str(error), fix=fix) from error
    problem = _features(path, header)
    if problem is not None:
        raise problem
    return header


def read_head(path: Path) -> bytes:
    """The first bytes of a file or device. Raises SourceRefused."""
    return read_piece(path, 0, READ_BYTES)


def read_piece(path: Path, offset: int, length: int) -> bytes:
    """Bytes of a file or device, fewer at its end; never waits for a FIFO. Raises SourceRefused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not (stat.S_ISREG(os.fstat(fd).st_mode) or stat.S_ISBLK(os.fstat(fd).st_mode)):
                raise SourceRefused(f"{path} is neither a file nor a block device", fix="Give the path of the image.")
            return os.pread(fd, length, offset)
        finally:
            os.close(fd)
    except OSError as error:
        raise of_os(Side.SOURCE, f"{path} cannot be read", error) from error


def _features(path: Path, header: Qcow2) -> KubeferryError | None:
    if header.features & EXTERNAL_DATA or header.data_file:
        return HostileImage(
            f"{path} keeps its data in another file",
            why=f"its header names {header.data_file!r}",
            fix="Refused always. If the image is yours: `qemu-img convert` it at the source first.",
        )
    if header.features & ~KNOWN_FEATURES:
        return HostileImage(
            f"{path} uses features that are not known here",
            why=f"its header asks for feature bits {header.features & ~KNOWN_FEATURES:#x}",
            fix="`qemu-img convert` it at the source with its own tools first.",
        )
    if header.features & CORRUPT:
        return SourceRefused(
            f"{path} is marked as corrupt", fix="Repair it at the source with `qemu-img check -r all`."
        )
    if header.encrypted:
        return SourceRefused(f"{path} is encrypted", fix="Decrypt it at the source with `qemu-img convert` first.")
    return None


def _backing(path: Path, header: Qcow2, declared: Path | None, declared_format: str) -> KubeferryError | None:
    if declared is None and not header.backing:
        return None
    expected = f"the source says that it is {declared}" if declared else "the source says that there is none"
    # Never `qemu-img rebase -u`: it makes the header agree by leaving out all that the base holds.
    fix = "If the image is yours, name what lies below it where the machine is defined, or with `--chain` of a copy."
    if not header.backing:
        return SourceRefused(f"{path} names no backing file", why=expected, fix=fix)
    wrong = HostileImage(
        f"{path} names the backing file {header.backing!r}", why=f"{expected}; the named file was not opened", fix=fix
    )
    if declared is None or PROTOCOL.match(header.backing):
        return wrong
    if os.path.realpath(path.parent / header.backing) != os.path.realpath(declared):
        return wrong
    if header.backing_format and declared_format and header.backing_format != declared_format:
        why = f"its header says {header.backing_format!r}, the source says {declared_format!r}"
        return SourceRefused(f"{path} gives its backing file another format", why=why, fix=fix)
    return None
