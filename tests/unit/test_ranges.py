"""Byte ranges in HTTP's words: what is written is read back; nothing that changed is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.ranges import joined, range_set, ranges_of

RANGES = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=30)


def named(ranges: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in ranges for at in range(start, end)}


@given(RANGES)
def test_a_set_is_read_back_as_the_same_bytes(ranges: list[tuple[int, int]]) -> None:
    assert named(ranges_of(range_set(ranges))) == named(ranges)


@given(RANGES, st.integers(1, 6))
def test_a_short_set_names_more_and_never_less(ranges: list[tuple[int, int]], limit: int) -> None:
    short = joined(ranges, limit)
    assert len(short) <= limit
    assert named(ranges) <= named(short)
    assert short == joined(short)


def test_of_several_gaps_the_narrowest_are_filled() -> None:
    assert joined([(0, 10), (11, 20), (50, 60), (99, 100)], 2) == [(0, 60), (99, 100)]


@pytest.mark.parametrize(
    "text",
    ["", "0-1", "bytes=1", "bytes=5-2", "bytes=10-20,0-5", "bytes=0-5,4-9", "bytes=-5", "bytes=0-1,", "items=0-1"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="byte ranges"):
        ranges_of(text)
