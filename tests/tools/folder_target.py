"""A folder as the target, and machines of one disk and one card for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from kubeferry.documents import Entry, PlannedDisk, Probe, TargetConfig
from kubeferry.model import Cpu, Disk, Machine, Memory
from kubeferry.targets import External
from kubeferry.targets.directory import target as directory
from kubeferry.targets.directory.hypervisor import LocalMachine
from kubeferry.targets.directory.layout import TargetFolder

MIB = 1024 * 1024
SIZE = 192 * MIB
MAC = "52:54:00:12:34:56"
UEFI = {"firmware": {"bootloader": {"efi": {"secureBoot": False}}}}


class Place:
    """A target folder, what its ledger was told, and the machine that is under test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.target_config = TargetConfig(kind="directory", path=str(root))
        self.target = directory.connect(self.target_config)
        self.written: list[External] = []

    def ready(self, entry: Entry, disk: Path | None = None) -> Path:
        """Prepared, filled from `disk`, applied; returns the image."""
        room = self.target.prepare(entry, self.written.append)["vda"]
        image = Path(room.ref.uri.removeprefix("file://"))
        if disk is not None:
            shutil.copyfile(disk, image)
        self.target.apply(entry, self.written.append, dry_run=False)
        return image

    def machine(self, entry: Entry) -> LocalMachine:
        return LocalMachine(entry.target_name, TargetFolder(self.root).machine(entry.target_name))

    def stop(self) -> None:
        for folder in (self.root / "machines").glob("*"):
            machine = TargetFolder(self.root).machine(folder.name)
            for place in (machine, machine.rehearsal):
                LocalMachine(folder.name, place).stop()
        self.target.close()


def an_entry(
    name: str,
    *,
    devices: dict[str, Any] | None = None,
    domain: dict[str, Any] | None = None,
    probes: tuple[Probe, ...] = (),
) -> Entry:
    wanted = {
        "disks": [{"name": "vda", "bootOrder": 1, "disk": {"bus": "virtio"}}],
        "interfaces": [{"name": "default", "masquerade": {}, "model": "virtio", "macAddress": MAC}],
        "rng": {},
        **(devices or {}),
    }
    spec = {
        "domain": {
            "cpu": {"sockets": 1, "cores": 1, "threads": 1},
            "memory": {"guest": "256Mi"},
            "machine": {"type": "q35"},
            "firmware": {"bootloader": {"bios": {}}},
            "devices": wanted,
            **(domain or {}),
        },
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [{"name": "vda", "persistentVolumeClaim": {"claimName": f"{name}-vda"}}],
    }
    vm = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name}}
    return Entry(
        name=name,
        target_name=name,
        namespace="default",
        machine=Machine(
            id=name,
            name=name,
            source="lab",
            cpu=Cpu(vcpus=1),
            memory=Memory(size_bytes=256 * MIB),
            disks=(Disk(id="vda"),),
        ),
        disks=(PlannedDisk(disk="vda", claim=f"{name}-vda", volume="vda", size_bytes=SIZE, claim_bytes=SIZE),),
        manifests=({**vm, "spec": {"runStrategy": "Manual", "template": {"spec": spec}}},),
        probes=probes,
    )
