"""Offer: what a target has for a planner to choose from. Facts of the target, as inventories hold those of a source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kubeferry.model import Bytes, Value
from kubeferry.versions import Version, is_on, version_of

VERSION = r"^[1-9][0-9]{0,3}\.[0-9]{1,4}$"
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


def pick_class(named: str | None, classes: tuple[StorageClass, ...]) -> StorageClass | None:
    """The class of this name; where none is named, the default for virtualization, else the cluster's."""
    if named is not None:
        return next((one for one in classes if one.name == named), None)
    for_virtualization = (one for one in classes if one.virt_default)
    return next(for_virtualization, None) or next((one for one in classes if one.default), None)


class StateOffer(Value):
    """Where the target keeps UEFI variables over a stop: a claim of this class (None: of none that is named) and mode.

    `carries`: variables that a source has kept can be put there before the first start.
    """

    storage_class: str | None = None
    access_mode: AccessMode = "ReadWriteOnce"
    minimum_bytes: Bytes | None = None
    carries: bool = True


class OfferedType(Value):
    """An instance type and what it gives: `namespace` is None for one of the whole cluster, `hugepages` the size of its
    pages as Kubernetes writes it. `sets` are the things beside processors and memory that it decides, in its own words
    (`cpu.model`, `nodeSelector`)."""

    name: str
    namespace: str | None = None
    vcpus: Annotated[int, Field(ge=1)]
    memory_bytes: Bytes
    hugepages: str | None = None
    dedicated_cpus: bool = False
    node_selector: dict[str, str] = {}
    sets: tuple[str, ...] = ()


class OfferedPreference(Value):
    """A preference; `sets` are the fields that it fills in, in its own words (`devices.preferredDiskBus`). It takes
    machines with as many processors and as much memory as it needs, or more."""

    name: str
    namespace: str | None = None
    sets: tuple[str, ...] = ()
    needs_vcpus: int = 0
    needs_memory_bytes: Bytes = 0


class Platform(Value):
    """KubeVirt as a target has it: its version (`1.9`), None where it is none of a release, and the feature gates that
    somebody switched on or off. `expands_types`: it replaces instance types and preferences in a machine by what they
    give."""

    version: Annotated[str, Field(pattern=VERSION)] | None = None
    gates_on: tuple[str, ...] = ()
    gates_off: tuple[str, ...] = ()
    expands_types: bool = False

    @property
    def number(self) -> Version | None:
        """The version to compare with."""
        return version_of(self.version or "")

    def takes(self, gate: str) -> bool:
        """Whether a feature gate is on."""
        return is_on(gate, self.number, self.gates_on, self.gates_off)


class QuotaRoom(Value):
    """What a quota of a namespace has of one resource, in Kubernetes' word for it: bytes, processors or pieces."""

    namespace: str
    quota: str
    resource: str
    hard: Annotated[float, Field(ge=0)]
    used: Annotated[float, Field(ge=0)]

    @property
    def left(self) -> float:
        return max(0.0, self.hard - self.used)


class ClusterRoom(Value):
    """The nodes that take machines, and what pods may have on them, as if nothing ran there yet; None where nobody
    could ask for the quotas."""

    nodes: int
    cpus: Annotated[float, Field(ge=0)]
    memory_bytes: Bytes
    quotas: tuple[QuotaRoom, ...] | None = None


class Offer(Value):
    """The storage classes of a target, none where it has no such thing; its KubeVirt, None where nobody could ask;
    where it keeps UEFI variables, None where it keeps none; its instance types and preferences, None where nobody could
    ask; whether it sees what network cards of its machines send, and whether it rehearses machines together, each None
    where nobody was asked; and how much room is in it, None where nobody could ask, or nobody counts."""

    classes: tuple[StorageClass, ...] = ()
    kubevirt: Platform | None = None
    state: StateOffer | None = None
    types: tuple[OfferedType, ...] | None = None
    preferences: tuple[OfferedPreference, ...] | None = None
    packets: bool | None = None
    together: bool | None = None
    room: ClusterRoom | None = None
