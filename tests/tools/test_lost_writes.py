"""Storage that loses writes after it took them: thin, full, and enlarged then. What it lost is never believed to be
there, whatever the page cache of the host still shows."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from converters.engine import checkpoint
from converters.engine.disks import copy_disk, parse_ref, repair_disk, verify_disk
from converters.engine.fingerprint import Fingerprint
from kubeferry.errors import KubeferryError
from kubeferry.outside import process
from tests.needs import needs, or_skip

pytestmark = needs("root", "losetup", "mkfs.ext4", "dumpe2fs", "mount")

MIB = 1 << 20
ROOM = 24  # MiB that the thin storage has at first
SIZE = 64  # MiB of the disk


class Thin:
    """A loop device on a file system that has less room than the device says, until it is enlarged."""

    def __init__(self, folder: Path) -> None:
        self._store = folder / "store"
        self._store.mkdir()
        self.mounted: list[Path] = []
        self._mount("tmpfs", "none", self._store, f"size={ROOM}m")
        backing = self._store / "backing"
        with backing.open("wb") as file:
            file.truncate(256 * MIB)
        self.device = Path(process.run(["losetup", "--find", "--show", str(backing)]).out.strip())

    def _mount(self, kind: str, what: str, where: Path, options: str) -> None:
        process.run(["mount", "-t", kind, "-o", options, what, str(where)])
        self.mounted.append(where)

    def file_system(self, where: Path) -> Path:
        """An ext4 on the device."""
        where.mkdir()
        process.run(["mkfs.ext4", "-q", "-N", "64", "-O", "^has_journal", str(self.device)])
        self._mount("ext4", str(self.device), where, "rw")
        return where

    def enlarge(self) -> None:
        process.run(["mount", "-o", "remount,size=512m", str(self._store)])

    def close(self) -> None:
        for where in reversed(self.mounted[1:]):
            process.run(["umount", str(where)], check=False)
        process.run(["losetup", "--detach", str(self.device)], check=False)
        process.run(["umount", "--lazy", str(self._store)], check=False)


@pytest.fixture
def thin(tmp_path: Path) -> Iterator[Thin]:
    try:
        made = Thin(tmp_path)
    except KubeferryError as error:
        or_skip(error)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.img"
    path.write_bytes(os.urandom(SIZE * MIB))
    return path


def on_disk(path: Path) -> bytes:
    """The first bytes of a file or device as its storage has them."""
    found = mmap.mmap(-1, SIZE * MIB)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        assert os.preadv(fd, [found], 0) == SIZE * MIB
    finally:
        os.close(fd)
    return bytes(found)


@contextmanager
def held_open(path: Path) -> Iterator[None]:
    """Somebody else keeps it open, and with it what the host has of it."""
    with path.open("rb"):
        yield


def lost(thin: Thin, source: Path, target: str, kff: Path) -> None:
    """A copy that ended because the storage ran full."""
    with pytest.raises(KubeferryError):
        copy_disk(parse_ref(str(source)), parse_ref(target), kff)
    thin.enlarge()


def test_a_copy_after_writes_were_lost_writes_them_again_to_a_file(thin: Thin, source: Path, tmp_path: Path) -> None:
    target = thin.file_system(tmp_path / "mnt") / "target.img"
    with target.open("wb") as file:
        file.truncate(SIZE * MIB)
    with held_open(target):
        lost(thin, source, str(target), tmp_path / "t.kff")
        copy_disk(parse_ref(str(source)), parse_ref(str(target)), tmp_path / "t.kff")
        assert on_disk(target) == source.read_bytes()
        assert not verify_disk(parse_ref(str(target)), tmp_path / "t.kff").differing


def test_a_copy_after_writes_were_lost_writes_them_again_to_a_device(thin: Thin, source: Path, tmp_path: Path) -> None:
    target = f"block://{thin.device}"
    with held_open(thin.device):
        lost(thin, source, target, tmp_path / "t.kff")
        copy_disk(parse_ref(str(source)), parse_ref(target), tmp_path / "t.kff")
        assert on_disk(thin.device) == source.read_bytes()
        assert not verify_disk(parse_ref(target), tmp_path / "t.kff").differing


def test_what_somebody_else_has_lost_before_does_not_end_a_copy(thin: Thin, source: Path, tmp_path: Path) -> None:
    with held_open(thin.device):
        with thin.device.open("wb") as file:
            file.write(os.urandom(SIZE * MIB))
        process.run(["blockdev", "--flushbufs", str(thin.device)], check=False)  # fails, and tells nobody
        thin.enlarge()
        copy_disk(parse_ref(str(source)), parse_ref(f"block://{thin.device}"), tmp_path / "t.kff")
        assert on_disk(thin.device) == source.read_bytes()


def test_a_repair_mends_what_the_page_cache_shows_and_the_storage_lost(
    thin: Thin, source: Path, tmp_path: Path
) -> None:
    """The fingerprint is of a copy elsewhere; the target was written by a program that looked at no error."""
    kff, other = tmp_path / "t.kff", tmp_path / "other.img"
    with other.open("wb") as file:
        file.truncate(SIZE * MIB)
    copy_disk(parse_ref(str(source)), parse_ref(str(other)), kff)
    target = thin.file_system(tmp_path / "mnt") / "target.img"
    with target.open("wb") as file:
        file.write(source.read_bytes())
        file.flush()
        with pytest.raises(OSError, match=r"error|No space"):
            os.fsync(file.fileno())
        thin.enlarge()
        assert target.read_bytes() == source.read_bytes()
        assert repair_disk(parse_ref(str(source)), parse_ref(str(target)), kff).differing
        assert on_disk(target) == source.read_bytes()


@pytest.mark.parametrize("blocks", [1, 8])
def test_what_a_file_system_has_no_room_for_is_told_by_the_write_and_never_counted(tmp_path: Path, blocks: int) -> None:
    """Its map of free blocks is damaged, which it meets when it looks for room. Asked to, it looks in the write; else
    when it writes back, where ext4 loses what it took, and tells no flush of it."""
    image, where, kff = tmp_path / "image", tmp_path / "mnt", tmp_path / "t.kff"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    process.run(["mkfs.ext4", "-q", "-b", "4096", str(image)])
    bitmap = re.search(r"Block bitmap at (\d+)", process.run(["dumpe2fs", str(image)]).out)
    assert bitmap is not None
    source, target = tmp_path / "source.img", where / "target.img"
    source.write_bytes(os.urandom(blocks * MIB - 4096))
    where.mkdir()
    try:
        device = process.run(["losetup", "--find", "--show", str(image)]).out.strip()
    except KubeferryError as error:
        or_skip(error)
    try:
        process.run(["mount", "-o", "no_prefetch_block_bitmaps", device, str(where)])
        with target.open("wb") as file:
            file.truncate(source.stat().st_size)
        with Path(device).open("r+b", buffering=0) as raw:
            raw.seek(int(bitmap[1]) * 4096)
            raw.write(os.urandom(4096))
            os.fsync(raw.fileno())
        with pytest.raises(KubeferryError, match="cannot be written"):
            copy_disk(parse_ref(str(source)), parse_ref(str(target)), kff)
        with Fingerprint.open(checkpoint.beside(kff), unchecked=True) as found:
            assert list(found.unknown(0, found.count)) == [(0, blocks)]
    finally:
        process.run(["umount", str(where)], check=False)
        process.run(["losetup", "--detach", device], check=False)
