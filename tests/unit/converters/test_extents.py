"""Extents and chunks against the plainest model of a disk: one boolean per byte."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.extents import Extent, block_count, chunks, data_ranges, merge, overlaid

SIZE = 300
BLOCK = 16


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, list[Extent]]:
    size = draw(st.integers(0, SIZE))
    position, found = 0, []
    while position < size:
        length = draw(st.integers(1, 40))
        if draw(st.booleans()) or draw(st.booleans()):
            found.append(Extent(position, length, zero=(kind := draw(st.sampled_from("dzs"))) == "z", same=kind == "s"))
        position += length
    return size, found


def kinds(size: int, extents: list[Extent]) -> list[str]:
    """A letter a byte: zero, same, or data."""
    known = ["d"] * size
    for extent in extents:
        for at in range(extent.offset, min(extent.end, size)):
            known[at] = "z" if extent.zero else "s" if extent.same else "d"
    return known


@given(layouts())
def test_merge_keeps_every_byte_and_leaves_no_neighbours_alike(layout: tuple[int, list[Extent]]) -> None:
    size, extents = layout
    merged = list(merge(extents, size))
    assert kinds(size, merged) == kinds(size, extents)
    assert sum(extent.length for extent in merged) == size
    pairs = list(itertools.pairwise(merged))
    assert all(left.end == right.offset and (left.zero, left.same) != (right.zero, right.same) for left, right in pairs)


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
    kept = {at for chunk in found if chunk.same for at in range(chunk.offset, chunk.end)}
    model = kinds(size, extents)
    assert {at for at, kind in enumerate(model) if kind == "d"} <= covered
    assert all(model[at] == "s" for at in kept)
    # What is the same is read where its block has something else, and only there.
    assert {at for at, kind in enumerate(model) if kind == "s"} <= covered | kept
    assert not covered & kept
    for start in range(0, size, BLOCK):
        if set(model[start : start + BLOCK]) == {"s"}:
            assert start in kept


@given(layouts(), layouts())
def test_what_is_clean_is_the_same_whatever_the_allocation_says(
    below: tuple[int, list[Extent]], above: tuple[int, list[Extent]]
) -> None:
    size = min(below[0], above[0])
    told = [Extent(e.offset, e.length, e.zero) for e in merge(below[1], size)]
    clean = [Extent(e.offset, e.length, same=e.same) for e in merge(above[1], size)]
    pairs = zip(kinds(size, told), kinds(size, clean), strict=True)
    expected = ["s" if upper == "s" else lower for lower, upper in pairs]
    assert kinds(size, list(overlaid(told, clean))) == expected


@given(layouts())
def test_without_coalescing_only_data_is_named(layout: tuple[int, list[Extent]]) -> None:
    size, extents = layout
    named = {at for start, end in data_ranges(extents, size, gap=0) for at in range(start, end)}
    assert named == {at for at, kind in enumerate(kinds(size, extents)) if kind == "d"}


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
