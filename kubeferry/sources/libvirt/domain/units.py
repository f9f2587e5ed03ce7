"""libvirt's words for amounts of memory and storage, in bytes."""

from __future__ import annotations

import re

from kubeferry.sources.facts.xml_tree import Node

_PREFIXES = "kmgtpe"
_WHOLE = re.compile(r"[0-9]{1,24}")


def to_bytes(amount: str, unit: str) -> int | None:
    """Bytes of a whole `amount` of a libvirt unit: `b`, `KB` (1000), `k` or `KiB` (1024), … `E`; None if it is neither.

    Case does not matter, as it does not to libvirt.
    """
    factor = _factor(unit.strip().lower())
    return int(amount) * factor if factor and _WHOLE.fullmatch(amount) else None


def size_at(node: Node, path: str, unit: str, default: str = "KiB") -> int | None:
    """Bytes of the amount at a path of an element, whose unit stands at the path `unit`. Another one is a problem."""
    amount, word = node.value(path), node.value(unit) or default
    if amount is None:
        return None
    found = to_bytes(amount, word)
    if found is None:
        node.refuse_value(path, f"{amount[:40]!r} {word[:40]!r} is not an amount with a unit that libvirt knows")
    return found


def _factor(unit: str) -> int | None:
    if unit in {"b", "byte", "bytes"}:
        return 1
    prefix, suffix = unit[:1], unit[1:]
    base = {"": 1024, "ib": 1024, "b": 1000}.get(suffix)
    if not prefix or prefix not in _PREFIXES or base is None:
        return None
    return int(base ** (_PREFIXES.index(prefix) + 1))
