"""A machine of which everything is known, to change one thing at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.model import Clock, Cpu, Disk, Firmware, Guest, Machine, Memory, Nic

GIB = 1 << 30


def build(**changes: Any) -> Machine:
    facts: dict[str, Any] = {
        "id": "4c1f",
        "name": "web",
        "source": "lab",
        "power": "off",
        "arch": "x86_64",
        "machine_type": "q35",
        "uuid": "6f1d2b3c-1111-4222-8333-444455556666",
        "firmware": Firmware(kind="bios", boot_order=("hd",)),
        "cpu": Cpu(vcpus=2, max_vcpus=2, sockets=2, cores=1, threads=1, mode="host-model"),
        "memory": Memory(size_bytes=2 * GIB),
        "clock": Clock(offset="utc"),
        "disks": (a_disk("vda"),),
        "nics": (Nic(id="net0", network_kind="network", network="default", model="virtio", mac="52:54:00:00:00:01"),),
        "guest": Guest(os_id="debian12", agent_channel=True),
        "autostart": False,
        "snapshots": 0,
    }
    return Machine(**(facts | changes))


def a_disk(name: str, **changes: Any) -> Disk:
    facts: dict[str, Any] = {
        "id": name,
        "bus": "virtio",
        "uri": f"file:///images/{name}.img",
        "source_kind": "file",
        "format": "raw",
        "chain": (),
        "capacity_bytes": 10 * GIB,
        "allocated_bytes": 3 * GIB,
    }
    return Disk(**(facts | changes))


@pytest.fixture
def machine() -> Callable[..., Machine]:
    return build


@pytest.fixture
def disk() -> Callable[..., Disk]:
    return a_disk
