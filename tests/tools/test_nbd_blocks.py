"""NBD servers that take no small requests, or no large ones: nbdkit, which refuses any other."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.endpoints.nbd.client import Nbd
from converters.engine.disks import check_format, copy_disk, verify_disk
from kubeferry.faults import Side
from kubeferry.outside import process
from kubeferry.values import DiskRef
from tests.listening import listens
from tests.needs import here

SIZE = 3 << 20
LIMITS = [(1, 65536), (4096, 65536), (65536, 33554432), (512, 4096)]


@contextlib.contextmanager
def strict(path: Path, folder: Path, least: int, most: int) -> Iterator[str]:
    """A server of a file that refuses what is smaller, larger or elsewhere than it takes; its socket."""
    here("nbdkit")
    place = str(folder / "socket")
    limits = (f"blocksize-minimum={least}", f"blocksize-maximum={most}", f"blocksize-preferred={max(least, 4096)}")
    argv = ["nbdkit", "--foreground", "--exit-with-parent", "--filter=blocksize-policy", f"--unix={place}"]
    policy = [*limits, "blocksize-error-policy=error"]
    with process.child([*argv, "file", str(path), *policy], log=folder / "nbdkit.log"):
        while not listens(Path(place)):
            time.sleep(0.02)
        yield place


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("least", "most"), LIMITS)
def test_what_begins_and_ends_anywhere_is_read_and_written(tmp_path: Path, least: int, most: int) -> None:
    chance = random.Random(least)
    path = tmp_path / "disk"
    expected = bytearray(chance.randbytes(SIZE))
    path.write_bytes(expected)
    with strict(path, tmp_path, least, most) as place, Nbd(place, "", Side.TARGET) as disk:
        for _ in range(40):
            offset = chance.randrange(SIZE)
            length = min(chance.choice((1, 511, 4096, 70_000, 1 << 20)), SIZE - offset)
            view = memoryview(bytearray(length))
            match chance.randrange(3):
                case 0:
                    disk.read_into(offset, view)
                    assert view == expected[offset : offset + length]
                case 1:
                    disk.zero(offset, length)
                    expected[offset : offset + length] = view
                case _:
                    view[:] = chance.randbytes(length)
                    disk.write(offset, view)
                    expected[offset : offset + length] = view
        disk.flush()
    assert path.read_bytes() == expected


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("least", "most"), LIMITS)
def test_a_disk_is_copied_from_it_and_to_it(tmp_path: Path, least: int, most: int) -> None:
    """The target is larger, and the disk ends within one of its blocks."""
    source, target, back = (tmp_path / name for name in ("source", "target", "back"))
    content = random.Random(1).randbytes(SIZE - 512)
    source.write_bytes(content)
    target.write_bytes(b"\xff" * (SIZE + 65536))
    back.write_bytes(b"\xff" * (SIZE + 65536))
    with strict(target, tmp_path, least, most) as place:
        there = DiskRef(uri=f"nbd+unix:///?socket={place}")
        copy_disk(DiskRef(uri=source.as_uri()), there, tmp_path / "t.kff")
        assert not verify_disk(there, tmp_path / "t.kff").differing
        check_format(there)
        copy_disk(there, DiskRef(uri=back.as_uri()), tmp_path / "b.kff")
    assert target.read_bytes() == back.read_bytes() == content + b"\xff" * (512 + 65536)
