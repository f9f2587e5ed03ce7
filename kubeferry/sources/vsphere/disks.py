"""Disks and drives of a machine's devices: bus, file, chain, modes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

from kubeferry.model import ChainLink, Disk, DiskBus, DiskDevice, SourceFact
from kubeferry.sources.facts.escaped_names import unescaped
from kubeferry.sources.vsphere.plain import Plain

DISK, CDROM, FLOPPY = "VirtualDisk", "VirtualCdrom", "VirtualFloppy"
FLAT = "VirtualDiskFlatVer2BackingInfo"
RDM = {
    "VirtualDiskRawDiskMappingVer1BackingInfo",
    "VirtualDiskRawDiskVer2BackingInfo",
    "VirtualDiskPartitionedRawDiskVer2BackingInfo",
}
# Controller types of the API -> bus and model. A name that ends alike is a newer type of the same family.
CONTROLLERS = {
    "ParaVirtualSCSIController": (DiskBus.SCSI, "pvscsi"),
    "VirtualLsiLogicController": (DiskBus.SCSI, "lsilogic"),
    "VirtualLsiLogicSASController": (DiskBus.SCSI, "lsisas1068"),
    "VirtualBusLogicController": (DiskBus.SCSI, "buslogic"),
    "VirtualSCSIController": (DiskBus.SCSI, None),  # an export that does not tell which one
    "VirtualAHCIController": (DiskBus.SATA, "ahci"),
    "VirtualIDEController": (DiskBus.IDE, None),
    "VirtualNVMEController": (DiskBus.NVME, None),
    "VirtualSIOController": (DiskBus.FDC, None),
}
SCHEME = "datastore"
LABEL_LIMIT = 200
_MODES = {"nonpersistent", "independent_nonpersistent", "undoable", "append"}


def place_of(name: str) -> tuple[str, str]:
    """Datastore and path of the API's `[STORE] FOLDER/FILE`; the datastore's name may have brackets in it."""
    store, _, path = name.removeprefix("[").partition("] ")
    if not path:
        store, _, path = name.removeprefix("[").rpartition("]")
    return unescaped(store), path.strip()


def file_uri(name: str) -> str:
    """`datastore:///STORE/FOLDER/FILE` for the API's `[STORE] FOLDER/FILE`."""
    store, path = place_of(name)
    return f"{SCHEME}:///{quote(store, safe='')}/{quote(path)}"


def file_name(uri: str | None) -> tuple[str, str] | None:
    """Datastore and path of a `datastore:` URI, None for anything else."""
    parts = urlsplit(uri or "")
    store, _, path = parts.path.removeprefix("/").partition("/")
    return (unquote(store), unquote(path)) if parts.scheme == SCHEME and store and path else None


def read_disks(devices: list[Plain], *, told_serial: bool, boot: Mapping[int, int]) -> tuple[Disk, ...]:
    """All disks and drives, in the order of their controllers. `told_serial`: the guest sees the disk's UUID. `boot`
    is the place of a device in the boot order by its key."""
    controllers = {one["key"]: one for one in devices if "key" in one}
    found = [one for one in devices if one["_type"] in {DISK, CDROM, FLOPPY}]
    found.sort(key=lambda one: (one.get("controllerKey", 0), one.get("unitNumber", 0), one["key"]))
    return tuple(
        _disk(one, controllers.get(one.get("controllerKey", 0)), boot, told_serial=told_serial) for one in found
    )


def _disk(device: Plain, controller: Plain | None, boot: Mapping[int, int], *, told_serial: bool) -> Disk:
    backing: Plain = device.get("backing", {})
    bus, model = CONTROLLERS.get((controller or {}).get("_type", ""), (DiskBus.UNKNOWN, None))
    kind = {DISK: DiskDevice.DISK, CDROM: DiskDevice.CDROM, FLOPPY: DiskDevice.FLOPPY}[device["_type"]]
    mapped = backing.get("_type") in RDM
    if mapped:
        kind = DiskDevice.LUN
    data = device["_type"] == DISK
    return Disk(
        id=str(device["key"]),
        label=str(device.get("deviceInfo", {}).get("label") or "")[:LABEL_LIMIT] or None,
        device=kind,
        bus=bus,
        controller_model=model,
        uri=_uri(backing, data=data),
        source_kind="rdm" if mapped else _source_kind(backing),
        format="vmdk" if data else ("raw" if backing.get("fileName") else None),
        chain=_chain(backing) if data and backing.get("fileName") else None,
        capacity_bytes=_capacity(device) if data else None,
        serial=_serial(backing) if data and told_serial else None,
        shareable=is_shared(backing, controller),
        transient=backing.get("diskMode") in _MODES,
        removable=not data,
        encrypted="keyId" in backing,
        throttled=is_throttled(device),
        boot_order=boot.get(device["key"]),
    )


def _source_kind(backing: Plain) -> str:
    if not backing:
        return "unknown"
    return "datastore" if backing.get("fileName") else "device"


def _uri(backing: Plain, *, data: bool) -> str | None:
    if backing.get("fileName"):
        return file_uri(backing["fileName"])
    device = backing.get("deviceName")
    return f"{SCHEME}-device:{quote(str(device))}" if data and device else None


def _chain(backing: Plain) -> tuple[ChainLink, ...]:
    links: list[ChainLink] = []
    below = backing.get("parent")
    while below and len(links) < 255:  # a chain has at most 32 links; a loop has none
        links.append(ChainLink(uri=file_uri(below.get("fileName", "[]")), format="vmdk"))
        below = below.get("parent")
    return tuple(links)


def _capacity(device: Plain) -> int | None:
    told = device.get("capacityInBytes")
    size = told if told is not None else device.get("capacityInKB", -1) * 1024
    return size if size >= 0 else None


def _serial(backing: Plain) -> str | None:
    return str(backing["uuid"]).replace("-", "").lower() if backing.get("uuid") else None


def is_shared(backing: Plain, controller: Plain | None) -> bool:
    """Whether several machines may use the disk: by its own mode, or by its SCSI bus."""
    own = backing.get("sharing") not in {None, "sharingNone"}
    return own or (controller or {}).get("sharedBus") not in {None, "noSharing"}


def is_throttled(device: Plain) -> bool:
    limit = device.get("storageIOAllocation", {}).get("limit")
    return limit is not None and limit >= 0


def disk_leftovers(devices: list[Plain], stores: Mapping[str, bool], *, tracked: bool) -> Iterator[SourceFact]:
    """What the model has no word for, of each disk. `stores` says of the machine's datastores by name whether they can
    be reached, `tracked` whether the machine tracks its disks' changes."""
    for device in devices:
        if device["_type"] == DISK:
            for name, value in (*_of_backing(device.get("backing", {}), stores, tracked=tracked), *_of_device(device)):
                yield SourceFact(path=f"disk[{device['key']}]/{name}", value=value)


def _of_backing(backing: Plain, stores: Mapping[str, bool], *, tracked: bool) -> Iterator[tuple[str, str]]:
    store = place_of(str(backing.get("fileName", "")))[0]
    if store and not stores.get(store, False):
        yield "datastore", f"{'not reachable' if store in stores else 'missing'} ({store})"
    if tracked and not backing.get("changeId"):
        yield "changeTracking", "off"
    if backing.get("diskMode", "persistent") != "persistent":
        yield "diskMode", str(backing["diskMode"])
    for name in ("compatibilityMode", "lunUuid", "sharing"):
        if backing.get(name) not in {None, "sharingNone"}:
            yield name, str(backing[name])
    if backing.get("_type", FLAT) not in {FLAT, *RDM}:
        yield "backing", str(backing["_type"])


def _of_device(device: Plain) -> Iterator[tuple[str, str]]:
    shares = device.get("storageIOAllocation", {}).get("shares", {}).get("level", "normal")
    if shares != "normal":
        yield "shares", str(shares)
    for name in ("iofilter", "vDiskId", "vFlashCacheConfigInfo"):
        if device.get(name):
            yield name, str(device[name])[:200]
