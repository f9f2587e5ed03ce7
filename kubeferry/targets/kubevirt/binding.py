"""Where a machine can run, in the words of a pod, for movers that decide where its volumes are made. Pure.

A class that waits for its first consumer, as node-local storage does, binds a volume where the first pod that uses it
is put; here that is a mover. So such movers ask for what the machine's own pod will ask for: KubeVirt's labels of nodes
(kv:pkg/virt-controller/services/nodeselectorrenderer.go, and setNodeAffinity… in template.go beside it), and no node
that is too small for it. What is free there at the moment is left to the scheduler: to ask for the machine's memory in
each mover would hold it several times over, and count against quotas.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubeferry.targets.kubevirt.checks.launcher import Footprint
from kubeferry.targets.kubevirt.quantities import amount

ARCHITECTURE = "kubernetes.io/arch"
HOSTNAME = "kubernetes.io/hostname"
SCHEDULABLE = "kubevirt.io/schedulable"
MODEL = "cpu-model.node.kubevirt.io/"
FEATURE = "cpu-feature.node.kubevirt.io/"
OBSOLETE = "node-labeller.kubevirt.io/obsolete-host-model"
# Newer versions have the second name.
CPU_MANAGER = ("cpumanager", "kubevirt.io/cpumanager")
KVM = "devices.kubevirt.io/kvm"
WAITS = "WaitForFirstConsumer"
HOST_MODEL, OF_THE_NODE = "host-model", frozenset({"host-model", "host-passthrough"})
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"

Object = dict[str, Any]


def waits(storage_class: Object | None) -> bool:
    """Whether the class's volumes are made where their first pod runs. A class that nobody may look at may be one."""
    return storage_class is None or storage_class.get("volumeBindingMode") == WAITS


def labels(template: Object) -> dict[str, str]:
    """The labels that a node must have to run the machine; `template` is its `spec.template.spec`."""
    cpu = _cpu(template)
    architecture, model = template.get("architecture"), cpu.get("model")
    wanted = {SCHEDULABLE: "true"} | ({ARCHITECTURE: architecture} if architecture else {})
    if model and model not in OF_THE_NODE:
        wanted[f"{MODEL}{model}"] = "true"
    return wanted | {f"{FEATURE}{name}": "true" for name in features(template, "require")}


def features(template: Object, policy: str) -> list[str]:
    """The processor features of this policy; one without a policy is required."""
    told = _cpu(template).get("features") or []
    return [str(one["name"]) for one in told if (one.get("policy") or "require") == policy]


def refused(template: Object) -> list[str]:
    """The labels that a node must not have: features that are forbidden, and a processor that `host-model` cannot
    take as it is."""
    obsolete = [OBSOLETE] if (_cpu(template).get("model") or HOST_MODEL) == HOST_MODEL else []
    return [*(f"{FEATURE}{name}" for name in features(template, "forbid")), *obsolete]


def holds(node: Object, template: Object, pod: Footprint, *, emulated: bool) -> bool:
    """Whether the node has what the machine's pod asks for, when it is empty: memory, processors (of its own, where it
    is to have such), and KVM where KubeVirt does not emulate."""
    has = (node.get("status") or {}).get("allocatable") or {}
    marks = node["metadata"].get("labels") or {}
    if _cpu(template).get("dedicatedCpuPlacement") and not any(marks.get(key) == "true" for key in CPU_MANAGER):
        return False
    large = all(amount(has.get(name, 0)) >= wanted for name, wanted in pod.requests.items())
    return large and (emulated or amount(has.get(KVM, 0)) > 0)


def placed(template: Object, placement: Object, never: Iterable[Object] = (), large: Iterable[Object] = ()) -> Object:
    """`placement` (nodeSelector, affinity, tolerations of the machine) made to lead to nodes that can run it: to none
    of those that can `never` hold it, where there are others."""
    wanted: list[Object] = [{"key": key, "operator": "DoesNotExist"} for key in refused(template)]
    out, within = sorted(map(_host, never)), sorted(map(_host, large))
    if out and within:  # where none is large enough, the checks say so
        shorter = ("NotIn", out) if len(out) <= len(within) else ("In", within)
        wanted.append({"key": HOSTNAME, "operator": shorter[0], "values": shorter[1]})
    made = placement | {"nodeSelector": labels(template) | (placement.get("nodeSelector") or {})}
    return made | ({"affinity": _narrowed(placement.get("affinity") or {}, wanted)} if wanted else {})


def _narrowed(affinity: Object, wanted: list[Object]) -> Object:
    """The affinity with these expressions in each of its terms, of which one must fit."""
    of_nodes = affinity.get("nodeAffinity") or {}
    terms = (of_nodes.get(REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
    narrowed = [one | {"matchExpressions": [*(one.get("matchExpressions") or []), *wanted]} for one in terms]
    return affinity | {"nodeAffinity": of_nodes | {REQUIRED: {"nodeSelectorTerms": narrowed}}}


def _host(node: Object) -> str:
    return str((node["metadata"].get("labels") or {}).get(HOSTNAME) or node["metadata"]["name"])


def _cpu(template: Object) -> Object:
    return (template.get("domain") or {}).get("cpu") or {}
