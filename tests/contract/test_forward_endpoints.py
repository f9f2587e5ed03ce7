"""One suite for every endpoint that is read once, from front to end: disks in an OVA, beside an OVF, in chunks."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converters.endpoints import Endpoint, open_source, open_target
from converters.endpoints.packed import disk as packed_disk
from converters.engine.disks import copy_disk
from converters.engine.transfer import Options, Watch
from kubeferry.errors import IntegrityFailed, Interrupted, KubeferryError, SourceRefused, TargetRefused
from kubeferry.faults import Side
from kubeferry.model import DiskRef
from kubeferry.outside import process
from kubeferry.uris import Packed, Part
from lab.vmdk import write_stream
from tests.needs import here

MIB = 1 << 20
SIZE = 9 * MIB + 512
CHANCE = random.Random(11)
BEFORE, BEHIND = CHANCE.randbytes(1536), CHANCE.randbytes(700)  # what stands around a member of a tar


def disk_content() -> bytes:
    content = bytearray(SIZE)
    for offset, length in ((0, 512), (MIB, 2 * MIB), (5 * MIB + (64 << 10), 64 << 10), (SIZE - 700, 700)):
        content[offset : offset + length] = CHANCE.randbytes(length)
    return bytes(content)


CONTENT = disk_content()


def stream() -> bytes:
    out = io.BytesIO()
    write_stream(io.BytesIO(CONTENT), out, SIZE)
    return out.getvalue()


def of_qemu(folder: Path) -> bytes:
    here("qemu-img")
    (folder / "raw").write_bytes(CONTENT)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    process.run([*command, str(folder / "raw"), str(folder / "made.vmdk")])
    return (folder / "made.vmdk").read_bytes()


def member(folder: Path, scheme: str, content: bytes, algorithm: str = "sha256", *, zipped: bool = False) -> Packed:
    """A disk inside a larger file."""
    path = folder / "web server.ova"
    if not path.exists():
        path.write_bytes(BEFORE + content + BEHIND)
    digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    return Packed(scheme, (Part(path, len(BEFORE), len(content), digest),), gzip=zipped)


def chunks(folder: Path) -> Packed:
    content, step = stream(), 300_000
    parts = []
    for number, start in enumerate(range(0, len(content), step)):
        piece = content[start : start + step]
        path = folder / f"disk.vmdk.{number:09}"
        if not path.exists():
            path.write_bytes(piece)
        parts.append(Part(path, 0, len(piece), f"sha1:{hashlib.sha1(piece, usedforsecurity=False).hexdigest()}"))
    return Packed("vmdk-stream+file", tuple(parts))


KINDS: dict[str, Callable[[Path], Packed]] = {
    "vmdk as ESXi writes it": lambda folder: member(folder, "vmdk-stream+file", stream()),
    "vmdk as qemu-img writes it": lambda folder: member(folder, "vmdk-stream+file", of_qemu(folder), "sha512"),
    "vmdk of a kind that its header tells": lambda folder: member(folder, "vmdk+file", stream(), "sha1"),
    "vmdk in a gzip": lambda folder: member(
        folder, "vmdk-stream+file", gzip.compress(stream(), 1, mtime=0), zipped=True
    ),
    "vmdk in chunks": chunks,
    "raw": lambda folder: member(folder, "raw+file", CONTENT),
    "raw in a gzip": lambda folder: member(folder, "raw+file", gzip.compress(CONTENT, 1, mtime=0), zipped=True),
    "raw in two gzips": lambda folder: member(
        folder,
        "raw+file",
        gzip.compress(CONTENT[:MIB], 1, mtime=0) + gzip.compress(CONTENT[MIB:], 1, mtime=0),
        zipped=True,
    ),
}


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Packed:
    return KINDS[request.param](tmp_path)


def ref_of(place: Packed) -> DiskRef:
    return DiskRef(uri=place.uri(), size_bytes=SIZE)


@pytest.fixture
def source(place: Packed) -> Iterator[Endpoint]:
    with open_source(ref_of(place)) as endpoint:
        yield endpoint


def read(endpoint: Endpoint, offset: int, length: int) -> bytes:
    view = memoryview(bytearray(b"\xaa" * length))
    endpoint.read_into(offset, view)
    return bytes(view)


@pytest.mark.parametrize("step", [MIB, 100_001, SIZE])
def test_the_size_and_all_bytes_are_there(source: Endpoint, step: int) -> None:
    assert source.size == SIZE
    assert not source.parallel
    assert b"".join(read(source, at, min(step, SIZE - at)) for at in range(0, SIZE, step)) == CONTENT
    source.end()


def test_extents_are_in_order_cover_the_disk_and_zero_is_true(source: Endpoint) -> None:
    for _ in range(2):
        extents = list(source.extents())
        assert [extent.offset for extent in extents[1:]] == [extent.end for extent in extents[:-1]]
        assert (extents[0].offset, extents[-1].end) == (0, SIZE)
        assert not any(any(CONTENT[extent.offset : extent.end]) for extent in extents if extent.zero)
    assert source.knows_holes == any(extent.zero for extent in extents)


def test_ranges_may_be_left_out(source: Endpoint) -> None:
    for offset, length in ((10, 5), (MIB - 3, 7), (5 * MIB, MIB), (SIZE - 512, 512)):
        assert read(source, offset, length) == CONTENT[offset : offset + length]
    source.end()


def test_reads_in_flight_end_up_in_their_own_memory(source: Endpoint) -> None:
    views = [memoryview(bytearray(MIB)) for _ in range(2)]
    waits = [source.start_read(at * MIB, view) for at, view in enumerate(views)]
    for wait in reversed(waits):
        wait()
    assert b"".join(views) == CONTENT[: 2 * MIB]


def test_going_back_is_refused(source: Endpoint) -> None:
    read(source, MIB, 10)
    with pytest.raises(SourceRefused, match="forward only"):
        read(source, MIB + 9, 1)


def test_it_is_no_target(place: Packed) -> None:
    with pytest.raises(TargetRefused, match="cannot be written"):
        open_target(ref_of(place))
    endpoint = packed_disk.open_endpoint(ref_of(place), Side.SOURCE)
    with endpoint, pytest.raises(TargetRefused, match="cannot be written"):
        endpoint.write(0, memoryview(b"x"))
    with pytest.raises(TargetRefused, match="cannot be written"):
        endpoint.zero(0, 1)


def another_digest(place: Packed) -> Packed:
    last = place.parts[-1]
    wrong = f"{last.digest.partition(':')[0]}:{'0' * len(last.digest.partition(':')[2])}"
    return Packed(place.scheme, (*place.parts[:-1], Part(last.path, last.offset, last.length, wrong)), gzip=place.gzip)


@pytest.mark.parametrize("left_out", [False, True])
def test_another_digest_is_told_at_the_end_however_little_was_read(place: Packed, left_out: bool) -> None:
    def whole(source: Endpoint) -> None:
        if not left_out:
            read(source, 0, SIZE)
        source.end()

    with open_source(ref_of(another_digest(place))) as source, pytest.raises(IntegrityFailed) as wrong:
        whole(source)
    assert "manifest" in wrong.value.why
    assert "0000000" in wrong.value.why


def test_a_part_that_is_cut_off_is_told(place: Packed) -> None:
    last = place.parts[-1]
    os.truncate(last.path, last.offset + last.length - 1)
    with pytest.raises(SourceRefused, match="ends at offset"), open_source(ref_of(place)):
        pass


def test_a_shorter_part_is_told_with_its_offset_at_the_end(place: Packed) -> None:
    last = place.parts[-1]
    cut = (*place.parts[:-1], Part(last.path, last.offset, last.length // 2))
    with (
        pytest.raises(KubeferryError, match=r"offset|has \d+ bytes"),
        open_source(ref_of(Packed(place.scheme, cut, gzip=place.gzip))) as source,
    ):
        source.end()


# --- with the engine that copies -------------------------------------------------------------------------------------


class Stops(Watch):
    """Interrupts a copy once some blocks were read."""

    def __init__(self, after: int) -> None:
        self.after = after

    def progress(self, phase: str, done: int, total: int | None) -> None:
        if phase == "copying" and done >= self.after:
            raise Interrupted("stopped")


def copied(place: Packed, folder: Path, watch: Watch | None = None, bandwidth: int | None = None) -> bytes:
    target = folder / "target.raw"
    if not target.exists():
        target.write_bytes(b"\xee" * SIZE)
    options = Options(bandwidth=bandwidth, checkpoint_seconds=0)
    copy_disk(ref_of(place), DiskRef(uri=target.as_uri()), folder / "f.kff", options=options, watch=watch or Watch())
    return target.read_bytes()


def test_it_is_copied(place: Packed, tmp_path: Path) -> None:
    assert copied(place, tmp_path) == CONTENT


def test_a_copy_that_was_interrupted_goes_on_and_still_looks_at_the_digest(place: Packed, tmp_path: Path) -> None:
    wrong = another_digest(place)
    with pytest.raises((Interrupted, IntegrityFailed)):  # small ones were read to their end by then
        copied(wrong, tmp_path, Stops(MIB), bandwidth=8 * MIB)
    for _ in range(2):
        with pytest.raises(IntegrityFailed):
            copied(wrong, tmp_path)
        assert not (tmp_path / "f.kff").exists()
    with pytest.raises(Interrupted):
        copied(place, tmp_path, Stops(MIB), bandwidth=8 * MIB)
    assert copied(place, tmp_path) == CONTENT
