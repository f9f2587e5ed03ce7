"""Extents and chunks against the plainest model of a disk: one boolean per byte."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.extents import Extent, block_count, chunks, data_ranges, merge

SIZE = 300
BLOCK = 16


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, list[Extent]]:
    size = draw(st.integers(0, SIZE))
    position, found = 0, []
    while position < size:
        length = draw(st.integers(1, 40))
        if draw(st.booleans()) or draw(st.booleans()):
            found.append(Extent(position, length, draw(st.booleans())))
        position += length
    return size, found


def zeros(size: int, extents: list[Extent]) -> list[bool]:
    known = [False] * size
    for extent in extents:
        for at in range(extent.offset, min(extent.end, size)):
            known[at] = extent.zero
    return known


@given(layouts())
def test_merge_keeps_every_byte_and_leaves_no_neighbours_alike(layout: tuple[int, list[Extent]]) -> None:
    size, extents = layout
    merged = list(merge(extents, size))
    assert zeros(size, merged) == zeros(size, extents)
    assert sum(extent.length for extent in merged) == size
    assert all(left.end == right.offset and left.zero != right.zero for left, right in itertools.pairwise(merged))


@given(layouts(), st.sampled_from([1, 4, 1000]))
def test_chunks_cover_the_disk_once_and_name_all_data(layout: tuple[int, list[Extent]], gap: int) -> None:
    size, extents = layout
    found = list(chunks(extents, size, BLOCK))
    position = 0
    for chunk in found:
        assert chunk.offset == position
        assert chunk.offset % BLOCK == 0
        assert chunk.end % BLOCK == 0 or chunk.end == size
        assert not chunk.data or chunk.length <= BLOCK
        assert all(0 <= start < stop <= chunk.length for start, stop in chunk.data)
        position = chunk.end
    assert position == size
    told = [Extent(chunk.offset + start, stop - start) for chunk in found for start, stop in chunk.data]
    covered = {at for extent in told for at in range(extent.offset, extent.end)}
    assert {at for at, zero in enumerate(zeros(size, extents)) if not zero} <= covered


@given(layouts())
def test_without_coalescing_only_data_is_named(layout: tuple[int, list[Extent]]) -> None:
    size, extents = layout
    named = {at for start, end in data_ranges(extents, size, gap=0) for at in range(start, end)}
    assert named == {at for at, zero in enumerate(zeros(size, extents)) if not zero}


@pytest.mark.parametrize(
    "extents",
    [[Extent(10, 10), Extent(5, 10)], [Extent(0, 10), Extent(9, 1)], [Extent(0, 0)], [Extent(-1, 5)]],
    ids=["backwards", "overlapping", "empty", "negative"],
)
def test_extents_of_a_lying_server_are_refused(extents: list[Extent]) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        list(merge(extents, 100))


def test_a_range_beyond_the_end_is_clipped_and_a_gap_is_data() -> None:
    assert list(merge([Extent(0, 10, zero=True), Extent(20, 1000, zero=True)], 30)) == [
        Extent(0, 10, zero=True),
        Extent(10, 10),
        Extent(20, 10, zero=True),
    ]


def test_blocks_are_counted_upwards() -> None:
    assert [block_count(size, 16) for size in (0, 1, 16, 17)] == [0, 1, 1, 2]
