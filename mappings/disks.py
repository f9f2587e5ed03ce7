"""Disks and drives: which bus, cache, serial and boot order each gets, and the manifest parts that say so."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from kubeferry.model import Disk, DiskBus, DiskDevice, Machine
from mappings.choices import Choices
from mappings.names import Names
from mappings.nics import plugged
from mappings.sharing import ALONE, Sharing

SERIAL = re.compile(r"[A-Za-z0-9_.+-]{1,256}")
CACHES = ("none", "writethrough", "writeback")
IO_MODES = ("native", "threads")
ERROR_POLICIES = ("stop", "ignore", "report", "enospace")
# The sector that every guest expects, and what KubeVirt takes for others.
USUAL_SECTOR = 512
_SECTORS = frozenset(1 << power for power in range(9, 22))

# Buses that KubeVirt knows under the same name. IDE, NVMe, SD and Xen disks go to the policy's `legacyDiskBus`.
_SAME_BUS = {DiskBus.VIRTIO: "virtio", DiskBus.SATA: "sata", DiskBus.SCSI: "scsi", DiskBus.USB: "usb"}
# `scsi` is virtio-scsi at KubeVirt: a guest that knows another controller has no driver for it.
_SAME_SCSI = {None, "auto", "virtio-scsi", "virtio-transitional", "virtio-non-transitional"}
# Modes that KubeVirt refuses, and the nearest one that is not less careful with the guest's data.
_NEAREST_CACHE = {"directsync": "none", "unsafe": "writeback"}


def is_mapped(disk: Disk) -> bool:
    """Whether the disk has a counterpart at the target: all but floppies."""
    return disk.device != DiskDevice.FLOPPY and disk.bus != DiskBus.FDC


def target_bus(disk: Disk, choices: Choices) -> str:
    """The bus at the target: virtio, sata, scsi or usb."""
    if disk.device == DiskDevice.CDROM:
        return "scsi" if disk.bus == DiskBus.SCSI and disk.controller_model in _SAME_SCSI else "sata"
    if wished := choices.bus_of(disk.id):
        return wished
    if disk.device == DiskDevice.LUN:
        return "scsi"
    if disk.bus == DiskBus.SCSI and disk.controller_model not in _SAME_SCSI:
        return choices.legacy_disk_bus
    return _SAME_BUS.get(disk.bus, choices.legacy_disk_bus)


def target_cache(disk: Disk, sharing: Sharing = ALONE) -> str | None:
    """The cache mode at the target; None leaves it to KubeVirt. What one machine caches, another one does not see."""
    if sharing.is_one(disk):
        return "none"
    if disk.cache in CACHES:
        return disk.cache
    return _NEAREST_CACHE.get(disk.cache or "")


def target_io(disk: Disk, sharing: Sharing = ALONE) -> str | None:
    """The I/O mode at the target. `native` without cache mode `none` is a machine that does not start."""
    if disk.io == "native" and target_cache(disk, sharing) != "none":
        return None
    return disk.io if disk.io in IO_MODES else None


def target_sectors(disk: Disk, choices: Choices) -> tuple[int, int] | None:
    """Logical and physical sector of the target's disk, in bytes; None where they are what QEMU gives by itself.

    A guest's partition tables count in logical sectors: with others it finds no partition. A SATA disk has 512 only.
    """
    logical = disk.logical_block_bytes or USUAL_SECTOR
    physical = max(disk.physical_block_bytes or logical, logical)
    if (logical, physical) == (USUAL_SECTOR, USUAL_SECTOR) or not {logical, physical} <= _SECTORS:
        return None
    if disk.device == DiskDevice.CDROM or (target_bus(disk, choices) == "sata" and logical != USUAL_SECTOR):
        return None
    return logical, physical


def target_discard_granularity(disk: Disk, choices: Choices) -> int | None:
    """The least that the guest may discard, in bytes; None leaves it to QEMU. It is a multiple of the target's sector,
    and QEMU starts no SATA disk with another one than 512 or 0."""
    told, sectors = disk.discard_granularity_bytes, target_sectors(disk, choices) or (USUAL_SECTOR, USUAL_SECTOR)
    if told is None or disk.device == DiskDevice.CDROM or told % sectors[0]:
        return None
    return told if target_bus(disk, choices) != "sata" or told in {0, USUAL_SECTOR} else None


def has_io_thread(disk: Disk, choices: Choices) -> bool:
    """Whether the disk keeps a thread of its own; KubeVirt gives one to virtio disks only."""
    return disk.io_thread and is_mapped(disk) and target_bus(disk, choices) == "virtio"


def has_queues(machine: Machine, choices: Choices) -> bool:
    """Whether a virtio disk had several queues: KubeVirt then gives all of them one for each processor."""
    return any((disk.queues or 1) > 1 and target_bus(disk, choices) == "virtio" for disk in machine.data_disks)


def target_serial(disk: Disk) -> str | None:
    """The serial if KubeVirt takes it; it drops those of CD-ROM drives."""
    if disk.device == DiskDevice.CDROM or disk.serial is None:
        return None
    return disk.serial if SERIAL.fullmatch(disk.serial) else None


def boot_orders(machine: Machine, choices: Choices) -> dict[str, int]:
    """The boot order by `disk:ID` and `nic:ID`, from 1, without doubles.

    Numbers of the policy stand as they are. The ones that are left go, in their order, to what the source puts in
    order: single devices first; else the firmware's list of classes; else the first disk boots.
    """
    candidates = {f"disk:{disk.id}": disk.boot_order for disk in machine.kept_disks if is_mapped(disk)}
    candidates |= {f"nic:{nic.id}": nic.boot_order for nic, _rule in plugged(machine, choices)}
    ordered = sorted((order, key) for key, order in candidates.items() if order is not None)
    keys = [key for _order, key in ordered] or _by_class(machine, list(candidates))
    told = {key: order for disk, order in choices.boot_orders.items() if (key := f"disk:{disk}") in candidates}
    free = (number for number in count(1) if number not in set(told.values()))
    return told | {key: next(free) for key in keys if key not in told}


def boot_disk(machine: Machine, choices: Choices) -> Disk | None:
    """The disk that the machine boots from: the first in the boot order that holds data; None where none does."""
    orders = boot_orders(machine, choices)
    found = [(orders[key], disk) for disk in machine.data_disks if (key := f"disk:{disk.id}") in orders]
    return min(found, key=lambda one: one[0])[1] if found else None


def boot_orders_told(machine: Machine) -> bool:
    """Whether the source orders single devices."""
    orders = [disk.boot_order for disk in machine.disks] + [nic.boot_order for nic in machine.nics]
    return any(order is not None for order in orders)


def _by_class(machine: Machine, present: list[str]) -> list[str]:
    """Devices in the order of the firmware's classes, as the hypervisor tries them: the first device of a class."""
    classes = {
        "hd": [f"disk:{disk.id}" for disk in machine.data_disks][:1],
        "cdrom": [f"disk:{disk.id}" for disk in machine.kept_disks if disk.device == DiskDevice.CDROM][:1],
        "network": [f"nic:{nic.id}" for nic in machine.nics][:1],
    }
    wanted = [key for name in machine.firmware.boot_order or ("hd",) for key in classes.get(name, [])]
    return [key for key in dict.fromkeys(wanted) if key in present]


def disk_devices(machine: Machine, choices: Choices, names: Names, sharing: Sharing = ALONE) -> list[dict[str, Any]]:
    """`domain.devices.disks`: data disks with a volume each, CD-ROM drives empty."""
    orders = boot_orders(machine, choices)
    return [
        _device(disk, choices, names.volumes[disk.id], orders.get(f"disk:{disk.id}"), sharing)
        for disk in machine.kept_disks
        if is_mapped(disk)
    ]


def _device(disk: Disk, choices: Choices, name: str, order: int | None, sharing: Sharing) -> dict[str, Any]:
    bus = target_bus(disk, choices)
    if disk.device == DiskDevice.CDROM:
        device: dict[str, Any] = {"name": name, "cdrom": {"bus": bus}}
    else:
        target: dict[str, Any] = {"bus": bus}
        if disk.readonly and bus != "sata":  # a read-only SATA disk is refused
            target["readonly"] = True
        device = {"name": name, "disk": target}
        device |= {"serial": target_serial(disk), "cache": target_cache(disk, sharing)}
        # `shareable` only where it is one disk for all: what is copied for one machine is its own.
        device |= {"io": target_io(disk, sharing), "shareable": sharing.is_one(disk) or None}
        device |= {"errorPolicy": disk.error_policy if disk.error_policy in ERROR_POLICIES else None}
        device |= {"dedicatedIOThread": has_io_thread(disk, choices) or None}
        device["blockSize"] = _block_size(disk, choices)
    device["bootOrder"] = order
    return {key: value for key, value in device.items() if value is not None}


def _block_size(disk: Disk, choices: Choices) -> dict[str, Any] | None:
    """Sectors, and what may be discarded; KubeVirt takes the one only with the other."""
    sectors, granularity = target_sectors(disk, choices), target_discard_granularity(disk, choices)
    if sectors is None and granularity is None:
        return None
    logical, physical = sectors or (USUAL_SECTOR, USUAL_SECTOR)
    told = {} if granularity is None else {"discardGranularity": granularity}
    return {"custom": {"logical": logical, "physical": physical} | told}


def volumes(machine: Machine, choices: Choices, names: Names) -> list[dict[str, Any]]:
    """`spec.volumes`: one per data disk. A claim referred to directly outlives a wrong machine object."""
    kind = ("dataVolume", "name") if choices.storage.data_volumes else ("persistentVolumeClaim", "claimName")
    return [
        {"name": names.volumes[disk.id], kind[0]: {kind[1]: names.claims[disk.id]}}
        for disk in machine.data_disks
        if is_mapped(disk)
    ]
