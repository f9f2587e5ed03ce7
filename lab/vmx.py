"""Machines of VMware's as a datastore holds them: a VMX, and a descriptor with a flat extent for each disk.

What it does not do: every setting of a VMX, and every kind of VMDK. It makes machines that can be moved, for tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SECTOR = 512
USUAL = {
    ".encoding": "UTF-8",
    "config.version": "8",
    "virtualHW.version": "19",
    "guestOS": "otherlinux-64",
    "memSize": "256",
    "numvcpus": "1",
    "uuid.bios": "56 4d 1f 2c 3a 4b 5c 6d-7e 8f 90 a1 b2 c3 d4 e5",
    "sata0.present": "TRUE",
    "ethernet0.present": "TRUE",
    "ethernet0.virtualDev": "e1000",
    "ethernet0.networkName": "VM Network",
    "ethernet0.addressType": "generated",
    "ethernet0.generatedAddress": "00:0c:29:c3:d4:e5",
}


def settings(told: Mapping[str, str]) -> str:
    """The text of a VMX."""
    return "".join(f'{key} = "{value}"\n' for key, value in told.items())


def descriptor(size: int, extent: str, kind: str = "VMFS", **more: str) -> str:
    """The text of a VMDK whose data stands in one other file."""
    fields = {"version": "1", "encoding": "UTF-8", "CID": "fffffffe", "parentCID": "ffffffff", "createType": "vmfs"}
    lines = "".join(f'{key}="{value}"\n' for key, value in (fields | more).items())
    return f'# Disk DescriptorFile\n{lines}RW {size // SECTOR} {kind} "{extent}"\n'


def flat(folder: Path, name: str, content: bytes | Path) -> Path:
    """A disk as ESXi keeps it: NAME.vmdk, which says where the data is, and NAME-flat.vmdk."""
    extent = folder / f"{name}-flat.vmdk"
    extent.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    (folder / f"{name}.vmdk").write_text(descriptor(extent.stat().st_size, extent.name), encoding="utf-8")
    return folder / f"{name}.vmdk"


def machine(folder: Path, name: str, disks: Mapping[str, bytes | Path], **more: str) -> Path:
    """A machine at `folder`: NAME.vmx, and its disks by their names on one SATA controller. `more` are settings, with
    `__` for a full stop in their keys."""
    folder.mkdir(parents=True, exist_ok=True)
    told = USUAL | {"displayName": name}
    for unit, (disk, content) in enumerate(disks.items()):
        flat(folder, disk, content)
        told |= {f"sata0:{unit}.present": "TRUE", f"sata0:{unit}.fileName": f"{disk}.vmdk"}
    told |= {key.replace("__", "."): value for key, value in more.items()}
    path = folder / f"{name}.vmx"
    path.write_text(settings(told), encoding="utf-8")
    return path
