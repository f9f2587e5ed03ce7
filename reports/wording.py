"""Numbers and foreign text made fit to print; pure.

Text from guests and sources is hostile: control characters, direction overrides and lone surrogates become U+FFFD,
lengths are bounded. Escaping for a format is the format's own business (`reports.pages`, `reports.markdown`).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from kubeferry import words
from kubeferry.words import RUN_STRATEGIES

NAME_LIMIT = 253
LINE_LIMIT = 500
CONSOLE_LINES = 60
CONSOLE_COLUMNS = 240
NOT_SEEN = "not seen"

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs"})
_PASSWORD = re.compile(r"(://[^/@:\s]*):[^/@\s]*@")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def plain(text: str, limit: int = LINE_LIMIT) -> str:
    """One line of at most `limit` characters (one more for the mark that something was cut). A password in a URI is
    left out."""
    if len(text) <= limit and text.isprintable() and "://" not in text and "  " not in text:
        return text.strip()  # as most is
    text = _PASSWORD.sub(r"\1:…@", text[: 20 * limit])
    shown = "".join(
        "\ufffd" if unicodedata.category(c) in _UNPRINTABLE else c for c in _spaced(text[: limit + 1])
    ).strip()
    return shown if len(text) <= limit else f"{shown[:limit].rstrip()}…"


def _spaced(text: str) -> str:
    return " ".join(text.split())


def console(text: str) -> str:
    """The last lines of a console, each bounded, indentation kept."""
    lines = text.replace("\r", "").replace("\t", "    ").split("\n")
    kept = ["".join("\ufffd" if unicodedata.category(c) in _UNPRINTABLE else c for c in line) for line in _last(lines)]
    return "\n".join(line if len(line) <= CONSOLE_COLUMNS else f"{line[:CONSOLE_COLUMNS]}…" for line in kept)


def _last(lines: list[str]) -> list[str]:
    filled = [line[: CONSOLE_COLUMNS + 1].rstrip() for line in lines[-10 * CONSOLE_LINES :]]
    return [line for line in filled if line][-CONSOLE_LINES:]


def size(count: float) -> str:
    """Bytes in binary units, three digits where that helps: `512 B`, `1.5 GiB`, `20 GiB`."""
    unit = 0
    while count >= 1023.5 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    digits = f"{count:.1f}".removesuffix(".0") if unit and count < 100 else f"{count:.0f}"
    return f"{digits}\u00a0{_UNITS[unit]}"


def ends_as(run_strategy: str, handed_over: str, *, committed: bool) -> str:
    """What a machine is run as in the end, and since when; nothing where no plan says it."""
    strategy = handed_over or run_strategy
    means = RUN_STRATEGIES.get(strategy, "its controller decides")
    if handed_over:
        return f"{strategy} since its commit: {means}"
    if committed and strategy:
        return f"{strategy}, as its manifest says: in a cluster {means}"
    return f"{strategy} from its commit on: {means}; until then only this move starts it" if strategy else ""


def rate(per_second: float | None) -> str:
    """Bytes a second in words."""
    return NOT_SEEN if per_second is None else f"{size(per_second)}/s"


def duration(seconds: float | None) -> str:
    """Seconds as people say them; a number and its unit stay on one line."""
    return NOT_SEEN if seconds is None else re.sub(r"(\d) ", "\\1\u00a0", words.duration(seconds))


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 disk`, `2 disks`, `no disks`."""
    many = plural or f"{noun}s"
    return f"{number or 'no'} {noun if number == 1 else many}"


def listed(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    """`a, b and c`; a long list is cut and says so."""
    shown = [*names[:most], f"{len(names) - most} more"] if len(names) > most else list(names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def instant(at: str) -> datetime | None:
    """A recorded time as UTC; None for what is none."""
    try:
        parsed = datetime.fromisoformat(at)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def moment(at: str | None) -> str:
    """A time for people: `2026-07-14 09:12:33 UTC`."""
    parsed = instant(at) if at else None
    return NOT_SEEN if parsed is None else f"{parsed:%Y-%m-%d %H:%M:%S} UTC"


def clock(at: str | None) -> str:
    """The time of day with tenths of a second, where the day is known from elsewhere."""
    parsed = instant(at) if at else None
    return NOT_SEEN if parsed is None else f"{parsed:%H:%M:%S}.{parsed.microsecond // 100_000}"
