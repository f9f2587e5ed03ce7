"""Lists of a snapshot's blocks: what is kept of them, what is asked for again, and what cannot be a list."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.endpoints.ebs.blocks import (
    BLOCK_BYTES,
    DATA,
    GONE,
    KEPT_PAGES,
    Listing,
    Page,
    extents_of,
    page_of,
    pieces,
    states_of,
)

SIZE = 10 * BLOCK_BYTES + 512


class Asked:
    """A list of blocks that remembers which pages were asked for; a page holds two blocks."""

    def __init__(self, blocks: list[int]) -> None:
        self.blocks = blocks
        self.asked: list[tuple[int, str | None]] = []

    def __call__(self, start: int, following: str | None) -> Page:
        self.asked.append((start, following))
        left = [index for index in self.blocks if index >= start]
        more = "more" if len(left) > 2 else None
        return page_of(start, [(index, f"{len(self.asked)}:{index}") for index in left[:2]], more, SIZE)


def test_a_token_is_asked_for_once_with_its_neighbours() -> None:
    asked = Asked([1, 3, 5, 7])
    listing = Listing(asked)
    assert [listing.token(index) for index in (3, 4, 5)] == ["1:3", None, "1:5"]
    assert asked.asked == [(3, None)]
    assert listing.token(7) == "2:7"
    assert listing.token(10) is None
    assert asked.asked == [(3, None), (7, None)]


def test_a_token_that_is_not_taken_any_more_is_asked_for_again_once() -> None:
    asked = Asked([1, 3])
    listing = Listing(asked)
    old = listing.token(1)
    new = listing.token(1, instead_of=old)
    assert (old, new) == ("1:1", "2:1")
    assert listing.token(1, instead_of=old) == new, "another thread has already asked"
    assert listing.token(3) == "2:3"
    assert len(asked.asked) == 2


def test_pages_follow_each_other_and_only_a_few_are_kept() -> None:
    asked = Asked(list(range(10)))
    listing = Listing(asked)
    assert [index for page in listing.pages() for index in page.tokens] == list(range(10))
    assert asked.asked == [(0, None), (2, "more"), (4, "more"), (6, "more"), (8, "more")]
    wide = Listing(lambda start, _: Page(start, start, {start: "t"}, (), "more"))
    for index in range(KEPT_PAGES + 1):
        wide.token(index)
    assert len(wide._pages) == KEPT_PAGES


@pytest.mark.parametrize("entries", [[3, 2], [3, 3], [1], [11]], ids=["backwards", "twice", "before", "beyond"])
def test_what_cannot_be_a_list_is_refused(entries: list[int]) -> None:
    with pytest.raises(ValueError, match="block"):
        page_of(2, [(index, "token") for index in entries], None, SIZE)


def test_a_page_with_more_blocks_than_may_be_is_refused() -> None:
    with pytest.raises(ValueError, match="10001 blocks"):
        page_of(0, [(index, "token") for index in range(10_001)], None, 1 << 40)


def test_a_full_list_says_where_data_is_and_a_list_of_changes_what_is_the_same() -> None:
    page = page_of(0, [(0, "a"), (1, "b"), (4, None), (10, "c")], None, SIZE)
    states = states_of(iter([page]), SIZE)
    full = [(one.offset // BLOCK_BYTES, one.zero, one.same) for one in extents_of(states, SIZE, delta=False)]
    assert full == [(0, False, False), (2, True, False), (4, True, False), (5, True, False), (10, False, False)]
    delta = list(extents_of(states, SIZE, delta=True))
    kinds = [(one.offset // BLOCK_BYTES, one.zero, one.same) for one in delta]
    assert kinds == [(0, False, False), (2, False, True), (4, True, False), (5, False, True), (10, False, False)]
    assert (delta[-1].length, delta[-1].end) == (512, SIZE)


@given(st.dictionaries(st.integers(0, 10), st.sampled_from([DATA, GONE])), st.booleans())
def test_extents_cover_the_disk_in_order(found: dict[int, int], delta: bool) -> None:
    states = bytearray(found.get(index, 0) for index in range(11))
    extents = list(extents_of(states, SIZE, delta=delta))
    assert [one.offset for one in extents[1:]] == [one.end for one in extents[:-1]]
    assert (extents[0].offset, extents[-1].end) == (0, SIZE)
    for one in extents:
        state = states[one.offset // BLOCK_BYTES]
        assert one.same == (delta and state == 0)
        assert (not one.zero and not one.same) == (state == DATA)


@given(st.integers(0, SIZE - 1), st.integers(1, 3 * BLOCK_BYTES))
def test_pieces_are_the_range_in_blocks(offset: int, length: int) -> None:
    found = list(pieces(offset, length))
    assert sum(count for _, _, count in found) == length
    assert found[0][0] * BLOCK_BYTES + found[0][1] == offset
    assert all(skip + count <= BLOCK_BYTES for _, skip, count in found)
    assert all(skip == 0 for _, skip, _ in found[1:])


def test_a_list_of_a_huge_volume_takes_little_memory() -> None:
    size = 1 << 44  # 16 TiB: 32 million blocks
    tracemalloc.start()
    states = states_of((page_of(at, [(at, "t")], "more", size) for at in range(0, 1 << 25, 1 << 20)), size)
    assert sum(1 for one in extents_of(states, size, delta=False) if not one.zero) == 32
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 << 20
