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


class Offer(Value):
    """The storage classes of a target; none where it has no such thing."""

    classes: tuple[StorageClass, ...] = ()
