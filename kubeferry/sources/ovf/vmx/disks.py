"""Disks and drives of a VMX: `scsi0:1.fileName`, `ide1:0.deviceType`, … on controllers of four kinds. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from kubeferry.model import ChainLink, Disk, DiskBus, DiskDevice, SourceFact
from kubeferry.sources.facts.settings import Settings

# In the order in which vSphere numbers their controllers.
_BUSES = {"ide": DiskBus.IDE, "scsi": DiskBus.SCSI, "sata": DiskBus.SATA, "nvme": DiskBus.NVME}
_PLACE = re.compile(r"(?P<bus>ide|scsi|sata|nvme)(?P<number>[0-9]{1,3}):(?P<unit>[0-9]{1,3})\.present", re.ASCII)
_FLOPPY = re.compile(r"(floppy[0-9])\.present", re.ASCII)
_DRIVES = {"cdrom-image", "atapi-cdrom", "cdrom-raw"}
_RAW = {"rawdisk", "plaindisk"}  # a disk of the host's, whole or some of its partitions
_NO_DISKS = {"scsi-passthru", "scsi-passthrough"}
_NO_MEDIUM = {"auto detect", "emptybackingstring", "none"}
_FORGETS = {"nonpersistent", "independent-nonpersistent", "undoable", "append"}
_KEEPS = {"persistent", "independent-persistent"}
_UNSHARED = {"none", "nosharing", "sharingnone", "false"}
_UNLIMITED = {"off", "-1"}


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the file of a disk: where it lies as a `uri`, what lies below it, and of a disk that is part of
    a chain its `size`; the `uuid` that a guest may see. `wrong` says why it cannot be read."""

    uri: str
    kind: str = "file"
    chain: tuple[ChainLink, ...] = ()
    size: int | None = None
    uuid: str | None = None
    is_lun: bool = False
    wrong: str | None = None


Locate = Callable[[str], Found]
"""The file of a disk, by the name that the VMX has for it."""


@dataclass(slots=True)
class Disks:
    """What hangs on the controllers: `disks` in their order, `passed` the SCSI devices of the host, and `facts`."""

    disks: list[Disk] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    facts: list[SourceFact] = field(default_factory=list)


def read_disks(vmx: Settings, locate: Locate, orders: dict[str, int]) -> Disks:
    """Everything that is present, called as in the VMX (`scsi0:1`). `orders` are the places of disks in the boot order.
    A disk is there where it is said to be, whatever is said of its controller."""
    places = [found for key in vmx if (found := _PLACE.fullmatch(key))]
    places.sort(key=lambda one: (list(_BUSES).index(one["bus"]), int(one["number"]), int(one["unit"])))
    result = Disks()
    for place in places:
        name = place[0].removesuffix(".present")
        if vmx.flag(place[0]):
            _read(vmx, name, place, locate, orders, result)
    for key in list(vmx):
        if (found := _FLOPPY.fullmatch(key)) and vmx.flag(key):
            result.disks.append(_floppy(vmx, found[1]))
    return result


def _read(vmx: Settings, name: str, place: re.Match[str], locate: Locate, orders: dict[str, int], to: Disks) -> None:
    kind = (vmx.value(f"{name}.deviceType") or "").lower()
    if kind in _NO_DISKS:
        to.passed.append(vmx.value(f"{name}.fileName") or name)
        return
    file = vmx.value(f"{name}.fileName")
    controller = f"{place['bus']}{place['number']}"
    bus, model = _BUSES[place["bus"]], _model(vmx, controller) if place["bus"] == "scsi" else None
    if kind in _DRIVES or (not kind and _is_medium((file or "").lower())):
        to.disks.append(_drive(name, kind, file, bus, model))
        return
    found = locate(file) if file else None
    if found is not None and found.wrong is not None:
        to.facts.append(SourceFact(path=f"header[{name}]", value=found.wrong))
    mode = (vmx.peek(f"{name}.mode") or "persistent").lower()
    if mode in _FORGETS | _KEEPS:
        vmx.value(f"{name}.mode")
    mapped = kind in _RAW or (found is not None and found.is_lun)
    to.disks.append(
        Disk(
            id=name,
            device=DiskDevice.LUN if mapped else DiskDevice.DISK,
            bus=bus,
            controller_model=model,
            uri=found.uri if found else None,
            source_kind=found.kind if found else "file",
            format="vmdk",
            chain=found.chain if found else (),
            capacity_bytes=found.size if found else None,
            serial=_serial(vmx, found),
            shareable=_is_shared(vmx, name, controller),
            transient=mode in _FORGETS,
            throttled=_is_throttled(vmx, name),
            boot_order=orders.get(name),
        )
    )


def _model(vmx: Settings, controller: str) -> str:
    """What VMware's products take where nothing is said is LSI Logic's."""
    return (vmx.value(f"{controller}.virtualDev") or "lsilogic").lower()


def _is_medium(file: str) -> bool:
    return file.endswith(".iso") or file in _NO_MEDIUM


def _drive(name: str, kind: str, file: str | None, bus: DiskBus, model: str | None) -> Disk:
    """A drive, with the image that lies in it; one of the host's is empty."""
    medium = file if file and kind in {"cdrom-image", ""} and file.lower() not in _NO_MEDIUM else None
    return Disk(
        id=name,
        device=DiskDevice.CDROM,
        bus=bus,
        controller_model=model,
        uri=f"file:{quote(medium)}" if medium else None,
        source_kind="file",
        readonly=True,
        removable=True,
    )


def _floppy(vmx: Settings, name: str) -> Disk:
    file, kind = vmx.value(f"{name}.fileName"), (vmx.value(f"{name}.fileType") or "").lower()
    uri = f"file:{quote(file)}" if file and kind == "file" else None
    return Disk(id=name, device=DiskDevice.FLOPPY, bus=DiskBus.FDC, uri=uri, source_kind="file", removable=True)


def _serial(vmx: Settings, found: Found | None) -> str | None:
    """The guest sees a disk's UUID where the machine says so."""
    return found.uuid if found is not None and vmx.flag("disk.EnableUUID") else None


def _is_shared(vmx: Settings, name: str, controller: str) -> bool:
    """By its own mode, or by its SCSI bus."""
    told = [(vmx.value(key) or "none").lower() for key in (f"{name}.sharing", f"{controller}.sharedBus")]
    return any(one not in _UNSHARED for one in told)


def _is_throttled(vmx: Settings, name: str) -> bool:
    key = f"sched.{name}.throughputCap"
    return (vmx.value(key) or "off").lower() not in _UNLIMITED
