"""A table as spreadsheets keep it: CSV (RFC 4180) of commas, semicolons or tabs, and nothing in it that one of them
would take for a formula. Pure.

What was read and not changed is written as it was: its delimiter, its columns and rows, blank ones among them.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kubeferry.errors import InputInvalid, Problem

DELIMITERS = (",", ";", "\t")

_FORMULA = re.compile(r"'*[=+\-@\t\r\n|%]")
_HARMLESS = re.compile(r"[-+]?[0-9][0-9.,]*|-")
_SEP = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_FIX = "Save it as CSV in UTF-8 (Excel: `CSV UTF-8`; LibreOffice: character set Unicode (UTF-8))."


@dataclass(slots=True)
class Grid:
    """A table: what its columns are called, and rows of as many cells, or more, as text without quotes."""

    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    delimiter: str = ","
    says_delimiter: bool = False

    def place(self, column: str) -> int | None:
        """Where a column stands, whatever the case of its name; None where there is none."""
        return next((n for n, name in enumerate(self.header) if _name(name) == column), None)

    def add_columns(self, columns: Iterable[str]) -> None:
        """Those of these columns that are not there stand at the end."""
        for column in columns:
            if self.place(column) is None:
                self.header.append(column)
        for row in self.rows:
            row.extend([""] * (len(self.header) - len(row)))


def _name(text: str) -> str:
    return " ".join(text.split()).casefold()


def read_grid(data: bytes, name: str, key: str) -> Grid:
    """The table in a file of this name, whose header has the column `key`. Raises InputInvalid, with all problems."""
    text = _decoded(data, name)
    told = _SEP.match(text)
    body = text[told.end() :] if told else text
    candidates = (told[1],) if told else DELIMITERS
    for delimiter in candidates:
        rows = list(_parsed(body, delimiter, name))
        header = next(iter(rows), [])
        if key in map(_name, header):
            break
    else:
        what = f"its first row has no column {key!r}"
        fix = f"Give it one: the first row names the columns, and {key!r} is the one that says whom a row is about."
        raise InputInvalid(f"{name} cannot be read", [Problem(f"{name} row 1", what, fix)])
    grid = Grid(header, [[*row, *[""] * (len(header) - len(row))] for row in rows[1:]], delimiter, told is not None)
    _refuse_twice(grid, name)
    return grid


def _refuse_twice(grid: Grid, name: str) -> None:
    names = [_name(one) for one in grid.header]
    twice = [one for one in dict.fromkeys(names) if one and names.count(one) > 1]
    if twice:
        raise InputInvalid(
            f"{name} cannot be read",
            [Problem(f"{name} row 1", f"there are several columns {one!r}", "Rename all but one.") for one in twice],
        )


def _decoded(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputInvalid(f"{name} cannot be read", [Problem(name, "it is no text in UTF-8", _FIX)]) from None
    if "\0" in text:
        raise InputInvalid(f"{name} cannot be read", [Problem(name, "it is no text", _FIX)])
    return text


def _parsed(text: str, delimiter: str, name: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    while True:
        try:
            yield [_unguarded(cell) for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            problem = Problem(f"{name} line {reader.line_num}", str(error), _FIX)
            raise InputInvalid(f"{name} cannot be read", [problem]) from None


def written(grid: Grid) -> str:
    """The table as text, with the mark at the front by which Excel knows UTF-8, and lines that end as RFC 4180
    has it."""
    out = io.StringIO(newline="")
    if grid.says_delimiter:
        out.write(f"sep={grid.delimiter}\r\n")
    writer = csv.writer(out, delimiter=grid.delimiter, lineterminator="\r\n")
    for row in (grid.header, *grid.rows):
        writer.writerow([_guarded(cell) for cell in row])
    return "\N{ZERO WIDTH NO-BREAK SPACE}" + out.getvalue()


def _guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: text that begins like one has an apostrophe before it."""
    return f"'{cell}" if _FORMULA.match(cell) and not _HARMLESS.fullmatch(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
