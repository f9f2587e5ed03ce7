"""Other instances that have a volume of this one (multi-attach): which, and whether they may write to it now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kubeferry.errors import Problem
from kubeferry.model import Power
from kubeferry.sources.disks import writers
from kubeferry.sources.ec2.instance import GONE, power_of


def around(
    ec2: Any, machine: str, wanted: Iterable[str], volumes: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The other instances that have any of the volumes that are wanted; nobody is asked where there are none."""
    names = {name for one in wanted for name in _owners(volumes, one)} - {machine}
    if not names:
        return []
    found = ec2.get_paginator("describe_instances").paginate(Filters=[{"Name": "instance-id", "Values": sorted(names)}])
    listed = (one for page in found for held in page.get("Reservations", []) for one in held.get("Instances", []))
    return [one for one in listed if one.get("State", {}).get("Name") not in GONE]


def up(others: list[dict[str, Any]]) -> dict[str, str]:
    """Those of them that may write, and the state of each."""
    return {one["InstanceId"]: one["State"]["Name"] for one in others if power_of(one) is not Power.OFF}


def problems(
    others: list[dict[str, Any]], disks: Mapping[str, str], volumes: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """What speaks against calling a copy of these disks the last one. `disks` are their volumes by id."""
    running = up(others)
    for disk, volume in sorted(disks.items()):
        for name in sorted(_owners(volumes, volume) & running.keys()):
            yield writers.problem(disk, volume, name, running[name])


def _owners(volumes: Mapping[str, Mapping[str, Any]], volume: str) -> set[str]:
    attached = volumes.get(volume, {}).get("Attachments", [])
    return {one["InstanceId"] for one in attached if one.get("InstanceId")}
