"""Volumes of an instance: called like the devices that they are attached as, the root first; whether they are those of
the plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeferry.errors import Problem
from kubeferry.model import Disk, DiskBus, Machine, SourceFact
from kubeferry.sources.disks import drift
from kubeferry.sources.ec2.facts import Facts, flattened
from kubeferry.sources.ec2.placement import is_bare_metal
from kubeferry.sources.ec2.told import Told

GIB = 1 << 30
_SAID = ("VolumeType", "Iops", "Throughput", "Encrypted", "KmsKeyId", "MultiAttachEnabled", "OutpostArn")


def read_disks(instance: Facts, kind: Facts, told: Told) -> tuple[Disk, ...]:
    """The disks. What a volume's own description does not bring, its size above all, stays unknown."""
    root = instance.text("RootDeviceName")
    bus = {"nitro": DiskBus.NVME, "xen": DiskBus.XEN}.get(kind.text("Hypervisor") or "", DiskBus.UNKNOWN)
    bus = DiskBus.NVME if is_bare_metal(instance, kind) else bus
    found = []
    for device, volume in _attached(instance):
        described = Facts(told.volumes.get(volume))
        size = described.number("Size")
        found.append(
            Disk(
                id=disk_id(device),
                label=_name(described),
                bus=bus,
                uri=f"ebs://{told.region or 'unknown'}/{volume}",
                source_kind="ebs",
                format="raw",
                chain=(),
                capacity_bytes=size * GIB if size else None,
                # Nitro's controller shows the volume as the serial of its NVMe disk.
                serial=volume.replace("-", "") if bus is DiskBus.NVME else None,
                shareable=described.flag("MultiAttachEnabled") is True,
                boot_order=1 if device == root else None,
            )
        )
    return tuple(sorted(found, key=lambda disk: (disk.boot_order is None, disk.id)))


def _name(volume: Facts) -> str | None:
    """The tag that the console shows as a volume's name."""
    return next((tag.text("Value") for tag in volume.all("Tags") if tag.text("Key") == "Name"), None)


def disk_id(device: str) -> str:
    return device.removeprefix("/dev/").replace("/", "-")


def volume_of(disk: Disk) -> str:
    """The volume of a disk that was read here."""
    return (disk.uri or "").rpartition("/")[2]


def wanted_volumes(machine: Machine, disks: Iterable[Disk]) -> dict[str, str]:
    """The volumes of the disks that are taken along, by the disks' ids."""
    return {name: volume_of(disk) for name, disk in drift.wanted(machine, disks).items()}


def differences(machine: Machine, disks: Iterable[Disk]) -> Iterator[Problem]:
    """Where the volumes are not those of the plan. Another volume of the same size is read whole, and is no problem."""
    now, was = drift.wanted(machine, disks), {disk.id: disk for disk in machine.data_disks}
    yield from drift.attachments(was, now)
    for name in sorted(was.keys() & now.keys()):
        planned, size = was[name].capacity_bytes, now[name].capacity_bytes
        if planned is not None and planned != size:
            yield Problem(name, f"its size is now {size} bytes, and was {planned}", drift.DISCOVER)
        if was[name].format != "raw":
            yield Problem(name, f"its format is now raw, and was {was[name].format}", drift.DISCOVER)


def _attached(instance: Facts) -> Iterator[tuple[str, str]]:
    """Device and volume of each mapping."""
    for mapping in instance.all("BlockDeviceMappings"):
        ebs = mapping.child("Ebs")
        ebs.skip("AttachTime", "Status", "DeleteOnTermination", "AssociatedResource", "EbsCardIndex")
        device, volume = mapping.text("DeviceName"), ebs.text("VolumeId")
        if device and volume:
            yield device, volume


def unmodelled(told: Told, instance: Facts) -> Iterator[SourceFact]:
    """How each volume is made, which no claim says."""
    for device, volume in _attached(instance):
        described = told.volumes.get(volume, {})
        said = {key: described.get(key) for key in _SAID if described.get(key) not in (None, False)}
        yield from flattened(f"ec2/volume[{disk_id(device)}]", said)
        if told_otherwise := _elsewhere(described, device, instance.text("InstanceId")):
            yield SourceFact(path=f"ec2/volume[{disk_id(device)}]/elsewhere", value=told_otherwise)


def _elsewhere(described: dict[str, object], device: str, name: str | None) -> str | None:
    """Where a volume's own description says that it is attached, if that is not here: one of the two is of another
    moment, or of another account."""
    volume = Facts(described)
    attached = [(one.text("InstanceId") or name, one.text("Device") or device) for one in volume.all("Attachments")]
    if any(whose == name and disk_id(where) == disk_id(device) for whose, where in attached):
        return None
    if attached:
        return f"attached {', '.join(f'to {whose} as {where}' for whose, where in attached)}"
    return "attached to nothing" if volume.text("State") == "available" else None
