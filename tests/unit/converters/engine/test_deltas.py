"""Rounds after the first: what the source calls the same is not read, and every byte is right all the same."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.endpoints.memory import Memory
from converters.engine import checkpoint, copying, earlier, verify
from converters.engine.fingerprint import Fingerprint, Header
from converters.engine.transfer import Options, Watch
from converters.extents import Extent, merge
from kubeferry.errors import SourceUnavailable

BLOCK = 4096
NAMES = itertools.count()
folder_is_shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
CHANGES = st.lists(st.tuples(st.integers(0, 12 * BLOCK), st.integers(1, 3 * BLOCK), st.booleans()), max_size=5)


class Changed(Memory):
    """A disk that names what changed since the round before, and counts what is read of it."""

    def __init__(self, content: bytes | bytearray, changed: Iterable[tuple[int, int]], fail_after: int = 10**9) -> None:
        super().__init__(content)
        self.changed = sorted(changed)
        self.fail_after = fail_after
        self.read: list[tuple[int, int]] = []

    def clone(self) -> Changed:
        made = Changed(self.content, self.changed, self.fail_after)
        made.read = self.read
        return made

    def extents(self) -> Iterator[Extent]:
        flags = [True] * self.size
        for start, stop in self.changed:
            flags[start:stop] = [False] * len(flags[start:stop])
        return merge((Extent(at, 1, same=same) for at, same in enumerate(flags)), self.size)

    def read_into(self, offset: int, view: memoryview) -> None:
        if len(self.read) >= self.fail_after:
            raise SourceUnavailable("the read failed")
        self.read.append((offset, len(view)))
        super().read_into(offset, view)


def first(seed: int, size: int) -> bytearray:
    chance = random.Random(seed)
    made = bytearray(chance.randbytes(size))
    made[2 * BLOCK : 4 * BLOCK] = bytes(len(made[2 * BLOCK : 4 * BLOCK]))
    return made


def after(
    content: bytearray, changes: list[tuple[int, int, bool]], seed: int
) -> tuple[bytearray, list[tuple[int, int]]]:
    """The content with ranges overwritten, by zeros or by chance; and these ranges."""
    made, named = bytearray(content), []
    for start, length, zero in changes:
        stop = min(start + length, len(made))
        if start < stop:
            made[start:stop] = bytes(stop - start) if zero else random.Random(seed + start).randbytes(stop - start)
            named.append((start, stop))
    return made, named


def copy(
    source: Memory, target: Memory, where: Path, *, label: bytes, since: str | None = None
) -> tuple[str, copying.Tally]:
    head = Header(source.size, "blake3", BLOCK, label * 32)
    options = Options(since=since)
    return copying.copy(source, target, where, head, reads_zero=False, options=options, watch=Watch())


def check(target: Memory, where: Path, *, all_blocks: bool = True) -> verify.Findings:
    with Fingerprint.open(where) as expected:
        found = verify.compare(target, expected, options=Options(all_blocks=all_blocks), watch=Watch())
        earlier.disprove(where) if found.differing else earlier.prove(expected)
        return found


@given(st.integers(1, 12 * BLOCK), CHANGES, st.integers(0, 9))
@folder_is_shared
def test_a_delta_leaves_the_bytes_and_the_root_of_a_full_copy(
    tmp_path: Path, size: int, changes: list[tuple[int, int, bool]], seed: int
) -> None:
    where = tmp_path / f"{next(NAMES)}.kff"
    old = first(seed, size)
    target = Memory(bytes(size))
    root, _ = copy(Memory(old), target, where, label=b"1")
    new, named = after(old, changes, seed)
    delta = Changed(new, named)
    second, tally = copy(delta, target, where, label=b"2", since=root)
    assert target.content == new
    assert second == copy(Memory(new), Memory(bytes(size)), tmp_path / f"{next(NAMES)}.kff", label=b"3")[0]
    touched = {at // BLOCK for start, stop in named for at in range(start, stop)}
    assert {at // BLOCK for at, _ in delta.read} == touched
    assert tally.same == sum(min(BLOCK, size - at * BLOCK) for at in range(-(-size // BLOCK)) if at not in touched)
    assert check(target, where).differing.tolist() == []


class Noting(Changed):
    """Its notes of what changed lie in its own image."""

    noted = True


def test_notes_that_came_with_another_image_are_not_believed(tmp_path: Path) -> None:
    """It has the notes of the round before under their name, and tells by them what changed of itself."""
    where, old, other = tmp_path / "disk.kff", first(3, 12 * BLOCK), first(4, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    _, tally = copy(Noting(other, [(0, BLOCK)]), target, where, label=b"2", since=root)
    assert (target.content, tally.same) == (other, 0)
    assert not check(target, where).differing


def test_notes_of_the_same_image_are_believed_after_a_few_looks(tmp_path: Path) -> None:
    where, old = tmp_path / "disk.kff", first(3, 40 * BLOCK)
    target = Memory(bytes(40 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    new, named = after(old, [(5 * BLOCK, 7, False)], 1)
    delta = Noting(new, named)
    _, tally = copy(delta, target, where, label=b"2", since=root)
    assert (target.content, tally.same) == (new, 39 * BLOCK)
    assert 1 < len(delta.read) <= 1 + checkpoint.SAMPLES


@pytest.mark.parametrize("since", [None, "ab" * 32], ids=["no round before", "another round"])
def test_without_the_round_before_all_is_read(tmp_path: Path, since: str | None) -> None:
    where, old = tmp_path / "t.kff", first(1, 8 * BLOCK)
    target = Memory(bytes(8 * BLOCK))
    copy(Memory(old), target, where, label=b"1")
    target.content[5 * BLOCK] ^= 1  # as if the fingerprint spoke of another target
    delta = Changed(old, [])
    _, tally = copy(delta, target, where, label=b"2", since=since)
    assert target.content == old
    assert tally.same == 0
    assert sum(length for _, length in delta.read) == len(old)


def test_what_is_another_block_than_before_is_written_without_a_look_at_the_target(tmp_path: Path) -> None:
    """It would be read for nothing. One that was written to at the source and is as it was is looked at, and left."""
    before, target = first(5, 12 * BLOCK), Changed(bytes(12 * BLOCK), ())
    where = tmp_path / "disk.kff"
    root, _ = copy(Memory(before), target, where, label=b"a")
    now = bytearray(before)
    now[5 * BLOCK : 6 * BLOCK] = random.Random(6).randbytes(BLOCK)
    target.read.clear()
    source = Changed(now, [(5 * BLOCK, 6 * BLOCK), (8 * BLOCK, 9 * BLOCK)])
    _, tally = copy(source, target, where, label=b"b", since=root)
    looked = {offset // BLOCK for offset, _ in target.read}
    assert 8 in looked
    assert 5 not in looked
    assert (tally.written, tally.held) == (BLOCK, BLOCK)
    assert bytes(target.content) == bytes(now)


def test_a_target_that_was_replaced_is_copied_anew(tmp_path: Path) -> None:
    where, old = tmp_path / "t.kff", first(1, 8 * BLOCK)
    target = Memory(bytes(8 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    check(target, where)
    target.content[:] = bytes(8 * BLOCK)
    _, tally = copy(Changed(old, []), target, where, label=b"2", since=root)
    assert (target.content, tally.same) == (old, 0)
    assert check(target, where, all_blocks=False).kept == 0


@pytest.mark.parametrize("blank", [(0, 6, 11), range(12)], ids=["zeros at both ends and in the middle", "all zeros"])
def test_that_a_target_was_replaced_is_seen_wherever_the_data_are(tmp_path: Path, blank: Iterable[int]) -> None:
    where, old = tmp_path / "t.kff", bytearray(random.Random(1).randbytes(12 * BLOCK))
    for at in blank:
        old[at * BLOCK : (at + 1) * BLOCK] = bytes(BLOCK)
    target = Memory(bytes(12 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    check(target, where)
    target.content[:] = b"another" * BLOCK + bytes(5 * BLOCK)
    _, tally = copy(Changed(old, []), target, where, label=b"2", since=root)
    assert (target.content, tally.same) == (old, 0)
    assert check(target, where, all_blocks=False).kept == 0


def test_a_delta_that_broke_off_does_not_read_again_what_is_the_same(tmp_path: Path) -> None:
    """Blocks that were written and are in no checkpoint differ from the round before; the target is the same one."""
    where, old = tmp_path / "t.kff", first(1, 40 * BLOCK)
    target = Memory(bytes(40 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    check(target, where)
    new, named = after(old, [(0, 8 * BLOCK, False)], 5)
    with pytest.raises(SourceUnavailable):
        copy(Changed(new, named, fail_after=4), target, where, label=b"2", since=root)
    checkpoint.beside(where).unlink()
    rest = Changed(new, named)
    _, tally = copy(rest, target, where, label=b"2", since=root)
    assert (target.content, tally.same) == (new, 32 * BLOCK)
    assert sum(length for _, length in rest.read) == 8 * BLOCK
    assert check(target, where, all_blocks=False).read == 8 * BLOCK


def test_memory_does_not_grow_with_what_is_the_same(tmp_path: Path) -> None:
    class Vast(Memory):
        """1 GiB of zeros, told as zeros or as the same; 262,144 blocks."""

        def __init__(self, *, same: bool) -> None:
            super().__init__(b"")
            self.size, self.same = 1 << 30, same

        def extents(self) -> Iterator[Extent]:
            yield Extent(0, self.size, zero=not self.same, same=self.same)

        def read_into(self, offset: int, view: memoryview) -> None:
            view[:] = bytes(len(view))

        def zero(self, offset: int, length: int) -> None:
            pass

        def clone(self) -> Vast:
            return self

    where, target = tmp_path / "t.kff", Vast(same=False)
    root, _ = copy(target, target, where, label=b"1")
    tracemalloc.start()
    try:
        again, tally = copy(Vast(same=True), target, where, label=b"2", since=root)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert (again, tally.same) == (root, 1 << 30)


def test_a_damaged_round_before_is_not_believed(tmp_path: Path) -> None:
    where, old = tmp_path / "t.kff", first(1, 8 * BLOCK)
    target = Memory(bytes(8 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    with where.open("r+b") as file:
        file.seek(600)
        file.write(b"\xff")
    again, tally = copy(Changed(old, []), target, where, label=b"2", since=root)
    assert (again, tally.same) == (root, 0)


def test_a_delta_that_broke_off_goes_on_and_ends_equal(tmp_path: Path) -> None:
    where, old = tmp_path / "t.kff", first(1, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    new, named = after(old, [(0, 12 * BLOCK, False)], 5)
    with pytest.raises(SourceUnavailable):
        copy(Changed(new, named, fail_after=6), target, where, label=b"2", since=root)
    assert checkpoint.beside(where).exists()
    rest = Changed(new, named)
    _, tally = copy(rest, target, where, label=b"2", since=root)
    assert target.content == new
    assert tally.resumed > 0
    assert len(rest.read) < 12


def test_a_delta_of_another_view_after_one_that_broke_off_ends_equal(tmp_path: Path) -> None:
    """The first try wrote blocks of a view that is lost; they are changed in the later view, too."""
    where, old = tmp_path / "t.kff", first(1, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    lost, named = after(old, [(0, 9 * BLOCK, False)], 5)
    with pytest.raises(SourceUnavailable):
        copy(Changed(lost, named, fail_after=6), target, where, label=b"2", since=root)
    later, _ = after(old, [(0, 3 * BLOCK, True), (10 * BLOCK, 7, False)], 6)
    copy(Changed(later, [*named, (10 * BLOCK, 10 * BLOCK + 7)]), target, where, label=b"3", since=root)
    assert target.content == later
    assert check(target, where).differing.tolist() == []


def left(source: Memory, target: Memory, where: Path, name: str, since: str | None = None) -> None:
    """A copy with this name that breaks off after some reads, and is left."""
    with pytest.raises(SourceUnavailable):
        named_copy(source, target, where, name, since=since)


def named_copy(source: Memory, target: Memory, where: Path, name: str, **more: str | None) -> copying.Tally:
    head = Header(source.size, "blake3", BLOCK, checkpoint.name_of(name) + bytes(16))
    return copying.copy(
        source,
        target,
        where,
        head,
        reads_zero=True,
        options=Options(**more),
        watch=Watch(),  # type: ignore[arg-type]
    )[1]


def test_a_first_round_that_was_left_is_not_read_again_where_nothing_changed(tmp_path: Path) -> None:
    where, old = tmp_path / "t.kff", first(1, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    left(Changed(old, [(0, 12 * BLOCK)], fail_after=6), target, where, "plan/1/a")
    new, named = after(old, [(BLOCK, 5, False)], 5)
    delta = Changed(new, named)
    tally = named_copy(delta, target, where, "plan/2/b", since_copy="plan/1/a")
    assert target.content == new
    assert tally.same > 0
    assert sum(length for _, length in delta.read) + tally.same == len(old)
    assert check(target, where).differing.tolist() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["proven-t.kff", "t.kff"]


def test_a_round_that_goes_on_from_one_that_was_left_may_break_off_itself(tmp_path: Path) -> None:
    where, old = tmp_path / "t.kff", first(1, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    left(Changed(old, [(0, 12 * BLOCK)], fail_after=6), target, where, "plan/1/a")
    new, named = after(old, [(BLOCK, 5, False)], 5)
    with pytest.raises(SourceUnavailable):
        named_copy(Changed(new, named, fail_after=2), target, where, "plan/2/b", since_copy="plan/1/a")
    tally = named_copy(Changed(new, named), target, where, "plan/2/b", since_copy="plan/1/a")
    assert target.content == new
    assert tally.same + tally.resumed > 2 * BLOCK
    assert check(target, where).differing.tolist() == []


def test_of_a_copy_with_another_name_nothing_is_believed(tmp_path: Path) -> None:
    """The same disk, the same round, of an earlier plan: its view was another one."""
    where, old = tmp_path / "t.kff", first(1, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    left(Changed(old, [(0, 12 * BLOCK)], fail_after=6), target, where, "old-plan/1/a")
    new, named = after(old, [(0, 12 * BLOCK, False)], 5)
    tally = named_copy(Changed(new, []), target, where, "plan/2/b", since_copy="plan/1/a")
    assert target.content == new
    assert (tally.same, tally.resumed) == (0, 0)
    assert named


# --- what has to be read back ----------------------------------------------------------------------------------------


def test_only_what_was_written_since_is_read_back(tmp_path: Path) -> None:
    where, old = tmp_path / "t.kff", first(1, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    assert check(target, where, all_blocks=False).kept == 0
    new, named = after(old, [(5 * BLOCK + 1, 10, False), (9 * BLOCK, BLOCK, True)], 5)
    copy(Changed(new, named), target, where, label=b"2", since=root)
    found = check(target, where, all_blocks=False)
    assert found.differing.tolist() == []
    assert found.read == 2 * BLOCK
    assert check(target, where).read > 8 * BLOCK


def test_a_block_that_is_written_back_to_what_it_was_is_read_back_again(tmp_path: Path) -> None:
    """Its digest is the one that was proven, and yet it was written since."""
    where, old = tmp_path / "t.kff", first(1, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    check(target, where)
    new, named = after(old, [(5 * BLOCK, BLOCK, False)], 5)
    root, _ = copy(Changed(new, named), target, where, label=b"2", since=root)
    copy(Changed(old, named), target, where, label=b"3", since=root)
    target.content[5 * BLOCK + 9] ^= 1  # the storage lost that write
    assert check(target, where, all_blocks=False).differing.tolist() == [5]


def test_a_finding_makes_everything_unproven(tmp_path: Path) -> None:
    where, old = tmp_path / "t.kff", first(1, 12 * BLOCK)
    target = Memory(bytes(12 * BLOCK))
    copy(Memory(old), target, where, label=b"1")
    check(target, where)
    target.content[6 * BLOCK] ^= 1
    assert check(target, where, all_blocks=False).differing.tolist() == []  # told so: it was read back before
    assert check(target, where).differing.tolist() == [6]
    assert check(target, where, all_blocks=False).differing.tolist() == [6]


def test_what_was_disproven_stays_so_after_a_crash_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was removed comes back with the host, unless its folder was synced."""
    where, synced = tmp_path / "t.kff", []
    copy(Memory(first(1, BLOCK)), Memory(bytes(BLOCK)), where, label=b"1")
    with Fingerprint.open(where) as expected:
        earlier.prove(expected)
    proven = earlier.proven_beside(where)
    monkeypatch.setattr(earlier, "sync_folder", lambda folder: synced.append((folder, proven.exists())))
    earlier.disprove(where)
    assert synced == [(tmp_path, False)]


def test_what_was_read_back_before_a_copy_broke_off_is_read_back_again(tmp_path: Path) -> None:
    """Nobody was there since: the target may have been changed meanwhile, also where the copy has nothing to do."""
    where, old = tmp_path / "t.kff", bytearray(random.Random(8).randbytes(64 * BLOCK))
    target = Memory(bytes(64 * BLOCK))
    root, _ = copy(Memory(old), target, where, label=b"1")
    check(target, where)
    with pytest.raises(SourceUnavailable):
        copy(Changed(old, [(0, 4 * BLOCK)], fail_after=2), target, where, label=b"2", since=root)
    target.content[41 * BLOCK + 1] ^= 1  # none of those that are asked whether the target is the same
    copy(Changed(old, [(0, 4 * BLOCK)]), target, where, label=b"2", since=root)
    assert check(target, where, all_blocks=False).differing.tolist() == [41]
