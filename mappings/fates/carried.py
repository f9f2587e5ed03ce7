"""What became of each field of the source: carried, changed, lost, not needed. Read off the finished manifest.

`leaves` walks a machine and names every fact that it states; `table.FATES` has one rule for each kind of leaf. So the
list is complete by construction: a fact without a rule is not skipped but reported as lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from kubeferry.model import Carried, CpuFeature, Device, Fate, Machine, NumaCell, SourceFact, Timer, TrafficFilter
from mappings.choices import Choices
from mappings.names import Names
from mappings.quantities import human_bytes, parse_quantity

# Small values of which a person reads one line, not one line a field.
_ATOMS = (CpuFeature, Device, NumaCell, SourceFact, Timer, TrafficFilter)
_SOURCE_LIMIT = 400
# A source may have told a secret (the password of a screen): it stands in no list.
_SECRET = re.compile(r"passw|secret|token|credential", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One fact: `path` names it for people, `pattern` is the path without keys, `key` the innermost list item's."""

    path: str
    pattern: str
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a rule may look at: the machine, the choices, the names, and above all the finished manifest."""

    machine: Machine
    choices: Choices
    names: Names
    vm: dict[str, Any]

    def find(self, path: str) -> Any:
        """The value at a target path, None where there is none. `metadata…` and `spec…` start at the object, all other
        paths at the template's spec; `[key]` picks a key of a mapping or the item of that name of a list."""
        parts = re.findall(r"\[([^\]]*)\]|([^.\[]+)", path)
        here: Any = self.vm if path.startswith(("metadata", "spec")) else self.vm["spec"]["template"]["spec"]
        for key, name in parts:
            here = _step(here, key or name)
        return here


def _step(here: Any, key: str) -> Any:
    if isinstance(here, list):
        return next((item for item in here if item.get("name") == key), None)
    return here.get(key) if isinstance(here, dict) else None


Verdict = tuple[Fate, str, str]
"""Fate, target path (empty where no field of the manifest holds it), reason."""

Rule = Callable[[Mapping, Leaf], Verdict]


def carried_list(
    machine: Machine, choices: Choices, names: Names, vm: dict[str, Any], rules: dict[str, Rule]
) -> tuple[Carried, ...]:
    """One line for every fact of the machine, in the model's order."""
    mapping = Mapping(machine, choices, names, vm)
    lines = []
    for leaf in leaves(machine):
        rule = rules.get(leaf.pattern)
        fate, target, reason = rule(mapping, leaf) if rule else (Fate.LOST, "", "kubeferry has no rule for it")
        lines.append(Carried(field=leaf.path, fate=fate, source=told(leaf), target=target, reason=reason))
    return tuple(lines)


def leaves(machine: Machine) -> Iterator[Leaf]:
    """Every fact that the machine states: what is left at its default says nothing, and what a plan leaves out is no
    fact of it."""
    return _walk(machine.model_copy(update={"left_out": None}), "", "", "")


def _walk(value: BaseModel, path: str, pattern: str, key: str) -> Iterator[Leaf]:
    for name, info in type(value).model_fields.items():
        item = getattr(value, name)
        if item == info.get_default(call_default_factory=True):
            continue
        yield from _item(item, f"{path}.{name}".lstrip("."), f"{pattern}.{name}".lstrip("."), key)


def _item(item: Any, path: str, pattern: str, key: str) -> Iterator[Leaf]:
    if isinstance(item, BaseModel):
        yield from _walk(item, path, pattern, key)
    elif isinstance(item, dict):
        for name, value in item.items():
            yield Leaf(f"{path}.{name}", f"{pattern}.*", name, value)
    elif isinstance(item, tuple) and item and isinstance(item[0], (*_ATOMS, BaseModel)) and not _is_chain(pattern):
        yield from _items(item, path, pattern)
    else:
        yield Leaf(path, pattern, key, item)


def _is_chain(pattern: str) -> bool:
    return pattern.endswith(".chain")


def _items(items: tuple[BaseModel, ...], path: str, pattern: str) -> Iterator[Leaf]:
    seen: set[str] = set()
    for position, item in enumerate(items):
        key = _key(item, position)
        place = f"{path}[{key}]" if key not in seen else f"{path}[{key}#{position}]"
        seen.add(key)
        if isinstance(item, _ATOMS):
            yield Leaf(place, f"{pattern}[]", key, item)
        else:
            yield from _walk(item, place, f"{pattern}[]", key)


def _key(item: BaseModel, position: int) -> str:
    for name in ("id", "name", "path"):
        if (value := getattr(item, name, None)) is not None:
            return str(value)
    if isinstance(item, Device):
        return f"{position}:{item.kind}"
    return str(position)


def told(leaf: Leaf) -> str:
    """A fact for people: sizes with their unit, switches as yes and no, long ones cut."""
    if _SECRET.search(leaf.path):
        return "…"
    if leaf.pattern.endswith("_bytes"):
        return human_bytes(leaf.value)
    text = _lines(leaf.value) if isinstance(leaf.value, TrafficFilter) else _text(leaf.value)
    return text if len(text) <= _SOURCE_LIMIT else f"{text[: _SOURCE_LIMIT - 1]}…"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Device):
        model = value.model if value.model not in value.detail.values() else None
        return " ".join(part for part in (value.kind, model, _text(value.detail)) if part)
    if isinstance(value, BaseModel):
        said = {name: getattr(value, name) for name in type(value).model_fields}
        return " ".join(_pair(name, item) for name, item in said.items() if item not in (None, {}, ""))
    if isinstance(value, dict):
        return " ".join(f"{name}={'…' if _SECRET.search(name) else _text(item)}" for name, item in value.items())
    if isinstance(value, tuple):
        return ", ".join(_member(item) for item in value) or "none"
    return str(value)


def _lines(told: TrafficFilter) -> str:
    said = "what it lets through was not told" if told.rules is None else "; ".join(one.line for one in told.rules)
    return f"{told.title or told.name}: {said or 'it has no lines'}"


def _member(item: Any) -> str:
    """An item of a list; a pair is a vCPU and what it is pinned to."""
    return ":".join(map(str, item)) if isinstance(item, tuple) else _text(item)


def _pair(name: str, value: Any) -> str:
    if name in {"name", "kind", "detail", "path"}:
        return _text(value)
    return f"{name.removesuffix('_bytes')}={human_bytes(value) if name.endswith('_bytes') else _text(value)}"


def equal(source: Any, target: Any) -> bool:
    """Whether a source's value and a manifest's say the same: sizes as numbers, words without regard to case."""
    if isinstance(source, bool) or isinstance(target, bool):
        return source is target
    if isinstance(source, int):
        try:
            return parse_quantity(target) == source
        except ValueError:
            return False
    return str(source).lower() == str(target).lower()
