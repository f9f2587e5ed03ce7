"""JSON that `aws ec2 describe-…` wrote, in one folder: instances, and beside them what says how large they are.

A file is known by its content, not by its name. Without instance types memory is unknown (and stops the plan), and
machines of which nobody says how many processors they have are told as unreadable; without volumes, sizes of disks are.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Machine, Severity
from kubeferry.sources.ec2.instance import GONE, parse_instance
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.facts.single_names import named

LIMIT_BYTES = 128 << 20
INSTANCES = "Reservations"
BESIDE = {
    "InstanceTypes": "InstanceType",
    "Volumes": "VolumeId",
    "Images": "ImageId",
    "Subnets": "SubnetId",
    "SecurityGroups": "GroupId",
    "Addresses": "AllocationId",
}
"""What else is read: the list's name, and what its items are known by."""
HOW = (
    "what `aws ec2 describe-instances --output json` prints, and describe-instance-types and describe-volumes beside it"
)
_HALVES = re.compile(rb"\\u[dD][89a-fA-F]")
_FIX = f"Give {HOW}, each in a file named *.json."

Index = dict[str, dict[str, dict[str, Any]]]


def read_machines(path: Path, source: str) -> list[Machine | Concern]:
    """The instances of a file; none where it holds what belongs to instances. Raises InputInvalid for any other one."""
    content = _content(path)
    if INSTANCES not in content:
        if not content.keys() & BESIDE.keys():
            what = f"neither {INSTANCES} nor one of {', '.join(BESIDE)} is in it"
            raise InputInvalid(f"{path} is nothing of EC2", [Problem(str(path), what, _FIX)])
        return []
    index = _beside(path.parent)
    machines: list[Machine] = []
    unreadable: list[Concern] = []
    problems: list[Problem] = []
    for place, owner, instance in _instances(content):
        if not isinstance(instance, dict) or not isinstance(instance.get("InstanceId"), str):
            problems.append(Problem(f"{path}: {place}", "it is no instance: it has no InstanceId", _FIX))
            continue
        try:
            machines.append(parse_instance(_told(instance, owner, index), source=source))
        except InputInvalid as error:
            fix = error.fix or _FIX
            what = f"{instance['InstanceId']}: {error.why}"
            unreadable.append(Concern(id="machine.unreadable", severity=Severity.WARNING, what=what, fix=fix))
    if problems:
        raise InputInvalid(f"{path} cannot be read", problems)
    return [*named(machines), *unreadable]


def _instances(content: dict[str, Any]) -> list[tuple[str, str | None, Any]]:
    found: list[tuple[str, str | None, Any]] = []
    for at, reservation in enumerate(_list(content.get(INSTANCES))):
        known = reservation if isinstance(reservation, dict) else {}
        owner = known.get("OwnerId") if isinstance(known.get("OwnerId"), str) else None
        for number, instance in enumerate(_list(known.get("Instances"))):
            state = instance.get("State") if isinstance(instance, dict) else None
            if not (isinstance(state, dict) and state.get("Name") in GONE):
                found.append((f"{INSTANCES}[{at}].Instances[{number}]", owner, instance))
    return found


def _told(instance: dict[str, Any], owner: str | None, index: Index) -> Told:
    name = instance["InstanceId"]
    addresses = [one for one in index["Addresses"].values() if one.get("InstanceId") == name]
    return Told(
        instance=instance,
        account=owner,
        kind=index["InstanceTypes"].get(str(instance.get("InstanceType"))),
        image=index["Images"].get(str(instance.get("ImageId"))),
        volumes=index["Volumes"],
        subnets=index["Subnets"],
        groups=index["SecurityGroups"],
        addresses=tuple(addresses),
    )


def _beside(folder: Path) -> Index:
    """All that the folder's files say of things that belong to instances."""
    index: Index = {key: {} for key in BESIDE}
    for path in sorted(folder.glob("*.json")):
        content = _content(path)
        for key, name in BESIDE.items():
            for item in _list(content.get(key)):
                if isinstance(item, dict) and isinstance(item.get(name), str):
                    index[key][item[name]] = item
    return index


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _content(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LIMIT_BYTES:
            what, fix = "it is larger than 128 MiB", "Write fewer instances into a file: --filters, --instance-ids."
            raise InputInvalid(f"{path} is too large", [Problem(str(path), what, fix)])
        raw = path.read_bytes()
        content = json.loads(raw)
        if _HALVES.search(raw):
            json.dumps(content, ensure_ascii=False).encode()  # half a character can stand in no document
    except OSError as error:
        fix = "Check its permissions."
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), str(error.strerror), fix)]) from error
    except (ValueError, RecursionError) as error:
        raise InputInvalid(
            f"{path} is no JSON", [Problem(str(path), f"it is no JSON: {str(error)[:200]}", _FIX)]
        ) from error
    if not isinstance(content, dict):
        raise InputInvalid(f"{path} is nothing of EC2", [Problem(str(path), "it is no JSON object", _FIX)])
    return content
