"""Storage of the trial's own: loop devices, and thin ones that say more than they have. It goes with the block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kubeferry.outside import process

MIB = 1 << 20


@contextlib.contextmanager
def mounted(kind: str, what: str, where: Path, options: str) -> Iterator[Path]:
    """A file system while the block lasts."""
    where.mkdir(parents=True, exist_ok=True)
    process.run(["mount", "-t", kind, "-o", options, what, str(where)])
    try:
        yield where
    finally:
        process.run(["umount", "--lazy", str(where)], check=False)


@contextlib.contextmanager
def loop(backing: Path, sector: int = 512) -> Iterator[Path]:
    """A block device over a file while the block lasts."""
    argv = ["losetup", "--find", "--show", "--sector-size", str(sector), str(backing)]
    device = process.run(argv).out.strip()
    try:
        yield Path(device)
    finally:
        process.run(["losetup", "--detach", device], check=False)


@contextlib.contextmanager
def little_room(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A folder with no more room than that, until it is enlarged."""
    with mounted("tmpfs", "none", folder, f"size={mebibytes}m") as where:
        yield where


def enlarge(where: Path, mebibytes: int) -> None:
    process.run(["mount", "-o", f"remount,size={mebibytes}m", str(where)])
