"""Asking EC2 about the instances of a region: in bulk, page by page, and only about what they use.

What instances there are must be answered; of all else what is not answered stays unknown, and is told.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kubeferry.documents.settings import AwsAccess
from kubeferry.sources.ec2.instance import GONE
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.ec2.traffic import referred_to
from kubeferry.sources.ec2.unanswered import Unanswered

CHUNK = 100  # values of one filter, or names of one call
CONSOLE_LIMIT = 1 << 18


def instances(ec2: Any, access: AwsAccess) -> Iterator[tuple[str, dict[str, Any]]]:
    """Owner and description of each instance that is not gone, as the source's filters and tags say."""
    filters = [{"Name": name, "Values": list(values)} for name, values in access.filters.items()]
    filters += [{"Name": f"tag:{key}", "Values": [value]} for key, value in access.tags.items()]
    for reservation in _all(ec2, "describe_instances", "Reservations", Filters=filters):
        for instance in reservation.get("Instances", []):
            if instance.get("State", {}).get("Name") not in GONE:
                yield reservation.get("OwnerId", ""), instance


def named(ec2: Any, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """These instances as EC2 describes them now; one that is gone is left out."""
    wanted = list(names)
    for start in range(0, len(wanted), CHUNK):
        asked = [{"Name": "instance-id", "Values": wanted[start : start + CHUNK]}]
        for reservation in _all(ec2, "describe_instances", "Reservations", Filters=asked):
            yield from (one for one in reservation.get("Instances", []) if one.get("State", {}).get("Name") not in GONE)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Things of one kind that instances use: how they are asked for, and what is not known without an answer."""

    operation: str
    method: str
    key: str
    name: str
    filtered: str
    costs: str


_TYPES = _Kind(
    "DescribeInstanceTypes",
    "describe_instance_types",
    "InstanceTypes",
    "InstanceType",
    "instance-type",
    "memory and processors",
)
_IMAGES = _Kind("DescribeImages", "describe_images", "Images", "ImageId", "image-id", "what image they were made from")
_SUBNETS = _Kind("DescribeSubnets", "describe_subnets", "Subnets", "SubnetId", "subnet-id", "ranges of their subnets")
_GROUPS = _Kind(
    "DescribeSecurityGroups",
    "describe_security_groups",
    "SecurityGroups",
    "GroupId",
    "group-id",
    "rules of their security groups",
)


def told(
    ec2: Any, region: str, found: list[tuple[str, dict[str, Any]]], access: AwsAccess, untold: Unanswered
) -> list[Told]:
    """All that is asked about instances, each question once for all of them."""
    listed = [instance for _, instance in found]
    kinds = _by(ec2, _TYPES, {one.get("InstanceType") for one in listed}, untold)
    images = _by(ec2, _IMAGES, {one.get("ImageId") for one in listed}, untold)
    volumes: dict[str, dict[str, dict[str, Any]]] = {}
    with untold.telling("DescribeVolumes", "sizes of disks"):
        volumes = volumes_of(ec2, [one["InstanceId"] for one in listed])
    cards = [card for one in listed for card in one.get("NetworkInterfaces", [])]
    subnets = _by(ec2, _SUBNETS, {card.get("SubnetId") for card in cards}, untold)
    used = {group.get("GroupId") for card in cards for group in card.get("Groups", [])}
    groups = _by(ec2, _GROUPS, used, untold)
    members = _members(ec2, referred_to(groups), untold)
    addresses = _addresses(ec2, {one["InstanceId"] for one in listed}, untold)
    return [
        Told(
            instance=one,
            region=region,
            account=owner or None,
            kind=kinds.get(one.get("InstanceType", "")),
            image=images.get(one.get("ImageId", "")),
            volumes=volumes.get(one["InstanceId"], {}),
            subnets=subnets,
            groups=groups,
            members=members,
            addresses=tuple(addresses[one["InstanceId"]]),
            user_data=_user_data(ec2, one["InstanceId"], untold) if access.details else None,
            console=_console(ec2, one["InstanceId"], untold) if access.details else None,
        )
        for owner, one in found
    ]


def volumes_of(ec2: Any, names: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """The volumes of instances: by instance, then by volume."""
    found: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for chunk in _chunks(set(names)):
        filters = [{"Name": "attachment.instance-id", "Values": chunk}]
        for volume in _all(ec2, "describe_volumes", "Volumes", Filters=filters):
            for attached in volume.get("Attachments", []):
                found[attached.get("InstanceId", "")][volume["VolumeId"]] = volume
    return found


def _by(ec2: Any, kind: _Kind, wanted: set[Any], untold: Unanswered) -> dict[str, dict[str, Any]]:
    """Things by their id. By a filter, not by name: one that is gone (an image often is, a type may be) is no error."""
    found = {}
    for chunk in _chunks({one for one in wanted if one}):
        with untold.telling(kind.operation, kind.costs):
            for thing in _all(ec2, kind.method, kind.key, Filters=[{"Name": kind.filtered, "Values": chunk}]):
                found[thing[kind.name]] = thing
    return found


def _members(ec2: Any, groups: set[str], untold: Unanswered) -> dict[str, int]:
    """How many interfaces of the account are in each of these groups: also those of load balancers and databases, of
    which no instance tells."""
    found: dict[str, int] = {}
    for chunk in _chunks(groups):
        with untold.telling("DescribeNetworkInterfaces", "who else is in their security groups"):
            filters = [{"Name": "group-id", "Values": chunk}]
            cards = list(_all(ec2, "describe_network_interfaces", "NetworkInterfaces", Filters=filters))
            found |= dict.fromkeys(chunk, 0)
            for group in (one["GroupId"] for card in cards for one in card.get("Groups", [])):
                if group in chunk:
                    found[group] += 1
    return found


def _addresses(ec2: Any, names: set[str], untold: Unanswered) -> dict[str, list[dict[str, Any]]]:
    """Elastic addresses by instance."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for chunk in _chunks(names):
        with untold.telling("DescribeAddresses", "their elastic addresses"):
            filters = [{"Name": "instance-id", "Values": chunk}]
            for address in ec2.describe_addresses(Filters=filters).get("Addresses", []):
                found[address.get("InstanceId", "")].append(address)
    return found


def _all(ec2: Any, operation: str, key: str, **asked: Any) -> Iterator[dict[str, Any]]:
    """Every item of every page."""
    for page in ec2.get_paginator(operation).paginate(**asked):
        yield from page.get(key, [])


def _chunks(names: set[str]) -> Iterator[list[str]]:
    ordered = iter(sorted(names))
    while chunk := list(itertools.islice(ordered, CHUNK)):
        yield chunk


def _user_data(ec2: Any, name: str, untold: Unanswered) -> bool | None:
    """Whether there is user data. What it says is nobody's business: it often holds secrets."""
    question = ("DescribeInstanceAttribute", "whether there is user data")
    if untold.asks(*question, name):
        with untold.telling(*question, about=name):
            answer = ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")
            return bool(answer.get("UserData", {}).get("Value"))
    return None


def _console(ec2: Any, name: str, untold: Unanswered) -> str | None:
    question = ("GetConsoleOutput", "the kernel and the system as the console tells them")
    if untold.asks(*question, name):
        with untold.telling(*question, about=name):
            output = ec2.get_console_output(InstanceId=name).get("Output") or ""
            return _plain(output[:CONSOLE_LIMIT])
    return None


def _plain(output: str) -> str:
    """boto3 decodes the console's text, and leaves it as it came where that fails."""
    try:
        return base64.b64decode(output, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return output
