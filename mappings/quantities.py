"""Kubernetes quantities: text to numbers and back, exactly."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

MIB = 1 << 20

_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60}
_DECIMAL = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_SHAPE = re.compile(
    r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))(?:([KMGTPE]i)|[eE]([+-]?[0-9]{1,2})|([numkMGTPE]?))"
)


def parse_quantity(value: Any) -> Fraction:
    """The number that a quantity stands for. Raises ValueError for anything that Kubernetes would not read."""
    readable = isinstance(value, (int, str)) and not isinstance(value, bool)
    match = _SHAPE.fullmatch(str(value)) if readable else None
    if match is None:
        raise ValueError(f"{value!r} is not a quantity")
    number, binary, exponent, decimal = match.groups()
    if binary:
        return Fraction(number) * _BINARY[binary]
    if exponent:
        return Fraction(number) * Fraction(10) ** int(exponent)
    return Fraction(number) * _DECIMAL[decimal or ""]


def format_bytes(size: int) -> str:
    """A size in bytes as the shortest exact binary quantity: `2Gi`, `1536Mi`, plain bytes where nothing fits."""
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        if size and size % _BINARY[suffix] == 0:
            return f"{size // _BINARY[suffix]}{suffix}"
    return str(size)


def human_bytes(size: int) -> str:
    """A size in bytes for people: `1.5 GiB`, rounded to one decimal."""
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        if size >= _BINARY[suffix]:
            return f"{size / _BINARY[suffix]:.1f}".removesuffix(".0") + f" {suffix}B"
    return f"{size} bytes"


def duration(seconds: float) -> str:
    """A time for people: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def round_up(size: int, step: int) -> int:
    return -(-size // step) * step
