"""What is particular to machines that come from EC2: what they are known by, and an identity that is not EC2's."""

from __future__ import annotations

import re
import uuid

from kubeferry.model import Machine

_INSTANCE = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
# How cloud-init knows an instance of EC2: the UUID begins so, or does when its first group is read backwards.
_LIKE_EC2 = re.compile(r"ec2|.{4}2.ec", re.IGNORECASE)
_OURS = uuid.UUID("5e2a7a4c-6f0e-5c9b-9a43-8d1f6f7b2f10")


def is_ec2(machine: Machine) -> bool:
    """Whether the machine is an EC2 instance, by its id."""
    return _INSTANCE.fullmatch(machine.id) is not None


def looks_like_ec2(text: str) -> bool:
    """Whether cloud-init would take a machine with this SMBIOS UUID for an instance of EC2."""
    return _LIKE_EC2.match(text) is not None


def new_uuid(machine: Machine) -> str:
    """An SMBIOS UUID of its own for an instance: always the same, and none that cloud-init takes for EC2's."""
    for number in range(1000):
        found = str(uuid.uuid5(_OURS, f"{machine.id} {number}"))
        if not looks_like_ec2(found):
            return found
    raise AssertionError("one of 1,000 UUIDs does not look like one of EC2's")


def fact(machine: Machine, path: str) -> str | None:
    """A fact of the instance that the model has no word for."""
    return next((one.value for one in machine.unmodelled if one.path == f"ec2/{path}"), None)


def facts(machine: Machine, pattern: str) -> list[tuple[str, str]]:
    """All such facts whose path fits: what stands in its brackets, and the value."""
    fits = re.compile(rf"ec2/{pattern}")
    return [(found[1], one.value) for one in machine.unmodelled if (found := fits.fullmatch(one.path))]
