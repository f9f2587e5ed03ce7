"""What `aws ec2 describe-…` printed, in the forms in which people keep it: items by their kind. Pure.

Pages after each other, one list of them (`jq -s`), the list alone (`--query`), and answers by profile or region are
all the same to it: an item is known by what is in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INSTANCES = "Reservations"
INSTANCE = "Instance"
GOES_ON = "NextToken"
PAGE, DEEPER = "Page", "Deeper"
BESIDE = {
    "InstanceTypes": "InstanceType",
    "Volumes": "VolumeId",
    "Images": "ImageId",
    "Subnets": "SubnetId",
    "SecurityGroups": "GroupId",
    "Addresses": "AllocationId",
}
"""What else is read: the list's name, and what its items are known by."""
# Of a list without its name: what each item has, and what none has.
_SHAPES: tuple[tuple[str, set[str], set[str]], ...] = (
    ("InstanceTypes", {"InstanceType", "VCpuInfo"}, {"InstanceId"}),
    (INSTANCE, {"InstanceId", "InstanceType"}, {"AllocationId", "LifecycleState"}),  # the latter: of Auto Scaling
    ("Volumes", {"VolumeId", "Size"}, set()),
    ("Images", {"ImageId", "Architecture"}, {"InstanceId"}),
    ("Subnets", {"SubnetId", "CidrBlock"}, set()),
    ("SecurityGroups", {"GroupId", "IpPermissions"}, set()),
    ("Addresses", {"AllocationId", "PublicIp"}, {"IpOwnerId"}),
)
MAX_DEPTH = 50  # answers in a list, by profile, by account, by region
_ID = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")
_KEY = re.compile(r"[A-Z][A-Za-z]+")
_NOT_LISTED = {"ResponseMetadata", GOES_ON}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing: its kind (a key of BESIDE, or INSTANCE), what is said of it, its place, its owner. For each answer
    there is a PAGE (its kind, and whether it goes on), and a DEEPER for what lies too deep to be looked at."""

    kind: str
    content: Any
    place: str
    owner: str | None = None


def values_of(text: str) -> list[Any]:
    """The JSON values of a text, one or several after each other. Raises ValueError."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        while at < len(text) and text[at].isspace():
            at += 1
        if at < len(text):
            value, at = decoder.raw_decode(text, at)
            found.append(value)
    return found


def items_of(value: Any, place: str = "", depth: int = 0) -> Iterator[Item]:
    """What is described in a value."""
    if depth > MAX_DEPTH:
        yield from [Item(DEEPER, None, place)] if isinstance(value, list | dict) else []
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from items_of(one, f"{place}[{number}]", depth + 1)
    elif isinstance(value, dict):
        yield from _of_object(value, place, depth)


def _of_object(value: dict[str, Any], place: str, depth: int) -> Iterator[Item]:
    if (kind := _shape(value)) is not None:  # first: an instance has a list of its SecurityGroups
        yield Item(kind, value, place)
    elif INSTANCES in value or (value.keys() & BESIDE.keys() and "InstanceId" not in value):
        yield from _of_answer(value, place)
    elif "ReservationId" in value:
        yield from _of_reservation(value, place)
    else:
        for name, one in value.items():  # by profile, by region
            yield from items_of(one, f"{place}.{name}" if place else name, depth + 1)


def _of_answer(value: dict[str, Any], place: str) -> Iterator[Item]:
    start = f"{place}." if place else ""
    for number, one in enumerate(_flat(value.get(INSTANCES))):
        where = f"{start}{INSTANCES}[{number}]"
        yield from _of_reservation(one, where) if isinstance(one, dict) else [Item(INSTANCE, one, where)]
    for key in BESIDE:
        for number, one in enumerate(_list(value.get(key))):
            yield Item(key, one, f"{start}{key}[{number}]")
    kind = next(key for key in (INSTANCES, *BESIDE) if key in value)
    yield Item(PAGE, (kind, bool(value.get(GOES_ON))), place)


def named_instance(value: Any, depth: int = 0) -> str | None:
    """The id of an instance that is named in a value of which nothing is an item, as a projection has it (`--query`);
    None where there is none, and where it is another answer, as of Auto Scaling, that names instances beside."""
    if isinstance(value, str):
        return value if _ID.fullmatch(value) else None
    if depth > MAX_DEPTH or not isinstance(value, list | dict) or _is_another_answer(value):
        return None
    if isinstance(value, dict) and "LifecycleState" not in value and isinstance(name := value.get("InstanceId"), str):
        return name
    inside = value.values() if isinstance(value, dict) else value
    return next((found for one in inside if (found := named_instance(one, depth + 1)) is not None), None)


def undescribed(value: Any, depth: int = 0) -> Iterator[Any]:
    """The largest parts of a value in which nothing is an item."""
    if depth > MAX_DEPTH:
        return
    if not any(items_of(value)):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from undescribed(one, depth + 1)
    elif isinstance(value, dict) and not _is_item(value):
        for one in value.values():
            yield from undescribed(one, depth + 1)


def _is_item(value: dict[str, Any]) -> bool:
    """Whether an object is a thing that is described, or an answer."""
    return _shape(value) is not None or bool(value.keys() & {INSTANCES, "ReservationId", *BESIDE})


def _is_another_answer(value: Any) -> bool:
    """Lists of things under names of AWS's, and nothing else."""
    lists = {key: one for key, one in value.items() if key not in _NOT_LISTED} if isinstance(value, dict) else {}
    named = all(_KEY.fullmatch(str(key)) and key != "Instances" for key in lists)
    return bool(lists) and named and all(_is_of_objects(one) for one in lists.values())


def _is_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _of_reservation(value: dict[str, Any], place: str) -> Iterator[Item]:
    owner = value.get("OwnerId") if isinstance(value.get("OwnerId"), str) else None
    for number, one in enumerate(_list(value.get("Instances"))):
        yield Item(INSTANCE, one, f"{place}.Instances[{number}]", owner)


def _shape(value: dict[str, Any]) -> str | None:
    return next((kind for kind, has, lacks in _SHAPES if has <= value.keys() and not lacks & value.keys()), None)


def _flat(value: Any, depth: int = 0) -> Iterator[Any]:
    """Reservations, in a list or, as several answers that somebody put together, in lists of lists; or one alone."""
    if isinstance(value, list) and depth < MAX_DEPTH:
        for one in value:
            yield from _flat(one, depth + 1)
    elif value is not None:
        yield value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
