"""Images that we read from their file give what QEMU gives; whatever else comes is left to QEMU. Made by the real
qemu-img and qemu-io."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.endpoints import open_source
from converters.endpoints.qcow2 import Image
from converters.engine.disks import copy_disk
from converters.extents import BLOCK_BYTES
from kubeferry.errors import KubeferryError, SourceRefused
from kubeferry.images import clusters, qcow2, whole, writers
from kubeferry.outside import process
from kubeferry.values import DiskRef

MIB = 1 << 20
SIZE = 24 * MIB + 512 * 3


def make(path: Path, options: str = "", *, size: int = SIZE, below: Path | None = None) -> Path:
    backing = ["-b", str(below), "-F", "qcow2"] if below else []
    process.run(
        [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            *(["-o", options] if options else []),
            *backing,
            str(path),
            str(size),
        ]
    )
    return path


def change(path: Path, chance: random.Random, *, count: int = 12, size: int = SIZE) -> None:
    """Write, zero and discard at random."""
    words = []
    for _ in range(count):
        offset = chance.randrange(size // 512) * 512
        length = min(chance.choice((512, 4096, 65536, MIB, 3 * MIB)), size - offset)
        what = chance.choice(("write -P 0x5a", "write -P 0x01", "write -z", "write -zu", "discard"))
        words += ["-c", f"{what} {offset} {length}"]
    process.run(["qemu-io", "-f", "qcow2", "-d", "unmap", *words, str(path)])


def told_by_qemu(path: Path, folder: Path) -> bytes:
    raw = folder / "told.raw"
    process.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw)])
    return raw.read_bytes()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[bool, bytes]]:
    """Whether it was read by us, and all its bytes; what it calls zeros is not asked for."""
    with open_source(DiskRef(uri=path.as_uri(), format="qcow2"), work=path.parent) as disk:
        found = bytearray(disk.size)
        with disk.clone() as other:
            for number, one in enumerate(disk.extents()):
                view = memoryview(found)[one.offset : one.end]
                if not one.zero:
                    (other if number % 2 else disk).read_into(one.offset, view)
        yield isinstance(disk, Image), bytes(found)


@pytest.mark.parametrize(
    "options", ["", "cluster_size=4k", "cluster_size=2M", "compat=0.10", "preallocation=metadata", "lazy_refcounts=on"]
)
def test_what_is_read_from_the_file_is_what_qemu_reads(tmp_path: Path, options: str) -> None:
    chance = random.Random(options)
    image = make(tmp_path / "disk.qcow2", options)
    for number in range(3):
        change(image, chance)
        if number:
            process.run(["qemu-img", "snapshot", "-c", f"s{number}", str(image)])
            change(image, chance)
        if number > 1:
            process.run(["qemu-img", "snapshot", "-a", "s1", str(image)])
        expected = told_by_qemu(image, tmp_path)
        with opened(image) as (ours, found):
            assert ours
            assert found == expected
        with open_source(DiskRef(uri=image.as_uri(), format="qcow2")) as disk:
            for _ in range(50):  # any range may be asked for, zeros among them
                start = chance.randrange(SIZE)
                view = memoryview(bytearray(b"?" * min(chance.randrange(1, 2 * MIB), SIZE - start)))
                disk.read_into(start, view)
                assert bytes(view) == expected[start : start + len(view)]


def test_a_copy_of_it_is_equal(tmp_path: Path) -> None:
    image, target = make(tmp_path / "disk.qcow2"), tmp_path / "target"
    change(image, random.Random(1), count=40)
    with target.open("wb") as file:
        file.truncate(SIZE)
    told = copy_disk(DiskRef(uri=image.as_uri(), format="qcow2"), DiskRef(uri=target.as_uri()), tmp_path / "t.kff")
    assert target.read_bytes() == told_by_qemu(image, tmp_path)
    assert told.size == SIZE


def test_what_is_not_plain_is_read_by_qemu(tmp_path: Path) -> None:
    chance = random.Random(2)
    plain = make(tmp_path / "plain.qcow2")
    change(plain, chance)
    packed = tmp_path / "packed.qcow2"
    process.run(["qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2", str(plain), str(packed)])
    parts = make(tmp_path / "parts.qcow2", "extended_l2=on,cluster_size=128k")
    change(parts, chance)
    small = make(tmp_path / "small.qcow2", "cluster_size=512", size=MIB)
    for image in (packed, parts, small):
        expected = told_by_qemu(image, tmp_path)
        with opened(image) as (ours, found):
            assert not ours, image
            assert found == expected
    above = make(tmp_path / "above.qcow2", below=plain)
    change(above, chance)
    ref = DiskRef(uri=above.as_uri(), format="qcow2", backing=DiskRef(uri=plain.as_uri(), format="qcow2"))
    with open_source(ref) as disk:
        assert not isinstance(disk, Image)
    external = make(tmp_path / "external.qcow2", f"data_file={tmp_path / 'data'},data_file_raw=off")
    with pytest.raises(KubeferryError, match="keeps its data in another file"), opened(external):
        pass


def test_a_file_that_ends_within_its_last_cluster_reads_as_zeros_there(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.qcow2", "cluster_size=2M", size=4 * MIB)
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 4M", str(image)])
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size - MIB - 4096)
    expected = told_by_qemu(image, tmp_path)
    assert expected.count(0) == MIB + 4096
    with opened(image) as (ours, found):
        assert ours
        assert found == expected
    with open_source(DiskRef(uri=image.as_uri(), format="qcow2")) as disk:
        view = memoryview(bytearray(b"?" * 4096))
        disk.read_into(4 * MIB - 4096, view)
        assert bytes(view) == bytes(4096)


def test_while_it_is_read_no_qemu_writes_to_it(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.qcow2")
    change(image, random.Random(3))
    write = ["qemu-io", "-f", "qcow2", "-c", "write 0 4096", str(image)]
    with open_source(DiskRef(uri=image.as_uri(), format="qcow2")) as disk:
        assert isinstance(disk, Image)
        assert process.run(write, check=False).code
        process.run(["qemu-io", "-r", "-f", "qcow2", "-c", "read 0 4096", str(image)])
        with open_source(DiskRef(uri=image.as_uri(), format="qcow2")) as other:
            assert isinstance(other, Image)
    process.run(write)


def test_one_that_a_qemu_writes_to_is_refused(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.qcow2")
    holder = ["qemu-nbd", "--persistent", "-f", "qcow2", f"--socket={tmp_path / 's'}", str(image)]
    with process.child(holder, log=tmp_path / "log"), image.open("rb") as file:
        while not writers.written_by_qemu(file.fileno()):  # it has its socket before it opens the image
            time.sleep(0.02)
        with pytest.raises(SourceRefused, match="QEMU does not open"), opened(image):
            pass


def test_tables_that_are_damaged_are_left_to_qemu(tmp_path: Path) -> None:
    """Thousands of images with a wrong entry: none is read from elsewhere than from its clusters, none outside."""
    chance = random.Random(4)
    image = make(tmp_path / "disk.qcow2", size=64 * MIB)
    change(image, chance, count=30, size=64 * MIB)
    content = bytearray(image.read_bytes())
    header = qcow2.parse(bytes(content[: qcow2.READ_BYTES]))
    table = int.from_bytes(content[header.l1_at : header.l1_at + 8], "big") & clusters.PLACE
    places = [*range(24, 48), *range(header.l1_at, header.l1_at + 8), *range(table, table + 1024)]
    plain = 0
    for _ in range(3000):
        damaged = bytearray(content)
        damaged[chance.choice(places)] ^= 1 << chance.randrange(8)

        def read(offset: int, length: int, damaged: bytearray = damaged) -> bytes:
            assert offset >= 0
            assert offset + length <= len(damaged)
            return bytes(damaged[offset : offset + length])

        try:
            found = clusters.Clusters(qcow2.parse(read(0, qcow2.READ_BYTES)), len(damaged), read, lambda: None)
        except (ValueError, clusters.NotPlain, clusters.CutOff):
            continue
        plain += 1
        runs = list(found.runs(0, min(found.size, 64 * MIB)))
        assert sum(run.length for run in runs) == min(found.size, 64 * MIB)
        assert all(run.place is None or run.place % 512 == 0 < run.place < len(damaged) for run in runs)
    assert 0 < plain < 2500
    assert BLOCK_BYTES % (1 << header.cluster_bits) == 0


def test_holes_of_the_file_are_zeros_of_the_disk(tmp_path: Path) -> None:
    """As virt-manager makes images: every cluster has its place, and nearly none its bytes."""
    size = 64 << 30
    image = make(tmp_path / "disk.qcow2", "preallocation=metadata", size=size)
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 40G 1M", str(image)])
    begun = time.process_time()
    with open_source(DiskRef(uri=image.as_uri(), format="qcow2")) as disk:
        assert isinstance(disk, Image)
        extents = list(disk.extents())
    assert sum(one.length for one in extents) == size
    assert sum(one.length for one in extents if not one.zero) < 2 * MIB
    assert time.process_time() - begun < 2  # a million clusters, twice


@pytest.mark.parametrize("part", ["bytes of its disk", "a table of it"])
def test_an_image_that_is_cut_off_is_refused(tmp_path: Path, part: str) -> None:
    """QEMU reads zeros behind the end of a file."""
    image = make(tmp_path / "disk.qcow2")
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 8M", str(image)])
    with image.open("r+b") as file:
        file.truncate((6 * MIB) if part == "bytes of its disk" else 260 << 10)
    assert b"\x07" * MIB not in told_by_qemu(image, tmp_path)[-8 * MIB :]
    with pytest.raises(SourceRefused, match="is cut off") as refused, opened(image):
        pass
    assert part in refused.value.why


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def of_noise(path: Path, options: str = "", *, below: Path | None = None) -> Path:
    """An image with bytes in every cluster of its 8 MiB, of which half can be compressed."""
    raw, chance = path.with_suffix(".noise"), random.Random(5)
    raw.write_bytes(b"".join(chance.randbytes(1024) + bytes(1024) for _ in range(4 * 1024)))
    backing = ["-B", str(below), "-F", "qcow2"] if below else []
    made = [*(["-o", options] if options else []), *backing, str(raw), str(path)]
    process.run(["qemu-img", "convert", *(["-c"] if "packed" in path.name else []), "-O", "qcow2", *made])
    raw.unlink()
    return path


def chain(top: Path, below: Path) -> DiskRef:
    return DiskRef(uri=top.as_uri(), format="qcow2", backing=DiskRef(uri=below.as_uri(), format="qcow2"))


CUT = {
    "packed": "",
    "packed, small clusters": "cluster_size=4k",
    "packed, old": "compat=0.10",
    "packed, zstd": "compression_type=zstd",
    "parts": "extended_l2=on,cluster_size=128k",
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("left", [3 * MIB, -1024, 200 << 10])
def test_what_qemu_reads_for_us_is_refused_where_it_is_cut_off(tmp_path: Path, name: str, left: int) -> None:
    image = of_noise(tmp_path / f"{name.replace(', ', '-').replace(' ', '-')}.qcow2", CUT[name])
    expected = told_by_qemu(image, tmp_path)
    with opened(image) as (ours, found):
        assert (ours, found) == (False, expected), "whole, it is read"
    size = image.stat().st_size
    cut(image, left if left > 0 else size + (left if "packed" in name else -(256 << 10)))
    with pytest.raises(SourceRefused, match="is cut off") as refused, opened(image):
        pass
    assert "QEMU would read zeros there" in refused.value.why
    assert str(image) in refused.value.what


@pytest.mark.parametrize("which", ["top", "base"])
def test_every_image_of_a_chain_is_looked_at(tmp_path: Path, which: str) -> None:
    base = of_noise(tmp_path / "base.qcow2")
    top = make(tmp_path / "top.qcow2", size=8 * MIB, below=base)
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 3M", str(top)])
    expected = told_by_qemu(top, tmp_path)
    with open_source(chain(top, base)) as disk:
        view = memoryview(bytearray(disk.size))
        disk.read_into(0, view)
        assert bytes(view) == expected
    image = {"top": top, "base": base}[which]
    cut(image, image.stat().st_size - MIB)
    with pytest.raises(SourceRefused, match="is cut off") as refused, open_source(chain(top, base)):
        pass
    assert str(image) in refused.value.what


def test_a_raw_base_that_is_shorter_than_what_is_above_reads_as_zeros(tmp_path: Path) -> None:
    base, top = tmp_path / "base.raw", tmp_path / "top.qcow2"
    base.write_bytes(b"\x07" * MIB)
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw", str(top), str(4 * MIB)])
    with open_source(DiskRef(uri=top.as_uri(), format="qcow2", backing=DiskRef(uri=base.as_uri()))) as disk:
        view = memoryview(bytearray(4 * MIB))
        disk.read_into(0, view)
    assert bytes(view) == b"\x07" * MIB + bytes(3 * MIB)


def test_a_look_at_a_large_image_takes_little_time_and_one_table_of_memory(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.qcow2", "preallocation=metadata", size=256 << 30)
    ref = DiskRef(uri=image.as_uri(), format="qcow2")
    begun = time.process_time()
    whole.check(ref, lambda: None)
    spent = time.process_time() - begun
    tracemalloc.start()
    tables = iter(range(64))
    with contextlib.suppress(StopIteration):
        whole.check(ref, lambda: next(tables))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * MIB
    assert spent < 10
