"""A plan's YAML as its lines (`lines`), machine by machine: what somebody else wrote is read without holding it.

Only what is written as we write it is read so (`yaml_lines`), by this version, and whole: it has the digest that it
claims, and each part of it is valid. Whatever else it may be is Irregular here, and for PyYAML and its messages.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from kubeferry.documents.base import canonical_json, content_of
from kubeferry.documents.lines import ENTRIES
from kubeferry.documents.plan import Entry, Plan
from kubeferry.documents.yaml_lines import Irregular, Line, item, look, mapping

OPENING = "entries:"
FIELDS = frozenset(field.alias or name for name, field in Plan.model_fields.items()) - {"entries"}
LATER = frozenset({"order", "precopy"})
"""Fields that plans of earlier versions have not."""


def lines_of(text: Iterable[bytes], digest: str, claims: tuple[str, ...]) -> Iterator[str]:
    """The lines of the plan in a text of this digest, without line ends. `claims` are the digests of plans that it
    names.

    Raises Irregular, at its end at the latest: nothing of it is to be believed before.
    """
    try:
        (claim,) = claims
        yield from _lines_of(_proven(text, digest), claim)
    except ValueError as error:
        raise Irregular(str(error)) from error


def _proven(text: Iterable[bytes], digest: str) -> Iterator[Line]:
    """Its lines. At their end it is known to be the text that was meant, or Irregular is raised."""
    seen = hashlib.sha256()
    for line in text:
        seen.update(line)
        yield look(line.decode().removesuffix("\n"))
    if seen.hexdigest() != digest:
        raise Irregular("the file was changed meanwhile")


def _lines_of(text: Iterator[Line], claim: str) -> Iterator[str]:
    seen = hashlib.sha256()

    def covered(piece: str) -> str:
        seen.update(piece.encode())
        return piece

    first = next(text)
    if first.key is None:  # JSON, or with a comment above
        raise Irregular(first.text)
    before = mapping([first, *itertools.takewhile(lambda line: line.text != OPENING, text)])
    yield covered(canonical_json(_head(before))[:-1] + ",")
    yield f'"digest":"{claim}",'
    yield covered(ENTRIES.decode())
    names: list[str] = []
    behind: list[Line] = []
    written = ""
    for entry in _entries(text, behind):
        if names:
            yield covered(f"{written},")
        names.append(entry.name)
        written = canonical_json(content_of(entry))
    yield covered(written)
    after = mapping(behind)
    shell = before | after
    tail = {key: value for key, value in shell.items() if key > "entries"}
    yield covered(f"],{canonical_json(tail)[1:]}")
    if shell.keys() | LATER != FIELDS or before.keys() & after.keys() or _head(shell) != _head(before):
        raise Irregular("its own fields are not those of a plan that this version writes")
    _check(shell, names)
    if not shell["digest"] == claim == seen.hexdigest():
        raise Irregular("its digest does not match its content")


def _check(shell: dict[str, Any], names: list[str]) -> None:
    """The plan without its entries is valid, and one with theirs: each of them was checked when it was read. Raises
    ValueError."""
    known: list[dict[str, Any]] = [{"name": name} for name in names]
    Plan.model_validate(shell | {"entries": tuple(Entry.model_construct(**one) for one in known)})


def _head(shell: dict[str, Any]) -> dict[str, Any]:
    """What the digest covers before the entries."""
    return {key: value for key, value in shell.items() if key < "entries" and key != "digest"}


def _entries(text: Iterator[Line], behind: list[Line]) -> Iterator[Entry]:
    """Each entry in turn, and at last the lines that stand behind them."""
    one: list[Line] = []
    for line in text:
        if line.column == 0 and one:
            yield Entry.model_validate_json(json.dumps(item(one)))
            one.clear()
        if line.column == 0 and not line.dash:
            behind += (line, *text)
            return
        one.append(line)
    raise Irregular("nothing stands behind its entries")
