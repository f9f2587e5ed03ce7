"""The sandbox that fits a machine where those who share a cluster do not trust each other."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.documents.triage import Sandbox
from kubeferry.model import Machine
from mappings.choices import Choices
from mappings.traffic import Traffic

LEVEL = "baseline"
"""What a machine's pod passes on every cluster (KubeVirt runs it as user 107, without privileges, without a seccomp
profile); `restricted` asks for that profile, which an administrator of KubeVirt can set."""


def sandbox_of(machine: Machine, choices: Choices, traffic: Traffic) -> Sandbox:
    """Where it goes, and what to hold it to there."""
    said = choices.sandbox
    return Sandbox(
        namespace=choices.namespace,
        tenant=said.tenant if said else None,
        pod_security=LEVEL,
        runtime_class=said.runtime_class if said else None,
        network_policy=traffic.policy is not None,
        notes=tuple(_notes(machine, choices, traffic)),
    )


def _notes(machine: Machine, choices: Choices, traffic: Traffic) -> Iterator[str]:
    said = choices.sandbox
    if said is None or said.tenant is None:
        yield "Whose it is is not known: where tenants share a cluster, say `sandbox: {tenant: NAME}` in the policy."
    else:
        yield f"It belongs to {said.tenant}: the namespace is the border, so nobody else's machines belong into it."
    yield (
        "Its pod passes the Pod Security level baseline; restricted only where KubeVirt gives machines the profile "
        "RuntimeDefault. Movers pass restricted."
    )
    yield (
        "The machine has a kernel of its own, behind KVM: gvisor has no /dev/kvm to start it by, and kata would only "
        "nest it."
    )
    if said and said.runtime_class:
        yield f"Movers read its disks' bytes, which are its tenant's; they run under {said.runtime_class}."
    else:
        yield (
            "Movers read its disks' bytes, which are its tenant's: `sandbox: {runtimeClass: NAME}` runs them under "
            "gvisor or kata, where the cluster has such a class."
        )
    if traffic.policy is not None:
        yield "Its NetworkPolicy says who reaches its pod, and whom it reaches."
    elif any(nic.filters for nic in machine.nics):
        yield "Its source filters its traffic; `network: {policies: from-source}` makes a NetworkPolicy of that."
    else:
        yield (
            "No NetworkPolicy is made for it, so whoever is on the pod network reaches it: give the namespace one that "
            "denies what nobody allows."
        )
