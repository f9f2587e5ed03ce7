"""Disks and drives of a virtual system, with the controllers that they hang on."""

from __future__ import annotations

import re
from urllib.parse import quote

from kubeferry.model import Disk, DiskBus, DiskDevice
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf import items as kinds
from kubeferry.sources.ovf.items import Item, of_kind
from kubeferry.sources.ovf.references import Locate, References, VirtualDisk
from kubeferry.sources.ovf.words import AGAIN, first_known
from kubeferry.uris import zero_uri

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
_CONTROLLERS_KNOWN = {*_MODELS, "lsilogic", "buslogic"}
_NUMBER = re.compile(r"[0-9]{1,4}", re.ASCII)
LABEL_LIMIT = 200
DRIVES = {kinds.CD: DiskDevice.CDROM, kinds.DVD: DiskDevice.CDROM, kinds.FLOPPY: DiskDevice.FLOPPY}


def read_disks(system: Node, items: list[Item], references: References, locate: Locate) -> tuple[Disk, ...]:
    """Disks under the names of the DiskSection, drives as `cdrom0`, `floppy0`, …, in the order of the list; of the
    places of disks in it the first is that of the first disk of the first controller, and so on: so firmware counts."""
    controllers = of_kind(items, *CONTROLLERS)
    buses = {item.instance: _bus(item) for item in controllers}
    orders = _boot_orders(system)
    unordered = not orders and all(item.order is None for item in items)
    found: list[Disk] = []
    for item in _in_order(of_kind(items, kinds.DISK, kinds.LOGICAL_DISK, *DRIVES), _ranks(controllers)):
        bus, model = buses.get(item.parent or "", (DiskBus.UNKNOWN, None))
        order = orders.get(item.instance) or item.order
        drive = item.kind in DRIVES
        # Whether it is connected when the machine starts, and oVirt's words for the kind that the item has already.
        item.node.skip("rasd:AutomaticAllocation", "Type", "Device")
        if (item.node.peek("rasd:Address") or "").startswith("{"):  # oVirt's, of its place on a bus
            item.node.skip("rasd:Address")
        label = item.node.peek("rasd:ElementName") or item.node.peek("rasd:Caption")
        disk = _drive(item, found, references) if drive else _disk(item, references, locate)
        if disk is None:
            continue
        item.node.label = disk.id
        if any(disk.id == other.id for other in found):
            item.node.refuse(f"the disk {disk.id[:80]!r} is there twice in one machine", AGAIN)
        if bus is DiskBus.UNKNOWN:
            bus, model = disk.bus, disk.controller_model
        order = order or (disk.boot_order if unordered else None)
        own = {"bus": bus, "controller_model": model, "boot_order": order, "label": label and label[:LABEL_LIMIT]}
        found.append(disk.model_copy(update=own))
    return tuple(found)


def _ranks(controllers: list[Item]) -> dict[str, tuple[int, int, int]]:
    """Controllers by their place: kinds in the order of the list, those of one kind by their numbers. SATA and NVMe are
    one type of the standard, and count apart."""
    numbered = {item.instance: (item.kind, item.model if item.kind == kinds.STORAGE else "") for item in controllers}
    listed = list(dict.fromkeys(numbered.values()))
    found = {}
    for at, item in enumerate(controllers):
        told = item.node.peek("rasd:Address") or ""
        number = int(told) if _NUMBER.fullmatch(told) else at
        found[item.instance] = (listed.index(numbered[item.instance]), number, at)
    return found


def _in_order(items: list[Item], ranks: dict[str, tuple[int, int, int]]) -> list[Item]:
    """The list with its disks in order. Where the place of one is not told, all stay as they are listed."""
    listed = [item for item in items if item.kind not in DRIVES]
    places = {item.instance: (ranks[item.parent or ""], item.unit) for item in listed if item.parent in ranks}
    if len(places) < len(listed) or any(unit is None for _, unit in places.values()):
        return items
    ordered = iter(sorted(listed, key=lambda item: (places[item.instance][0], item.unit or 0)))
    return [item if item.kind in DRIVES else next(ordered) for item in items]


def _bus(item: Item) -> tuple[DiskBus, str | None]:
    model = first_known(item.model, _CONTROLLERS_KNOWN)
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
        source_kind="empty" if told.empty else "file",
        format="raw" if told.empty else told.format,
        chain=None if told.differs else (),
        capacity_bytes=told.capacity,
        allocated_bytes=told.populated,
        shareable=told.shareable,
        readonly=told.readonly,
        boot_order=1 if told.boots else None,
    )


def _uri(told: VirtualDisk, locate: Locate) -> str | None:
    if told.empty and told.capacity:
        return zero_uri(told.capacity)
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
