"""The storage classes of a plan's claims, and what is known of their volumes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kubeferry.documents import Entry
from kubeferry.model import Concern
from kubeferry.targets.kubevirt import names
from kubeferry.targets.kubevirt.checks.facts import (
    Facts,
    Request,
    claims_of,
    default_class,
    keeps_state,
    template_of,
)
from kubeferry.targets.kubevirt.checks.told import concern, not_checked
from kubeferry.targets.kubevirt.claims import CRAMPED_FIX, WRITABLE, is_cramped, state_class, ways

STATIC = "kubernetes.io/no-provisioner"
CLASS_FIX = "Name another class in the policy and plan again, or make this one."


@dataclass(frozen=True, slots=True)
class Use:
    """Claims of one class, and one way to use their volumes. `storage_class` None is the default class."""

    storage_class: str | None
    volume_mode: str
    access_mode: str


def concerns(facts: Facts, request: Request) -> Iterator[Concern]:
    """Everything that speaks against the claims of the plan; nothing where there are none."""
    uses = used(request)
    state = state_classes(facts, request)
    if not uses and not state:
        return
    if not facts.classes.known:
        yield not_checked("storage classes", facts.classes.why)
        return
    for name in dict.fromkeys([*(use.storage_class for use in uses), *state]):
        yield from _class(facts, request, name)
    for use, who in uses.items():
        yield from _modes(facts, use, who)
    yield from _movers_state(facts, request)
    for entry in request.entries:
        yield from _cramped(facts, entry)
    if not facts.profiles.known:
        yield not_checked("storage profiles", facts.profiles.why)


def used(request: Request) -> dict[Use, list[str]]:
    """The ways in which the plan uses classes, and the machines that do."""
    found: dict[Use, list[str]] = {}
    for entry in request.entries:
        for claim in claims_of(entry):
            spec = claim["spec"]
            for mode in spec.get("accessModes") or ["ReadWriteOnce"]:
                use = Use(spec.get("storageClassName"), spec.get("volumeMode") or "Filesystem", mode)
                found.setdefault(use, []).append(entry.name)
    return found


def state_classes(facts: Facts, request: Request) -> list[str | None]:
    """The class of the claims that KubeVirt makes for UEFI variables and TPMs; empty where no machine keeps any."""
    named = facts.kubevirt.get("vmStateStorageClass")
    return [str(named) if named else None] if any(keeps_state(entry) for entry in request.entries) else []


def class_name(facts: Facts, named: str | None) -> str | None:
    """The class that a claim gets; None where it gets none."""
    if named is not None:
        return named or None
    default = default_class(facts.classes)
    return str(default["metadata"]["name"]) if default else None


def _class(facts: Facts, request: Request, named: str | None) -> Iterator[Concern]:
    if named == "":
        what = "claims ask for volumes without a class: there must be free ones, which our account may not see"
        yield concern("storage.static", what, "Make sure that there are enough, large enough.")
        return
    has = ", ".join(sorted(one["metadata"]["name"] for one in facts.classes.objects)) or "none"
    name = class_name(facts, named)
    found = facts.classes.named(name) if name else None
    if name is None:
        what = f"claims name no storage class, and none of the cluster's is the default; it has {has}"
        yield concern("storage.no-default-class", what, CLASS_FIX)
    elif found is None:
        what = f"the plan names storage class {name}, and the cluster has {has}"
        yield concern("storage.class-missing", what, CLASS_FIX)
    elif found.get("provisioner") == STATIC:
        what = f"volumes of class {name} are made by hand: there must be free ones, which our account may not see"
        yield concern("storage.static", what, "Make sure that there are enough, large enough.")
    elif found.get("volumeBindingMode") != "WaitForFirstConsumer" and (bound := _selective(request)):
        what = f"class {name} places volumes at once, and {', '.join(bound)} may run on some nodes only"
        yield concern("storage.binds-at-once", what, "Prefer a class that waits for its first consumer.")


def _selective(request: Request) -> list[str]:
    """Machines that do not run everywhere."""
    return [
        one.name for one in request.entries if template_of(one).get("nodeSelector") or template_of(one).get("affinity")
    ]


def _movers_state(facts: Facts, request: Request) -> Iterator[Concern]:
    """Movers keep what they remember on a small file system, of a class that must make one."""
    firsts = [next(claims_of(entry), None) for entry in request.entries]
    named = {state_class(claim, request.config.movers) for claim in firsts if claim is not None}
    for name in sorted(filter(None, (class_name(facts, one) for one in named))):
        known = ways(facts.profiles.named(name)) if facts.classes.named(name) is not None else []
        if known and not any(volume == "Filesystem" and access in WRITABLE for volume, access in known):
            told = ", ".join(f"{volume} {access}" for volume, access in sorted(set(known)))
            what = f"movers keep their state on a file system of class {name}, which tells of {told} only"
            fix = "Name a class that makes file systems as target.movers.stateStorageClass, or correct the profile."
            yield concern("storage.no-filesystem", what, fix)


def _cramped(facts: Facts, entry: Entry) -> Iterator[Concern]:
    """What movers remember has to fit beside what they remember already. A claim of an earlier version is enlarged
    before the next round, where its class allows that."""
    place = facts.places.get(entry.namespace)
    there = place.claims.named(names.state_claim(entry.target_name)) if place else None
    if there is None or names.objection(entry, there) or not is_cramped(entry, there):
        return
    name = class_name(facts, there["spec"].get("storageClassName"))
    found = facts.classes.named(name) if name else None
    if found is None or not found.get("allowVolumeExpansion"):
        what = f"{entry.name}: claim {there['metadata']['name']}, which movers keep their state on, is too small for it"
        yield concern("storage.state-cramped", f"{what}, and class {name} lets none grow", CRAMPED_FIX)


def _modes(facts: Facts, use: Use, who: list[str]) -> Iterator[Concern]:
    name = class_name(facts, use.storage_class)
    if name is None or facts.classes.named(name) is None or not facts.profiles.known:
        return
    known = set(ways(facts.profiles.named(name)))
    if not known:
        what = (
            f"CDI knows nothing of the volumes of class {name}; the plan asks for {use.volume_mode} {use.access_mode}"
        )
        yield concern("storage.modes-unknown", what, f"Say in StorageProfile {name} what it makes.")
        return
    told = ", ".join(f"{volume} {access}" for volume, access in sorted(known))
    if (use.volume_mode, use.access_mode) not in known:
        what = (
            f"{', '.join(dict.fromkeys(who))} ask class {name} for {use.volume_mode} {use.access_mode} volumes, "
            f"and its profile tells of {told}"
        )
        yield concern("storage.modes-unusual", what, "Name one of these modes in the policy and plan again.")
