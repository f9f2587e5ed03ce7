"""What a file is packed with, by its first bytes or by its name. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

HEAD_BYTES = 8


@dataclass(frozen=True, slots=True)
class Packing:
    """Its name for a person, how its files begin and are called, and what unpacks them."""

    name: str
    signs: tuple[bytes, ...]
    endings: tuple[str, ...]
    unpack: str


GZIP = Packing("gzip", (b"\x1f\x8b\x08",), (".gz", ".tgz"), "gzip -dk")
KNOWN = (
    GZIP,
    Packing("xz", (b"\xfd7zXZ\0",), (".xz", ".txz"), "xz -dk"),
    Packing("zip", (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), (".zip",), "unzip"),
    Packing("bzip2", (b"BZh",), (".bz2", ".tbz2"), "bzip2 -dk"),
    Packing("zstd", (b"\x28\xb5\x2f\xfd",), (".zst",), "zstd -d"),
    Packing("7z", (b"7z\xbc\xaf\x27\x1c",), (".7z",), "7z x"),
)


def of_bytes(head: bytes) -> Packing | None:
    """By the first bytes of a file, `HEAD_BYTES` or more."""
    return next((one for one in KNOWN if head.startswith(one.signs)), None)


def of_name(name: str) -> Packing | None:
    """By the end of a name, whatever its letters."""
    ending = PurePath(name).suffix.lower()
    return next((one for one in KNOWN if ending in one.endings), None)
