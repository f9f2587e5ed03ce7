"""Disks and drives of a configuration: `scsi0: local-lvm:vm-100-disk-0,size=32G`, … Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import quote

from kubeferry.model import ChainLink, Disk, DiskBus, DiskDevice, SourceFact
from kubeferry.sources.facts.settings import Settings
from kubeferry.sources.proxmox.sections import is_on, left, options

SCHEME = "proxmox"
KIND = "proxmox"
"""What the model's `source_kind` is of a disk on one of Proxmox's storages."""
_BUSES = {"ide": DiskBus.IDE, "scsi": DiskBus.SCSI, "sata": DiskBus.SATA, "virtio": DiskBus.VIRTIO}
_PLACE = re.compile(r"(ide|sata|scsi|virtio)([0-9]{1,2})", re.ASCII)
# Names that QEMU and libvirt have for the same controllers; nothing said is Proxmox's own choice.
_MODELS = {"": "lsilogic", "lsi": "lsilogic", "lsi53c810": "lsi53c810", "virtio-scsi-pci": "virtio-scsi",
           "virtio-scsi-single": "virtio-scsi", "megasas": "lsisas1078", "pvscsi": "pvscsi"}  # fmt: skip
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?([KMGT]?)", re.ASCII)
_SCALE = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_FORMATS = {"raw", "qcow2", "qed", "vmdk", "cow", "cloop"}
_CLOUD_INIT = "cloudinit"
# Of which nothing that a guest sees depends: what Proxmox does with the volume, and how often it was read.
_QUIET = {"backup", "replicate", "format", "detect_zeroes", "heads", "secs", "cyls", "trans", "shared", "rerror"}
_READ = {"file", "volume", "size", "media", "cache", "iothread", "discard", "serial", "wwn", "ro", "aio", "snapshot",
         "queues", "werror"}  # fmt: skip
_LIMITS = ("mbps", "iops", "bps")


def read_disks(now: Settings, orders: dict[str, int]) -> tuple[tuple[Disk, ...], list[SourceFact]]:
    """All disks and drives by their keys, in the order in which firmware counts them, and what is said of them besides.
    `orders` are their places in the boot order."""
    controller = (now.value("scsihw") or "").lower()
    places = sorted((found for key in now if (found := _PLACE.fullmatch(key))), key=lambda one: (one[1], int(one[2])))
    disks, facts = [], []
    for place in places:
        key, told = place[0], options(now.value(place[0]), "file")
        disks.append(_disk(key, _BUSES[place[1]], _MODELS.get(controller, controller), told, orders.get(key)))
        facts += left(key, {one: told[one] for one in told if not one.startswith(_LIMITS)}, _READ | _QUIET)
    return tuple(disks), facts


def _disk(key: str, bus: DiskBus, controller: str, told: dict[str, str], order: int | None) -> Disk:
    volume = told.get("file") or told.get("volume") or ""
    drive = told.get("media") == "cdrom" or volume == "cdrom"
    cloud_init = drive and _CLOUD_INIT in volume
    empty = drive and (volume in {"none", "cdrom", ""} or cloud_init)
    return Disk(
        id=key,
        label=_CLOUD_INIT if cloud_init else None,
        device=DiskDevice.CDROM if drive else DiskDevice.DISK,
        bus=bus,
        controller_model=controller if bus is DiskBus.SCSI else None,
        uri=None if empty or not volume else _uri(volume),
        source_kind=KIND,
        format=None if drive else _format(volume, told.get("format")),
        chain=_chain(volume) if not drive else (),
        capacity_bytes=None if drive else size_of(told.get("size")),
        serial=told.get("serial"),
        wwn=told.get("wwn"),
        cache=told.get("cache"),
        io=told.get("aio"),
        discard={"on": "unmap", "ignore": "ignore"}.get(told.get("discard", "")),
        error_policy=told.get("werror"),
        queues=int(told["queues"]) if re.fullmatch(r"[0-9]{1,4}", told.get("queues", "")) else None,
        io_thread=is_on(told.get("iothread")) is True,
        readonly=drive or is_on(told.get("ro")) is True,
        transient=is_on(told.get("snapshot")) is True,
        removable=drive,
        throttled=any(name.startswith(_LIMITS) for name in told),
        boot_order=order,
    )


def _uri(volume: str) -> str:
    return f"{SCHEME}:{quote(volume, safe='/:')}"


def _format(volume: str, told: str | None) -> str | None:
    """By the end of the volume's name; one of a block device, or of a storage of them, is raw."""
    if told in _FORMATS:
        return told
    ending = PurePosixPath(volume).suffix.removeprefix(".").lower()
    return ending if ending in _FORMATS else "raw" if volume else None


def _chain(volume: str) -> tuple[ChainLink, ...]:
    """A linked clone names the volume of its template before its own: `local:9000/base-9000-disk-0.qcow2/100/…`."""
    store, _, path = volume.partition(":")
    base = next((part for part in path.split("/")[:-1] if part.startswith("base-")), None)
    return (ChainLink(uri=_uri(f"{store}:{base}"), format=_format(base, None) or "raw"),) if base else ()


def size_of(told: str | None) -> int | None:
    """`32G`, `528K`, bytes, or with decimals; None for anything else."""
    found = _SIZE.fullmatch(told or "")
    if found is None:
        return None
    scale, decimals = _SCALE[found[3]], found[2] or ""
    return int(found[1] + decimals) * scale // int("1" + "0" * len(decimals))
