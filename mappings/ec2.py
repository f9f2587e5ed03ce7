"""What is particular to machines that come from EC2: what they are known by, their system and the bus that its kernel
has a driver for, and an identity that is not EC2's."""

from __future__ import annotations

import re
import uuid

from kubeferry.model import DiskBus, Machine
from mappings.systems import is_windows, knows_virtio_1

# How cloud-init knows an instance of EC2: the UUID begins so, or does when its first group is read backwards.
_LIKE_EC2 = re.compile(r"ec2|.{4}2.ec", re.IGNORECASE)
_FACTS, _VOLUME = "ec2/", "ebs"
_PLACES = ("aws:region", "aws:account", "aws:zone")  # beside its tags, which cannot begin so
_OURS = uuid.UUID("5e2a7a4c-6f0e-5c9b-9a43-8d1f6f7b2f10")


def is_ec2(machine: Machine) -> bool:
    """Whether the machine was read from EC2, live or from an export: only EC2 tells such facts and places, and has such
    volumes. Its id says nothing: exports are made anonymous, and an image that was exported may be called like its
    instance."""
    told = any(fact.path.startswith(_FACTS) for fact in machine.unmodelled)
    placed = any(key in machine.metadata for key in _PLACES)
    return told or placed or any(disk.source_kind == _VOLUME for disk in machine.disks)


def system(machine: Machine) -> str | None:
    """What AWS calls the system, and bills it as."""
    return fact(machine, "PlatformDetails")


def runs_windows(machine: Machine) -> bool:
    """EC2 names Windows wherever it describes an instance, and no other system."""
    return is_windows(machine.guest) or "windows" in (system(machine) or fact(machine, "Platform") or "").lower()


def boots_from_virtio(machine: Machine) -> bool:
    """Whether the system's kernel was made for a cloud: it has NVMe, Xen's disks and virtio, and often no AHCI, without
    which no SATA disk is there (Debian's cloud kernel has none). Not Windows, which has a driver for AHCI and none for
    virtio; nor what is known to speak virtio 0.9 only."""
    virtual = any(disk.bus in {DiskBus.NVME, DiskBus.XEN, DiskBus.UNKNOWN} for disk in machine.data_disks)
    old = knows_virtio_1(machine.guest) is False
    return is_ec2(machine) and virtual and not old and not runs_windows(machine)


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
    return next((one.value for one in machine.unmodelled if one.path == f"{_FACTS}{path}"), None)


def facts(machine: Machine, pattern: str) -> list[tuple[str, str]]:
    """All such facts whose path fits: what stands in its brackets, and the value."""
    fits = re.compile(rf"{_FACTS}{pattern}")
    return [(found[1], one.value) for one in machine.unmodelled if (found := fits.fullmatch(one.path))]
