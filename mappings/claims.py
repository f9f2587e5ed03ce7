"""Claims: room for each data disk, as PersistentVolumeClaims, and DataVolumes that adopt them where the policy asks."""

from __future__ import annotations

from typing import Any

from kubeferry.documents import PlannedDisk
from kubeferry.model import Disk, Machine
from mappings.choices import Choices
from mappings.disks import is_mapped
from mappings.marks import labels, origin
from mappings.names import Names
from mappings.quantities import format_bytes
from mappings.sharing import ALONE, SEVERAL_NODES, Sharing
from mappings.sizing import claim_size

# An existing claim of the same name is taken over as it is; without it the DataVolume is refused.
_ADOPTION = {"cdi.kubevirt.io/allowClaimAdoption": "true"}


def planned_disks(
    machine: Machine, choices: Choices, names: Names, sharing: Sharing = ALONE
) -> tuple[PlannedDisk, ...]:
    """One per data disk whose size is known, but for those that another machine carries; the others are refused by the
    concern `disk.size-unknown`."""
    return tuple(
        PlannedDisk(
            disk=disk.id,
            claim=names.claims[disk.id],
            volume=names.volumes[disk.id],
            size_bytes=disk.capacity_bytes,
            claim_bytes=claim_size(disk.capacity_bytes, storage.volume_mode, storage.overhead, storage.minimum_bytes),
            volume_mode=storage.volume_mode,
            shared_with=sharing.disks[disk.id].others if sharing.is_one(disk) else None,
        )
        for disk in machine.data_disks
        if is_mapped(disk) and disk.capacity_bytes and not sharing.attaches(disk)
        for storage in [choices.storage_of(disk.id)]
    )


def claim_manifests(
    machine: Machine, choices: Choices, names: Names, disks: tuple[PlannedDisk, ...]
) -> list[dict[str, Any]]:
    """A PersistentVolumeClaim per disk; with `dataVolumes` also a blank DataVolume of its name that adopts it."""
    by_id = {disk.id: disk for disk in machine.data_disks}
    made = []
    for planned in disks:
        metadata = _metadata(machine, choices, names, by_id[planned.disk])
        spec = _spec(planned, choices)
        made.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": metadata,
                "spec": spec,
            }
        )
        if choices.storage.data_volumes:
            made.append(_data_volume(metadata, _spec(planned, choices)))
    return made


def _metadata(machine: Machine, choices: Choices, names: Names, disk: Disk) -> dict[str, Any]:
    return {
        "name": names.claims[disk.id],
        "namespace": choices.namespace,
        "labels": labels(machine, choices, names),
        "annotations": origin(machine)
        | {"kubeferry.io/disk-id": disk.id}
        | ({"kubeferry.io/disk-label": disk.label} if disk.label else {}),
    }


def _spec(planned: PlannedDisk, choices: Choices) -> dict[str, Any]:
    storage = choices.storage_of(planned.disk)
    spec: dict[str, Any] = {
        "accessModes": [SEVERAL_NODES if planned.shared_with else storage.access_mode],
        "volumeMode": planned.volume_mode,
        "resources": {"requests": {"storage": format_bytes(planned.claim_bytes)}},
    }
    if storage.storage_class is not None:
        spec["storageClassName"] = storage.storage_class
    return spec


def _data_volume(metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """`pvc`, not `storage`: CDI adds overhead of its own to the latter, and the claim is sized already."""
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": metadata | {"annotations": metadata["annotations"] | _ADOPTION},
        "spec": {"source": {"blank": {}}, "pvc": spec},
    }
