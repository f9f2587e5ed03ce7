"""What only the file endpoint does: holes, fallbacks of zeroing, errors of the system, reading past the page cache."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import shutil
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.endpoints import Endpoint, file, open_source, write_behind
from converters.endpoints.file import File, write_zeros
from converters.engine.buffers import Buffer
from converters.engine.disks import copy_disk, parse_ref
from converters.extents import Extent, merge
from kubeferry.errors import InputInvalid, SourceRefused, SourceUnavailable, TargetRefused, TargetUnavailable
from kubeferry.faults import Side
from kubeferry.model import DiskRef
from kubeferry.outside import process

MIB = 1 << 20


@pytest.fixture
def tmp_path(on_storage: Path) -> Path:
    return on_storage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "disk.img"
    with made.open("wb") as raw:
        raw.truncate(4 * MIB)
        raw.seek(MIB)
        raw.write(os.urandom(MIB))
    return made


def test_holes_are_found(path: Path) -> None:
    with File(path, Side.SOURCE) as disk:
        assert list(disk.extents()) == [
            Extent(0, MIB, zero=True),
            Extent(MIB, MIB),
            Extent(2 * MIB, 2 * MIB, zero=True),
        ]


def test_a_second_writer_is_kept_out_until_the_first_has_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "LOCK_SECONDS", 0.0)
    with File(path, Side.TARGET) as first:
        with first.clone(), pytest.raises(TargetUnavailable, match="being written by another program"):
            File(path, Side.TARGET)
        with File(path, Side.SOURCE) as reader, File(path, Side.TARGET, direct=True) as verifier:
            assert reader.size == verifier.size
        with pytest.raises(TargetUnavailable):
            File(path, Side.TARGET)
    with File(path, Side.TARGET) as second:
        second.write(0, memoryview(b"x"))


def test_what_a_reference_does_not_name_as_changed_is_the_same(path: Path) -> None:
    ref = DiskRef(uri=path.as_uri(), changed=f"bytes=100-199,{2 * MIB - 10}-{2 * MIB + 9},{5 * MIB}-{6 * MIB}")
    with open_source(ref) as disk, disk.clone() as twin:
        assert list(disk.extents()) == list(twin.extents())
        assert [(e.offset, e.end, e.zero) for e in merge(disk.extents(), disk.size) if not e.same] == [
            (100, 200, True),
            (2 * MIB - 10, 2 * MIB, False),
            (2 * MIB, 2 * MIB + 10, True),
        ]
    with open_source(ref.model_copy(update={"changed": "bytes="})) as disk:
        assert list(merge(disk.extents(), disk.size)) == [Extent(0, 4 * MIB, same=True)]
    with open_source(ref.model_copy(update={"changed": None})) as disk:
        assert not any(extent.same for extent in disk.extents())


@pytest.mark.parametrize("text", ["", "snap-1", "bytes=5-1", "qemu:dirty-bitmap:b"])
def test_words_on_what_changed_that_nobody_understands_are_refused(path: Path, text: str) -> None:
    with pytest.raises(InputInvalid, match="told wrongly"), open_source(DiskRef(uri=path.as_uri(), changed=text)):
        pass


def test_zeroing_frees_space_and_keeps_the_rest(path: Path) -> None:
    before = path.read_bytes()
    with File(path, Side.TARGET) as disk:
        disk.zero(MIB + 100, MIB - 200)
        disk.flush()
    after = path.read_bytes()
    assert after == before[: MIB + 100] + bytes(MIB - 200) + before[2 * MIB - 100 :]
    assert path.stat().st_blocks * 512 < MIB


def test_zeroing_without_holes_writes_every_piece(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"x" * (4 * MIB))
    monkeypatch.setattr(file, "_fallocate", lambda *_: -1)
    monkeypatch.setattr(file.ctypes, "get_errno", lambda: errno.EOPNOTSUPP)
    with File(path, Side.TARGET) as disk:
        disk.zero(10, 3 * MIB + 5)  # larger than one piece, not aligned
        disk.flush()
    assert path.read_bytes() == b"x" * 10 + bytes(3 * MIB + 5) + b"x" * (MIB - 15)


@pytest.mark.parametrize(("offset", "length", "piece"), [(0, 10, 3), (5, 9, 3), (5, 1, 100), (7, 0, 4)])
def test_writing_zeros_advances(tmp_path: Path, offset: int, length: int, piece: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * 20)
    fd = os.open(tmp_path / "f", os.O_RDWR)
    write_zeros(fd, offset, length, piece)
    os.close(fd)
    assert (tmp_path / "f").read_bytes() == b"x" * offset + bytes(length) + b"x" * (20 - offset - length)


@pytest.mark.parametrize("size", [0, 1, 511, 4096, MIB - 1, MIB + 4097])
def test_reading_past_the_page_cache_gives_the_bytes(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    with File(tmp_path / "f", Side.TARGET, direct=True) as disk:
        view = memoryview(bytearray(size))
        disk.read_into(0, view)
        assert view == content
        tail = memoryview(bytearray(size // 2))
        disk.read_into(size - size // 2, tail)
        assert tail == content[size - size // 2 :]


@pytest.mark.parametrize("tail", [1, 512, 4095])
def test_the_end_of_a_disk_within_a_page_is_not_read_from_the_page_cache(
    path: Path, monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:
    """The target goes on behind it: that page is no last one, and is dropped only as a whole."""
    real = os.preadv

    def cached(offset: int) -> bool:
        with path.open("rb") as other:
            try:
                return real(other.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT) > 0
            except BlockingIOError:
                return False

    def spied(fd: int, buffers: list[memoryview], offset: int, *flags: int) -> int:
        if offset == MIB + 4096 and not flags:
            seen.append(cached(offset))
        return real(fd, buffers, offset, *flags)

    seen: list[bool] = []
    with File(path, Side.TARGET, direct=True) as disk:
        path.read_bytes()
        if not cached(MIB + 4096):
            pytest.skip("this file system does not tell what is in the page cache")
        monkeypatch.setattr(file.os, "preadv", spied)
        disk.read_into(MIB, Buffer(MIB).view[: 4096 + tail])
    assert seen == [False]


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SourceRefused, match="neither a file nor a block device"):
        File(tmp_path / "fifo", Side.SOURCE)
    with pytest.raises(TargetRefused):
        File(tmp_path, Side.TARGET)


def test_errors_name_side_file_reason_and_fix(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="none") as caught:
        File(tmp_path / "none.img", Side.SOURCE)
    assert (caught.value.why, bool(caught.value.fix)) == ("No such file or directory", True)
    with pytest.raises(TargetRefused):
        File(tmp_path / "none.img", Side.TARGET)


def test_a_source_cannot_be_written(path: Path) -> None:
    before = path.read_bytes()
    with File(path, Side.SOURCE) as disk:
        with pytest.raises(SourceUnavailable):
            disk.write(0, memoryview(b"x"))
        with pytest.raises(SourceUnavailable):
            disk.zero(MIB, MIB)
    assert path.read_bytes() == before


def test_a_source_that_shrinks_is_told(path: Path) -> None:
    with File(path, Side.SOURCE) as disk:
        os.truncate(path, MIB)
        with pytest.raises(SourceUnavailable, match="ends at"):
            disk.read_into(MIB, memoryview(bytearray(10)))


def test_a_full_disk_is_permanent_and_has_a_fix(path: Path) -> None:
    with File(path, Side.TARGET) as disk:
        os.dup2(os.open("/dev/full", os.O_RDWR), disk._fd)
        with pytest.raises(TargetRefused) as caught:
            disk.write(0, memoryview(b"x"))
    assert "Make room" in caught.value.fix


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A loop device; only root can make one."""
    backing = tmp_path / "backing.img"
    backing.write_bytes(b"x" * (4 * MIB))
    if os.geteuid() or not shutil.which("losetup"):
        pytest.skip("a loop device needs root and losetup")
    made = process.run(["losetup", "--find", "--show", str(backing)], check=False)
    if made.code:
        pytest.skip(f"no loop device here: {made.err.strip()}")
    yield Path(made.out.strip())
    process.run(["losetup", "--detach", made.out.strip()])


def test_a_block_device_is_measured_zeroed_and_written(device: Path) -> None:
    with File(device, Side.TARGET) as disk:
        assert disk.size == 4 * MIB
        assert list(disk.extents()) == [Extent(0, 4 * MIB)]
        disk.zero(MIB, MIB)
        disk.zero(3 * MIB + 1, 5)
        disk.write(0, memoryview(b"hello"))
        disk.flush()
    with File(device, Side.TARGET, direct=True) as disk:
        view = memoryview(bytearray(4 * MIB))
        disk.read_into(0, view)
    rest = b"x" * (MIB - 5) + bytes(MIB) + b"x" * MIB + b"x" + bytes(5) + b"x" * (MIB - 6)
    assert bytes(view) == b"hello" + rest


@pytest.fixture
def overbooked(tmp_path: Path) -> Iterator[Path]:
    """A loop device of 64 MiB on storage that has room for 4."""
    if os.geteuid() or not shutil.which("losetup"):
        pytest.skip("a loop device needs root and losetup")
    store = tmp_path / "store"
    store.mkdir()
    if process.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(store)], check=False).code:
        pytest.skip("nothing can be mounted here")
    try:
        with (store / "backing.img").open("wb") as backing:
            backing.truncate(64 * MIB)
        made = process.run(["losetup", "--find", "--show", str(store / "backing.img")], check=False)
        if made.code:
            pytest.skip(f"no loop device here: {made.err.strip()}")
        yield Path(made.out.strip())
        process.run(["losetup", "--detach", made.out.strip()])
    finally:
        limit = time.monotonic() + 20  # a detached device goes when the last who looks at it, udev say, has closed it
        while process.run(["umount", str(store)], check=False).code and time.monotonic() < limit:
            time.sleep(0.1)


FULL = (TargetUnavailable, TargetRefused)  # as the loop device tells it: an input/output error, or no space left


def fill(device: Endpoint) -> None:
    piece = memoryview(os.urandom(MIB))
    with pytest.raises(FULL, match="cannot be written"):
        deque((device.write(at * MIB, piece) for at in range(64)), maxlen=0)


def test_a_write_that_was_found_lost_fails_the_flush_too(overbooked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells each open file once; a flush that said nothing would make a checkpoint of what is lost."""
    monkeypatch.setattr(write_behind, "ON_THEIR_WAY", 0)
    with File(overbooked, Side.TARGET) as disk, disk.clone() as worker:
        fill(worker)
        with pytest.raises(FULL, match="cannot be flushed"):
            disk.flush()


@pytest.fixture
def target(on_storage: Path) -> Path:
    """A file of 32 MiB on a file system that is more than its page cache."""
    made = on_storage / "target.img"
    with made.open("wb") as raw:
        raw.truncate(32 * MIB)
    try:
        os.close(os.open(made, os.O_RDWR | os.O_DIRECT))
    except OSError:
        pytest.skip("nothing lies elsewhere than in the page cache here")
    return made


def cached(path: Path) -> int:
    """How many bytes of a file the page cache holds."""
    size = path.stat().st_size
    pages = (ctypes.c_ubyte * (size // mmap.PAGESIZE))()
    with path.open("r+b") as opened, mmap.mmap(opened.fileno(), size) as mapped:
        place = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        assert not ctypes.CDLL(None).mincore(ctypes.c_void_p(place), ctypes.c_size_t(size), pages)
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


def test_what_is_written_leaves_nothing_in_the_page_cache(target: Path) -> None:
    """Nor does much of it stand there before the flush: the host's memory is that of its guests."""
    buffer = Buffer(MIB)
    buffer.view[:] = content = os.urandom(MIB)
    with File(target, Side.TARGET) as disk:
        for at in range(32):
            disk.write(at * MIB, buffer.view)
        assert cached(target) <= (write_behind.ON_THEIR_WAY + 4) * MIB
        disk.flush()
    assert cached(target) <= MIB  # what the kernel moves about in that moment stays
    assert target.read_bytes() == content * 32


def test_pieces_of_any_offset_and_length_arrive(target: Path) -> None:
    """Odd offsets, odd lengths, odd memory, short ones; beside each other and over each other."""
    expected = bytearray(32 * MIB)
    memory = Buffer(2 * MIB)
    memory.view[:] = os.urandom(2 * MIB)
    chance = random.Random(7)
    with File(target, Side.TARGET) as disk, disk.clone() as other:
        for number in range(200):
            grain = chance.choice([1, 512, 4096, MIB])
            offset = chance.randrange(30 * MIB) // grain * grain
            begin = chance.randrange(MIB) // grain * grain
            piece = memory.view[begin : begin + max(1, chance.randrange(MIB) // grain * grain)]
            (disk if number % 2 else other).write(offset, piece)
            expected[offset : offset + len(piece)] = piece
        disk.flush()
    assert target.read_bytes() == expected
    with File(target, Side.TARGET, direct=True) as stored:
        view = memoryview(bytearray(32 * MIB))
        stored.read_into(0, view)
    assert view == expected


def test_writes_are_started_group_by_group_and_waited_for_in_turn(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(write_behind, "_sync_file_range", lambda _fd, *call: asked.append(call) or 0)
    monkeypatch.setattr(write_behind, "ON_THEIR_WAY", 2)
    buffer = Buffer(MIB)
    with File(target, Side.TARGET) as disk:
        for at in range(3):
            disk.write(at * MIB, buffer.view)
        for at in (5, 3, 4):  # pieces of one group, in any order, and then another group
            disk.write(8 * MIB + at * 4096, buffer.view[:4096])
        disk.write(16 * MIB, buffer.view[: MIB // 2])
    start, wait = write_behind._START, write_behind._WAIT
    assert asked == [
        (0, MIB, start),
        (MIB, MIB, start),
        (2 * MIB, MIB, start),
        (0, MIB, wait),
        (8 * MIB + 3 * 4096, 3 * 4096, start),
        (MIB, MIB, wait),
    ]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_a_disk_is_copied_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def none(_fd: int, _operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("kubeferry.outside.locks.fcntl.flock", none)
    source, target = tmp_path / "s.img", tmp_path / "t.img"
    source.write_bytes(os.urandom(70_000))
    target.write_bytes(bytes(70_000))
    copy_disk(parse_ref(str(source)), parse_ref(str(target)), tmp_path / "t.kff")
    assert target.read_bytes() == source.read_bytes()
