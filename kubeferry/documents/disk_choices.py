"""What a policy says about single disks: which ones, and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kubeferry.documents.offer import AccessMode, VolumeMode
from kubeferry.shapes import Value

Size = Annotated[str, Field(pattern=r"^[0-9]{1,15}(\.[0-9]{1,6})?([kMGTP]|[KMGTP]i)?$")]
"""Bytes as Kubernetes writes them: `500Gi`, `1.5Ti`, `1000000`."""


class DiskMatch(Value):
    """Which disks and drives a choice is for: all that is said must fit. Patterns are shell's (`*`, `?`, `[ab]`), in
    any case.

    `id` fits the disk's id in the inventory (vda, 2000, sdf, vmdisk1), and what its volume is called at the target.
    `label` fits what people at the source call it: `Hard disk 2` at vSphere and in an OVF, the Name of a volume at AWS;
    libvirt has no such word. `file` fits the last part of where it lies: a file, a device, a volume's id. `size_from`
    and `size_to` are the least and the greatest size; a disk of unknown size fits neither.
    """

    id: str | None = None
    label: str | None = None
    file: str | None = None
    size_from: Size | None = None
    size_to: Size | None = None


class DiskChoice(Value):
    """Choices for the disks of a machine that `match` fits; None leaves it to what is said for all of its disks.

    `include: false` leaves a disk behind: nothing opens it at the source, and the target has neither claim nor drive
    for it. Class, modes and bus are for what holds data; a CD-ROM drive can be left out, and be booted from. The number
    in `boot_order` stands as it is (1 boots first); devices that the source puts in order take the numbers that are
    left.
    """

    match: DiskMatch = DiskMatch()
    include: bool | None = None
    storage_class: str | None = None
    access_mode: AccessMode | None = None
    volume_mode: VolumeMode | None = None
    bus: Literal["virtio", "scsi", "sata", "usb"] | None = None
    boot_order: Annotated[int, Field(ge=1, le=1000)] | None = None
