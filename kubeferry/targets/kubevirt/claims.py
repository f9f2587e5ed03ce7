"""Room for a machine's disks: the plan's claims, as they were reviewed, and a small claim for what the movers remember.

No claim is owned by anything: deleting a VirtualMachine by mistake does not delete its data.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from kubeferry.documents import Entry, KeptTpm, KeptVariables, MoverSettings, PlannedDisk
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.ledger import External, Ledger
from kubeferry.targets import Room
from kubeferry.targets.kubevirt import binding, names
from kubeferry.targets.kubevirt.api import AlreadyThere, Cluster
from kubeferry.targets.kubevirt.checks.facts import Seen, default_class, template_of
from kubeferry.targets.kubevirt.checks.launcher import footprint
from kubeferry.targets.kubevirt.kinds import (
    CLAIM,
    KUBEVIRT,
    LIMIT_RANGE,
    NODE,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    Kind,
)
from kubeferry.targets.kubevirt.quantities import amount

MIB = 1 << 20
STATE_BASE_BYTES = 64 * MIB
# For each MiB of a disk, in all the files that can be there at once: a digest of 32 bytes in the fingerprint, and one
# with its checksum of 4 in the checkpoint of a round that was left, in a checkpoint, and in the one that replaces it.
# (What was read back has a file of its own, but never beside these.)
STATE_BYTES_PER_MIB = 32 + 3 * 36
STATE_SPARE = 10  # a tenth more: what a file system keeps for itself, and for root
# What CDI writes on a StorageProfile whose volumes have a least size.
MINIMUM = "cdi.kubevirt.io/minimumSupportedPvcSize"
WRITABLE = ("ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
USUAL = MoverSettings()
CRAMPED_FIX = (
    "Let its class grow volumes (allowVolumeExpansion). Or begin anew: `kubeferry release --everything` removes what "
    "was copied, and this claim with it."
)
PLACEMENT = "kubeferry.io/placement"
RUNTIME = "runtimeClassName"
PLACED_BY = ("nodeSelector", "affinity", "tolerations")

Object = dict[str, Any]


def prepare(cluster: Cluster, entry: Entry, ledger: Ledger, settings: MoverSettings) -> dict[str, Room]:
    """The claims of all disks are there, made now where they were not; nothing that is there is changed.

    A claim may stay unbound until its first pod. Raises TargetRefused with everything that is wrong with claims that
    are there already, before any is made.
    """
    wanted = {planned.disk: planned_claim(entry, planned) for planned in entry.disks}
    found = {disk: cluster.get(CLAIM, claim["metadata"]["name"], entry.namespace) for disk, claim in wanted.items()}
    refuse(entry, wanted, found)
    make_state(cluster, entry, ledger, wanted, settings)
    rooms = {}
    for planned in entry.disks:
        created = found[planned.disk] is None and _make(
            cluster, entry, ledger, wanted[planned.disk], planned.claim, planned.disk
        )
        ref, state = names.disk_ref(entry, planned), names.state_dir(entry, planned.disk)
        # A volume that was used before may hold old bytes; a fresh disk.img is made, and known, by the mover.
        rooms[planned.disk] = Room(ref, state, False, created, makes_target=planned.volume_mode == "Filesystem")
    return rooms


def kept_room(
    cluster: Cluster, entry: Entry, kept: KeptVariables | KeptTpm, size: int, fence: int, ledger: Ledger
) -> Room:
    """The claim that KubeVirt will mount for the machine's state is there, as the plan has it, and a mover makes the
    file. See `kubeferry.targets.Target`."""
    there = cluster.get(CLAIM, kept.claim, entry.namespace)
    if there is not None and (why := names.objection(entry, there)):
        raise TargetRefused(why, fix="Remove it, or give the machine another name.", machine=entry.name)
    _refuse_leaving(entry, there, kept.claim, "")
    created = there is None and _make(cluster, entry, ledger, _named(entry, kept.claim, ""), kept.claim, "")
    what = kept.claim if isinstance(kept, KeptVariables) else f"{kept.claim}/tpm"
    state = names.state_dir(entry, f"{what}/{fence}")
    return Room(names.kept_ref(entry, kept, size), state, False, created, makes_target=True)


# --- pure ------------------------------------------------------------------------------------------------------------


def planned_claim(entry: Entry, planned: PlannedDisk) -> Object:
    """The claim's manifest as the plan has it, in its namespace and marked as this machine's."""
    return _named(entry, planned.claim, planned.disk)


def _named(entry: Entry, claim: str, disk: str) -> Object:
    for manifest in entry.manifests:
        metadata = manifest.get("metadata", {})
        if manifest.get("kind") == CLAIM.name and metadata.get("name") == claim:
            labels = names.labels(entry) | metadata.get("labels", {})
            annotations = names.origin(entry) | metadata.get("annotations", {})
            marked = metadata | {"namespace": entry.namespace, "labels": labels, "annotations": annotations}
            return manifest | {"metadata": marked}
    raise TargetRefused(
        f"the plan has no claim {claim}",
        fix="Plan again with this version.",
        machine=entry.name,
        disk=disk,
    )


def state_claim(
    entry: Entry,
    first: Object,
    settings: MoverSettings = USUAL,
    profile: Object | None = None,
    *,
    limits: Iterable[Object] = (),
    placed: Object | None = None,
) -> Object:
    """The claim that the machine's movers keep their state on: of the class that the settings name, else that of its
    first disk's claim. `profile` is what CDI knows of that class, `limits` are the namespace's limit ranges. The claim
    notes where the movers go: `placed`, else where the machine is told to."""
    size = STATE_BASE_BYTES + remembered_bytes(entry)
    named = state_class(first, settings)
    where = placement(entry) if placed is None else placed
    spec = {
        "accessModes": [state_mode(first, ways(profile))],
        "volumeMode": "Filesystem",
        "resources": {
            "requests": {"storage": str(max(size, settings.state_bytes, least_bytes(profile), least_claim(limits)))}
        },
    } | ({} if named is None else {"storageClassName": named})
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.name,
        "metadata": {
            "name": names.state_claim(entry.target_name),
            "namespace": entry.namespace,
            "labels": names.labels(entry) | {names.PART_LABEL: names.STATE},
            "annotations": names.origin(entry) | {PLACEMENT: json.dumps(where, sort_keys=True)},
        },
        "spec": spec,
    }


def remembered_bytes(entry: Entry) -> int:
    """What the movers of these disks remember at the most, in whole MiB, with what a file system takes for it."""
    digests = sum(-(-planned.size_bytes // MIB) for planned in entry.disks) * STATE_BYTES_PER_MIB
    return -(-(digests + digests // STATE_SPARE) // MIB) * MIB


def is_cramped(entry: Entry, there: Object) -> bool:
    """Whether a state claim that is there is too small, as those are that an earlier version made for large disks. What
    was asked for counts: a volume grows when the next mover uses it."""
    asked = there["spec"]["resources"]["requests"]["storage"]
    has = (there.get("status") or {}).get("capacity") or {}
    return max(quantity(asked), quantity(has.get("storage", "0"))) < remembered_bytes(entry)


def state_class(first: Object, settings: MoverSettings) -> str | None:
    """The class of the state claim; None is the cluster's default."""
    return settings.state_storage_class or first["spec"].get("storageClassName")


def state_mode(first: Object, known: list[tuple[str, str]]) -> str:
    """The access mode of the state claim: the disk's own where the class makes file systems so, else the first in which
    it does. Where nobody knows the class, the disk's own if it is a file system, too: block storage that several nodes
    may write makes no such file systems."""
    own = str(first["spec"]["accessModes"][0])
    listed = [access for volume, access in known if volume == "Filesystem" and access in WRITABLE]
    if listed:
        return own if own in listed else listed[0]
    return own if first["spec"].get("volumeMode", "Filesystem") == "Filesystem" else "ReadWriteOnce"


def ways(profile: Object | None) -> list[tuple[str, str]]:
    """Volume mode and access mode of the volumes that a StorageProfile tells of, in its order."""
    sets = ((profile or {}).get("status") or {}).get("claimPropertySets") or []
    return [(one.get("volumeMode") or "Filesystem", mode) for one in sets for mode in one.get("accessModes") or ()]


def least_bytes(profile: Object | None) -> int:
    """The smallest volume that the class makes, as CDI notes it on the profile; 0 where it does not."""
    told = (((profile or {}).get("metadata") or {}).get("annotations") or {}).get(MINIMUM)
    try:
        return quantity(told) if told else 0
    except ValueError:
        return 0


def least_claim(limits: Iterable[Object]) -> int:
    """The smallest claim that a namespace's limit ranges take; 0 where they do not say."""
    told = [
        (limit.get("min") or {}).get("storage")
        for one in limits
        for limit in (one.get("spec") or {}).get("limits") or []
        if limit.get("type") == CLAIM.name
    ]
    return max((-int(-amount(one) // 1) for one in told if one), default=0)


def placement(entry: Entry) -> Object:
    """Where the machine is told to run: a mover goes there, too."""
    template = template_of(entry)
    placed = {key: template[key] for key in PLACED_BY if template.get(key)}
    return placed | ({RUNTIME: runtime} if (runtime := runtime_of(entry)) else {})


def runtime_of(entry: Entry) -> str | None:
    """What movers of the machine's disks run under, where the plan says it."""
    return entry.sandbox.runtime_class if entry.sandbox else None


def unfit(entry: Entry, planned: PlannedDisk, wanted: Object, found: Object) -> str | None:
    """Why a claim that is there cannot take the disk; None where it can."""
    if why := names.objection(entry, found):
        return why
    spec, asked = found["spec"], wanted["spec"]
    for field in ("volumeMode", "storageClassName"):
        if field in asked and spec.get(field) != asked[field]:
            return f"claim {planned.claim} has {field} {spec.get(field)}, and the plan asks for {asked[field]}"
    # What is bound counts; before that, what is asked for.
    holds = (found.get("status", {}).get("capacity") or spec["resources"]["requests"])["storage"]
    if quantity(holds) < planned.size_bytes:
        return f"claim {planned.claim} has {holds}, and the disk has {planned.size_bytes} bytes"
    return None


def quantity(text: str) -> int:
    """A Kubernetes quantity in bytes, rounded down. Raises ValueError for one that is none."""
    return int(amount(text))


# --- edge ------------------------------------------------------------------------------------------------------------


def refuse(entry: Entry, wanted: dict[str, Object], found: dict[str, Object | None]) -> None:
    """Raise TargetRefused with everything that is wrong with claims that are there already."""
    problems = list(_problems(entry, wanted, found))
    if problems:
        raise TargetRefused(
            "its claims cannot be used",
            why="; ".join(problems),
            fix="Remove what is there if nothing in it is wanted, or give the machine another name in the policy.",
            machine=entry.name,
        )


def _problems(entry: Entry, wanted: dict[str, Object], found: dict[str, Object | None]) -> Iterator[str]:
    for planned in entry.disks:
        there = found[planned.disk]
        if there is None:
            continue
        _refuse_leaving(entry, there, planned.claim, planned.disk)
        if why := unfit(entry, planned, wanted[planned.disk], there):
            yield why


def _refuse_leaving(entry: Entry, there: Object | None, claim: str, disk: str) -> None:
    """Raise TargetUnavailable for a claim that is on its way out."""
    if there is not None and there["metadata"].get("deletionTimestamp"):
        raise TargetUnavailable(
            f"claim {claim} is being deleted",
            fix="Run the same command again when it is gone.",
            machine=entry.name,
            disk=disk,
        )


def _make(cluster: Cluster, entry: Entry, ledger: Ledger, claim: Object, name: str, disk: str) -> bool:
    """Make a claim after it is written down; returns whether we were the one that did."""
    ledger(External("disk", name, f"{entry.namespace}/{name}"))
    try:
        cluster.create(claim, CLAIM)
    except AlreadyThere:
        return False  # another try of ours, whose answer was lost; the next call looks at it closely
    except TargetRefused as refused:
        raise _about(refused, entry, disk) from refused
    return True


def make_state(
    cluster: Cluster, entry: Entry, ledger: Ledger, wanted: dict[str, Object], settings: MoverSettings
) -> None:
    """The claim that movers keep their state on is there."""
    if not wanted:
        return
    name = names.state_claim(entry.target_name)
    there = cluster.get(CLAIM, name, entry.namespace)
    if there is not None:
        if why := names.objection(entry, there):
            raise TargetRefused(why, fix="Remove it, or give the machine another name.", machine=entry.name)
        if is_cramped(entry, there):
            _enlarge(cluster, entry, _state(cluster, entry, wanted, settings))
        return
    claim = _state(cluster, entry, wanted, settings)
    ledger(External(names.STATE_CLAIM, name, f"{entry.namespace}/{name}"))
    try:
        cluster.create(claim, CLAIM)
    except AlreadyThere:
        return
    except TargetRefused as refused:
        raise _about(refused, entry, "") from refused


def _state(cluster: Cluster, entry: Entry, wanted: dict[str, Object], settings: MoverSettings) -> Object:
    """The state claim as this cluster and namespace ask for it."""
    first = next(iter(wanted.values()))
    named = state_class(first, settings)
    return state_claim(
        entry,
        first,
        settings,
        _profile(cluster, named),
        limits=_looked_at(cluster, LIMIT_RANGE, entry.namespace) or [],
        placed=_placed(cluster, entry, [named, *(one["spec"].get("storageClassName") for one in wanted.values())]),
    )


def _enlarge(cluster: Cluster, entry: Entry, claim: Object) -> None:
    """Ask for the size that a new state claim would have. Raises TargetRefused where its class does not let it grow."""
    name, spec = claim["metadata"]["name"], {"resources": claim["spec"]["resources"]}
    try:
        cluster.merge(CLAIM, name, entry.namespace, {"spec": spec})
    except TargetRefused as refused:
        raise TargetRefused(
            f"claim {name}, which the movers keep their state on, is too small for these disks, and cannot grow",
            why=refused.why,
            fix=CRAMPED_FIX,
            machine=entry.name,
        ) from refused


def _profile(cluster: Cluster, storage_class: str | None) -> Object | None:
    """What CDI knows of a class; None where there is no CDI, or not for us."""
    if not storage_class:
        return None
    found = _looked_at(cluster, STORAGE_PROFILE) or []
    return next((one for one in found if one["metadata"]["name"] == storage_class), None)


def _placed(cluster: Cluster, entry: Entry, classes: list[str | None]) -> Object:
    """Where the machine's movers go: to a node that can run it, if a volume of it is made where they run."""
    template, own = template_of(entry), placement(entry)
    there = _looked_at(cluster, STORAGE_CLASS)
    if not template or not any(binding.waits(one) for one in _classes(there, classes)):
        return own
    settings = [(one.get("spec") or {}).get("configuration") or {} for one in _looked_at(cluster, KUBEVIRT) or []]
    known: Object = settings[0] if settings else {}
    emulated = not settings or bool((known.get("developerConfiguration") or {}).get("useEmulation"))
    pod, nodes = footprint(entry, known), _looked_at(cluster, NODE) or []
    large = [node for node in nodes if binding.holds(node, template, pod, emulated=emulated)]
    return binding.placed(template, own, [node for node in nodes if node not in large], large)


def _classes(there: list[Object] | None, wanted: list[str | None]) -> list[Object | None]:
    """The classes of claims that name these (None is the default one, an empty name is none); None for one that nobody
    may look at."""
    if there is None:
        return [None]
    default, known = default_class(Seen(tuple(there))), {one["metadata"]["name"]: one for one in there}
    return [default if name is None else known.get(name) for name in dict.fromkeys(wanted) if name != ""]


def _looked_at(cluster: Cluster, kind: Kind, namespace: str = "") -> list[Object] | None:
    """What is there of a kind; None where it is not for us to see, or the cluster has no such kind."""
    with contextlib.suppress(TargetRefused):
        return cluster.list(kind, namespace)
    return None


def _about(refused: TargetRefused, entry: Entry, disk: str) -> TargetRefused:
    return TargetRefused(refused.what, why=refused.why, fix=refused.fix, machine=entry.name, disk=disk)
