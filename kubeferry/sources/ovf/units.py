"""Amounts in OVF's words: `byte * 2^20`, `KiloByte`, and the older `MegaBytes`, which are powers of 1024 too."""

from __future__ import annotations

import re

LIMIT_BYTES = 1 << 63
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_UNIT = re.compile(
    r"(?:(kilo|mega|giga|tera|peta|[kmgtp][ei]bi)?bytes?|([kmgtp]?)i?b)((?:\s*\*\s*\d{1,10}(?:\s*\^\s*\d{1,2})?){0,3})",
    re.ASCII,
)
_FACTOR = re.compile(r"\*\s*(\d+)(?:\s*\^\s*(\d+))?", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def to_bytes(amount: str, unit: str) -> int | None:
    """Bytes of a whole `amount` of a unit; None where either is none, or the product is beyond any memory or disk."""
    found = _UNIT.fullmatch(unit.strip().lower())
    if found is None or not _WHOLE.fullmatch(amount.strip()):
        return None
    prefix = (found[1] or found[2] or "")[:1]
    factor = 1024 ** _POWERS[prefix]
    for base, power in _FACTOR.findall(found[3]):
        factor *= int(base) ** int(power or 1)
    product = int(amount) * factor
    return product if product < LIMIT_BYTES else None
