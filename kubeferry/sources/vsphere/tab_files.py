"""The files of an inventory export in tabs: `…vInfo.csv` and what lies beside it, or all of them in one workbook.

Bounded before they are read; the delimiter is found in the header line, the encoding in the first bytes.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

from kubeferry.errors import InputInvalid, Problem
from kubeferry.sources.facts.byte_marks import marked, no_text
from kubeferry.sources.facts.readings import Reading, readable, shown
from kubeferry.sources.strangers import start_of
from kubeferry.sources.vsphere.tabs import AGAIN, SHOWN, TABS, Row, Tabs, machines_of, place_in
from kubeferry.words import first_of

MAX_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 1 << 30
MAX_ROWS = 200_000
MAX_FIELD = 65_536
OPEN = "~$"
NEEDED = ("VM", "CPUs", "Memory")
WORKBOOKS = (".xlsx", ".xlsm")
# The library that reads workbooks can abort or hang on damaged ones of these kinds, and all other exports with it.
OTHER_BOOKS = (".xls", ".xlsb", ".ods")
ENDS = (".csv", ".tsv", *WORKBOOKS, *OTHER_BOOKS)
HOW = (
    "the tabs of an inventory export as RVTools writes them (a workbook *.xlsx, or vInfo, vDisk and vNetwork as *.csv)"
)
# Any tab's name: what stands around it is the export's, as the time of it or the number of a second download.
_AFTER = r"(?P<after>(?:[^A-Za-z].*)?)"
_NAME = re.compile(rf"(?P<export>.*?)(?P<tab>v[A-Z][A-Za-z]*){_AFTER}", re.DOTALL)
_SEPARATOR = re.compile(r'"?sep=([;,\t|])"?[;,\t|]*', re.IGNORECASE)
_WORDS = re.compile(r"(?P<export>.*)(?P<tab>" + "|".join(TABS) + ")" + _AFTER, re.DOTALL | re.IGNORECASE)


def read_all(paths: Sequence[Path], source: str) -> Reading:
    """The machines of all exports: a vInfo tab is one, with the tabs beside it that are called alike. Tabs that say
    nothing of a machine, and files that are no tabs, are passed over; what cannot be read is left out."""
    reading = Reading()
    exports: dict[tuple[Path, str], dict[str, Path]] = {}
    others: list[Path] = []
    for path in readable(paths, reading):
        end = path.suffix.lower()
        if path.name.startswith(OPEN):
            reading.passed_over(path, "it is Excel's note that the workbook is open, or was when Excel ended")
        elif end in OTHER_BOOKS:
            reading.left_out(
                path, f"a workbook *{end} is not read", "Where it is an inventory export: save it as *.xlsx."
            )
        elif end in WORKBOOKS:
            _workbook(path, source, reading)
        elif (told := _tab_of(path)) is None:
            reading.passed_over(path, "its name has none of the tabs of an inventory export", f"Give {HOW}.")
        elif told[1] not in TABS:
            others.append(path)
        else:
            _join(exports.setdefault((path.parent, told[0].lower()), {}), told[1], path, reading)
    for folder in sorted({path.parent for path in others}):
        names = ", ".join(path.name for path in others if path.parent == folder)
        reading.passed_over(folder, f"nothing of a machine is taken from these tabs: {names}")
    for files in exports.values():
        _csv(files, source, reading)
    return reading


def _join(files: dict[str, Path], tab: str, path: Path, reading: Reading) -> None:
    """Of two names that differ in capital letters alone nobody knows which one the export is."""
    if tab in files:
        what = f"it is called like {files[tab].name}, and that is read"
        reading.left_out(path, what, "Give it a name of its own, or remove it.")
    else:
        files[tab] = path


def _tab_of(path: Path) -> tuple[str, str] | None:
    """The export's name and the tab's, by a file's name, else by the columns that vInfo alone has; None for none that
    an inventory export has."""
    if (found := _WORDS.fullmatch(path.stem)) is not None:
        return _export(found, path), _called(found)
    if _has_machines(path):
        return path.name, "vInfo"
    found = _NAME.fullmatch(path.stem)
    return (_export(found, path), found["tab"]) if found else None


def _called(found: re.Match[str]) -> str:
    """The tab as RVTools spells it."""
    return next(tab for tab in TABS if tab.lower() == found["tab"].lower())


def _export(found: re.Match[str], path: Path) -> str:
    """What stands around a tab's name; no name has the sign in it."""
    return "/".join((found["export"], found["after"], path.suffix))


def _has_machines(path: Path) -> bool:
    start = start_of(path)
    try:
        cells = _cells_of(start.decode(marked(start) or "utf-8", errors="replace"), path)
    except InputInvalid:
        return False
    return bool(cells) and _is_vinfo(cells[0])


def _is_vinfo(names: Sequence[Any]) -> bool:
    return set(NEEDED) <= {_cell(one) for one in names}


def _csv(files: dict[str, Path], source: str, reading: Reading) -> None:
    """The export of these files, by tab."""
    if "vInfo" not in files:
        for path in files.values():
            fix = (
                "Export the tab vInfo, too, and call the tabs of one export alike: RVTools_tabvInfo, RVTools_tabvDisk."
            )
            reading.left_out(path, "there is no vInfo tab beside it", fix)
        return
    tabs: Tabs = {}
    for tab, path in files.items():
        try:
            tabs[tab] = _by_name(_cells_of(_text(path, reading), path), tab, path, reading)
            reading.beside.append(path)
        except InputInvalid as error:
            reading.failed(error)
    _take(tabs, files["vInfo"], source, reading)


def _workbook(path: Path, source: str, reading: Reading) -> None:
    """The export that a workbook is, a sheet for each tab."""
    try:
        sheets, twins = _sheets(path)
    except InputInvalid as error:
        reading.failed(error)
        return
    if twins:
        what = f"of several sheets for one tab one was read, and not {first_of(twins, SHOWN)}"
        reading.left_out(path, what, "Save each export as a workbook of its own.")
    if "vInfo" not in sheets:
        names = ", ".join(sheets)[:200]
        reading.passed_over(path, f"it has no sheet vInfo, but {names}", f"Give {HOW}.")
        return
    reading.beside.append(path)
    tabs: Tabs = {tab: _by_name(sheets[tab], tab, path, reading) for tab in TABS if tab in sheets}
    _take(tabs, path, source, reading)


def _take(tabs: Tabs, path: Path, source: str, reading: Reading) -> None:
    if "vInfo" not in tabs:  # it could not be read, which is told
        return
    columns = {column for row in tabs["vInfo"] for column in row}
    if not any(any(row.values()) for row in tabs["vInfo"]):
        if {} not in tabs["vInfo"]:  # else its rows are told
            reading.left_out(path, "its vInfo has no row of a machine", "Export the tab vInfo again.")
        return
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        reading.left_out(path, f"the columns {', '.join(missing)} are missing", AGAIN)
        return
    machines_of(tabs, source=source, where=path, reading=reading)


# --- the rows of a tab ------------------------------------------------------------------------------------------------


def _refuse_many(cells: Sequence[object], path: Path) -> None:
    if len(cells) > MAX_ROWS + 1:
        raise _invalid(path, f"it has more than {MAX_ROWS} rows", "Export fewer machines at once.")


def _by_name(cells: Sequence[Sequence[Any]], tab: str, where: Path, reading: Reading) -> list[Row]:
    """The rows under the first one, by the names of the columns that stand in that. A row with more cells than there
    are columns is left out, for nobody knows which one is too much; it is there and empty, because rows are counted."""
    names = [_cell(one) for one in cells[0]] if cells else []
    _tell_of_twins(names, tab, where, reading)
    rows: list[Row] = []
    odd = []
    for number, values in enumerate(cells[1:], start=2):
        told = [_cell(one) for one in values]
        row: dict[str, str] = {}
        for name, value in zip(names, told, strict=False):
            row.setdefault(name, value)
        row.pop("", None)
        if any(told[len(names) :]):
            what = f"it has {len(told)} cells, and {tab} {len(names)} columns: a delimiter in a cell is not quoted"
            reading.left_out(place_in(where, number, row), what, AGAIN)
            row = {}
        elif len(told) != len(names):
            odd.append(str(number))
        rows.append(row)
    if odd:
        what = f"rows of {tab} have not as many cells as it has columns, and may be read wrong"
        reading.doubtful(where, f"{what}: {first_of(odd, SHOWN)}", AGAIN)
    return rows


def _tell_of_twins(names: Sequence[str], tab: str, where: Path, reading: Reading) -> None:
    """Custom attributes stand among RVTools' own columns, and people call them as they like."""
    twins = [name for name, times in Counter(names).items() if name and times > 1]
    if twins:
        what = f"several columns of {tab} have one name, and the first of each was read: {first_of(twins, SHOWN)}"
        fix = "Look whether that is the right one; a custom attribute with such a name is to be renamed in vSphere."
        reading.doubtful(where, what, fix)


def _is_blank(cells: Sequence[Any]) -> bool:
    """A line of delimiters alone, as a spreadsheet writes an empty row; before the header it is none."""
    return not any(map(_cell, cells))


def _cell(value: Any) -> str:
    """What stands in a cell, as RVTools writes it into a CSV."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value).strip()


# --- a tab as text ----------------------------------------------------------------------------------------------------


def _text(path: Path, reading: Reading) -> str:
    """What a tab's file holds. A spreadsheet of Windows writes its own code page, and does not say which."""
    raw = _bytes(path)
    encoding = marked(raw) or "utf-8"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise _invalid(path, no_text(error), AGAIN) from error
    try:
        text = raw.decode("windows-1252")
    except UnicodeDecodeError as error:
        what = "it is text neither in UTF-8 nor in Windows-1252"
        raise _invalid(path, what, "Save it as CSV in UTF-8.") from error
    fix = "Look at names with accents; where they are wrong, save it as CSV in UTF-8."
    reading.doubtful(path, "it is not UTF-8, and was read as Windows-1252", fix)
    return text


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _invalid(path, f"it is larger than {MAX_BYTES >> 20} MiB", "Export fewer machines at once.")
        return path.read_bytes()
    except OSError as error:
        raise _invalid(path, error.strerror or str(error), "Check its permissions.") from error


def _cells_of(text: str, path: Path) -> list[list[str]]:
    """The cells of each line that has any. Raises InputInvalid."""
    head, _, rest = text.lstrip("\r\n").partition("\n")
    if told := _SEPARATOR.fullmatch(head.strip("\r\n \ufeff")):  # a line for Excel, before the header
        delimiter, text = told[1], rest
    else:
        delimiter = max(";,\t", key=head.count)
    csv.field_size_limit(MAX_FIELD)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        cells = list(islice(dropwhile(_is_blank, filter(None, lines)), MAX_ROWS + 2))
    except csv.Error as error:
        raise _invalid(path, str(error), AGAIN) from error
    _refuse_many(cells, path)
    return cells


# --- a tab as a sheet -------------------------------------------------------------------------------------------------


def _sheets(path: Path) -> tuple[dict[str, list[list[Any]]], list[str]]:
    """The sheets of a workbook by the tabs' names, others by their own; and those that stand for a tab that another
    one stands for. Raises InputInvalid."""
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(one.file_size for one in packed.infolist())
        if path.stat().st_size > MAX_BYTES or unpacked > MAX_UNPACKED_BYTES:
            what = f"it is larger than {MAX_BYTES >> 20} MiB, or than {MAX_UNPACKED_BYTES >> 20} MiB unpacked"
            raise _invalid(path, what, "Export fewer machines at once.")
        with path.open("rb") as stream, CalamineWorkbook.from_filelike(stream) as book:
            named: dict[str, str] = {}
            for name in sorted(book.sheet_names, key=len):  # of two that mean one tab, the one that is called just so
                named.setdefault(_known(name), name)
            if "vInfo" not in named and (machines := _sheet_of_machines(book)):
                named = {"vInfo": machines} | {tab: one for tab, one in named.items() if one != machines}
            twins = [name for name in book.sheet_names if _known(name) in TABS and name not in named.values()]
            sheets = {tab: _cells(book, name, path) if tab in TABS else [] for tab, name in named.items()}
            return sheets, twins
    except (OSError, zipfile.BadZipFile, CalamineError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)[:200]
        raise _invalid(path, f"it is no workbook that can be read: {reason}", AGAIN) from error


def _known(name: str) -> str:
    """The tab that a sheet is, whatever stands around its name (`RVTools_tabvInfo`); another sheet's own name."""
    found = _WORDS.fullmatch(name)
    return _called(found) if found else name


def _sheet_of_machines(book: CalamineWorkbook) -> str | None:
    """The first sheet with the columns that vInfo alone has."""
    for name in book.sheet_names:
        if _is_vinfo(next(iter(book.get_sheet_by_name(name).to_python(nrows=1)), [])):
            return name
    return None


def _cells(book: CalamineWorkbook, name: str, path: Path) -> list[list[Any]]:
    cells = book.get_sheet_by_name(name).to_python(nrows=MAX_ROWS + 2)
    _refuse_many(cells, path)
    return list(dropwhile(_is_blank, cells))


def _invalid(path: Path, what: str, fix: str) -> InputInvalid:
    return InputInvalid(f"{shown(path)} cannot be read", [Problem(shown(path), what, fix)])
