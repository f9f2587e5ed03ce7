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
from kubeferry.model import Concern, Severity
from kubeferry.sources.ec2.described import (
    BESIDE,
    DEEPER,
    GOES_ON,
    INSTANCE,
    INSTANCES,
    MAX_DEPTH,
    PAGE,
    Item,
    items_of,
    named_instance,
    undescribed,
    values_of,
)
from kubeferry.sources.ec2.instance import GONE, parse_instance
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.facts.byte_marks import marked, no_text
from kubeferry.sources.facts.readings import Reading, readable, shown
from kubeferry.sources.facts.signs import of_proxmox
from kubeferry.words import counted

LIMIT_BYTES = 128 << 20
HOW = (
    "what `aws ec2 describe-instances --output json` prints, and describe-instance-types and describe-volumes beside it"
)
_FIX = f"Give {HOW}, each in a file named *.json."
_PAGES = "Let the AWS CLI read all pages: without --max-items and --no-paginate."
_ENDED = "machine.ended"
_NUMBER = re.compile(r"\[[0-9]+\]")
_HALVES = re.compile(r"\\u[dD][89a-fA-F]")  # each of two escapes for one character
_HALF = re.compile("[\ud800-\udfff]")  # without the other one it can stand in no document

Index = dict[str, dict[str, dict[str, Any]]]


def read_all(paths: Sequence[Path], source: str) -> Reading:
    """The instances of all files, each with what any of them says of what it has. A file of something else is passed
    over, one that cannot be read left out, and both are told."""
    reading = Reading()
    found = {path: _items(path, reading) for path in readable(paths, reading)}
    index = _index(found, reading)
    _tell_of_pages(found, reading)
    addresses: dict[str, list[dict[str, Any]]] = {}
    for one in index["Addresses"].values():
        addresses.setdefault(str(one.get("InstanceId")), []).append(one)
    for path, items in found.items():
        instances = [item for item in items if item.kind == INSTANCE]
        there = [item for item in instances if not _is_gone(item.content)]
        if items and not there:
            reading.beside.append(path)
        if ended := len(instances) - len(there):
            what = f"{shown(path)}: it holds {counted(ended, 'instance')} that ended: nothing is left there to move"
            reading.told.append(Concern(id=_ENDED, severity=Severity.INFO, what=what, fix=""))
        for item in there:
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
        reasons = [one.what if one.where == name else f"{one.where}: {one.what}" for one in error.problems]
        fix = next((one.fix for one in error.problems if one.fix), _FIX)
        reading.left_out(f"{shown(path)}: {name}", "; ".join(reasons) or error.what, fix)


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
    if any(item.kind == DEEPER for item in found):
        what = f"it is nested deeper than {MAX_DEPTH} levels, and what lies deeper is not read"
        reading.left_out(path, what, _FIX)
        return [item for item in found if item.kind != DEEPER]
    if (name := _projected(values)) is not None:
        what = f"it names instances ({name[:40]}) without what describes them: a --query may have left that out"
        fix = "Write it again without --query, or with `--query 'Reservations[].Instances[]'`."
        reading.left_out(path, what, fix)
    elif not found and (ours := [one["kind"] for one in values if _is_ours(one)]):
        reading.passed_over(path, f"it is kubeferry's own: {', '.join(ours)}")
    elif not found and any(told := [of_proxmox(json.dumps(one, default=str)) for one in values]):
        reading.left_out(path, *next(filter(None, told)))
    elif not found:
        what = f"neither {INSTANCES} nor one of {', '.join(BESIDE)} is in it"
        reading.passed_over(path, what, _FIX)
    return found


def _projected(values: list[Any]) -> str | None:
    """An instance that is named in a value, or in a part of one, in which nothing is described."""
    parts = (part for one in values for part in undescribed(one))
    return next((name for one in parts if (name := named_instance(one)) is not None), None)


def _tell_of_pages(found: dict[Path, list[Item]], reading: Reading) -> None:
    """Answers whose last page says that it goes on; the next one may be in another file, where one ends there."""
    last: dict[tuple[Path, str, str], bool] = {}
    for path, items in found.items():
        for item in items:
            if item.kind == PAGE:
                kind, goes_on = item.content
                last[path, kind, _NUMBER.sub("", item.place)] = goes_on
    for kind in dict.fromkeys(kind for _, kind, _ in last):
        going = list(dict.fromkeys(path for (path, own, _), goes_on in last.items() if own == kind and goes_on))
        ended = {path for (path, own, _), goes_on in last.items() if own == kind and not goes_on}
        for path in going if not ended - {*going} else []:
            what = f"the answer goes on: it ends with a {GOES_ON}, so some {kind} are missing"
            reading.left_out(path, what, _PAGES)
        if going and ended - {*going}:
            others = f", and so does that of {counted(len(going) - 1, 'other file')}" if len(going) > 1 else ""
            what = (
                f"the answer goes on ({GOES_ON}){others}: some {kind} are missing, unless the rest is in another file"
            )
            reading.doubtful(going[0], what, f"Nothing, where all pages are here. Else: {_PAGES}")


def _is_ours(value: Any) -> bool:
    """A document that kubeferry wrote, or reads elsewhere."""
    return isinstance(value, dict) and value.get("apiVersion") == API_VERSION and isinstance(value.get("kind"), str)


class _Plain(yaml.SafeLoader):
    """Without aliases, which no answer has: a few lines of them stand for more than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases (*name), which are not read")
        return super().compose_node(parent, index)


def _values(path: Path) -> list[Any]:
    """The values of a file. Raises InputInvalid."""
    text = _text(path)
    kind = "JSON" if path.suffix.lower() == ".json" else "YAML"
    try:
        values = values_of(text) if kind == "JSON" else [one for one in yaml.load_all(text, _Plain) if one is not None]
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
