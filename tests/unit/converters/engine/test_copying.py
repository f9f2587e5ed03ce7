"""Copy, resume, verify and repair on disks in memory and in files; what goes wrong is made to go wrong."""

from __future__ import annotations

import itertools
import os
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.endpoints.memory import Memory
from converters.engine import checkpoint, copying, measuring, repair, verify
from converters.engine.fingerprint import Fingerprint, Header
from converters.engine.transfer import Options, Watch
from converters.extents import Extent
from kubeferry.errors import (
    Fenced,
    IntegrityFailed,
    Interrupted,
    SourceRefused,
    SourceUnavailable,
    TargetRefused,
    TargetUnavailable,
)
from kubeferry.outside import stopping

BLOCK = 4096
QUIET = Watch()
NAMES = itertools.count()  # a folder is shared by the examples of one test
folder_is_cleaned = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)


def content(seed: int, blocks: float) -> bytes:
    """Blocks of data, of zeros and half of each."""
    chance = chance_of(seed)
    kinds = [chance.choice(["data", "zero", "half"]) for _ in range(int(blocks) + 1)]
    made = {"data": lambda: chance.randbytes(BLOCK), "zero": lambda: bytes(BLOCK), "half": lambda: half(chance)}
    return b"".join(made[kind]() for kind in kinds)[: int(blocks * BLOCK)]


def half(chance: random.Random) -> bytes:
    return bytes(BLOCK // 2) + chance.randbytes(BLOCK // 2)


def header(size: int, label: bytes = b"L" * 32) -> Header:
    return Header(size, "blake3", BLOCK, label)


def copy(source: Memory, target: Memory, where: Path, **more: object) -> tuple[str, copying.Tally]:
    asked = {"reads_zero": False, "options": Options(), "watch": QUIET} | more
    head = asked.pop("header", header(source.size))
    return copying.copy(source, target, where, head, **asked)  # type: ignore[arg-type]


class Failing(Memory):
    """A disk that fails after so many reads or writes."""

    def __init__(self, inner: bytearray, *, reads: int = 10**9, writes: int = 10**9) -> None:
        super().__init__(inner)
        self.left = {"reads": reads, "writes": writes}
        self.written: list[int] = []

    def clone(self) -> Failing:
        made = Failing(self.content)
        made.left, made.written = self.left, self.written
        return made

    def read_into(self, offset: int, view: memoryview) -> None:
        self.left["reads"] -= 1
        if self.left["reads"] < 0:
            raise SourceUnavailable("the read failed")
        super().read_into(offset, view)

    def write(self, offset: int, view: memoryview) -> None:
        self.left["writes"] -= 1
        if self.left["writes"] < 0:
            raise TargetRefused("no room", fix="Make room.")
        self.written.append(offset)
        super().write(offset, view)


@folder_is_cleaned
@given(st.integers(0, 999), st.sampled_from([0, 0.3, 1, 7.5, 20]), st.booleans(), st.integers(1, 3))
def test_a_copy_is_equal_whatever_the_target_held(
    tmp_path: Path, seed: int, blocks: float, fresh: bool, workers: int
) -> None:
    where = tmp_path / f"{next(NAMES)}.kff"
    source = Memory(content(seed, blocks))
    target = Memory(bytes(source.size + 100) if fresh else content(seed + 1, blocks) + b"t" * 100)
    tail = bytes(target.content[source.size :])
    root, tally = copy(source, target, where, reads_zero=fresh, options=Options(workers))
    assert target.content == source.content + tail
    assert tally.zero <= source.size
    with Fingerprint.open(where) as found:
        assert found.root == root
        assert list(verify.compare(target, found, options=Options(), watch=QUIET).differing) == []
    assert not checkpoint.beside(where).exists()


def test_only_what_differs_is_written_to_a_target_that_is_known(tmp_path: Path) -> None:
    old = bytearray(chance_of(1).randbytes(50 * BLOCK))
    new = bytearray(old)
    new[7 * BLOCK + 5] ^= 1
    target = Failing(old)
    _, tally = copy(Memory(new), target, tmp_path / "f")
    assert target.written == [7 * BLOCK]
    assert tally.written == BLOCK


def test_zeros_are_not_skipped_on_the_word_of_a_caller_who_is_wrong(tmp_path: Path) -> None:
    target = Memory(b"dirt" * BLOCK)
    copy(Memory(bytes(4 * BLOCK)), target, tmp_path / "f", reads_zero=True)
    assert not any(target.content)


def test_zeros_are_not_skipped_on_a_target_that_was_written_before(tmp_path: Path) -> None:
    """The first attempt wrote blocks that no checkpoint holds; the source has zeros there now."""
    target = Failing(bytearray(20 * BLOCK), writes=5)
    with pytest.raises(TargetRefused):
        copy(Memory(b"x" * 20 * BLOCK), target, tmp_path / "f", reads_zero=True)
    target.left["writes"] = 10**9
    copy(Memory(bytes(20 * BLOCK)), target, tmp_path / "f", reads_zero=True, header=header(20 * BLOCK, b"M" * 32))
    assert not any(target.content)


@folder_is_cleaned
@given(st.integers(0, 99), st.integers(0, 30), st.booleans())
def test_a_copy_that_failed_goes_on_where_it_was(tmp_path: Path, seed: int, after: int, at_source: bool) -> None:
    where = tmp_path / f"{next(NAMES)}.kff"
    inner = bytearray(content(seed, 24.5))
    source = Failing(inner, reads=after if at_source else 10**9)
    target = Failing(bytearray(len(inner)), writes=10**9 if at_source else after)
    try:
        _, tally = copy(source, target, where, reads_zero=True)
    except (SourceUnavailable, TargetRefused):
        assert checkpoint.beside(where).exists()
        with Fingerprint.open(checkpoint.beside(where)) as partial:
            missing = sum(count for _, count in partial.unknown(0, partial.count))
        source.left["reads"] = target.left["writes"] = 10**9
        _, tally = copy(source, target, where, reads_zero=True)
        known = partial.count - missing
        assert (known - 1) * BLOCK < tally.resumed + 1 <= known * BLOCK + 1
    assert target.content == inner
    with Fingerprint.open(where) as found:
        assert list(verify.compare(target, found, options=Options(), watch=QUIET).differing) == []


def test_after_a_flush_that_failed_nothing_is_held_for_durable(tmp_path: Path) -> None:
    """As storage does it: what could not be written is dropped, one flush tells of it, and the next one does not."""

    class Dropping(Memory):
        told: list[bool] = []  # shared by clones

        def write(self, offset: int, view: memoryview) -> None:
            """Nothing of it arrives."""

        def flush(self) -> None:
            if not self.told:
                self.told.append(True)
                raise TargetUnavailable("the flush failed")

    source = Memory(chance_of(3).randbytes(40 * BLOCK))
    slow = Options(bandwidth=100 * BLOCK, checkpoint_seconds=0.1)
    with pytest.raises(TargetUnavailable, match="the flush failed"):
        copy(source, Dropping(bytes(source.size)), tmp_path / "f", reads_zero=True, options=slow)
    with Fingerprint.open(checkpoint.beside(tmp_path / "f")) as partial:
        assert list(partial.unknown(0, partial.count)) == [(0, 40)]


def stopped_half_way(tmp_path: Path, size: int = 40) -> tuple[Memory, Failing]:
    source = Memory(chance_of(3).randbytes(size * BLOCK))
    target = Failing(bytearray(source.size), writes=size // 2)
    with pytest.raises(TargetRefused):
        copy(source, target, tmp_path / "f", reads_zero=True)
    target.left["writes"] = 10**9
    target.written.clear()
    return source, target


def test_checkpointed_blocks_are_not_read_again(tmp_path: Path) -> None:
    source, target = stopped_half_way(tmp_path)
    _, tally = copy(source, target, tmp_path / "f", reads_zero=True)
    assert tally.resumed == 20 * BLOCK
    assert tally.read == tally.written == 20 * BLOCK
    assert target.content == source.content


@pytest.mark.parametrize("what", ["label", "size", "algorithm", "target", "damage"])
def test_a_checkpoint_of_something_else_is_not_gone_on_from(tmp_path: Path, what: str) -> None:
    source, target = stopped_half_way(tmp_path)
    head = header(source.size)
    if what == "label":
        head = header(source.size, b"other round" + bytes(21))
    if what == "size":
        source.content += b"more"
        target.content += b"room"
        source, target = Memory(source.content), Failing(target.content)
        head = header(source.size)
    if what == "algorithm":
        head = Header(source.size, "sha256", BLOCK, b"L" * 32)
    if what == "target":
        target.content[:] = bytes(target.size)
    if what == "damage":
        path = checkpoint.beside(tmp_path / "f")
        path.write_bytes(path.read_bytes()[:-1])
    _, tally = copy(source, target, tmp_path / "f", reads_zero=True, header=head)
    assert tally.resumed == 0
    assert target.content == source.content


def test_a_target_that_is_too_small_is_refused_before_any_byte(tmp_path: Path) -> None:
    target = Failing(bytearray(BLOCK))
    with pytest.raises(TargetRefused, match="4096 bytes") as caught:
        copy(Memory(b"x" * 2 * BLOCK), target, tmp_path / "f")
    assert caught.value.fix
    assert not target.written
    assert not list(tmp_path.iterdir())


def test_a_stop_keeps_what_was_done(tmp_path: Path) -> None:
    class Stopping(Watch):
        def progress(self, phase: str, done: int, total: int | None) -> None:
            if done > 10 * BLOCK:
                stopping.request()

    source = Memory(chance_of(4).randbytes(100 * BLOCK))
    target = Memory(bytes(source.size))
    slow = Options(bandwidth=200 * BLOCK)
    try:
        with pytest.raises(Interrupted):
            copy(source, target, tmp_path / "f", reads_zero=True, options=slow, watch=Stopping())
    finally:
        stopping.reset()
    _, tally = copy(source, target, tmp_path / "f", reads_zero=True)
    assert tally.resumed >= 10 * BLOCK
    assert target.content == source.content


def test_a_fenced_copy_writes_no_checkpoint(tmp_path: Path) -> None:
    class Losing(Watch):
        def __init__(self) -> None:
            self.calls = 0

        def still_ours(self) -> None:
            self.calls += 1
            if self.calls > 1:
                raise Fenced("taken over")

    source = Memory(chance_of(4).randbytes(10 * BLOCK))
    with pytest.raises(Fenced):
        copy(source, Memory(bytes(source.size)), tmp_path / "f", watch=Losing())
    with Fingerprint.open(checkpoint.beside(tmp_path / "f")) as partial:
        assert next(partial.unknown(0, partial.count)) == (0, 10)


class Overtaken(Watch):
    """Another runner takes over after so many looks at the fence."""

    def __init__(self, after: int) -> None:
        self.left = after

    def still_ours(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Fenced("taken over")


def test_a_fenced_repair_writes_nothing_more(tmp_path: Path) -> None:
    source = Memory(chance_of(4).randbytes(10 * BLOCK))
    target = Failing(bytearray(source.size))
    copy(source, target, tmp_path / "f")
    target.written.clear()
    with Fingerprint.open(tmp_path / "f") as expected, pytest.raises(Fenced):
        repair.fetch(source, target, expected, list(range(10)), options=Options(), watch=Overtaken(3))
    assert len(target.written) == 3


def test_a_fenced_verification_ends_and_does_not_keep_its_successor_waiting(tmp_path: Path) -> None:
    source = Memory(chance_of(4).randbytes(100 * BLOCK))
    copy(source, Memory(bytes(source.size)), tmp_path / "f")
    slow = Options(bandwidth=10 * BLOCK)
    begun = os.times().elapsed
    with Fingerprint.open(tmp_path / "f") as expected, pytest.raises(Fenced):
        verify.compare(source, expected, options=slow, watch=Overtaken(1))
    with pytest.raises(Fenced):
        measuring.measure(source, tmp_path / "m", header(source.size), options=slow, watch=Overtaken(1))
    assert os.times().elapsed - begun < 5


def test_bandwidth_is_kept(tmp_path: Path) -> None:
    source = Memory(chance_of(4).randbytes(60 * BLOCK))
    begun = os.times().elapsed
    copy(source, Memory(bytes(source.size)), tmp_path / "f", options=Options(bandwidth=100 * BLOCK))
    assert os.times().elapsed - begun > 0.5


def test_a_source_that_lies_about_its_extents_is_refused(tmp_path: Path) -> None:
    class Lying(Memory):
        def extents(self):  # type: ignore[no-untyped-def]
            return iter([Extent(BLOCK, BLOCK), Extent(0, BLOCK)])

    with pytest.raises(SourceRefused, match="extents wrongly"):
        copy(Lying(b"x" * 3 * BLOCK), Memory(bytes(3 * BLOCK)), tmp_path / "f")


@folder_is_cleaned
@given(st.sets(st.integers(0, 24), max_size=6), st.integers(0, 20))
def test_verify_names_each_damaged_block_and_repair_fixes_exactly_these(
    tmp_path: Path, damaged: set[int], seed: int
) -> None:
    where = tmp_path / f"{next(NAMES)}.kff"
    source = Memory(content(seed, 24.5))
    target = Failing(bytearray(source.size))
    copy(source, target, where, reads_zero=True)
    for index in damaged:
        target.content[min(index * BLOCK + 77, source.size - 1)] ^= 0x10
    target.written.clear()
    with Fingerprint.open(where) as expected:
        found = verify.compare(target, expected, options=Options(), watch=QUIET)
        assert list(found.differing) == sorted(damaged)
        gone = repair.fetch(source, target, expected, found.differing, options=Options(), watch=QUIET)
        assert not gone
        assert sorted(target.written) == [index * BLOCK for index in sorted(damaged)]
        assert not verify.compare(target, expected, options=Options(), watch=QUIET).differing
    assert target.content == source.content


def test_a_target_that_was_emptied_is_told_within_little_memory(tmp_path: Path) -> None:
    class Hole(Memory):
        """A disk of 1 GiB without data."""

        def __init__(self) -> None:
            super().__init__(b"")
            self.size = 1 << 30

        def extents(self):  # type: ignore[no-untyped-def]
            yield Extent(0, self.size, zero=True)

        def clone(self) -> Hole:
            return self

    with Fingerprint.create(tmp_path / "partial", header(1 << 30)) as made:
        made.put(0, os.urandom(32 * made.count))
        made.seal(tmp_path / "f")
    with Fingerprint.open(tmp_path / "f") as expected:
        tracemalloc.start()
        try:
            found = verify.compare(Hole(), expected, options=Options(), watch=QUIET)
            assert tracemalloc.get_traced_memory()[1] < 7 << 20
        finally:
            tracemalloc.stop()
        assert found.differing.tolist() == list(range(expected.count))


def test_repair_does_not_write_what_the_source_has_changed(tmp_path: Path) -> None:
    source = Memory(chance_of(4).randbytes(5 * BLOCK))
    target = Memory(bytes(source.size))
    copy(source, target, tmp_path / "f")
    target.content[0] ^= 1
    source.content[1] ^= 1
    before = bytes(target.content)
    with Fingerprint.open(tmp_path / "f") as expected:
        assert list(repair.fetch(source, target, expected, [0], options=Options(), watch=QUIET)) == [0]
        with pytest.raises(IntegrityFailed):
            repair.fetch(Memory(b"other size"), target, expected, [0], options=Options(), watch=QUIET)
    assert target.content == before


def test_a_disk_that_is_too_small_for_its_fingerprint_is_told(tmp_path: Path) -> None:
    source = Memory(chance_of(4).randbytes(5 * BLOCK))
    copy(source, Memory(bytes(source.size)), tmp_path / "f")
    with Fingerprint.open(tmp_path / "f") as expected, pytest.raises(TargetRefused):
        verify.compare(Memory(b"small"), expected, options=Options(), watch=QUIET)


@pytest.mark.parametrize("recheck", [False, True])
def test_what_was_left_is_read_back_before_a_copy_goes_on(recheck: bool, tmp_path: Path) -> None:
    """The target was changed since the copy broke off, in a block that tells nobody whether it is the same target."""
    source = Memory(chance_of(5).randbytes(64 * BLOCK) + bytes(64 * BLOCK))
    target, where = Failing(bytearray(source.size), writes=60), tmp_path / "t.kff"
    with pytest.raises(TargetRefused):
        copy(source, target, where, options=Options(workers=1, checkpoint_seconds=0))
    with Fingerprint.open(checkpoint.beside(where)) as left:
        assert left.at(41) != bytes(32)
    target.content[41 * BLOCK + 1] ^= 1
    again = Memory(target.content)
    _, tally = copy(source, again, where, options=Options(recheck=recheck))
    assert tally.resumed > 0
    assert (again.content == source.content) is recheck
    assert (tally.held > 0) is recheck
