"""Sets of byte ranges in HTTP's words, `bytes=0-65535,131072-196607`: how a reference names what changed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

UNIT = "bytes="
LIMIT = 20_000
"""The most ranges that one set may have: it stands in a document."""
_SET = re.compile(r"\d{1,19}-\d{1,19}(,\d{1,19}-\d{1,19})*", re.ASCII)

Range = tuple[int, int]
"""Start and end of some bytes; the end is the first byte that does not belong to it."""


def joined(ranges: Iterable[Range], limit: int = LIMIT) -> list[Range]:
    """The ranges in order, neighbours and overlaps as one, empty ones left out.

    Where more than `limit` are left, the narrowest gaps are filled: more bytes are named then, never fewer.
    """
    found: list[Range] = []
    for start, end in sorted(one for one in ranges if one[0] < one[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    if len(found) <= limit:
        return found
    gaps = sorted(range(1, len(found)), key=lambda at: found[at][0] - found[at - 1][1], reverse=True)
    kept = sorted(gaps[: limit - 1])
    firsts, lasts = [0, *kept], [*(at - 1 for at in kept), len(found) - 1]
    return [(found[first][0], found[last][1]) for first, last in zip(firsts, lasts, strict=True)]


def range_set(ranges: Iterable[Range]) -> str:
    """The set in HTTP's words, at most `LIMIT` ranges of it. `bytes=` alone names nothing at all."""
    return UNIT + ",".join(f"{start}-{end - 1}" for start, end in joined(ranges))


def ranges_of(text: str) -> list[Range]:
    """The ranges that `range_set` wrote. Raises ValueError for anything else, and for ranges out of order."""
    if not text.startswith(UNIT):
        raise ValueError(f"{text[:40]!r} is no set of byte ranges")
    told = text.removeprefix(UNIT)
    if told and not _SET.fullmatch(told):
        raise ValueError(f"{text[:40]!r} is no set of byte ranges")
    found = [(int(start), int(last) + 1) for start, _, last in (one.partition("-") for one in told.split(",") if one)]
    if found != joined(found) or len(found) > LIMIT:
        raise ValueError("the byte ranges are not in order, or too many")
    return found
