"""Triage: whether a machine becomes a VM of KubeVirt's, is a candidate for a container image, or stays, and in which
sandbox it fits. Each reason names the fact of the inventory that it rests on; what nobody knows is said as unknown."""

from __future__ import annotations

from typing import Literal

from kubeferry.model import Value

Place = Literal["vm", "container", "stay"]


class Reason(Value):
    """What speaks for a place, and the fact that says so: where the inventory has it, and what it is there."""

    id: str
    speaks_for: Place
    what: str
    fact: str


class Sandbox(Value):
    """Where a machine fits, if those who share the cluster do not trust each other: its namespace, that namespace's Pod
    Security level, what movers of its disks run under, and who reaches its pod. `notes` say why, and what is open."""

    namespace: str
    tenant: str | None = None
    pod_security: Literal["baseline", "restricted", "privileged"]
    runtime_class: str | None = None
    network_policy: bool = False
    notes: tuple[str, ...] = ()


class Triage(Value):
    """The place that the reasons come to. A recommendation: a plan moves what the policy says, whatever stands here."""

    place: Place
    reasons: tuple[Reason, ...] = ()
    unknown: tuple[str, ...] = ()
    sandbox: Sandbox
