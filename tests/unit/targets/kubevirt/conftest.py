"""A cluster against which nothing speaks, and a machine that fits into it, to change one thing at a time.

The objects are cut down from what a real cluster (Kubernetes 1.34.2, KubeVirt's v1.9 line) answered.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Entry, PlannedDisk, TargetConfig
from kubeferry.model import Cpu, Disk, Machine, Memory
from kubeferry.targets.kubevirt.checks.facts import Facts, Place, Request, Seen

MIB = 1 << 20
Object = dict[str, Any]


def merged(base: Object, change: Object) -> Object:
    """`base` with the leaves of `change`; None removes a key."""
    made = copy.deepcopy(base)
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(made.get(key), dict):
            made[key] = merged(made[key], value)
        elif value is None:
            made.pop(key, None)
        else:
            made[key] = value
    return made


def an_entry(name: str = "web", *, template: Object | None = None, claim: Object | None = None, **more: Any) -> Entry:
    """A machine of two processors, 2 GiB and one disk of 256 MiB; `template` and `claim` change their `spec`."""
    marks = {
        "namespace": "apps",
        "labels": {"app.kubernetes.io/managed-by": "kubeferry", "kubeferry.io/source": "lab"},
        "annotations": {"kubeferry.io/machine-id": f"id-{name}"},
    }
    domain = {
        "machine": {"type": "q35"},
        "cpu": {"sockets": 2, "cores": 1, "threads": 1, "model": "host-model"},
        "memory": {"guest": "2Gi"},
        "devices": {"interfaces": [{"name": "net0", "masquerade": {}}]},
    }
    spec = {
        "architecture": "amd64",
        "domain": domain,
        "networks": [{"name": "net0", "pod": {}}],
        "volumes": [{"name": "vda", "persistentVolumeClaim": {"claimName": f"{name}-vda"}}],
    }
    asked = {
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Block",
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "256Mi"}},
    }
    pvc = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"{name}-vda", **marks},
        "spec": merged(asked, claim or {}),
    }
    vm = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, **marks},
        "spec": {"runStrategy": "Manual", "template": {"spec": merged(spec, template or {})}},
    }
    disk = PlannedDisk(
        disk="vda", claim=f"{name}-vda", volume="vda", size_bytes=256 * MIB, claim_bytes=256 * MIB, volume_mode="Block"
    )
    facts: dict[str, Any] = {
        "name": name,
        "target_name": name,
        "namespace": "apps",
        "machine": Machine(
            id=f"id-{name}",
            name=name,
            source="lab",
            cpu=Cpu(vcpus=2),
            memory=Memory(size_bytes=2048 * MIB),
            disks=(Disk(id="vda"),),
        ),
        "disks": (disk,),
        "manifests": (pvc, vm),
    }
    return Entry(**(facts | more))


def a_node(name: str = "one", **change: Any) -> Object:
    return merged(
        {
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/arch": "amd64",
                    "kubevirt.io/schedulable": "true",
                    "cpu-model.node.kubevirt.io/Haswell": "true",
                    "cpu-feature.node.kubevirt.io/avx2": "true",
                },
            },
            "spec": {},
            "status": {
                "allocatable": {
                    "cpu": "8",
                    "memory": "24632896Ki",
                    "ephemeral-storage": "267847642337",
                    "devices.kubevirt.io/kvm": "1k",
                    "hugepages-2Mi": "0",
                },
                "conditions": [{"type": "Ready", "status": "True"}],
                "images": [{"names": ["registry.example/kubeferry-mover:1"]}],
            },
        },
        change,
    )


def a_class(name: str, **change: Any) -> Object:
    base = {"metadata": {"name": name}, "provisioner": "disks.example", "volumeBindingMode": "WaitForFirstConsumer"}
    return merged(base, change)


def a_profile(name: str, *ways: tuple[str, str]) -> Object:
    sets = [{"volumeMode": mode, "accessModes": [access]} for mode, access in ways]
    return {"metadata": {"name": name}, "status": {"claimPropertySets": sets}}


def a_quota(hard: Object, used: Object | None = None, **spec: Any) -> Object:
    status = {"hard": hard, "used": used or {}}
    return {"metadata": {"name": "quota"}, "spec": {"hard": hard, **spec}, "status": status}


def a_kubevirt(**configuration: Any) -> Object:
    return {
        "metadata": {"name": "kubevirt", "namespace": "kubevirt"},
        "spec": {"configuration": configuration},
        "status": {"phase": "Deployed", "observedKubeVirtVersion": "v1.9.0"},
    }


SERVED = {
    "kubevirt.io/v1": frozenset({"virtualmachines", "virtualmachineinstances", "kubevirts"}),
    "cdi.kubevirt.io/v1beta1": frozenset({"datavolumes", "storageprofiles"}),
    "upload.cdi.kubevirt.io/v1beta1": frozenset({"uploadtokenrequests"}),
    "k8s.cni.cncf.io/v1": frozenset({"network-attachment-definitions"}),
    "instancetype.kubevirt.io/v1beta1": frozenset(
        {"virtualmachineclusterinstancetypes", "virtualmachineinstancetypes", "virtualmachineclusterpreferences"}
    ),
}


def seen(*objects: Object) -> Seen:
    return Seen(objects)


def a_place(**change: Any) -> Place:
    namespace = {"metadata": {"name": "apps", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    return dataclasses.replace(Place(namespace=seen(namespace)), **change)


def some_facts(**change: Any) -> Facts:
    """A good cluster; `place` changes its namespace `apps`."""
    place = change.pop("place", {})
    facts = Facts(
        version="v1.34.2",
        served=SERVED,
        kubevirts=seen(a_kubevirt()),
        cdis=seen({"metadata": {"name": "cdi"}, "status": {"phase": "Deployed"}}),
        cdi_configs=seen({"metadata": {"name": "config"}, "status": {"uploadProxyURL": "cdi.example"}}),
        classes=seen(a_class("fast"), a_class("slow")),
        profiles=seen(a_profile("fast", ("Block", "ReadWriteOnce"), ("Filesystem", "ReadWriteOnce"))),
        nodes=seen(a_node()),
        places={"apps": a_place(**place)},
    )
    return dataclasses.replace(facts, **change)


def a_request(*entries: Entry, **config: Any) -> Request:
    settings = {"kind": "kubevirt", "movers": {"image": "registry.example/kubeferry-mover:1"}}
    return Request(entries or (an_entry(),), TargetConfig.model_validate(merged(settings, config)))


@dataclasses.dataclass(frozen=True)
class Make:
    """The builders of this file, for tests."""

    entry: Callable[..., Entry] = an_entry
    node: Callable[..., Object] = a_node
    storage_class: Callable[..., Object] = a_class
    profile: Callable[..., Object] = a_profile
    quota: Callable[..., Object] = a_quota
    kubevirt: Callable[..., Object] = a_kubevirt
    facts: Callable[..., Facts] = some_facts
    place: Callable[..., Place] = a_place
    request: Callable[..., Request] = a_request
    seen: Callable[..., Seen] = seen


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()
