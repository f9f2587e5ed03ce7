"""The files of an inventory export in tabs: `…vInfo.csv` and what lies beside it, `…vDisk.csv`, `…vNetwork.csv`, ….

Bounded before they are read; the delimiter is found in the header line, the encoding in the first bytes.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.vsphere.tabs import AGAIN, TABS, Row, machines_of

MAX_BYTES = 64 << 20
MAX_ROWS = 200_000
MAX_FIELD = 65_536
NEEDED = ("VM", "CPUs", "Memory")
HOW = "the tabs of an inventory export as RVTools writes them (vInfo, vDisk and vNetwork as *.csv)"


def read_machines(path: Path, source: str) -> list[Machine]:
    """The machines of a vInfo tab, with the tabs beside it; other tabs have none of their own. Raises InputInvalid."""
    name = tab_of(path)
    if name is None:
        raise _invalid(path, "its name ends in none of the known tabs", f"Name it …{TABS[0]}.csv, …{TABS[1]}.csv.")
    if name != "vInfo":
        if not _beside(path, name, "vInfo").exists():
            raise _invalid(path, "there is no vInfo tab beside it", "Export the tab vInfo, too.")
        return []
    tabs = {name: _rows(path)}
    for other in TABS[1:]:
        if (there := _beside(path, name, other)).exists():
            tabs[other] = _rows(there)
    if tabs["vInfo"]:
        missing = [column for column in NEEDED if column not in tabs["vInfo"][0]]
        if missing:
            raise _invalid(path, f"the columns {', '.join(missing)} are missing", AGAIN)
    return machines_of(tabs, source=source, where=str(path))


def tab_of(path: Path) -> str | None:
    """Which tab a file is by its name, None for none that is known."""
    return next((tab for tab in TABS if path.stem.lower().endswith(tab.lower())), None)


def _beside(path: Path, tab: str, other: str) -> Path:
    """The file of another tab of the same export; names differ in their end only, whatever their case."""
    wanted = f"{path.stem[: -len(tab)]}{other}{path.suffix}".lower()
    return next((one for one in path.parent.iterdir() if one.name.lower() == wanted), path.with_name(wanted))


def _rows(path: Path) -> list[Row]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _invalid(path, f"it is larger than {MAX_BYTES >> 20} MiB", "Export fewer machines at once.")
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)[:200]
        raise _invalid(path, reason, AGAIN) from error
    head = text.partition("\n")[0]
    delimiter = max(";,\t", key=head.count)
    found: list[Row] = []
    try:
        csv.field_size_limit(MAX_FIELD)
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter):
            if len(found) >= MAX_ROWS:
                raise _invalid(path, f"it has more than {MAX_ROWS} rows", "Export fewer machines at once.")
            found.append({key.strip(): (value or "").strip() for key, value in row.items() if isinstance(key, str)})
    except csv.Error as error:
        raise _invalid(path, str(error), AGAIN) from error
    return found


def _invalid(path: Path, what: str, fix: str) -> InputInvalid:
    return InputInvalid(f"{path} cannot be read", [Problem(str(path), what, fix)])
