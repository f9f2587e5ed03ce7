"""How a machine's disks are claimed: class, access mode, volume mode and overhead, decided as CDI would decide them.

CDI fills in what a DataVolume's `storage` leaves open. Our claims are plain ones, for which Kubernetes fills in less,
and otherwise: it knows no default for virtualization, and no profiles. So CDI's rules are applied here, when the plan
is made, and what they come to is written out, the class included: what was reviewed is what is applied, even if the
cluster has another default by then.

    class     the policy's, else the default for virtualization, else the cluster's default
    modes     both told: as told; one told: that of the first set of the class's profile that matches it, else of the
              first set; none told: the first set
    overhead  the policy's, else the class's, else 0.06; none without a class; a Block volume has none

Where no target was asked, nothing is known of classes, and the modes are those that every cluster has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from kubeferry.documents import ClaimSet, Offer, StorageClass, StoragePolicy
from kubeferry.documents.offer import AccessMode, VolumeMode, pick_class

UNASKED = Offer()
"""What is known of a target that nobody asked."""

USUAL_OVERHEAD = 0.06
USUAL_MODES: tuple[AccessMode, VolumeMode] = ("ReadWriteOnce", "Filesystem")

CLASS_MISSING = "storage.class-missing"
CLASS_OPEN = "storage.class-open"
MODES_UNKNOWN = "storage.modes-unknown"
MODES_UNUSUAL = "storage.modes-unusual"

_WRITABLE: tuple[AccessMode, ...] = get_args(AccessMode)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What speaks against the claims: the id of its rule, and a sentence."""

    id: str
    what: str


@dataclass(frozen=True, slots=True)
class Storage:
    """The claims of one machine, all of it decided; with a doubt, so far as it can be.

    `storage_class` None leaves the claim without a word on it, empty asks for none. `offered` is what the target says
    of the class, None where it has none of that name or was not asked. `overhead` is the part of the volume that a file
    system takes, 0 on Block volumes. `named`: the policy names the class. `asked`: the target's classes are known.
    """

    storage_class: str | None
    access_mode: AccessMode
    volume_mode: VolumeMode
    overhead: float
    data_volumes: bool = False
    named: bool = False
    asked: bool = False
    offered: StorageClass | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def minimum_bytes(self) -> int:
        """The smallest volume that the class makes; 0 where nobody says."""
        return (self.offered and self.offered.minimum_bytes) or 0


def resolve(policy: StoragePolicy, offer: Offer) -> Storage:
    """The claims that a policy comes to at a target. Never fails: what cannot be decided is a doubt."""
    offered = pick_class(policy.storage_class, offer.classes)
    access_mode, volume_mode = pick_modes(policy.access_mode, policy.volume_mode, offered.sets if offered else ())
    mode = volume_mode or USUAL_MODES[1]
    return Storage(
        storage_class=offered.name if offered else policy.storage_class,
        access_mode=access_mode or USUAL_MODES[0],
        volume_mode=mode,
        overhead=0.0 if mode == "Block" else _overhead(policy, offered),
        data_volumes=policy.data_volumes,
        named=policy.storage_class is not None,
        asked=bool(offer.classes),
        offered=offered,
        doubts=tuple(_doubts(policy, offer, offered, access_mode, volume_mode)) if offer.classes else (),
    )


def pick_modes(
    access_mode: AccessMode | None, volume_mode: VolumeMode | None, sets: tuple[ClaimSet, ...]
) -> tuple[AccessMode | None, VolumeMode | None]:
    """Both modes; one that is told stays, and one that neither policy nor profile tells stays None."""
    ways = list(_ways(sets))
    matching = (way for way in ways if access_mode in {None, way[0]} and volume_mode in {None, way[1]})
    first = next(matching, ways[0] if ways else (None, None))
    return access_mode or first[0], volume_mode or first[1]


def _ways(sets: tuple[ClaimSet, ...]) -> Iterator[tuple[AccessMode, VolumeMode]]:
    """The ways in which a class makes volumes that a machine can write, in the profile's order."""
    for one in sets:
        for name in one.access_modes:
            yield from ((mode, one.volume_mode) for mode in _WRITABLE if mode == name)


def _overhead(policy: StoragePolicy, offered: StorageClass | None) -> float:
    if policy.filesystem_overhead is not None:
        return policy.filesystem_overhead
    if policy.storage_class == "":
        return 0.0
    told = offered.filesystem_overhead if offered else None
    return USUAL_OVERHEAD if told is None else told


def _doubts(
    policy: StoragePolicy,
    offer: Offer,
    offered: StorageClass | None,
    access_mode: AccessMode | None,
    volume_mode: VolumeMode | None,
) -> Iterator[Doubt]:
    has = ", ".join(one.name for one in offer.classes)
    if policy.storage_class and offered is None:
        yield Doubt(CLASS_MISSING, f"The cluster has no storage class {policy.storage_class}; it has {has}.")
    if policy.storage_class is None and offered is None:
        yield Doubt(CLASS_OPEN, f"No storage class is named, and none of the cluster's is the default; it has {has}.")
    ways = list(_ways(offered.sets)) if offered else []
    missing = [name for name, mode in (("access", access_mode), ("volume", volume_mode)) if mode is None]
    if missing:
        whose = f"storage class {offered.name}, whose profile is empty" if offered else "such volumes"
        yield Doubt(MODES_UNKNOWN, f"Nobody tells the {' and '.join(missing)} mode of {whose}.")
    elif ways and (access_mode, volume_mode) not in ways:
        known = ", ".join(f"{volume} {access}" for access, volume in ways)
        yield Doubt(
            MODES_UNUSUAL,
            f"The profile of storage class {offered.name if offered else ''} does not tell of {volume_mode} "
            f"{access_mode} volumes; it tells of {known}.",
        )
