"""One suite for every endpoint that is read anywhere: file, memory, NBD against a real qemu-nbd with a raw and a qcow2
image, VMDKs as qemu-img makes them, a snapshot of the lab's cloud. Those that are read once stand in
`test_forward_endpoints.py`."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from converters.endpoints import Endpoint, open_source
from converters.endpoints.ebs.snapshot import open_endpoint as open_ebs
from converters.endpoints.file import File
from converters.endpoints.inline import open_endpoint as open_inline
from converters.endpoints.memory import Memory
from converters.endpoints.nbd import qemu as qemu_nbd
from converters.endpoints.nbd.client import Nbd
from converters.endpoints.packed import disk as packed_disk
from converters.engine.disks import copy_disk
from converters.extents import merge
from kubeferry.errors import HostileImage, InputInvalid, IntegrityFailed, KubeferryError, SourceRefused
from kubeferry.faults import Side
from kubeferry.model import DiskRef
from kubeferry.outside import process
from kubeferry.uris import EbsSnapshot, Packed, Part, inline_uri, zero_uri
from lab.ec2 import Cloud
from lab.ec2.store import BLOCK_BYTES
from tests.needs import here

MIB = 1 << 20
SIZE = 9 * MIB + 512
GRAIN = 64 << 10


def disk_content() -> bytes:
    chance = random.Random(11)
    content = bytearray(SIZE)
    for offset, length in ((0, 512), (MIB, 2 * MIB), (5 * MIB + GRAIN, GRAIN), (8 * MIB - 4096, 4096 + 700)):
        content[offset : offset + length] = chance.randbytes(length)
    return bytes(content)


CONTENT = disk_content()


def raw_file(folder: Path) -> Path:
    path = folder / "disk.raw"
    if not path.exists():
        with path.open("wb") as disk:
            for offset in range(0, SIZE, GRAIN):
                piece = CONTENT[offset : offset + GRAIN]
                if any(piece):
                    disk.seek(offset)
                    disk.write(piece)
            disk.truncate(SIZE)
    return path


def serve(stack: ExitStack, folder: Path, path: Path, fmt: str, *options: str) -> str:
    """A qemu-nbd that may be written to; the socket's path."""
    socket = folder / "socket"
    argv = ["qemu-nbd", "--persistent", f"--socket={socket}", f"--format={fmt}", *options, str(path)]
    server = stack.enter_context(process.child(argv, log=folder / "log"))
    while not listens(socket):
        assert server.wait(0.01) is None, server.tail()
    return str(socket)


def listens(path: Path) -> bool:
    """Whether a server takes connections there; it binds the socket a moment before. No connection is made."""
    accepting = "00010000"
    rows = [row.split() for row in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()]
    return any(row[-1] == str(path) and row[3] == accepting for row in rows)


def file_(_stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    return lambda side: File(raw_file(folder), side)


def direct(_stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    return lambda side: File(raw_file(folder), side, direct=side is Side.SOURCE)


def memory(_stack: ExitStack, _folder: Path) -> Callable[[Side], Endpoint]:
    content = bytearray(CONTENT)
    return lambda side: Memory(content)


def nbd_raw(stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    here("qemu-nbd")
    socket = serve(stack, folder, raw_file(folder), "raw", "--shared=0")
    return lambda side: Nbd(socket, "", side)


def nbd_one_connection(stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    here("qemu-nbd")
    socket = serve(stack, folder, raw_file(folder), "raw")
    return lambda side: Nbd(socket, "", side)


def nbd_qcow2(stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    here("qemu-nbd")
    path = folder / "disk.qcow2"
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw_file(folder)), str(path)])
    socket = serve(stack, folder, path, "qcow2", "--shared=0")
    return lambda side: Nbd(socket, "", side)


def ebs(stack: ExitStack, _folder: Path) -> Callable[[Side], Endpoint]:
    cloud = stack.enter_context(Cloud())
    patched = stack.enter_context(pytest.MonkeyPatch.context())
    for name, value in cloud.environment.items():
        patched.setenv(name, value)
    for offset in range(0, SIZE, GRAIN):
        piece = CONTENT[offset : offset + GRAIN]
        if any(piece):
            cloud.write("vol-1", offset, piece)
    cloud.store.freeze("snap-00000001", "vol-1", SIZE, 0)
    cloud.direct.short_last = SIZE % BLOCK_BYTES
    uri = EbsSnapshot("eu-west-1", "snap-00000001", endpoint_url=cloud.url).uri()
    return lambda side: open_ebs(DiskRef(uri=uri, size_bytes=SIZE), side)


def vmdk(folder: Path, subformat: str) -> Endpoint:
    here("qemu-nbd")
    path = folder / "disk.vmdk"
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}"]
    process.run([*command, str(raw_file(folder)), str(path)])
    place = Packed("vmdk+file", (Part(path, 0, path.stat().st_size),))
    return packed_disk.open_endpoint(DiskRef(uri=place.uri()), Side.SOURCE)


def vmdk_sparse(_stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    return lambda side: vmdk(folder, "monolithicSparse")


def vmdk_flat(_stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    return lambda side: vmdk(folder, "monolithicFlat")


def vmdk_in_files(_stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    return lambda side: vmdk(folder, "twoGbMaxExtentSparse")


def inline(_stack: ExitStack, _folder: Path) -> Callable[[Side], Endpoint]:
    return lambda side: open_inline(DiskRef(uri=inline_uri(CONTENT), size_bytes=SIZE), side)


def test_an_empty_disk_is_zeros_and_is_made(tmp_path: Path) -> None:
    """It has no content of its own to be held against, as those below have."""
    size = 3 * MIB + 512
    source = DiskRef(uri=zero_uri(size), size_bytes=size)
    with open_source(source) as opened:
        assert [(one.offset, one.length, one.zero) for one in opened.extents()] == [(0, size, True)]
        view = bytearray(b"x" * 4096)
        opened.read_into(size - 4096, memoryview(view))
        assert not any(view)
        with pytest.raises(KubeferryError, match="cannot be written"):
            opened.zero(0, 512)
    target = tmp_path / "target.raw"
    target.write_bytes(bytes(size))
    copy_disk(source, DiskRef(uri=target.as_uri()), tmp_path / "copy.kff")
    assert target.read_bytes() == bytes(size)


@pytest.mark.parametrize("uri", ["zero:", "zero:x", "zero:-1", "zero:1e3", f"zero:{65 << 40}", "zero:1/2"])
def test_an_empty_disk_of_no_size_is_refused(uri: str) -> None:
    with pytest.raises(InputInvalid), open_source(DiskRef(uri=uri)):
        pass


def in_archive(stack: ExitStack, folder: Path, shape: str, *options: str, sound: bool = True) -> Endpoint:
    """A disk that lies as an image of this format between other bytes of a file, with its digest."""
    here("qemu-nbd")
    path = folder / "disk.image"
    driver = {"vhd": "vpc"}.get(shape, shape)
    process.run(["qemu-img", "convert", "-f", "raw", "-O", driver, *options, str(raw_file(folder)), str(path)])
    content = path.read_bytes()
    archive = folder / "archive.ova"
    archive.write_bytes(os.urandom(1536) + content + bytes(-len(content) % 512) + os.urandom(1024))
    digest = hashlib.sha256(content if sound else b"").hexdigest()
    place = Packed("raw+file", (Part(archive, 1536, len(content), f"sha256:{digest}"),))
    ref = DiskRef(uri=place.uri(), format=shape, size_bytes=SIZE)
    return stack.enter_context(open_source(ref, work=folder))


def qcow2_in_archive(stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    return lambda side: in_archive(stack, folder, "qcow2")


def packed_qcow2_in_archive(stack: ExitStack, folder: Path) -> Callable[[Side], Endpoint]:
    return lambda side: in_archive(stack, folder, "qcow2", "-c")


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_a_vhd_in_an_archive_gives_the_same_bytes(subformat: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        opened = in_archive(stack, tmp_path, "vhd", "-o", f"subformat={subformat},force_size=on")
        assert read(opened, 0, SIZE) == CONTENT
        extents = list(opened.extents())
        assert not any(any(CONTENT[extent.offset : extent.end]) for extent in extents if extent.zero)
        opened.end()


IMAGES = [("qcow2", ()), ("qcow2", ("-c",)), ("vhd", ("-o", "force_size=on"))]


@pytest.mark.parametrize(("shape", "options"), IMAGES, ids=["plain", "through QEMU", "VHD"])
def test_an_image_in_an_archive_has_to_have_its_digest(shape: str, options: tuple[str, ...], tmp_path: Path) -> None:
    with ExitStack() as stack:
        opened = in_archive(stack, tmp_path, shape, *options, sound=False)
        assert read(opened, 0, SIZE) == CONTENT
        with pytest.raises(IntegrityFailed, match="manifest"):
            opened.end()


@pytest.mark.parametrize(("shape", "options"), IMAGES, ids=["plain", "through QEMU", "VHD"])
def test_an_image_in_an_archive_that_is_cut_off_is_refused(
    shape: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        in_archive(stack, tmp_path, shape, *options)
    size = (tmp_path / "disk.image").stat().st_size
    place = Packed("raw+file", (Part(tmp_path / "archive.ova", 1536, size // 1024 * 512),))
    with pytest.raises((SourceRefused, HostileImage)), open_source(DiskRef(uri=place.uri(), format=shape)) as opened:
        read(opened, 0, SIZE)


@pytest.mark.parametrize("gzip", [True, False])
def test_no_image_is_read_from_chunks_or_through_gzip(gzip: bool, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1024))
    parts = (Part(tmp_path / "a", 0, 512), *([] if gzip else [Part(tmp_path / "a", 512, 512)]))
    uri = Packed("raw+file", parts, gzip=gzip).uri()
    with pytest.raises(SourceRefused, match="packed, or in chunks"), open_source(DiskRef(uri=uri, format="qcow2")):
        pass


READ_ONLY = [inline, ebs, vmdk_sparse, vmdk_flat, vmdk_in_files, qcow2_in_archive, packed_qcow2_in_archive]
KINDS = [file_, direct, memory, nbd_raw, nbd_one_connection, nbd_qcow2]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__.strip("_"))
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Side], Endpoint]]:
    with ExitStack() as stack:
        yield request.param(stack, tmp_path)


@pytest.fixture(params=[*KINDS, *READ_ONLY], ids=lambda kind: kind.__name__.strip("_"))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Endpoint]:
    with ExitStack() as stack, request.param(stack, tmp_path)(Side.SOURCE) as endpoint:
        yield endpoint


@pytest.fixture
def target(opens: Callable[[Side], Endpoint]) -> Iterator[Endpoint]:
    with opens(Side.TARGET) as endpoint:
        yield endpoint


def read(endpoint: Endpoint, offset: int, length: int) -> bytes:
    view = memoryview(bytearray(b"\xaa" * length))
    endpoint.read_into(offset, view)
    return bytes(view)


def test_the_size_and_all_bytes_are_there(source: Endpoint) -> None:
    assert source.size == SIZE
    assert read(source, 0, SIZE) == CONTENT


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (511, 2), (MIB - 3, 7), (SIZE - 512, 512), (3 * MIB, 4096)])
def test_any_part_can_be_read(source: Endpoint, offset: int, length: int) -> None:
    assert read(source, offset, length) == CONTENT[offset : offset + length]


def test_extents_are_in_order_cover_the_disk_and_zero_is_true(source: Endpoint) -> None:
    extents = list(source.extents())
    assert [extent.offset for extent in extents[1:]] == [extent.end for extent in extents[:-1]]
    assert (extents[0].offset, extents[-1].end) == (0, SIZE)
    assert not any(any(CONTENT[extent.offset : extent.end]) for extent in extents if extent.zero)


def test_holes_are_found_where_they_are_known(source: Endpoint, request: pytest.FixtureRequest) -> None:
    assert source.knows_holes
    if "vmdk_flat" in request.node.name:
        pytest.skip("a flat extent is taken as data")
    zero = sum(extent.length for extent in merge(source.extents(), SIZE) if extent.zero)
    assert zero > 4 * MIB


def test_reads_in_flight_end_up_in_their_own_memory(source: Endpoint) -> None:
    offsets = range(0, 8 * MIB, MIB // 2)
    views = [memoryview(bytearray(MIB)) for _ in offsets]
    waits = [source.start_read(offset, view) for offset, view in zip(offsets, views, strict=True)]
    for wait in reversed(waits):
        wait()
    for offset, view in zip(offsets, views, strict=True):
        assert view == CONTENT[offset : offset + MIB]


def test_extents_can_be_drawn_while_reads_are_in_flight(source: Endpoint) -> None:
    view = memoryview(bytearray(MIB))
    for extent in source.extents():
        wait = source.start_read(MIB, view)
        assert extent.length
        wait()
        assert view == CONTENT[MIB : 2 * MIB]


def test_clones_read_in_parallel(source: Endpoint) -> None:
    if not source.parallel:
        return
    found: dict[int, bytes] = {}

    def work(offset: int) -> None:
        with source.clone() as clone:
            found[offset] = read(clone, offset, 3 * MIB)

    threads = [threading.Thread(target=work, args=(at * 3 * MIB,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(found[at] for at in sorted(found)) == CONTENT[: 9 * MIB]
    assert read(source, 0, 10) == CONTENT[:10]


def test_what_is_written_and_zeroed_is_read_back(target: Endpoint) -> None:
    expected = bytearray(CONTENT)
    for offset, data in ((100, b"hello"), (4 * MIB - 1, b"x" * (MIB + 2)), (SIZE - 3, b"end")):
        target.write(offset, memoryview(data))
        expected[offset : offset + len(data)] = data
    for offset, length in ((MIB, MIB), (2 * MIB + 1, 5), (8 * MIB - 4000, 3000)):
        target.zero(offset, length)
        expected[offset : offset + length] = bytes(length)
    target.flush()
    assert read(target, 0, SIZE) == expected
    assert not any(any(expected[extent.offset : extent.end]) for extent in target.extents() if extent.zero)


def test_it_can_be_opened_again_and_holds_what_was_flushed(opens: Callable[[Side], Endpoint]) -> None:
    with opens(Side.TARGET) as target:
        target.write(0, memoryview(b"kept"))
        target.flush()
    with opens(Side.SOURCE) as source:
        assert read(source, 0, 4) == b"kept"


def test_raw_and_qcow2_give_the_same_bytes(tmp_path: Path) -> None:
    here("qemu-nbd")
    path = tmp_path / "disk.qcow2"
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw_file(tmp_path)), str(path)])
    with (
        File(raw_file(tmp_path), Side.SOURCE) as raw,
        qemu_nbd.served(DiskRef(uri=path.as_uri(), format="qcow2"), work=tmp_path) as qcow2,
    ):
        assert read(raw, 0, SIZE) == read(qcow2, 0, SIZE) == CONTENT
