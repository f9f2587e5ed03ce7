"""Disks sent in one go, and read back by their root: in order, whole, and refused where they look like images."""

from __future__ import annotations

import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.endpoints.memory import Memory
from converters.engine import copying, measuring, sending
from converters.engine.fingerprint import Header
from converters.engine.transfer import Feed, Options, Watch
from converters.extents import BLOCK_BYTES, Chunk
from converters.mover.job import run
from kubeferry.documents import MoverJob, MoverResult
from kubeferry.errors import Fenced, HostileImage, TargetRefused, TargetUnavailable
from kubeferry.model import DiskRef

BLOCK = 4096
QUIET = Watch()


class Taken:
    """A stream that keeps what it is given; `breaks` after so many bytes."""

    def __init__(self, breaks: int | None = None) -> None:
        self.bytes = bytearray()
        self.finished = False
        self._breaks = breaks

    def data(self, view: memoryview) -> None:
        self._take(bytes(view))

    def zeros(self, length: int) -> None:
        self._take(bytes(length))

    def finish(self) -> None:
        self.finished = True

    def _take(self, more: bytes) -> None:
        assert not self.finished
        self.bytes += more
        if self._breaks is not None and len(self.bytes) > self._breaks:
            raise TargetUnavailable("it broke off")


def some_disk(seed: int, blocks: float) -> bytes:
    chance = random.Random(seed)
    pieces = [chance.choice([chance.randbytes(BLOCK), bytes(BLOCK), bytes(BLOCK - 7) + b"\x01" * 7]) for _ in range(40)]
    return b"".join(pieces)[: int(blocks * BLOCK)]


@given(seed=st.integers(0, 1000), blocks=st.floats(0.01, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_what_is_sent_is_the_disk_and_its_root_is_that_of_a_copy(seed: int, blocks: float, tmp_path: Path) -> None:
    content = some_disk(seed, blocks) or b"x"
    stream, header = Taken(), Header(len(content), "blake3", BLOCK)
    root, tally = sending.send(
        Memory(bytearray(content)),
        lambda: nullcontext(stream),
        tmp_path / "sent.kff",
        header,
        options=Options(),
        watch=QUIET,
    )
    assert bytes(stream.bytes) == content
    assert stream.finished
    (tmp_path / "copied.kff").unlink(missing_ok=True)
    copied, _ = copying.copy(
        Memory(bytearray(content)),
        Memory(bytearray(len(content))),
        tmp_path / "copied.kff",
        header,
        reads_zero=False,
        options=Options(),
        watch=QUIET,
    )
    assert root == copied
    longer = Memory(bytearray(content + b"beyond"))
    measured, read = measuring.measure(longer, tmp_path / "m.kff", header, options=Options(workers=3), watch=QUIET)
    assert measured == root
    assert read <= len(content)
    assert not (tmp_path / "m.kff").exists()
    assert tally.zero + tally.written == len(content)


def test_an_upload_that_breaks_off_is_not_finished(tmp_path: Path) -> None:
    content = some_disk(1, 40)
    stream = Taken(breaks=10 * BLOCK)
    with pytest.raises(TargetUnavailable):
        sending.send(
            Memory(bytearray(content)),
            lambda: nullcontext(stream),
            tmp_path / "f.kff",
            Header(len(content), "blake3", BLOCK),
            options=Options(),
            watch=QUIET,
        )
    assert not stream.finished


def test_a_single_wrong_byte_is_another_root(tmp_path: Path) -> None:
    content = bytearray(some_disk(2, 30))
    header = Header(len(content), "blake3", BLOCK)
    first, _ = measuring.measure(Memory(content), tmp_path / "m.kff", header, options=Options(), watch=QUIET)
    content[12345] ^= 1
    second, _ = measuring.measure(Memory(content), tmp_path / "m.kff", header, options=Options(), watch=QUIET)
    assert first != second


def test_a_disk_that_is_too_small_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(TargetRefused, match="4096 bytes"):
        measuring.measure(
            Memory(bytearray(BLOCK)), tmp_path / "m", Header(BLOCK + 1, "blake3", BLOCK), options=Options(), watch=QUIET
        )


@pytest.mark.parametrize("name", sending.FORMATS)
def test_a_disk_that_looks_like_an_image_is_refused(name: str, tmp_path: Path) -> None:
    offset, magic = sending.FORMATS[name]
    disk = bytearray(BLOCK)
    sending.check_head(bytes(disk))
    disk[offset : offset + len(magic)] = magic
    with pytest.raises(HostileImage, match=name):
        sending.send(
            Memory(disk),
            lambda: pytest.fail("nothing may be opened"),
            tmp_path / "f.kff",
            Header(BLOCK, "blake3", BLOCK),
            options=Options(),
            watch=QUIET,
        )


def test_a_boot_sector_looks_like_no_image() -> None:
    assert sending.taken_for(b"\xeb\x63\x90" + bytes(507) + b"\x55\xaa") is None
    assert sending.taken_for(b"") is None


# --- a verification by root, as a job -----------------------------------------------------------------------------


def verify(disk: Path, root: str, state: Path, **more: Any) -> MoverResult:
    target = DiskRef(uri=disk.as_uri(), size_bytes=2 * BLOCK_BYTES)
    job = MoverJob(name="v", action="verify", target=target, state_dir=str(state), expect_root=root)
    run(job.model_copy(update=more))
    return MoverResult.model_validate_json((state / "result-verify.json").read_bytes())


def test_a_verification_by_root_needs_no_fingerprint(tmp_path: Path) -> None:
    disk, state = tmp_path / "disk.img", tmp_path / "state"
    disk.write_bytes(b"\x55" * (2 * BLOCK_BYTES) + b"grown by KubeVirt")
    header = Header(2 * BLOCK_BYTES, "blake3")
    content = Memory(bytearray(disk.read_bytes()))
    root, _ = measuring.measure(content, tmp_path / "m", header, options=Options(), watch=QUIET)
    good = verify(disk, root, state)
    assert (good.ok, good.root, good.differing, good.size_bytes) == (True, root, 0, 2 * BLOCK_BYTES)
    assert [path.name for path in state.glob("*.kff")] == []

    with disk.open("r+b") as damaged:
        damaged.write(b"x")
    bad = verify(disk, root, state)
    assert (bad.ok, bad.root, bad.differing, bad.first_differing_offset) == (False, root, 1, None)
    assert bad.error is not None
    assert bad.error.type == "IntegrityFailed"


def test_a_verification_by_root_must_know_the_size(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(BLOCK_BYTES))
    found = verify(disk, "00", tmp_path / "state", target=DiskRef(uri=disk.as_uri()))
    assert found.error is not None
    assert found.error.type == "InputInvalid"


def test_a_stream_that_was_fenced_is_never_told_to_be_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed is closed at the one moment at which nothing is held: there is nothing more, and yet it is not all."""

    class Closing(Feed):
        def take(self) -> Chunk | None:
            self.close()
            return super().take()

    class Overtaken(Watch):
        begun = False

        def still_ours(self) -> None:
            if self.begun:
                raise Fenced("taken over")

        def progress(self, phase: str, done: int, total: int | None) -> None:
            self.begun = True

    monkeypatch.setattr(sending, "Feed", Closing)
    stream, header = Taken(), Header(4 * BLOCK, "blake3", BLOCK)
    with pytest.raises(Fenced):
        sending.send(
            Memory(b"x" * 4 * BLOCK),
            lambda: nullcontext(stream),
            tmp_path / "sent.kff",
            header,
            options=Options(),
            watch=Overtaken(),
        )
    assert not stream.finished
