"""A source that somebody writes to: under the copy, between two runs of it, or with QEMU, which says so itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from converters.engine.disks import Outcome, copy_disk, disk_size, parse_ref, prepare_target
from converters.engine.transfer import Options, Watch
from kubeferry.errors import KubeferryError, SourceUnavailable, TargetUnavailable
from kubeferry.model import DiskRef
from kubeferry.outside import process
from tests.needs import here, needs, or_skip

MIB = 1 << 20
SIZE = 32 * MIB
OPTIONS = Options(workers=1, checkpoint_seconds=0, bandwidth=64 * MIB)


class Stopped(Exception):
    pass


class At(Watch):
    """Does something once, when so much was copied."""

    def __init__(self, done: int, deed: Callable[[], None]) -> None:
        self.done, self.deed = done, deed

    def progress(self, phase: str, done: int, total: int | None) -> None:
        if phase == "copying" and done >= self.done:
            self.done = SIZE * 2
            self.deed()


def stop() -> None:
    raise Stopped


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "source.img"
    path.write_bytes(os.urandom(SIZE))
    return path


def copy(source: DiskRef, target: Path, watch: Watch = Watch()) -> Outcome:  # noqa: B008
    kff, ref = target.with_suffix(".kff"), parse_ref(str(target))
    zero = prepare_target(ref, disk_size(source), kff)
    return copy_disk(source, ref, kff, target_reads_zero=zero, options=OPTIONS, watch=watch)


def write(path: Path, offset: int) -> None:
    """Change some bytes, and make it look as if nothing was changed."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"CHANGED")
        os.fsync(file.fileno())
    if path.is_file():
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flat(raw: Path) -> tuple[DiskRef, Path]:
    """A VMDK whose bytes stand in a file that no reference names."""
    made = raw.with_name("disk.vmdk")
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", str(raw), str(made)]
    process.run(argv)
    return parse_ref(str(made), format="vmdk"), raw.with_name("disk-flat.vmdk")


@contextmanager
def device(raw: Path) -> Iterator[Path]:
    try:
        made = process.run(["losetup", "--find", "--show", str(raw)]).out.strip()
    except KubeferryError as error:
        or_skip(error)
    try:
        yield Path(made)
    finally:
        process.run(["losetup", "--detach", made], check=False)


@pytest.fixture(params=["file", "vmdk", "device"])
def disk(request: pytest.FixtureRequest, raw: Path) -> Iterator[tuple[DiskRef, Path]]:
    """A source, and where its bytes are."""
    if request.param == "file":
        yield parse_ref(str(raw)), raw
    elif request.param == "vmdk":
        here("qemu-img")
        yield flat(raw)
    else:
        here("root", "losetup")
        with device(raw) as made:
            yield parse_ref(f"block://{made}"), made


def test_a_source_that_is_written_while_it_is_copied_is_told(disk: tuple[DiskRef, Path], tmp_path: Path) -> None:
    """And nothing says afterwards that the target is a copy of it."""
    source, path = disk
    with pytest.raises(SourceUnavailable, match="changed while it was copied"):
        copy(source, tmp_path / "t.img", At(8 * MIB, lambda: write(path, 4096)))
    assert not (tmp_path / "t.kff").exists()
    done = copy(source, tmp_path / "t.img")
    assert done.tally.anew
    assert (tmp_path / "t.img").read_bytes() == path.read_bytes()


def test_a_source_that_was_written_between_two_runs_is_not_gone_on_with(
    disk: tuple[DiskRef, Path], tmp_path: Path
) -> None:
    source, path = disk
    with pytest.raises(Stopped):
        copy(source, tmp_path / "t.img", At(16 * MIB, stop))
    write(path, MIB)
    done = copy(source, tmp_path / "t.img")
    assert (done.tally.anew, done.tally.resumed) == (True, 0)
    assert (tmp_path / "t.img").read_bytes() == path.read_bytes()


def test_a_source_that_nobody_wrote_to_is_gone_on_with(disk: tuple[DiskRef, Path], tmp_path: Path) -> None:
    source, path = disk
    with pytest.raises(Stopped):
        copy(source, tmp_path / "t.img", At(16 * MIB, stop))
    done = copy(source, tmp_path / "t.img")
    assert not done.tally.anew
    assert done.tally.resumed > 0
    assert (tmp_path / "t.img").read_bytes() == path.read_bytes()


@contextmanager
def in_qemu(path: Path, *options: str) -> Iterator[None]:
    argv = ["qemu-nbd", "--persistent", f"--socket={path}.socket", "--format=raw", *options, str(path)]
    with process.child(argv, log=path.with_suffix(".log")) as server:
        while not greets(Path(f"{path}.socket")):
            assert server.wait(0.01) is None, server.tail()
        yield


def greets(path: Path) -> bool:
    """Whether the server speaks: it listens before it has opened its image."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(10)
        client.connect(str(path))
        return client.recv(8) == b"NBDMAGIC"
    return False


@needs("qemu-nbd")
def test_a_raw_image_that_qemu_writes_to_is_not_read(raw: Path, tmp_path: Path) -> None:
    with in_qemu(raw), pytest.raises(SourceUnavailable, match="open in QEMU"):
        copy(parse_ref(str(raw)), tmp_path / "t.img")
    with in_qemu(raw, "--read-only"):
        copy(parse_ref(str(raw)), tmp_path / "t.img")
    assert (tmp_path / "t.img").read_bytes() == raw.read_bytes()


@needs("qemu-nbd")
@pytest.mark.parametrize("options", [[], ["--read-only"]])
def test_a_target_that_qemu_has_open_is_not_written(options: list[str], raw: Path, tmp_path: Path) -> None:
    target = tmp_path / "t.img"
    target.write_bytes(bytes(SIZE))
    with in_qemu(target, *options), pytest.raises(TargetUnavailable, match="open in QEMU"):
        copy_disk(parse_ref(str(raw)), parse_ref(str(target)), tmp_path / "t.kff")
    assert target.read_bytes() == bytes(SIZE)
