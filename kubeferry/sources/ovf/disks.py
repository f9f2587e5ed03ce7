"""Disks and drives of a virtual system, with the controllers that they hang on."""

from __future__ import annotations

from urllib.parse import quote

from kubeferry.model import Disk, DiskBus, DiskDevice
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf import items as kinds
from kubeferry.sources.ovf.items import Item, of_kind
from kubeferry.sources.ovf.references import Locate, References, VirtualDisk
from kubeferry.sources.ovf.words import AGAIN

# Controllers whose model says another bus than their kind, and SCSI models under the names that QEMU has for them.
_MODELS = {
    "virtualscsi": (DiskBus.SCSI, "pvscsi"),
    "lsilogicsas": (DiskBus.SCSI, "lsisas1068"),
    "virtio-scsi": (DiskBus.SCSI, "virtio-scsi"),
    "virtioscsi": (DiskBus.SCSI, "virtio-scsi"),
    "virtio_scsi": (DiskBus.SCSI, "virtio-scsi"),
    "vmware.sata.ahci": (DiskBus.SATA, None),
    "ahci": (DiskBus.SATA, None),
    "sata": (DiskBus.SATA, None),
    "vmware.nvme.controller": (DiskBus.NVME, None),
    "nvme": (DiskBus.NVME, None),
    "virtio": (DiskBus.VIRTIO, None),
    "ide": (DiskBus.IDE, None),
    "usb": (DiskBus.USB, None),
}
_BUSES = {kinds.IDE: DiskBus.IDE, kinds.SCSI: DiskBus.SCSI, kinds.USB: DiskBus.USB}
CONTROLLERS = (kinds.IDE, kinds.SCSI, kinds.FIBRE, kinds.ISCSI, kinds.STORAGE, kinds.USB)
LABEL_LIMIT = 200
DRIVES = {kinds.CD: DiskDevice.CDROM, kinds.DVD: DiskDevice.CDROM, kinds.FLOPPY: DiskDevice.FLOPPY}


def read_disks(system: Node, items: list[Item], references: References, locate: Locate) -> tuple[Disk, ...]:
    """Disks under the names of the DiskSection, drives as `cdrom0`, `floppy0`, …, in the order of the list."""
    buses = {item.instance: _bus(item) for item in of_kind(items, *CONTROLLERS)}
    orders = _boot_orders(system)
    found: list[Disk] = []
    for item in of_kind(items, kinds.DISK, kinds.LOGICAL_DISK, *DRIVES):
        bus, model = buses.get(item.parent or "", (DiskBus.UNKNOWN, None))
        order = orders.get(item.instance) or _own_order(item.node)
        drive = item.kind in DRIVES
        # Whether it is connected when the machine starts, and oVirt's words for the kind that the item has already.
        item.node.skip("rasd:AutomaticAllocation", "Type", "Device")
        label = item.node.peek("rasd:ElementName") or item.node.peek("rasd:Caption")
        disk = _drive(item, found, references) if drive else _disk(item, references, locate)
        if disk is None:
            continue
        item.node.label = disk.id
        if any(disk.id == other.id for other in found):
            item.node.refuse(f"the disk {disk.id[:80]!r} is there twice in one machine", AGAIN)
        if bus is DiskBus.UNKNOWN:
            bus, model = disk.bus, disk.controller_model
        own = {"bus": bus, "controller_model": model, "boot_order": order, "label": label and label[:LABEL_LIMIT]}
        found.append(disk.model_copy(update=own))
    return tuple(found)


def _bus(item: Item) -> tuple[DiskBus, str | None]:
    model = item.model.lower()
    item.node.skip("rasd:Address", "rasd:BusNumber")  # its number among those of its kind
    if model in _MODELS:
        return _MODELS[model]
    bus = _BUSES.get(item.kind or 0, DiskBus.UNKNOWN)
    return bus, model or None if bus is DiskBus.SCSI else None


def _disk(item: Item, references: References, locate: Locate) -> Disk | None:
    host = item.node.value("rasd:HostResource")
    if host is None:
        item.node.refuse("a disk without a HostResource: it does not say which disk it is", AGAIN)
        return None
    told = references.disk(host, item.node)
    if told is None:
        return None
    bus, model = _MODELS.get((told.bus or "").lower(), (DiskBus.UNKNOWN, None))
    return Disk(
        id=told.id,
        bus=bus,
        controller_model=model,
        uri=_uri(told, locate),
        source_kind="file",
        format=told.format,
        chain=(),
        capacity_bytes=told.capacity,
        allocated_bytes=told.populated,
    )


def _uri(told: VirtualDisk, locate: Locate) -> str | None:
    return locate(told.file, told.format, told.stream) if told.file else None


def _drive(item: Item, found: list[Disk], references: References) -> Disk:
    """A drive, with the file that lies in it."""
    device = DRIVES[item.kind or 0]
    name = f"{device.value}{sum(disk.device is device for disk in found)}"
    medium = item.node.peek("rasd:HostResource") or ""
    reference = medium.removeprefix("ovf:").removeprefix("/")
    file = None
    if reference.startswith("file/"):
        item.node.value("rasd:HostResource")
        file = references.file(reference.removeprefix("file/"), item.node)
    uri = f"file:{quote(file.href)}" if file else None
    bus = DiskBus.FDC if device is DiskDevice.FLOPPY else DiskBus.UNKNOWN
    readonly = device is DiskDevice.CDROM
    return Disk(id=name, device=device, bus=bus, uri=uri, source_kind="file", readonly=readonly)


def _boot_orders(system: Node) -> dict[str, int]:
    """VMware's list of instances to boot from."""
    orders: dict[str, int] = {}
    for section in (child for child in system.children if child.tag == "vmw:BootOrderSection"):
        section.skip("Info", ".@required")
        section.value(".@vmw:type")
        told = section.value(".@vmw:instanceId") or section.value(".@instanceId") or ""
        for instance in told.split():
            orders.setdefault(instance, len(orders) + 1)
    return orders


def _own_order(node: Node) -> int | None:
    """oVirt's own; 0 is none."""
    return node.number("BootOrder") or None
