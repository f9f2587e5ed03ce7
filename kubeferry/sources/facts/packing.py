"""What a file is packed with, by its first bytes or by its name: the only table of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

HEAD_BYTES = 8


@dataclass(frozen=True, slots=True)
class Packing:
    """Its name for a person, how its files begin and are called, and what unpacks them, whatever they are called. What
    looks like any other file at its start is known by its name alone. `archive`: it holds files, and not the bytes of
    one."""

    name: str
    signs: tuple[bytes, ...]
    endings: tuple[str, ...]
    unpack: str
    archive: bool = False


GZIP = Packing("gzip", (b"\x1f\x8b\x08",), (".gz", ".tgz"), "gzip -dc FILE > UNPACKED")
KNOWN = (
    GZIP,
    Packing("xz", (b"\xfd7zXZ\0",), (".xz", ".txz"), "xz -dc FILE > UNPACKED"),
    Packing("zip", (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), (".zip",), "unzip", True),
    Packing("bzip2", (b"BZh",), (".bz2", ".tbz2"), "bzip2 -dc FILE > UNPACKED"),
    Packing("zstd", (b"\x28\xb5\x2f\xfd",), (".zst",), "zstd -dc FILE > UNPACKED"),
    Packing("7z", (b"7z\xbc\xaf\x27\x1c",), (".7z",), "7z x", True),
    Packing("rar", (b"Rar!\x1a\x07",), (".rar",), "unrar x", True),
    Packing("tar", (), (".tar",), "tar -xf", True),  # an OVA is one
)
_TARS = {".tgz", ".txz", ".tbz2"}


def of_bytes(head: bytes) -> Packing | None:
    """By the first bytes of a file, `HEAD_BYTES` or more."""
    return next((one for one in KNOWN if one.signs and head.startswith(one.signs)), None)


def of_name(name: str) -> Packing | None:
    """By the end of a name, whatever its letters."""
    ending = PurePath(name).suffix.lower()
    return next((one for one in KNOWN if ending in one.endings), None)


def is_archive(name: str) -> bool:
    """Whether a file of this name holds files: a tar that is packed does."""
    packing = of_name(name)
    return packing is not None and (packing.archive or _is_tar(name))


def unpacking(name: str) -> str | None:
    """The command that unpacks a file of this name; None where it is not packed."""
    packing = of_name(name)
    if packing is None:
        return None
    return "tar -xf" if _is_tar(name) else packing.unpack


def _is_tar(name: str) -> bool:
    path = PurePath(name.lower())
    return path.suffix in _TARS or PurePath(path.stem).suffix == ".tar"
