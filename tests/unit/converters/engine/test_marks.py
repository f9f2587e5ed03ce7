"""Marked blocks are found in order, and take next to no memory, however many they are."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.engine.marks import Marks, Offsets


@given(st.lists(st.integers(0, 99)))
def test_what_is_marked_is_found_once_and_in_order(blocks: list[int]) -> None:
    marks = Marks(100, blocks)
    assert list(marks) == marks.tolist() == sorted(set(blocks))
    assert len(marks) == len(set(blocks))
    assert list(Offsets(marks, 512)) == [index * 512 for index in sorted(set(blocks))]
    if blocks:
        assert (marks.first, Offsets(marks, 512).first) == (min(blocks), min(blocks) * 512)


def test_the_first_of_none_is_an_error() -> None:
    assert not Offsets()
    with pytest.raises(ValueError, match="no block"):
        _ = Offsets().first


def test_a_disk_that_differs_in_every_block_takes_a_bit_a_block() -> None:
    count = 1 << 20  # of 1 MiB: a disk of a tebibyte
    tracemalloc.start()
    try:
        marks = Marks(count, range(count))
        assert len(marks) == sum(1 for _ in Offsets(marks, 1 << 20)) == count
        assert tracemalloc.get_traced_memory()[1] < 1 << 18
    finally:
        tracemalloc.stop()
