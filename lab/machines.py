"""Machines as a source describes them, as plain as can be: the facts that a caller does not name are those of a small
BIOS machine with raw images in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubeferry.model import Cpu, Disk, DiskBus, Firmware, FirmwareKind, Guest, Machine, Memory


def a_disk(path: Path, name: str = "vda", **facts: Any) -> Disk:
    """A raw image, as large as its file where `capacity_bytes` is not among the facts."""
    plain: dict[str, Any] = {
        "id": name,
        "bus": DiskBus.VIRTIO,
        "uri": path.as_uri(),
        "source_kind": "file",
        "format": "raw",
        "chain": (),
    }
    if "capacity_bytes" not in facts:
        plain["capacity_bytes"] = path.stat().st_size
    return Disk(**plain | facts)


def a_machine(name: str, *disks: Disk, memory_bytes: int = 64 << 20, **facts: Any) -> Machine:
    """One processor, BIOS, and a channel for the guest's agent."""
    plain: dict[str, Any] = {
        "id": f"id-{name}",
        "name": name,
        "source": "lab",
        "arch": "x86_64",
        "firmware": Firmware(kind=FirmwareKind.BIOS),
        "guest": Guest(agent_channel=True),
        "cpu": Cpu(vcpus=1),
        "memory": Memory(size_bytes=memory_bytes),
        "disks": disks,
    }
    return Machine(**plain | facts)
