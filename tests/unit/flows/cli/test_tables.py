"""Tables: no cell is ever cut, no line folded where nobody looks, and no name commands a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.cli.tables import columns, lines
from kubeferry.words import plain

LONG = "a-name-that-is-much-longer-than-any-terminal-is-wide-" * 3
WHY = "the disk was copied in three rounds and the last one was not read back whole, so that it is read again"
CELLS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


def test_a_row_is_a_line_where_nobody_looks() -> None:
    told = list(lines(("machine", "why"), [(LONG, WHY), ("web", WHY)]))
    assert len(told) == 3
    assert told[1] == f"{LONG}  {WHY}"
    assert told[2] == f"{'web':<{len(LONG)}}  {WHY}"


def test_on_a_terminal_the_last_column_is_folded_at_words_below_itself() -> None:
    told = list(lines(("machine", "why"), [("web", WHY)], width=60))
    assert len(told) > 2
    assert max(map(len, told)) <= 60
    assert " ".join(line[9:].strip() for line in told[1:]) == WHY
    assert all(line.startswith(" " * 9) for line in told[2:])


def test_on_a_terminal_no_name_is_cut_and_nothing_is_folded_beside_it() -> None:
    told = list(lines(("machine", "why"), [(LONG, WHY)], width=80))
    assert told[1] == f"{LONG}  {WHY}"


def test_wide_letters_take_two_columns_and_accents_none() -> None:
    told = list(lines(("machine", "power"), [("虚拟机", "on"), ("é", "on"), ("x", "on")]))
    assert {columns(line[: line.index("on")]) for line in told[1:]} == {9}


def test_a_name_cannot_command_the_terminal() -> None:
    assert plain("a\x1b[31mb\r\nc\u202e") == "a\ufffd[31mb  c\ufffd"
    assert "\x1b" not in "".join(lines(("machine", "x"), [("\x1b]0;title\x07", "y")]))


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5))
def test_every_cell_is_there_whole(rows: list[tuple[str, str, str]]) -> None:
    told = list(lines(("a", "b", "c"), rows))
    assert len(told) == len(rows) + 1
    for row, line in zip(rows, told[1:], strict=True):
        assert all(plain(cell).strip() in line for cell in row)
        assert "\n" not in line
