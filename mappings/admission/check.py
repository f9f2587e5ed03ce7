"""The pre-check: what KubeVirt's and CDI's webhooks would refuse, and what they accept although it is wrong.

`schema` knows the shape of objects; here stand the rules between their fields. The second half of the rules is the more
important: an identity that is none, a MAC address that two machines share, a claim that nobody makes would be accepted,
and found out when the source is already off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from kubeferry.documents import Platform
from kubeferry.errors import Problem
from mappings.admission.devices import DEVICE_CHECKS
from mappings.admission.keys import annotation_problems, label_problems
from mappings.admission.machine import MACHINE_CHECKS, reserved_labels
from mappings.admission.placement import PLACEMENT_CHECKS
from mappings.admission.schema import check_manifest
from mappings.admission.view import View, problem
from mappings.names import is_dns_label
from mappings.quantities import MIB, parse_quantity
from mappings.versions import refused

_Objects = Iterable[dict[str, Any]]
_ANNOTATIONS_LIMIT_BYTES = 256 << 10
_CHECKS = (*MACHINE_CHECKS, *PLACEMENT_CHECKS, *DEVICE_CHECKS)


def check_all(manifests: _Objects, platform: Platform | None = None) -> list[Problem]:
    """Everything that is wrong with manifests that are to be applied together: shape, fields, what this KubeVirt takes,
    and between objects. Without a platform, the newest is meant."""
    listed = list(manifests)
    misshapen = [found for manifest in listed for found in check_manifest(manifest)]
    if misshapen:
        return misshapen  # the rules below rely on the shape
    return [found for manifest in listed for found in admit(manifest)] + [
        *(check_version(listed, platform) if platform else ()),
        *check_together(listed),
    ]


def admit(manifest: dict[str, Any]) -> list[Problem]:
    """What speaks against one well-shaped manifest; empty when nothing does."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    found = [*_metadata(manifest), *_OF_KIND.get(kind, lambda _manifest: iter(()))(manifest)]
    return [Problem(f"{kind} {name}: {one.where}", one.what, one.fix) for one in found]


def check_version(manifests: _Objects, platform: Platform) -> list[Problem]:
    """What of these machines a KubeVirt of this version, with these gates, would refuse."""
    fix = "Leave it out, or plan for a cluster that takes it."
    return [
        Problem(f"VirtualMachine {manifest['metadata']['name']}: {where}", why, fix)
        for manifest in manifests
        if manifest["kind"] == "VirtualMachine"
        for where, why in refused(manifest, platform)
    ]


def _metadata(manifest: dict[str, Any]) -> Iterator[Problem]:
    metadata = manifest["metadata"]
    for field in ("name", "namespace"):
        value = metadata.get(field)
        if value is not None and not is_dns_label(value):
            fix = "Use at most 63 small letters, digits and hyphens."
            yield problem(f"metadata.{field}", f"{value!r} is not a DNS label", fix)
    yield from label_problems(metadata.get("labels", {}), "metadata.labels")
    yield from annotation_problems(metadata.get("annotations", {}), "metadata.annotations")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.get("annotations", {}).items())
    if size > _ANNOTATIONS_LIMIT_BYTES:
        fix = "Shorten the policy's annotations for it, or its title or description at the source."
        yield problem("metadata.annotations", f"have {size} bytes, at most {_ANNOTATIONS_LIMIT_BYTES} are taken", fix)


def _virtual_machine(manifest: dict[str, Any]) -> Iterator[Problem]:
    metadata = manifest["spec"]["template"].get("metadata", {})
    labels = metadata.get("labels", {})
    yield from label_problems(labels, "spec.template.metadata.labels")
    yield from annotation_problems(metadata.get("annotations", {}), "spec.template.metadata.annotations")
    yield from reserved_labels(labels)
    view = View(manifest)
    for check in _CHECKS:
        yield from check(view)


def _claim(manifest: dict[str, Any]) -> Iterator[Problem]:
    yield from _claim_spec(manifest["spec"], "spec")


def _claim_spec(spec: dict[str, Any], where: str) -> Iterator[Problem]:
    if len(spec.get("accessModes", [])) != 1:
        yield problem(f"{where}.accessModes", "does not hold exactly one mode", "Name one access mode.")
    request = spec.get("resources", {}).get("requests", {}).get("storage")
    if request is None or parse_quantity(request) < MIB:
        yield problem(
            f"{where}.resources.requests.storage", f"is {request}, less than 1 MiB", "Ask for the disk's size."
        )
    for part in (spec.get("storageClassName") or "a").split("."):
        if not is_dns_label(part):
            yield problem(f"{where}.storageClassName", "is not a legal name", "Name a storage class of the cluster.")
            break


def _data_volume(manifest: dict[str, Any]) -> Iterator[Problem]:
    spec = manifest["spec"]
    if ("pvc" in spec) == ("storage" in spec):
        yield problem("spec", "has not exactly one of pvc and storage", "Keep one of them.")
    if ("source" in spec) == ("sourceRef" in spec) or len(spec.get("source", {"": None})) != 1:
        yield problem("spec.source", "is not exactly one source", "Keep one of them.")
    if spec.get("contentType") == "archive" and "blank" in spec.get("source", {}):
        yield problem("spec.contentType", "an archive cannot be blank", "Use contentType kubevirt.")
    if "pvc" in spec:
        yield from _claim_spec(spec["pvc"], "spec.pvc")


_OF_KIND = {"VirtualMachine": _virtual_machine, "PersistentVolumeClaim": _claim, "DataVolume": _data_volume}


# --- between objects ---------------------------------------------------------------------------------------------


def check_together(manifests: _Objects) -> list[Problem]:
    """What is wrong between well-shaped manifests: two of one name, a MAC or claim used twice, a claim nobody makes."""
    listed = list(manifests)
    return [*_twice(listed), *_claims_used(listed), *_macs(listed)]


def _place(manifest: dict[str, Any]) -> str:
    metadata = manifest["metadata"]
    return f"{metadata.get('namespace', 'default')}/{metadata['name']}"


def _twice(manifests: list[dict[str, Any]]) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for manifest in manifests:
        key = (manifest["kind"], _place(manifest))
        if key in seen:
            yield Problem(f"{key[0]} {key[1]}", "is made twice", "Give one of the machines another name or namespace.")
        seen.add(key)


def _views(manifests: list[dict[str, Any]]) -> list[View]:
    return [View(manifest) for manifest in manifests if manifest["kind"] == "VirtualMachine"]


def _claims_used(manifests: list[dict[str, Any]]) -> Iterator[Problem]:
    made = {_place(one) for one in manifests if one["kind"] in {"PersistentVolumeClaim", "DataVolume"}}
    users: defaultdict[str, list[str]] = defaultdict(list)
    alone: set[str] = set()
    for view in _views(manifests):
        for claim in view.claims:
            users[f"{view.namespace}/{claim}"].append(f"{view.namespace}/{view.name}")
        alone |= {f"{view.namespace}/{claim}" for claim in view.claims_alone}
    for claim, names in users.items():
        if claim not in made:
            fix = "Add its manifest, or correct the volume's claim name."
            yield Problem(f"VirtualMachine {names[0]}", f"uses the claim {claim}, which nothing here makes", fix)
        if len(names) > 1 and claim in alone:
            fix = "Give each machine a claim of its own, or make the disk shareable in all of them."
            yield Problem(f"VirtualMachine {names[1]}", f"uses the claim {claim}, as {names[0]} does", fix)


def _macs(manifests: list[dict[str, Any]]) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for view in _views(manifests):
        for interface in view.interfaces:
            mac = interface.get("macAddress", "").lower().replace("-", ":")
            name = f"{view.namespace}/{view.name}"
            if mac and mac in owners:
                fix = "Give one of them another address, or leave one machine out."
                yield Problem(f"VirtualMachine {name}", f"has the MAC address {mac}, as {owners[mac]} does", fix)
            owners.setdefault(mac, name)
