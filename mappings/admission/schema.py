"""Manifests checked offline against field tables: unknown fields, wrong types, missing parts, closed lists.

The tables stand in `fields/`, one per kind: an indented tree of names and types. They hold facts of the APIs (the v1.9
line of KubeVirt, CDI after v1.66, Kubernetes core/v1). What they cannot say is in `admission`.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kubeferry.errors import Problem
from mappings.quantities import parse_quantity

KINDS = ("VirtualMachine", "DataVolume", "PersistentVolumeClaim", "Secret", "ConfigMap", "NetworkPolicy")

_METADATA = {
    "name": "str",
    "namespace": "str",
    "labels": "map",
    "annotations": "map",
    "generateName": "str",
    "finalizers": "list",
    "ownerReferences": "list",
}


@dataclass(slots=True)
class Field:
    """One field of a kind: its type, whether it is a list or map of that type, its limits and its own fields."""

    kind: str
    required: bool = False
    many: str = ""
    choices: tuple[str, ...] = ()
    limit: int | None = None
    fields: dict[str, Field] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """The fields of one kind of object."""

    kind: str
    api_version: str
    root: Field


_LINE = re.compile(
    r"(?P<indent> *)(?P<name>[A-Za-z0-9]+)(?P<many>\[\]|\{\})?(?P<required>!)? (?P<kind>[a-z-]+)(?P<rest>.*)"
)


def parse_table(text: str) -> Table:
    """Read one field table. Raises ValueError naming the line that is not one."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    kind, api_version = lines[0].split(" ")
    root = Field("obj")
    branch = [root]
    for line in lines[1:]:
        match = _LINE.fullmatch(line)
        depth = len(match["indent"]) // 2 if match else 0
        if match is None or not 1 <= depth <= len(branch):
            raise ValueError(f"not a line of a field table: {line!r}")
        del branch[depth:]
        found = _field(match)
        branch[-1].fields[match["name"]] = found
        branch.append(found)
    return Table(kind, api_version, root)


def _field(match: re.Match[str]) -> Field:
    found = Field(match["kind"], required=bool(match["required"]), many=match["many"] or "")
    for extra in match["rest"].split():
        if extra.startswith("="):
            found.choices = tuple(extra[1:].split("|"))
        elif extra.startswith("max="):
            found.limit = int(extra[4:])
    return found


@functools.cache
def table(kind: str) -> Table:
    """The packaged table of one of `KINDS`."""
    fields = importlib.resources.files("mappings.admission").joinpath("fields", f"{kind}.fields")
    return parse_table(fields.read_text("utf-8"))


def check_manifest(manifest: dict[str, Any]) -> list[Problem]:
    """Everything that an API server with these tables would refuse in one manifest; empty when it would take it."""
    kind = manifest.get("kind")
    if kind not in KINDS:
        return [Problem("kind", f"{kind!r} is none of {', '.join(KINDS)}", "Use a kind that kubeferry writes.")]
    known = table(kind)
    problems = []
    if manifest.get("apiVersion") != known.api_version:
        fix = f"Write `apiVersion: {known.api_version}`."
        problems.append(Problem(f"{kind}: apiVersion", f"is {manifest.get('apiVersion')!r}", fix))
    prefix = f"{kind} {_name(manifest)}: "
    body = {key: value for key, value in manifest.items() if key not in {"apiVersion", "kind", "metadata"}}
    found = [*_metadata(manifest.get("metadata")), *_object(body, known.root, "")]
    return problems + [Problem(prefix + problem.where, problem.what, problem.fix) for problem in found]


def _name(manifest: dict[str, Any]) -> str:
    metadata = manifest.get("metadata")
    return str(metadata.get("name", "without a name")) if isinstance(metadata, dict) else "without a name"


def _metadata(metadata: Any) -> Iterator[Problem]:
    if not isinstance(metadata, dict):
        yield Problem("metadata", "is missing", "Add it, with a name.")
        return
    if not metadata.get("name"):
        yield Problem("metadata.name", "is missing", "Give the object a name.")
    shapes: dict[str, Field] = {
        name: Field("any") if kind == "list" else Field("str", many="{}" if kind == "map" else "")
        for name, kind in _METADATA.items()
    }
    yield from _object(metadata, Field("obj", fields=shapes), "metadata")


def _object(content: Any, shape: Field, where: str) -> Iterator[Problem]:
    if not isinstance(content, dict):
        yield _wrong(where, content, "a mapping")
        return
    for name, value in content.items():
        path = f"{where}.{name}".lstrip(".")
        known = shape.fields.get(name)
        if known is None:
            yield Problem(path, "is not a field of this kind", "Remove it or correct its spelling.")
        else:
            yield from _value(value, known, path)
    for name, known in shape.fields.items():
        if known.required and content.get(name) is None:
            yield Problem(f"{where}.{name}".lstrip("."), "is missing", "Add it.")


def _value(value: Any, shape: Field, where: str) -> Iterator[Problem]:
    if shape.many == "[]":
        yield from _list(value, shape, where)
    elif shape.many == "{}":
        if isinstance(value, dict):
            for key, item in value.items():
                yield from _single(item, shape, f"{where}[{key}]")
        else:
            yield _wrong(where, value, "a mapping")
    else:
        yield from _single(value, shape, where)


def _list(value: Any, shape: Field, where: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield _wrong(where, value, "a list")
        return
    if shape.limit is not None and shape.kind == "obj" and len(value) > shape.limit:
        yield Problem(where, f"has {len(value)} items, at most {shape.limit} are allowed", "Remove some.")
    for index, item in enumerate(value):
        yield from _single(item, shape, f"{where}[{index}]")


def _single(value: Any, shape: Field, where: str) -> Iterator[Problem]:
    if shape.kind == "obj" or (shape.kind == "any" and shape.fields):
        yield from _object(value, shape, where)
        return
    wanted, fits = _SCALARS[shape.kind]
    if not fits(value):
        yield _wrong(where, value, wanted)
    elif shape.choices and value not in shape.choices:
        yield Problem(where, f"is {value!r}", f"Use one of {', '.join(shape.choices)}.")
    elif shape.limit is not None and isinstance(value, str) and len(value) > shape.limit:
        yield Problem(where, f"has {len(value)} characters", f"Use at most {shape.limit}.")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_quantity(value: Any) -> bool:
    try:
        parse_quantity(value)
    except ValueError:
        return False
    return True


_SCALARS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("text", lambda value: isinstance(value, str)),
    "int": ("a whole number", _is_integer),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "quantity": ("a quantity such as 512Mi", _is_quantity),
    "int-or-str": ("a whole number or text", lambda value: isinstance(value, str) or _is_integer(value)),
    "time": ("a time as text", lambda value: isinstance(value, str)),
    "any": ("anything", lambda _value: True),
}


def _wrong(where: str, value: Any, wanted: str) -> Problem:
    return Problem(where or "manifest", f"is {str(value)[:60]!r}, not {wanted}", f"Write {wanted}.")
