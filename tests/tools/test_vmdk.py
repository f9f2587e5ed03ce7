"""VMDKs between us and a real qemu-img: it reads what the lab writes, we read what it writes, byte by byte equal."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from converters.engine.disks import copy_disk
from kubeferry.errors import SourceRefused
from kubeferry.model import DiskRef
from kubeferry.outside.process import run
from kubeferry.uris import Packed, Part
from lab.vmdk import GRAIN, write_stream
from tests.needs import needs

MIB = 1 << 20
SIZE = 70 * MIB + 5 * 512  # three grain tables, the last grain is not whole

pytestmark = needs("qemu-img")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Data that compresses and data that does not, with holes, one of them a whole table long."""
    chance = random.Random(17)
    path = tmp_path / "disk.raw"
    with path.open("wb") as disk:
        for offset, length in ((0, 3 * MIB), (4 * MIB + 512, 700), (66 * MIB, MIB), (SIZE - 512, 512)):
            disk.seek(offset)
            disk.write(chance.randbytes(length))
        disk.seek(8 * MIB)
        disk.write(b"all work and no play " * 100_000)
        disk.truncate(SIZE)
    return path


def copied(packed: Packed, folder: Path, size: int = SIZE) -> Path:
    target = folder / "copy.raw"
    with target.open("wb") as made:
        made.truncate(size)
    source = DiskRef(uri=packed.uri(), size_bytes=size)
    copy_disk(source, DiskRef(uri=target.as_uri()), folder / "copy.kff", target_reads_zero=True)
    return target


def whole(scheme: str, path: Path) -> Packed:
    return Packed(scheme, (Part(path, 0, path.stat().st_size),))


@pytest.mark.parametrize("grain", [GRAIN, 4096, 2 * MIB])
def test_qemu_img_reads_what_the_lab_writes_and_so_do_we(raw: Path, grain: int, tmp_path: Path) -> None:
    made = tmp_path / "made.vmdk"
    with raw.open("rb") as disk, made.open("wb") as out:
        write_stream(disk, out, SIZE, grain=grain)
    run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", str(raw), str(made)])
    run(["qemu-img", "compare", str(raw), str(copied(whole("vmdk-stream+file", made), tmp_path))])


@pytest.mark.parametrize(
    "options",
    [
        "subformat=streamOptimized",
        "subformat=monolithicSparse",
        "subformat=monolithicFlat",
        "subformat=twoGbMaxExtentSparse",
        "subformat=twoGbMaxExtentFlat",
        "subformat=monolithicSparse,zeroed_grain=on",
    ],
)
def test_what_qemu_img_writes_is_read(raw: Path, options: str, tmp_path: Path) -> None:
    made = tmp_path / "made.vmdk"
    run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, str(raw), str(made)])
    scheme = "vmdk-stream+file" if "stream" in options else "vmdk+file"
    target = copied(whole(scheme, made), tmp_path)
    run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", str(made), str(target)])
    run(["qemu-img", "compare", "-f", "raw", "-F", "raw", str(raw), str(target)])
    # What the VMDK leaves out the copy leaves out.
    assert target.stat().st_blocks * 512 < raw.stat().st_blocks * 512 + 4 * MIB


@pytest.mark.parametrize("size", [1, 3])
def test_a_stream_of_qemu_img_that_ends_in_data_without_a_marker_is_read(size: int, tmp_path: Path) -> None:
    """What cannot be compressed fills the file to its last sector; that nothing is missing the tables in front tell."""
    plain, made = tmp_path / "plain.img", tmp_path / "made.vmdk"
    plain.write_bytes(random.Random(size).randbytes(size << 20))
    run(["qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", "-f", "raw", str(plain), str(made)])
    for scheme in ("vmdk-stream+file", "vmdk+file"):
        assert copied(whole(scheme, made), tmp_path, size << 20).read_bytes() == plain.read_bytes()
    with made.open("r+b") as file:
        file.truncate(made.stat().st_size - (66 << 10))
    with pytest.raises(SourceRefused, match="ends in the middle"):
        copied(whole("vmdk-stream+file", made), tmp_path, size << 20)
