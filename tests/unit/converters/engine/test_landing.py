"""What a worker does to its target: runs of zeros in pieces that take no long, and blocks that cannot be read there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from converters.endpoints.memory import Memory
from converters.engine import copying, landing, transfer
from converters.engine.fingerprint import Fingerprint, Header
from converters.engine.landing import Stride
from converters.engine.transfer import Feed, Options, Watch, drive
from converters.extents import Chunk
from kubeferry.errors import Interrupted, TargetUnavailable
from kubeferry.outside import stopping

BLOCK = 4096
MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize("run", [Chunk(0, 40 * GIB), Chunk(3 * MIB, 100 * MIB + 512), Chunk(0, 512)])
def test_a_run_is_made_whole_and_in_order(run: Chunk) -> None:
    position = run.offset
    for piece in Stride(MIB).pieces(run):
        assert piece.offset == position
        assert piece.length % MIB == 0 or piece.end == run.end
        assert piece.length <= landing.MOST_BYTES
        position = piece.end
    assert position == run.end


def test_pieces_grow_while_the_target_is_fast_and_shrink_while_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(landing.time, "monotonic", lambda: clock[0])
    stride, seconds_a_gib, taken = Stride(MIB), 2.5, []  # the server of the issue: 400 MB/s
    for piece in stride.pieces(Chunk(0, 16 * GIB)):
        taken.append(piece.length * seconds_a_gib / GIB)
        clock[0] += taken[-1]
    assert max(taken) < 2
    taken.clear()
    for piece in stride.pieces(Chunk(0, 8 * GIB)):  # and one that has become slow: 4 MiB/s
        taken.append(piece.length / (4 * MIB))
        clock[0] += taken[-1]
    assert max(taken[10:]) <= 2


class Blind(Memory):
    """A target of which some blocks cannot be read any more; writing mends them."""

    broken: frozenset[int] = frozenset()

    def clone(self) -> Blind:
        made = Blind(self.content)
        made.broken = self.broken
        return made

    def read_into(self, offset: int, view: memoryview) -> None:
        if offset // BLOCK in self.broken:
            raise TargetUnavailable("the read failed")
        super().read_into(offset, view)


def test_blocks_that_cannot_be_read_are_written_and_counted(tmp_path: Path) -> None:
    content = b"".join(bytes([at + 1]) * BLOCK for at in range(8))
    target = Blind(bytearray(content[: 4 * BLOCK]) + bytearray(4 * BLOCK))
    target.broken = frozenset({1, 6})
    head = Header(len(content), "blake3", BLOCK)
    _, tally = copying.copy(
        Memory(content), target, tmp_path / "f", head, reads_zero=False, options=Options(), watch=Watch()
    )
    assert target.content == content
    assert (tally.blind, tally.held, tally.written) == (2 * BLOCK, 3 * BLOCK, 5 * BLOCK)
    with Fingerprint.open(tmp_path / "f") as found:
        assert found.sealed


@pytest.mark.parametrize("asked", [Interrupted, KeyboardInterrupt])
def test_a_worker_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch, asked: type[BaseException]) -> None:
    """After a while; at once, where that was asked for."""
    monkeypatch.setattr(transfer, "LEAVE_SECONDS", 1.0)
    over = threading.Event()

    def heartbeat() -> None:
        raise asked("stop")

    begun = time.monotonic()
    try:
        with pytest.raises(asked):
            drive(Feed(iter(())), [lambda _feed: bool(over.wait()) and None], heartbeat)
        took = time.monotonic() - begun
    finally:
        over.set()
    assert took < 0.8 if asked is KeyboardInterrupt else 0.8 < took < 10


def test_asked_to_stop_at_once_nothing_is_flushed(tmp_path: Path) -> None:
    class Hung(Memory):
        def clone(self) -> Hung:
            return Hung(self.content)

        def flush(self) -> None:
            raise AssertionError("it would hang here")

    class Stops(Watch):
        def progress(self, phase: str, done: int, total: int | None) -> None:
            if phase == "copying":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.copy(
            Memory(bytes(BLOCK)),
            Hung(bytearray(BLOCK)),
            tmp_path / "f",
            Header(BLOCK, "blake3", BLOCK),
            reads_zero=False,
            options=Options(),
            watch=Stops(),
        )
    stopping.reset()
