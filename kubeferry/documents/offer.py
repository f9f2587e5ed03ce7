"""Offer: what a target has for a planner to choose from. Facts of the target, as inventories hold those of a source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kubeferry.model import Bytes, Value

AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]
VolumeMode = Literal["Block", "Filesystem"]


class ClaimSet(Value):
    """One way in which a storage class makes volumes (`claimPropertySets` of its StorageProfile)."""

    access_modes: tuple[str, ...]
    volume_mode: VolumeMode


class StorageClass(Value):
    """A class, and what its StorageProfile says is in force. No `sets`: the profile does not know its provisioner.

    `filesystem_overhead` is the part of a volume that its file system takes (CDIConfig), None where nobody says.
    """

    name: str
    provisioner: str = ""
    default: bool = False
    virt_default: bool = False
    waits_for_consumer: bool = False
    sets: tuple[ClaimSet, ...] = ()
    filesystem_overhead: Annotated[float, Field(ge=0, lt=1)] | None = None
    minimum_bytes: Bytes | None = None


class StateOffer(Value):
    """Where the target keeps UEFI variables over a stop: a claim of this class (None: of none that is named) and mode.

    `carries`: variables that a source has kept can be put there before the first start.
    """

    storage_class: str | None = None
    access_mode: AccessMode = "ReadWriteOnce"
    minimum_bytes: Bytes | None = None
    carries: bool = True


class Offer(Value):
    """The storage classes of a target, and what it keeps beside disks; none where it has no such thing."""

    classes: tuple[StorageClass, ...] = ()
    state: StateOffer | None = None
