"""What people write into the cells of a wave sheet, as the words of a policy."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from kubeferry.documents import OF_AN_APP, ShortName
from kubeferry.words import first_of, meant

NONE = "-"
"""In a cell: nothing at all, whatever the policy says. An empty cell is as the policy says."""

Said = str | bool | tuple[str, ...]

_SHORT_NAME: TypeAdapter[str] = TypeAdapter(ShortName)
_MONTHS = "jan|feb|m[aä]r|mrz|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]"
_DATE = re.compile(
    rf"\d{{1,4}}[-/.]\d{{1,2}}([-/.]\d{{2,4}})?|\d{{1,2}}[-. ]+({_MONTHS})\w*[-. ]*\d*|({_MONTHS})\w*[-. ]+\d{{1,4}}",
    re.IGNORECASE,
)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")
_YES = frozenset({"yes", "y", "true", "1", "x", "ja", "wahr"})
_NO = frozenset({"no", "n", "false", "0", "nein", "falsch", NONE})
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Wrong(Exception):
    """A cell that says nothing we know, and what to write in its place."""

    what: str
    fix: str


def short_name(text: str, known: Collection[str], noun: str) -> str:
    """The name of a wave, an app or a window: `Wave 1` and `wave_1` are `wave-1`; empty for `-`. Raises Wrong; what a
    spreadsheet has made a date of is nobody's name, unless it is known as one; 2026-12-05 is."""
    if text == NONE:
        return ""
    name = re.sub(r"[\s_]+", "-", text.strip()).lower()
    if name in known:
        return name
    if _DATE.fullmatch(text.strip()) and not _ISO.fullmatch(text.strip()):
        fix = "Write the name that it was, and give the column the format `Text` before."
        raise Wrong(f"{text!r} looks like a date that a spreadsheet has made of a name", fix)
    try:
        return _SHORT_NAME.validate_python(name)
    except ValidationError:
        fix = "Use at most 63 letters, digits, '-' and '.', with a letter or digit at both ends."
        raise Wrong(f"{text!r} cannot be the name of {noun}", fix) from None


def mode(text: str) -> str:
    """`cold` or `warm`. Raises Wrong."""
    if text.casefold() in {"cold", "warm"}:
        return text.casefold()
    raise Wrong(f"{text!r} is no mode", "Write cold or warm.")


def yes_or_no(text: str) -> bool:
    """Raises Wrong for what is neither."""
    if text.casefold() in _YES:
        return True
    if text.casefold() in _NO:
        return False
    raise Wrong(f"{text!r} is neither yes nor no", "Write yes or no.")


def listed(names: Iterable[str]) -> str:
    """Names in one cell, to be read by `names`."""
    listed = tuple(names)
    return ("\n" if any("," in one or ";" in one for one in listed) else ", ").join(listed)


def names(text: str, known: Collection[str]) -> tuple[str, ...]:
    """Machines, and apps as `app:NAME`, from one cell: with commas, semicolons or line ends between them. Raises Wrong
    where one of them is not known."""
    if text == NONE:
        return ()
    parts: list[str] = []
    for pattern in (r"\Z", r"\n", r"[,;\n]"):
        parts = [part.strip() for part in re.split(pattern, text) if part.strip()]
        if all(part in known for part in parts):
            return tuple(dict.fromkeys(parts))
    strange = [part for part in parts if part not in known]
    machines = [one for one in known if not one.startswith(OF_AN_APP)]
    fix = meant(strange[0], known) or f"Write machines ({first_of(machines, _SHOWN)}), apps as app:NAME, or -."
    raise Wrong(f"{first_of([repr(one) for one in strange], _SHOWN)} is no machine and no app", fix)
