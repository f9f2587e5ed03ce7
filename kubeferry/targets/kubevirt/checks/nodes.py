"""The machines of a plan, and their movers, against the nodes: what no node has, and what no node has together. Pure.

Nodes are counted empty: what already runs on them is nothing that our account may see; so is affinity to other pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from kubeferry.documents import Entry, TargetConfig
from kubeferry.model import Concern
from kubeferry.targets.kubevirt.binding import (
    ARCHITECTURE,
    CPU_MANAGER,
    FEATURE,
    KVM,
    MODEL,
    OBSOLETE,
    OF_THE_NODE,
    SCHEDULABLE,
    features,
    refused,
    waits,
)
from kubeferry.targets.kubevirt.checks import affinity
from kubeferry.targets.kubevirt.checks.demand import mover_footprint
from kubeferry.targets.kubevirt.checks.facts import (
    Facts,
    Object,
    Request,
    claims_of,
    machine_of,
    template_of,
)
from kubeferry.targets.kubevirt.checks.launcher import Footprint, footprint
from kubeferry.targets.kubevirt.checks.storage import class_name
from kubeferry.targets.kubevirt.checks.told import concern, not_checked
from kubeferry.targets.kubevirt.quantities import amount, shown

REPELLING = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a node must have: `what` in words after "no node", and what to do where none has it."""

    what: str
    fix: str
    met: Callable[[Object], bool]


def concerns(facts: Facts, request: Request) -> Iterator[Concern]:
    """Machines and movers that no node takes, and whether all nodes together are large enough."""
    if not request.entries:
        return
    if not facts.nodes.known:
        yield not_checked("nodes", facts.nodes.why)
        return
    nodes = [node for node in facts.nodes.objects if usable(node)]
    if not nodes:
        yield concern("node.none-fits", f"none of {len(facts.nodes.objects)} nodes takes pods", "Uncordon or mend one.")
        return
    for entry in request.entries:
        needs = list(_machine(entry, facts)) if machine_of(entry) is not None else []
        movers = list(_mover(entry, request.config))
        told = [*_none_fits(entry.name, needs, nodes), *_none_fits(f"a mover of {entry.name}", movers, nodes)]
        yield from told
        if not told and needs and binds_where_it_runs(facts, request, entry):
            who = f"{entry.name} and its movers, whose volumes are made where the first of them runs"
            yield from _none_fits(who, [*needs, *movers], nodes)
    yield from _together(facts, request, nodes)


def _none_fits(who: str, needs: list[Need], nodes: list[Object]) -> Iterator[Concern]:
    """Each need that no node meets; or, where each is met somewhere, that no node meets all."""
    alone = [need for need in needs if not any(need.met(node) for node in nodes)]
    for need in alone:
        yield concern("node.none-fits", f"{who}: no node {need.what}", need.fix)
    if needs and not alone and not any(all(need.met(node) for need in needs) for node in nodes):
        wants = ", ".join(need.what for need in needs)
        yield concern("node.none-fits", f"{who}: no single node {wants}", "Label, free or add a node that does.")


# --- what a node must have -------------------------------------------------------------------------------------------


def _machine(entry: Entry, facts: Facts) -> Iterator[Need]:
    template = template_of(entry)
    developer = facts.kubevirt.get("developerConfiguration") or {}
    fix = "Look at virt-handler on the nodes: it labels those that can run machines."
    yield Need("can run machines", fix, lambda node: _labels(node).get(SCHEDULABLE) == "true")
    if not developer.get("useEmulation") and facts.kubevirts.objects:
        fix = "Use nodes with hardware virtualization; or, for tests only, set useEmulation in the KubeVirt object."
        yield Need("has KVM", fix, lambda node: allocatable(node, KVM) > 0)
    yield from _processor(template)
    yield from _placed(template, ())
    yield from _built_for(template.get("architecture"), "Use nodes of the machine's architecture.")
    yield from _sized(footprint(entry, facts.kubevirt), "Make the machine smaller at the source, or add a larger node.")


def binds_where_it_runs(facts: Facts, request: Request, entry: Entry) -> bool:
    """Whether a volume of the machine, or that of its movers' state, is made where the first pod runs that uses it."""
    if request.uploads or not facts.classes.known:
        return False
    mine = [claim["spec"].get("storageClassName") for claim in claims_of(entry)]
    state = request.config.movers.state_storage_class
    found = [facts.classes.named(name) for one in (*mine, *filter(None, [state])) if (name := class_name(facts, one))]
    return any(waits(one) for one in found if one is not None)


def _built_for(architecture: str | None, fix: str) -> Iterator[Need]:
    if architecture:
        has = {ARCHITECTURE: architecture}.items()
        yield Need(f"is {architecture}", fix, lambda node: has <= _labels(node).items())


def _processor(template: Object) -> Iterator[Need]:
    cpu = (template.get("domain") or {}).get("cpu") or {}
    model = cpu.get("model")
    fix = "Set the processor to host-model at the source and plan again, or add a node that has it."
    if model and model not in OF_THE_NODE:
        yield Need(f"offers the processor {model}", fix, _labelled(f"{MODEL}{model}"))
    for name in features(template, "require"):
        yield Need(f"offers the processor feature {name}", fix, _labelled(f"{FEATURE}{name}"))
    for label in refused(template):
        words = "has a processor that host-model can take" if label == OBSOLETE else f"is without {label}"
        yield Need(words, fix, lambda node, key=label: key not in _labels(node))  # type: ignore[misc]
    if cpu.get("dedicatedCpuPlacement"):
        fix = "Run kubelet with the static CPU manager policy on a node, and switch KubeVirt's gate CPUManager on."
        yield Need("gives processors of its own", fix, _labelled(*CPU_MANAGER))


def _mover(entry: Entry, config: TargetConfig) -> Iterator[Need]:
    """A mover goes where the machine will run, and where the configuration says."""
    template = template_of(entry)
    selector = (template.get("nodeSelector") or {}) | config.movers.node_selector
    tolerations = [item.model_dump(exclude_none=True) for item in config.movers.tolerations]
    placed = template | {"nodeSelector": selector}
    yield from _placed(placed, tuple(one | ({} if "value" in one else {"operator": "Exists"}) for one in tolerations))
    fix = "Build the image for a node's architecture too, and say so as target.movers.architecture."
    if ARCHITECTURE not in config.movers.node_selector:  # which has the last word in the Job, too
        yield from _built_for(config.movers.architecture, fix)
    yield from _sized(mover_footprint(config.movers), "Correct target.movers.cpuRequest and memoryRequest.")


def _placed(template: Object, more: tuple[Object, ...]) -> Iterator[Need]:
    selector = template.get("nodeSelector") or {}
    if selector:
        words = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
        fix = "Label a node so, or correct the nodeSelector."
        yield Need(f"is labelled {words}", fix, lambda node: selector.items() <= _labels(node).items())
    if terms := affinity.terms_of(template):
        fix = "Label a node so, or correct the affinity."
        yield Need(f"has {affinity.in_words(terms)}", fix, lambda node: affinity.admits(terms, node))
    tolerations = (*(template.get("tolerations") or ()), *more)
    fix = "Tolerate the taint, or take it from a node."
    yield Need("is free of taints that are not tolerated", fix, lambda node: not repelling(node, tolerations))


def _sized(pod: Footprint, fix: str) -> Iterator[Need]:
    for resource, wanted in pod.requests.items():
        words = f"has {shown(wanted, resource)} of {resource}"
        yield Need(words, fix, lambda node, name=resource, least=wanted: allocatable(node, name) >= least)  # type: ignore[misc]


# --- what nodes have -------------------------------------------------------------------------------------------------


def repelling(node: Object, tolerations: tuple[Object, ...]) -> list[Object]:
    """The taints of a node that keep a pod with these tolerations away."""
    taints = (node.get("spec") or {}).get("taints") or []
    return [
        taint
        for taint in taints
        if taint.get("effect") in REPELLING and not any(_tolerates(one, taint) for one in tolerations)
    ]


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in {None, "", taint.get("effect")}:
        return False
    exists = bool(toleration.get("operator") == "Exists")
    if not toleration.get("key"):
        return exists
    if toleration["key"] != taint.get("key"):
        return False
    return exists or str(toleration.get("value") or "") == str(taint.get("value") or "")


def usable(node: Object) -> bool:
    """Whether a node takes new pods at all."""
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _labels(node: Object) -> Object:
    return node["metadata"].get("labels") or {}


def _labelled(*keys: str) -> Callable[[Object], bool]:
    return lambda node: any(_labels(node).get(key) == "true" for key in keys)


def allocatable(node: Object, resource: str) -> Fraction:
    """What pods may have of a resource on a node, as if none ran there."""
    return amount(((node.get("status") or {}).get("allocatable") or {}).get(resource, 0))


def _together(facts: Facts, request: Request, nodes: list[Object]) -> Iterator[Concern]:
    pods = [footprint(entry, facts.kubevirt) for entry in request.entries if machine_of(entry) is not None]
    for resource in ("cpu", "memory"):
        wanted = sum((pod.of(resource) for pod in pods), Fraction())
        there = sum((allocatable(node, resource) for node in nodes), Fraction())
        if wanted > there:
            what = (
                f"all machines together ask for {shown(wanted, resource)} of {resource}, and all nodes together have "
                f"{shown(there, resource)}"
            )
            yield concern("node.little-room", what, "Add nodes, or move fewer machines.")
