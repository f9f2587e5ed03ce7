"""Tables as spreadsheets keep them: dialects, the mark of Excel, and nothing that becomes a formula."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents.grid import Grid, read_grid, written
from kubeferry.errors import InputInvalid


def read(text: str | bytes) -> Grid:
    return read_grid(text if isinstance(text, bytes) else text.encode(), "waves.csv", "machine")


def as_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_dialects_of_spreadsheets_are_read(delimiter: str, end: str, encoding: str) -> None:
    text = end.join([f"Wave{delimiter}MACHINE ", f'w1{delimiter}"a, b; c"', "", "w2"])
    grid = read(text.encode(encoding))
    assert (grid.place("machine"), grid.place("wave"), grid.place("nothing")) == (1, 0, None)
    assert grid.rows == [["w1", "a, b; c"], ["", ""], ["w2", ""]]
    assert grid.delimiter == delimiter


def test_the_line_by_which_excel_is_told_the_delimiter_is_kept() -> None:
    grid = read("sep=|\r\nmachine|wave\r\na|1\r\n")
    assert grid.rows == [["a", "1"]]
    assert written(grid).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").splitlines()[:2] == ["sep=|", "machine|wave"]


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "%x"])
def test_what_would_be_a_formula_is_text_for_a_spreadsheet_and_the_same_for_us(cell: str) -> None:
    text = written(Grid(["machine", "notes"], [["a", cell]]))
    assert as_csv(text)[1][1] == f"'{cell}"
    assert read(text).rows == [["a", cell]]


@pytest.mark.parametrize("cell", ["-", "-5", "+3.5", "12", "app", "it's"])
def test_numbers_and_plain_text_stay_as_they_are(cell: str) -> None:
    assert as_csv(written(Grid(["machine"], [[cell]])))[1] == [cell]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"name,wave\na,1\n", "its first row has no column 'machine'"),
        (b"", "its first row has no column 'machine'"),
        (b"machine,wave\nM\xfcnchen,1\n", "it is no text in UTF-8"),
        (b"machine,wave\na\0b,1\n", "it is no text"),
        (b"machine,Wave,wave \na,1,2\n", "there are several columns 'wave'"),
        (b"machine,wave\na," + b"x" * 200_000 + b"\n", "field larger than field limit"),
    ],
)
def test_what_is_no_sheet_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        read(data)
    assert told in str(refused.value)
    assert all(problem.fix for problem in refused.value.problems)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=6), st.sampled_from([",", ";", "\t"]))
def test_whatever_is_written_is_read_as_it_was(rows: list[list[str]], delimiter: str) -> None:
    grid = Grid(["machine", "wave", "notes"], rows, delimiter)
    once = written(grid)
    again = read(once)
    assert again.rows == rows
    assert written(again) == once
