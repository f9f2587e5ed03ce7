"""JSON and YAML that `aws ec2 describe-…` wrote, in one folder and below: instances, and what says how large they are.

A file is known by its content, not by its name. Without instance types memory is unknown (and stops the plan), and
machines of which nobody says how many processors they have are told as unreadable; without volumes, sizes of disks are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from kubeferry.documents import API_VERSION
from kubeferry.errors import InputInvalid, Problem
from kubeferry.sources.ec2.described import BESIDE, GOES_ON, INSTANCE, INSTANCES, Item, items_of, values_of
from kubeferry.sources.ec2.instance import GONE, parse_instance
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.facts.byte_marks import marked, no_text
from kubeferry.sources.facts.readings import Reading, readable, shown

LIMIT_BYTES = 128 << 20
HOW = (
    "what `aws ec2 describe-instances --output json` prints, and describe-instance-types and describe-volumes beside it"
)
_FIX = f"Give {HOW}, each in a file named *.json."
_HALVES = re.compile(r"\\u[dD][89a-fA-F]")  # each of two escapes for one character
_HALF = re.compile("[\ud800-\udfff]")  # without the other one it can stand in no document

Index = dict[str, dict[str, dict[str, Any]]]


def read_all(paths: Sequence[Path], source: str) -> Reading:
    """The instances of all files, each with what any of them says of what it has. A file of something else is passed
    over, one that cannot be read left out, and both are told."""
    reading = Reading()
    found = {path: _items(path, reading) for path in readable(paths, reading)}
    index = _index(found, reading)
    addresses: dict[str, list[dict[str, Any]]] = {}
    for one in index["Addresses"].values():
        addresses.setdefault(str(one.get("InstanceId")), []).append(one)
    for path, items in found.items():
        if items and all(item.kind != INSTANCE for item in items):
            reading.beside.append(path)
        for item in items:
            if item.kind == INSTANCE and not _is_gone(item.content):
                _read(path, item, index, addresses, source, reading)
    return reading


def _read(
    path: Path,
    item: Item,
    index: Index,
    addresses: dict[str, list[dict[str, Any]]],
    source: str,
    reading: Reading,
) -> None:
    """One instance, read or told."""
    instance = item.content
    if not isinstance(instance, dict) or not isinstance(instance.get("InstanceId"), str):
        reading.left_out(f"{shown(path)}: {item.place}", "it is no instance: it has no InstanceId", _FIX)
        return
    name = instance["InstanceId"]
    told = Told(
        instance=instance,
        account=item.owner,
        kind=index["InstanceTypes"].get(str(instance.get("InstanceType"))),
        image=index["Images"].get(str(instance.get("ImageId"))),
        volumes=index["Volumes"],
        subnets=index["Subnets"],
        groups=index["SecurityGroups"],
        addresses=tuple(addresses.get(name, ())),
    )
    try:
        reading.machines.append((path, parse_instance(told, source=source)))
    except InputInvalid as error:
        reading.left_out(f"{shown(path)}: {name}", error.why, error.fix or _FIX)


def _is_gone(instance: Any) -> bool:
    state = instance.get("State") if isinstance(instance, dict) else None
    return isinstance(state, dict) and str(state.get("Name")) in GONE


def _index(found: dict[Path, list[Item]], reading: Reading) -> Index:
    """All that the files say of things that belong to instances; of two words about one, the last one's counts, and
    that is told."""
    index: Index = {key: {} for key in BESIDE}
    places: dict[tuple[str, str], Path] = {}
    for path, items in found.items():
        for item in items:
            if (name := _name(item)) is None:
                continue
            known = index[item.kind].get(name)
            if known is not None and known != item.content and (other := places[item.kind, name]) != path:
                fix = "Leave the older file out, and discover again."
                reading.doubtful(path, f"{name} is told otherwise than in {shown(other)}, and is taken from here", fix)
            index[item.kind][name] = item.content
            places[item.kind, name] = path
    return index


def _name(item: Item) -> str | None:
    """What a thing that belongs to instances is known by."""
    told = item.content.get(BESIDE[item.kind]) if item.kind in BESIDE and isinstance(item.content, dict) else None
    return told if isinstance(told, str) else None


def _items(path: Path, reading: Reading) -> list[Item]:
    """What a file describes; what is wrong with it is told."""
    try:
        values = _values(path)
    except InputInvalid as error:
        reading.failed(error, path)
        return []
    found = list(items_of(values))
    for item in found:
        if item.kind == GOES_ON:
            what = f"the answer goes on: it ends with a {GOES_ON}, so some {item.content} are missing"
            reading.left_out(path, what, "Let the AWS CLI read all pages: without --max-items and --no-paginate.")
    if not found and any(_names_instances(one) for one in values):
        reading.beside.append(path)
    elif not found and (ours := [one["kind"] for one in values if _is_ours(one)]):
        reading.passed_over(path, f"it is kubeferry's own: {', '.join(ours)}")
    elif not found:
        what = f"neither {INSTANCES} nor one of {', '.join(BESIDE)} is in it"
        reading.passed_over(path, what, _FIX)
    return [one for one in found if one.kind != GOES_ON]


def _names_instances(value: Any) -> bool:
    """An answer without any item."""
    return isinstance(value, dict) and bool(value.keys() & {INSTANCES, *BESIDE})


def _is_ours(value: Any) -> bool:
    """A document that kubeferry wrote, or reads elsewhere."""
    return isinstance(value, dict) and value.get("apiVersion") == API_VERSION and isinstance(value.get("kind"), str)


def _values(path: Path) -> list[Any]:
    """The values of a file. Raises InputInvalid."""
    text = _text(path)
    kind = "JSON" if path.suffix.lower() == ".json" else "YAML"
    try:
        values = values_of(text) if kind == "JSON" else [one for one in yaml.safe_load_all(text) if one is not None]
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        what = f"it is no {kind}: {' '.join(str(error).split())[:200]}"
        raise InputInvalid(f"{path} is no {kind}", [Problem(str(path), what, _FIX)]) from error
    if _HALVES.search(text) and _HALF.search(json.dumps(values, ensure_ascii=False, default=str)):
        what = "it holds half a character (a surrogate without its other half), which stands in no document"
        fix = "Correct the tag or name in which it stands at its source, and export again."
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), what, fix)])
    return values


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LIMIT_BYTES:
            what, fix = "it is larger than 128 MiB", "Write fewer instances into a file: --filters, --instance-ids."
            raise InputInvalid(f"{path} is too large", [Problem(str(path), what, fix)])
        raw = path.read_bytes()
        return raw.decode(marked(raw) or "utf-8")
    except OSError as error:
        fix = "Check its permissions."
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), str(error.strerror), fix)]) from error
    except UnicodeDecodeError as error:
        what = no_text(error)
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), what, _FIX)]) from error
