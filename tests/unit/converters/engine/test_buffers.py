"""Zero test, comparison and runs of data against plain Python."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from converters.engine.buffers import GRAIN_BYTES, Buffer

SIZE = 4 * GRAIN_BYTES


def filled(places: list[int]) -> Buffer:
    buffer = Buffer(SIZE)
    for place in places:
        buffer.view[place] = 1
    return buffer


@given(st.lists(st.integers(0, 63), max_size=3), st.integers(0, 64), st.integers(0, 64))
def test_zero_test_sees_every_byte(places: list[int], start: int, stop: int) -> None:
    start, stop = sorted((start, stop))
    assert filled(places).is_zero(start, stop) == (not any(start <= place < stop for place in places))


@given(st.lists(st.integers(0, SIZE - 1), max_size=4), st.integers(0, SIZE), st.integers(0, SIZE))
def test_data_runs_hold_all_data_and_whole_grains(places: list[int], start: int, stop: int) -> None:
    start, stop = sorted((start, stop))
    runs = list(filled(places).data_runs(start, stop))
    inside = {place for place in places if start <= place < stop}
    assert {place for place in inside if any(begin <= place < end for begin, end in runs)} == inside
    assert all(start <= begin < end <= stop for begin, end in runs)
    assert sum(end - begin for begin, end in runs) <= len({place // GRAIN_BYTES for place in inside}) * GRAIN_BYTES


def test_comparison_and_clearing() -> None:
    one, other = filled([5, SIZE - 1]), filled([5])
    assert not one.same(other, SIZE)
    assert one.same(other, SIZE - 1)
    one.clear(6, SIZE)
    assert one.same(other, SIZE)
    assert one.view[5] == 1
