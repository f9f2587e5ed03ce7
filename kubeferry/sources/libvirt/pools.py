"""Disks that a domain names by storage pool and volume: where they lie, as their libvirt says."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import libvirt

from kubeferry.model import Disk, Machine
from kubeferry.sources.libvirt.domain.disks import uri_of_path

_KINDS = {libvirt.VIR_STORAGE_VOL_FILE: "file", libvirt.VIR_STORAGE_VOL_BLOCK: "block"}


def resolved(connection: libvirt.virConnect, machine: Machine) -> Machine:
    """The machine with the files and devices of its volumes. One whose pool is not there or not started, or that is
    neither file nor device, stays a volume, which keeps the machine out of a plan."""
    if not any(disk.source_kind == "volume" for disk in machine.disks):
        return machine
    return machine.model_copy(update={"disks": tuple(_resolved(connection, disk) for disk in machine.disks)})


def _resolved(connection: libvirt.virConnect, disk: Disk) -> Disk:
    if disk.source_kind != "volume" or disk.uri is None:
        return disk
    parts = urlsplit(disk.uri)
    try:
        pool = connection.storagePoolLookupByName(unquote(parts.netloc))
        volume = pool.storageVolLookupByName(unquote(parts.path.removeprefix("/")))
        told, capacity, allocation = volume.info()
        kind, path = _KINDS.get(told), volume.path()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in {
            libvirt.VIR_ERR_NO_STORAGE_POOL,
            libvirt.VIR_ERR_NO_STORAGE_VOL,
            libvirt.VIR_ERR_OPERATION_INVALID,  # the pool is not started
            libvirt.VIR_ERR_NO_SUPPORT,
        }:
            raise
        return disk
    if kind is None:
        return disk
    found = {"source_kind": kind, "uri": uri_of_path(kind, path)}
    return disk.model_copy(update=found | {"capacity_bytes": capacity or None, "allocated_bytes": allocation})
