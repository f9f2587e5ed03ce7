"""Devices and exports that hold what is somebody else's, or are in use: refused before a byte is written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from converters.engine.disks import copy_disk, parse_ref, prepare_target
from converters.engine.transfer import Options
from kubeferry.errors import KubeferryError, TargetRefused
from kubeferry.outside import process
from tests.contract.test_endpoints import listens
from tests.needs import needs, or_skip

MIB = 1 << 20
SIZE = 4 * MIB
CAREFUL = Options(may_lose=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.img"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    backing = tmp_path / "backing"
    with backing.open("wb") as file:
        file.truncate(64 * MIB)
    try:
        made = process.run(["losetup", "--find", "--show", str(backing)]).out.strip()
    except KubeferryError as error:
        or_skip(error)
    yield Path(made)
    process.run(["losetup", "--detach", made], check=False)


@contextmanager
def exported(raw: Path) -> Iterator[str]:
    """An export for one client, which ends with it: as somebody starts one for a copy."""
    socket = raw.with_name("socket")
    argv = ["qemu-nbd", f"--socket={socket}", "--format=raw", str(raw)]
    with process.child(argv, log=raw.with_name("log")) as server:
        limit = time.monotonic() + 20
        while not listens(socket):
            assert server.poll() is None, server.tail()
            assert time.monotonic() < limit
            time.sleep(0.02)
        yield f"nbd+unix:///?socket={socket}"


def copy(source: Path, target: str, kff: Path) -> None:
    ref = parse_ref(target)
    prepare_target(ref, SIZE, kff)
    copy_disk(parse_ref(str(source)), ref, kff, options=CAREFUL)


@needs("root", "losetup", "mkfs.ext4")
@pytest.mark.parametrize("named", ["block://{}", "{}"])
def test_a_file_system_on_a_device_is_not_overwritten(named: str, device: Path, source: Path, tmp_path: Path) -> None:
    process.run(["mkfs.ext4", "-q", str(device)])
    before = device.read_bytes()
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, named.format(device), tmp_path / "t.kff")
    assert device.read_bytes() == before


@needs("root", "losetup", "mkfs.ext4", "mount")
def test_a_device_that_is_mounted_is_never_written(device: Path, source: Path, tmp_path: Path) -> None:
    """Whoever may lose what is on it: its file system would write over the copy."""
    process.run(["mkfs.ext4", "-q", str(device)])
    (tmp_path / "mnt").mkdir()
    process.run(["mount", str(device), str(tmp_path / "mnt")])
    try:
        with pytest.raises(TargetRefused, match="is in use"):
            copy_disk(parse_ref(str(source)), parse_ref(f"block://{device}"), tmp_path / "t.kff")
    finally:
        process.run(["umount", str(tmp_path / "mnt")])


@needs("root", "losetup")
def test_a_device_that_is_empty_or_ours_is_taken_and_data_anywhere_is_seen(
    device: Path, source: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        copy(source, f"block://{device}", tmp_path / "t.kff")
        assert device.read_bytes()[:SIZE] == source.read_bytes()
    (tmp_path / "t.kff").unlink()
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, f"block://{device}", tmp_path / "t.kff")
    device.write_bytes(bytes(64 * MIB - 1) + b"x")
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, f"block://{device}", tmp_path / "t.kff")


@needs("qemu-nbd")
def test_an_export_that_holds_something_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    raw = tmp_path / "export.img"
    raw.write_bytes(bytes(SIZE // 2) + os.urandom(SIZE // 2))
    before = raw.read_bytes()
    with exported(raw) as uri, pytest.raises(TargetRefused, match="not ours"):
        copy(source, uri, tmp_path / "t.kff")
    assert raw.read_bytes() == before
    raw.write_bytes(bytes(SIZE))
    with exported(raw) as uri:
        copy(source, uri, tmp_path / "t.kff")
    assert raw.read_bytes() == source.read_bytes()


@needs("root", "losetup")
def test_a_device_whose_tail_holds_an_older_disk_is_refused(device: Path, source: Path, tmp_path: Path) -> None:
    copy(source, f"block://{device}", tmp_path / "t.kff")
    os.truncate(source, SIZE // 2)
    with pytest.raises(TargetRefused, match="a larger disk of an earlier copy"):
        copy(source, f"block://{device}", tmp_path / "t.kff")
