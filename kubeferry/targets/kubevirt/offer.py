"""What a cluster offers: its storage classes, its KubeVirt, where that keeps UEFI variables, and instance types."""

from __future__ import annotations

from typing import Any

from kubeferry.documents import ClaimSet, Offer, Platform, StateOffer, StorageClass
from kubeferry.documents.offer import pick_class
from kubeferry.errors import TargetRefused
from kubeferry.targets.kubevirt import capacity, instancetypes
from kubeferry.targets.kubevirt.api import Cluster
from kubeferry.targets.kubevirt.checks.instancetypes import EXPAND
from kubeferry.targets.kubevirt.claims import least_bytes
from kubeferry.targets.kubevirt.kinds import CDI_CONFIG, KUBEVIRT, NODE, QUOTA, STORAGE_CLASS, STORAGE_PROFILE, Kind
from kubeferry.versions import shown, version_of

DEFAULT = "storageclass.kubernetes.io/is-default-class"
VIRT_DEFAULT = "storageclass.kubevirt.io/is-default-virt-class"
MODES = ("Block", "Filesystem")
STATE_GATE = "VMPersistentState"

Object = dict[str, Any]


def read(cluster: Cluster, *, carries: bool = True) -> Offer:
    """The classes, with their StorageProfiles and overheads where CDI is installed, KubeVirt with its gates, and its
    instance types and preferences, and its room. `carries`: movers run in the cluster, which can write UEFI variables
    there."""
    classes = cluster.list(STORAGE_CLASS)
    known = offer_of(classes, _known(cluster, STORAGE_PROFILE), _known(cluster, CDI_CONFIG))
    kubevirts = _known(cluster, KUBEVIRT)
    state = state_of(known.classes, kubevirts)
    kept = state and state.model_copy(update={"carries": carries})
    types, preferences = instancetypes.offered(cluster)
    more = {"kubevirt": platform_of(kubevirts), "state": kept, "types": types, "preferences": preferences}
    room = capacity.room_of(_told(cluster, NODE), _told(cluster, QUOTA))
    return known.model_copy(update={**more, "room": room})


def platform_of(found: list[Object]) -> Platform | None:
    """KubeVirt as its object tells of it; None where there is none, or not for us. Pure."""
    if not found:
        return None
    configuration = (found[0].get("spec") or {}).get("configuration") or {}
    developer = configuration.get("developerConfiguration") or {}
    version = version_of(str((found[0].get("status") or {}).get("observedKubeVirtVersion") or ""))
    return Platform(
        version=shown(version) if version else None,
        gates_on=tuple(developer.get("featureGates") or ()),
        gates_off=tuple(developer.get("disabledFeatureGates") or ()),
        expands_types=(configuration.get("instancetype") or {}).get("referencePolicy") in EXPAND,
    )


def keeps_state(platform: Platform | None) -> bool:
    """Whether this KubeVirt keeps UEFI variables over a stop. Pure."""
    return platform is not None and platform.takes(STATE_GATE)


def state_of(classes: tuple[StorageClass, ...], kubevirts: list[Object]) -> StateOffer | None:
    """Where KubeVirt keeps UEFI variables, by its own rules (v1.9, backend-storage): the class of its configuration,
    else the default for virtualization, else the cluster's; ReadWriteMany where the class makes file systems so. None
    where it keeps none: without such a class, or with its feature gate off. Pure."""
    if not keeps_state(platform_of(kubevirts)):
        return None
    settings = (kubevirts[0].get("spec") or {}).get("configuration") or {}
    named = settings.get("vmStateStorageClass") or None
    found = pick_class(named, classes)
    if found is None:
        return None
    modes = [mode for one in found.sets if one.volume_mode == "Filesystem" for mode in one.access_modes]
    shared = "ReadWriteMany" in modes or (named and "ReadWriteOnce" not in modes)
    return StateOffer(
        storage_class=found.name,
        access_mode="ReadWriteMany" if shared else "ReadWriteOnce",
        minimum_bytes=found.minimum_bytes,
    )


def offer_of(classes: list[Object], profiles: list[Object], configs: list[Object]) -> Offer:
    """The same, from the objects. Pure."""
    by_name = {profile["metadata"]["name"]: profile for profile in profiles}
    overheads = configs[0].get("status", {}).get("filesystemOverhead", {}) if configs else {}
    return Offer(
        packets=False,
        together=False,
        classes=tuple(
            _class(one, by_name.get(one["metadata"]["name"], {}), overheads)
            for one in sorted(classes, key=lambda one: str(one["metadata"]["name"]))
        ),
    )


def _class(found: Object, profile: Object, overheads: Object) -> StorageClass:
    name, marks = found["metadata"]["name"], found["metadata"].get("annotations") or {}
    sets = [
        ClaimSet(access_modes=tuple(one.get("accessModes") or ()), volume_mode=one.get("volumeMode") or "Filesystem")
        for one in (profile.get("status") or {}).get("claimPropertySets") or []
        if one.get("volumeMode", "Filesystem") in MODES
    ]
    overhead = (overheads.get("storageClass") or {}).get(name, overheads.get("global"))
    return StorageClass(
        name=name,
        provisioner=found.get("provisioner", ""),
        default=marks.get(DEFAULT) == "true",
        virt_default=marks.get(VIRT_DEFAULT) == "true",
        waits_for_consumer=found.get("volumeBindingMode") == "WaitForFirstConsumer",
        sets=tuple(sets),
        filesystem_overhead=None if overhead is None else float(overhead),
        minimum_bytes=least_bytes(profile) or None,
    )


def _told(cluster: Cluster, kind: Kind) -> list[Object] | None:
    """All objects of a kind; None where we may not ask for all of them."""
    try:
        return cluster.list(kind)
    except TargetRefused:
        return None


def _known(cluster: Cluster, kind: Kind) -> list[Object]:
    """All objects of a kind that need not exist here, or not for us."""
    try:
        return cluster.list(kind)
    except TargetRefused:
        return []
