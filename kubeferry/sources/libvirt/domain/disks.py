"""Disks and drives of a domain, with the chains that the domain itself tells."""

from __future__ import annotations

from urllib.parse import quote

from kubeferry.model import ChainLink, Disk, DiskBus, DiskDevice
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.libvirt.domain import network
from kubeferry.sources.libvirt.domain.addresses import in_words

_BUSES = {bus.value for bus in DiskBus} - {"unknown"}
_DEVICES = {device.value for device in DiskDevice}
# What libvirt calls the two generations of virtio; a plain `virtio` is whatever fits the bus.
VIRTIO_GENERATIONS = {"virtio-transitional", "virtio-non-transitional"}
_FOR_ONE_RUN = ("alias", "source@index", "backingStore@index", "source/privateData", "privateData")
# How the old host treats the image: who may open it, whether it may be missing, whether a snapshot takes it along.
_OF_THE_HOST = ("source@startupPolicy", "source/seclabel", ".@snapshot")


def read_disks(root: Node) -> tuple[Disk, ...]:
    """The disks in the order of the XML, called as their targets (`vda`). Two of one name are a problem."""
    controllers = _scsi_controllers(root)
    disks: list[Disk] = []
    for index, node in enumerate(root.all("devices/disk")):
        disk = _disk(node, index, controllers)
        if any(disk.id == other.id for other in disks):
            node.refuse(f"two disks are called {disk.id!r}", "Give each disk a target of its own.")
        disks.append(disk)
    return tuple(disks)


def _disk(node: Node, index: int, controllers: dict[str, str | None]) -> Disk:
    name = node.value("target@dev") or f"disk{index}"
    node.label = name
    node.skip(*_FOR_ONE_RUN, *_OF_THE_HOST)
    network.read_access(node)  # of the host, too
    node.word("driver@name", {"qemu"})
    kind = node.value(".@type") or "unknown"
    bus = DiskBus(node.word("target@bus", _BUSES) or "unknown")
    disk_format = node.value("driver@type")
    return Disk(
        id=name,
        device=_device(node),
        bus=bus,
        virtio=node.word(".@model", VIRTIO_GENERATIONS),
        controller_model=_controller(node, controllers) if bus == DiskBus.SCSI else None,
        uri=read_uri(node, kind),
        source_kind=kind,
        format=disk_format,
        chain=_chain(node, disk_format),
        serial=node.value("serial"),
        wwn=node.value("wwn"),
        cache=node.value("driver@cache"),
        io=node.value("driver@io"),
        discard=node.value("driver@discard"),
        logical_block_bytes=node.number("blockio@logical_block_size"),
        physical_block_bytes=node.number("blockio@physical_block_size"),
        discard_granularity_bytes=node.number("blockio@discard_granularity"),
        error_policy=node.value("driver@error_policy"),
        queues=node.number("driver@queues"),
        io_thread=node.value("driver@iothread") is not None,
        shareable=node.has("shareable"),
        readonly=node.has("readonly"),
        transient=node.has("transient"),
        removable=node.flag("target@removable") or False,
        encrypted=_encrypted(node),
        throttled=node.has("iotune"),
        boot_order=node.number("boot@order"),
    )


def _device(node: Node) -> DiskDevice:
    """libvirt means a disk where it says nothing."""
    told = node.word(".@device", _DEVICES)
    if told is None and node.peek(".@device"):
        node.refuse(f"device {node.peek('.@device')!r} is none of {', '.join(sorted(_DEVICES))}", "Correct it.")
    return DiskDevice(told or "disk")


def _scsi_controllers(root: Node) -> dict[str, str | None]:
    """The model of each SCSI controller by its number."""
    return {
        node.peek(".@index") or "0": node.peek(".@model")
        for node in root.child("devices").children
        if node.tag == "controller" and node.peek(".@type") == "scsi"
    }


def _controller(node: Node, controllers: dict[str, str | None]) -> str | None:
    """The model of the controller that the disk's address names; without one, that of the only controller."""
    number = node.peek("address@controller")
    if number is not None:
        return controllers.get(number)
    return next(iter(controllers.values())) if len(controllers) == 1 else None


def _encrypted(node: Node) -> bool:
    """At the disk, at its source, or anywhere in its chain."""
    found = False
    for path in ("encryption", "source/encryption"):
        if node.child(path).present:
            node.skip(path)
            found = True
    below = node.child("backingStore")
    return (_encrypted(below) if below.present else False) or found


def _chain(node: Node, top_format: str | None) -> tuple[ChainLink, ...] | None:
    """None where nothing is told or the end of the chain is not; empty where the domain says that nothing is below."""
    told: list[Node] = []
    below = node.child("backingStore")
    if not below.present:
        return None
    while below.peek(".@type"):
        told.append(below)
        below = below.child("backingStore")
    last_format = told[-1].peek("format@type") if told else top_format
    if not below.present and last_format != "raw":
        return None
    return tuple(_link(one) for one in told)


def _link(node: Node) -> ChainLink:
    node.skip(*_FOR_ONE_RUN)
    uri = read_uri(node, node.value(".@type") or "unknown")
    if uri is None:
        node.refuse("<backingStore>: it does not say where the image lies", "Complete it at the source.")
    return ChainLink(uri=uri or "", format=_part(node) + (node.value("format@type") or "unknown"))


def _part(node: Node) -> str:
    """What makes an image's bytes other than its file's, before its format: nothing reads one that is called so."""
    told = {child.tag for child in node.child("source").children}
    if "slices" in told:
        return "slice of "
    return "external " if "dataStore" in told else ""


def read_uri(node: Node, kind: str) -> str | None:
    """Where an image lies, None for an empty drive. Passwords, tokens and queries of network disks are left out."""
    source = node.child("source")
    if not source.present:
        return None
    if kind == "network":
        return network.uri_of(source)
    if kind == "volume":
        pool, volume = source.value(".@pool"), source.value(".@volume")
        return f"volume://{quote(pool, safe='')}/{quote(volume)}" if pool and volume else None
    if kind == "nvme":
        namespace = source.value(".@namespace") or ""
        return f"nvme://{in_words(source.child('address')).removeprefix('pci ')}/{quote(namespace)}"
    attribute = {"file": "file", "block": "dev", "dir": "dir", "vhostvdpa": "dev"}.get(kind, "path")
    return uri_of_path(kind, source.value(f".@{attribute}"))


def uri_of_path(scheme: str, path: str | None) -> str | None:
    """`file:///images/a%20b.img`: an absolute path has an empty host, a relative one stays recognizable as such."""
    if path is None:
        return None
    return f"{scheme}://{quote(path)}" if path.startswith("/") else f"{scheme}:{quote(path)}"
