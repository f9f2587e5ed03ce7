"""What `aws ec2 describe-…` printed, in the forms in which people keep it: items by their kind. Pure.

Pages after each other, one list of them (`jq -s`), the list alone (`--query`), and answers by profile or region are
all the same to it: an item is known by what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INSTANCES = "Reservations"
INSTANCE = "Instance"
GOES_ON = "NextToken"
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
_DEPTH = 5  # answers in a list, by profile, by region


@dataclass(frozen=True, slots=True)
class Item:
    """One thing: its kind (a key of BESIDE, INSTANCE or GOES_ON), what is said of it, its place, its owner."""

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
    if isinstance(value, list) and depth < _DEPTH:
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
    elif depth < _DEPTH:
        for name, one in value.items():  # by profile, by region
            yield from items_of(one, f"{place}.{name}" if place else name, depth + 1)


def _of_answer(value: dict[str, Any], place: str) -> Iterator[Item]:
    start = f"{place}." if place else ""
    for number, one in enumerate(_list(value.get(INSTANCES))):
        yield from _of_reservation(one if isinstance(one, dict) else {}, f"{start}{INSTANCES}[{number}]")
    for key in BESIDE:
        for number, one in enumerate(_list(value.get(key))):
            yield Item(key, one, f"{start}{key}[{number}]")
    if value.get(GOES_ON):
        yield Item(GOES_ON, next(key for key in (INSTANCES, *BESIDE) if key in value), place)


def _of_reservation(value: dict[str, Any], place: str) -> Iterator[Item]:
    owner = value.get("OwnerId") if isinstance(value.get("OwnerId"), str) else None
    for number, one in enumerate(_list(value.get("Instances"))):
        yield Item(INSTANCE, one, f"{place}.Instances[{number}]", owner)


def _shape(value: dict[str, Any]) -> str | None:
    return next((kind for kind, has, lacks in _SHAPES if has <= value.keys() and not lacks & value.keys()), None)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
