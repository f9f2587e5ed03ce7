"""Kubernetes' quantities, exactly. Pure."""

from __future__ import annotations

import re
from fractions import Fraction

_BINARY = {unit: Fraction(1 << (10 * power)) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {
    unit: Fraction(10) ** (3 * power)
    for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
}
SCALES = _BINARY | _DECIMAL
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}))(?:([eE][+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i)?)"
)


def amount(text: object) -> Fraction:
    """What a quantity says: bytes, processors or pieces. Raises ValueError for what is none."""
    found = _QUANTITY.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is no quantity")
    number, exponent, unit = found.groups()
    scale = Fraction(10) ** int(exponent[1:]) if exponent else SCALES[unit or ""]
    return Fraction(number) * scale


def shown(value: Fraction, resource: str = "memory") -> str:
    """An amount for a person: sizes in binary units, processors in parts of one, pieces as they are."""
    if resource.endswith("cpu"):
        return f"{float(value):.4g}"
    if not any(word in resource for word in ("memory", "storage", "hugepages")):
        return str(int(value)) if value.denominator == 1 else f"{float(value):.4g}"
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if abs(value) >= _BINARY[unit]:
            return f"{float(value / _BINARY[unit]):.4g} {unit}B"
    return f"{float(value):.4g} B"
