"""Asking EC2 about the instances of a region: in bulk, page by page, and only about what they use."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from kubeferry.documents.settings import AwsAccess
from kubeferry.outside import aws
from kubeferry.sources.ec2.instance import GONE
from kubeferry.sources.ec2.told import Told

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


def told(ec2: Any, region: str, found: list[tuple[str, dict[str, Any]]], access: AwsAccess) -> list[Told]:
    """All that is asked about instances, each question once for all of them."""
    listed = [instance for _, instance in found]
    kinds = _types(ec2, {one.get("InstanceType", "") for one in listed})
    images = _by(ec2, "describe_images", "Images", "ImageId", "image-id", {one.get("ImageId") for one in listed})
    volumes = volumes_of(ec2, [one["InstanceId"] for one in listed])
    cards = [card for one in listed for card in one.get("NetworkInterfaces", [])]
    subnets = _by(ec2, "describe_subnets", "Subnets", "SubnetId", "subnet-id", {card.get("SubnetId") for card in cards})
    used = {group.get("GroupId") for card in cards for group in card.get("Groups", [])}
    groups = _by(ec2, "describe_security_groups", "SecurityGroups", "GroupId", "group-id", used)
    addresses: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for chunk in _chunks({one["InstanceId"] for one in listed}):
        filters = [{"Name": "instance-id", "Values": chunk}]
        for address in ec2.describe_addresses(Filters=filters).get("Addresses", []):
            addresses[address.get("InstanceId", "")].append(address)
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
            addresses=tuple(addresses[one["InstanceId"]]),
            user_data=_user_data(ec2, one["InstanceId"]) if access.details else None,
            console=_console(ec2, one["InstanceId"]) if access.details else None,
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


def _types(ec2: Any, names: set[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for chunk in _chunks(names - {""}):
        for kind in _all(ec2, "describe_instance_types", "InstanceTypes", InstanceTypes=chunk):
            found[kind["InstanceType"]] = kind
    return found


def _by(ec2: Any, operation: str, key: str, name: str, filtered: str, wanted: set[Any]) -> dict[str, dict[str, Any]]:
    """Things by their id. By a filter, not by name: one that is gone (an image often is) is no error then."""
    found = {}
    for chunk in _chunks({one for one in wanted if one}):
        for thing in _all(ec2, operation, key, Filters=[{"Name": filtered, "Values": chunk}]):
            found[thing[name]] = thing
    return found


def _all(ec2: Any, operation: str, key: str, **asked: Any) -> Iterator[dict[str, Any]]:
    """Every item of every page."""
    for page in ec2.get_paginator(operation).paginate(**asked):
        yield from page.get(key, [])


def _chunks(names: set[str]) -> Iterator[list[str]]:
    ordered = iter(sorted(names))
    while chunk := list(itertools.islice(ordered, CHUNK)):
        yield chunk


def _user_data(ec2: Any, name: str) -> bool | None:
    """Whether there is user data. What it says is nobody's business: it often holds secrets."""
    try:
        answer = ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")
    except aws.failures() as error:
        _raise_passing(error)
        return None
    return bool(answer.get("UserData", {}).get("Value"))


def _console(ec2: Any, name: str) -> str | None:
    try:
        output = ec2.get_console_output(InstanceId=name).get("Output") or ""
    except aws.failures() as error:
        _raise_passing(error)
        return None
    return _plain(output[:CONSOLE_LIMIT])


def _plain(output: str) -> str:
    """boto3 decodes the console's text, and leaves it as it came where that fails."""
    try:
        return base64.b64decode(output, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return output


def _raise_passing(error: Exception) -> None:
    """What may not be asked stays unknown; what may pass is no answer."""
    if aws.is_passing(error):
        raise error
