"""Tables in plain text, whole wherever they go: no cell is ever cut. Pure.

Piped, a row is a line. On a terminal the last column is folded at words, below itself, where that fits; no other
column is, so that a name can be marked and copied.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from kubeferry.words import plain

GAP = "  "
NARROWEST = 24


def lines(headings: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None) -> Iterator[str]:
    """The heading and each row, aligned; `width` is a terminal's, None where lines are as long as they are."""
    table = [tuple(plain(str(cell)) for cell in row) for row in (headings, *rows)]
    *widths, _ = (max(columns(row[place]) for row in table) for place in range(len(headings)))
    before = sum(widths) + len(GAP) * len(widths)
    for row in table:
        head = "".join(padded(cell, wide) + GAP for cell, wide in zip(row, widths, strict=False))
        first, *more = _folded(row[-1], None if width is None else width - before)
        yield (head + first).rstrip()
        yield from (" " * before + line for line in more)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(one) for one in text)


def padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _columns_of(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def _folded(text: str, width: int | None) -> list[str]:
    if width is None or width < NARROWEST or columns(text) <= width:
        return [text]
    found = [""]
    for word in text.split():
        if found[-1] and columns(found[-1]) + 1 + columns(word) > width:
            found.append("")
        found[-1] = f"{found[-1]} {word}".strip()
    return found
