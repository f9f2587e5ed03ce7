"""What is made for a rehearsal in a cluster: a VirtualMachine of its own from the plan's, and a NetworkPolicy. Pure.

Each claim is an `ephemeral` volume: KubeVirt starts the machine from a qcow2 layer in its pod's own emptyDir, with the
claim read-only below it. It has no network card, no pod network, no device of a host, and none of the labels by
which Services and NetworkPolicies know the machine. UEFI variables and TPM are new, and go with it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from kubeferry.documents import Entry
from kubeferry.targets.kubevirt import names, objects
from kubeferry.targets.kubevirt.kinds import NETWORK_POLICY

KEPT_VOLUMES = (
    *("cloudInitNoCloud", "cloudInitConfigDrive", "sysprep"),
    *("configMap", "secret", "emptyDisk", "containerDisk"),
)
"""Volumes that hold no disk of the machine, and lead nowhere."""
LEFT_SPEC = ("networks", "livenessProbe", "readinessProbe", "subdomain", "resourceClaims", "accessCredentials")
LEFT_DEVICES = ("interfaces", "hostDevices", "gpus", "filesystems", "networkInterfaceMultiqueue", "autoattachVSOCK")
"""Devices that lead out of the machine, and what speaks of them."""

Object = dict[str, Any]


def rehearsed(entry: Entry) -> Entry:
    """The machine as it is rehearsed: an entry of its own name, with that one manifest, that keeps nothing."""
    kept = {"variables": None, "tpm": None, "attached": None, "moves_with": None}
    name = names.rehearsal(entry.target_name)
    return entry.model_copy(update={"target_name": name, "manifests": (virtual_machine(entry),), **kept})


def virtual_machine(entry: Entry) -> Object:
    """The plan's VirtualMachine, as it is rehearsed. Raises TargetRefused for a plan without one."""
    planned = objects.virtual_machine(entry)
    spec = copy.deepcopy(planned["spec"]["template"]["spec"])
    domain = spec["domain"]
    volumes = {str(one["name"]): made for one in spec.get("volumes") or () if (made := _volume(one))}
    devices = {key: value for key, value in domain.get("devices", {}).items() if key not in LEFT_DEVICES}
    devices["autoattachPodInterface"] = False
    devices["disks"] = [_disk(one) for one in devices.get("disks") or () if _stays(one, spec, volumes)]
    if devices.get("tpm"):
        devices["tpm"] = {key: value for key, value in devices["tpm"].items() if key != "persistent"}
    spec = {key: value for key, value in spec.items() if key not in LEFT_SPEC}
    spec |= {
        "domain": domain | {"devices": devices} | _firmware(domain),
        "volumes": list(volumes.values()),
        "evictionStrategy": "None",  # such a machine cannot be moved, and is in nobody's way
        "terminationGracePeriodSeconds": 0,  # nothing that it wrote is wanted
    }
    template = {"metadata": {"labels": _labels(entry)}, "spec": spec}
    kept = {key: planned["spec"][key] for key in ("instancetype", "preference") if key in planned["spec"]}
    metadata = {
        "name": names.rehearsal(entry.target_name),
        "labels": {
            names.REHEARSAL_LABEL: names.label_value(entry.target_name),
            names.SOURCE_LABEL: _source(planned, entry),
        },
    }
    wanted = {"runStrategy": objects.RUNNING, "template": template, **kept}
    return {"apiVersion": planned["apiVersion"], "kind": planned["kind"], "metadata": metadata, "spec": wanted}


def network_policy(entry: Entry) -> Object:
    """Nothing reaches the pod of the rehearsal, and it reaches nothing: a guest without a card asks for no more, and
    this holds whatever becomes of that."""
    metadata = {
        "name": names.rehearsal(entry.target_name),
        "namespace": entry.namespace,
        "labels": names.labels(rehearsed(entry)) | _labels(entry),
        "annotations": names.origin(entry),
    }
    spec = {"podSelector": {"matchLabels": _labels(entry)}, "policyTypes": ["Ingress", "Egress"]}
    return {
        "apiVersion": NETWORK_POLICY.api_version,
        "kind": NETWORK_POLICY.name,
        "metadata": metadata,
        "spec": spec | {"ingress": [], "egress": []},
    }


def connected(instance: Object) -> tuple[str, ...]:
    """The networks and cards that an instance has, which must be none."""
    spec = instance.get("spec") or {}
    cards = (spec.get("domain") or {}).get("devices", {}).get("interfaces") or []
    return tuple(dict.fromkeys(str(one.get("name")) for one in (*(spec.get("networks") or []), *cards)))


def unshown(entry: Entry) -> tuple[str, ...]:
    """What of the plan's machine the rehearsal does not have, by its path."""
    spec = objects.virtual_machine(entry)["spec"]["template"]["spec"]
    devices = spec["domain"].get("devices", {})
    return tuple(_unshown(spec, devices))


def _unshown(spec: Object, devices: Object) -> Iterator[str]:
    cards = len(devices.get("interfaces") or ())
    if cards:
        yield f"domain.devices.interfaces: {cards} (a rehearsed machine has no network)"
    for key in ("hostDevices", "gpus", "filesystems"):
        if devices.get(key):
            yield f"domain.devices.{key}: {len(devices[key])}"
    for one in spec.get("volumes") or ():
        if not _volume(one):
            yield f"volumes[]: {one.get('name')}"
    efi = (spec["domain"].get("firmware") or {}).get("bootloader", {}).get("efi") or {}
    if efi.get("persistent"):
        yield "domain.firmware.bootloader.efi.persistent: it starts with new UEFI variables"
    if (devices.get("tpm") or {}).get("persistent"):
        yield "domain.devices.tpm.persistent: it starts with a new TPM"


def _labels(entry: Entry) -> dict[str, str]:
    """What its pod is known by; no label of the machine's own."""
    return {names.REHEARSAL_LABEL: names.label_value(entry.target_name)}


def _source(planned: Object, entry: Entry) -> str:
    told = (planned["metadata"].get("labels") or {}).get(names.SOURCE_LABEL)
    return str(told or entry.machine.source)


def _volume(volume: Object) -> Object | None:
    """The volume as it is rehearsed; None for one that has no place there."""
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName") or (volume.get("dataVolume") or {}).get("name")
    if claim:
        below = {"claimName": claim, "readOnly": True}
        return {"name": volume["name"], "ephemeral": {"persistentVolumeClaim": below}}
    return volume if any(kind in volume for kind in KEPT_VOLUMES) else None


def _stays(disk: Object, spec: Object, volumes: dict[str, Object]) -> bool:
    """A drive without a medium does; a disk whose volume has no place there does not."""
    named = {one.get("name") for one in spec.get("volumes") or ()}
    return disk.get("name") in volumes or disk.get("name") not in named


def _disk(disk: Object) -> Object:
    """A disk over a layer: no LUN, shared with nobody, and read by the rules of the file that it is then."""
    made = {key: value for key, value in disk.items() if key not in {"shareable", "cache", "io", "lun"}}
    if "lun" in disk:
        made["disk"] = {key: value for key, value in disk["lun"].items() if key != "reservation"}
    return made


def _firmware(domain: Object) -> Object:
    """The machine's firmware with variables of its own."""
    firmware = copy.deepcopy(domain.get("firmware") or {})
    (firmware.get("bootloader", {}).get("efi") or {}).pop("persistent", None)
    return {"firmware": firmware} if firmware else {}
