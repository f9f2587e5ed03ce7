"""A plan as JSON, an entry a line: the form in which it is kept, and read without YAML.

    {"apiVersion":…,"createdAt":…,
    "digest":"…",
    "entries":[
    {…},
    {…}
    ],"excluded":…,"waves":…}

Without its line breaks and its second line it is the very text that the plan's digest was taken over. So it proves
itself while it is read, an entry at a time; and as a whole it is a Plan document like any other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from kubeferry.documents.base import content_of
from kubeferry.documents.outline import Outline, OutlinedEntry
from kubeferry.documents.plan import Entry, Plan, canonical, form_of

ENTRIES = b'"entries":['

_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})",')

E = TypeVar("E", Entry, OutlinedEntry)


class NotLines(ValueError):
    """These lines are no plan, or not the one whose digest they name."""


def to_lines(plan: Plan) -> Iterator[str]:
    """A frozen plan, line by line, without line ends."""
    head, *entries, tail = canonical(plan, form_of(plan) or content_of)
    opening = ENTRIES.decode()
    yield head.removesuffix(opening)
    yield f'"digest":"{plan.digest}",'
    yield opening
    yield from entries
    yield tail


def plan_of(lines: Iterable[bytes]) -> Plan:
    """The plan in these lines. Raises NotLines where they are none, or not the plan that they claim to be."""
    shell, entries = _read(lines, Entry)
    try:
        return Plan.model_validate({**shell, "entries": tuple(entries)})
    except ValidationError as error:
        raise NotLines(str(error)) from error


def outline_of(lines: Iterable[bytes]) -> Outline:
    """What is decided in these lines, without the manifests and fates. All of it is proven by the digest all the same.
    Raises NotLines."""
    shell, entries = _read(lines, OutlinedEntry)
    try:
        return Outline.model_validate({**shell, "entries": tuple(entries)})
    except ValidationError as error:
        raise NotLines(str(error)) from error


def _read(lines: Iterable[bytes], kind: type[E]) -> tuple[dict[str, Any], list[E]]:
    """The plan without its entries, and its entries: what was read is what the digest says, or NotLines is raised."""
    seen = hashlib.sha256()
    entries: list[E] = []
    waiting = (line.rstrip(b"\n") for line in lines)
    try:
        head, claim, opening = next(waiting), _DIGEST.fullmatch(next(waiting)), next(waiting)
        if claim is None or opening != ENTRIES:
            raise NotLines("it does not begin as a plan in lines does")
        seen.update(head + opening)
        tail = b""
        for line in waiting:
            seen.update(line)
            if line.startswith(b"]"):
                tail = line
                break
            entries.append(kind.model_validate_json(line.removesuffix(b",")))
        if next(waiting, None) is not None or seen.hexdigest() != claim[1].decode():
            raise NotLines("it is not the plan whose digest it names")
        shell = json.loads(head.removesuffix(b",") + b"}") | json.loads(b"{" + tail.removeprefix(b"],"))
    except (StopIteration, ValueError) as error:
        raise NotLines(str(error)) from error
    return shell | {"digest": claim[1].decode()}, entries
