"""One machine to its manifests: claims first, then the VirtualMachine, explicit in all that KubeVirt would guess.

What KubeVirt fills in by itself is not what the source had: eight possible processors for two, a network for a machine
without one, secure boot for every UEFI. So each of these is written, also where it says what a default says today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kubeferry.documents import (
    AttachedDisk,
    Companion,
    KeptTpm,
    KeptVariables,
    Offer,
    Placement,
    PlannedDisk,
    Policy,
    SizedBy,
)
from kubeferry.model import Carried, Concern, Machine
from mappings.choices import Choices, choices_for
from mappings.claims import claim_manifests, planned_disks
from mappings.cpu import cpu_domain, memory_domain
from mappings.devices import device_parts
from mappings.disks import boot_orders, disk_devices, volumes
from mappings.fates.carried import carried_list
from mappings.fates.table import FATES
from mappings.firmware import ARCHITECTURES, clock_domain, features_domain, firmware_domain
from mappings.instancetypes import left_to, matchers, sized_by
from mappings.marks import described, labels
from mappings.names import Names, is_dns_label
from mappings.neighbours import NOBODY, Neighbours, traffic_labels
from mappings.nics import interfaces, networks
from mappings.patches import patched
from mappings.rules.rule import Case
from mappings.rules.table import concerns_of
from mappings.sharing import ALONE, Sharing, attached_disks
from mappings.storage import UNASKED
from mappings.traffic import UNFILTERED, Traffic, traffic_of
from mappings.variables import kept_tpm, kept_variables, state_claim
from mappings.versions import fitted

NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Mapped:
    """One machine in KubeVirt's words. `manifests` are in the order in which they are applied."""

    manifests: tuple[dict[str, Any], ...]
    disks: tuple[PlannedDisk, ...]
    carried: tuple[Carried, ...]
    concerns: tuple[Concern, ...]
    variables: KeptVariables | None = None
    tpm: KeptTpm | None = None
    attached: tuple[AttachedDisk, ...] = ()
    moves_with: tuple[Companion, ...] = ()
    sized_by: SizedBy | None = None
    traffic: Traffic = UNFILTERED


def to_manifests(
    machine: Machine,
    policy: Policy,
    names: Names,
    offer: Offer = UNASKED,
    sharing: Sharing = ALONE,
    around: Neighbours = NOBODY,
) -> Mapped:
    """Map one machine. Never fails: what cannot be carried is a concern; with a critical one it must not be moved.
    `sharing` tells of disks that it has in common with others: the claim of one that another carries is not made.
    `around` are the groups of machines that its filters may name."""
    choices, names = choices_for(machine, policy, offer), sharing.named(names)
    disks = planned_disks(machine, choices, names, sharing)
    traffic = traffic_of(machine, choices, names, around)
    known_by = traffic_labels(machine, choices, names, around, guarded=traffic.policy is not None)
    vm, told = fitted(virtual_machine(machine, choices, names, sharing, known_by), choices.kubevirt)
    vm, said = patched(vm, choices.patch)
    kept = kept_variables(machine, choices, names)
    claims = claim_manifests(machine, choices, names, disks)
    tpm = kept_tpm(machine, choices, names.machine, vm)
    claims += [state_claim(machine, choices, names)] if kept or tpm else []
    return Mapped(
        manifests=(*claims, *([traffic.policy] if traffic.policy else []), vm),
        disks=disks,
        carried=carried_list(machine, choices, names, vm, FATES),
        concerns=(*said, *told, *concerns_of(Case(machine, choices, names, sharing, vm, traffic))),
        variables=kept,
        tpm=tpm,
        attached=attached_disks(machine, sharing, names),
        moves_with=tuple(Companion(name=one, target_name=target) for one, target in sharing.moves_with.items()),
        sized_by=sized_by(choices.types),
        traffic=traffic,
    )


def virtual_machine(
    machine: Machine,
    choices: Choices,
    names: Names,
    sharing: Sharing = ALONE,
    known_by: Mapping[str, str] = NO_LABELS,
) -> dict[str, Any]:
    """The VirtualMachine manifest. `known_by` are labels of its pod alone, by which NetworkPolicies know it."""
    marks = labels(machine, choices, names)
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {
            "name": names.machine,
            "namespace": choices.namespace,
            "labels": marks,
            "annotations": choices.annotations | described(machine),
        },
        "spec": {
            "runStrategy": choices.run_strategy,
            **matchers(choices.types),
            "template": {
                "metadata": {"labels": {**marks, **known_by}},
                "spec": left_to(_template(machine, choices, names, sharing), choices.types),
            },
        },
    }


def _template(machine: Machine, choices: Choices, names: Names, sharing: Sharing) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "architecture": ARCHITECTURES.get(machine.arch or "", "amd64"),
        "evictionStrategy": choices.eviction_strategy,
        "terminationGracePeriodSeconds": choices.grace_seconds,
        **_placed(choices.placement),
        "domain": _domain(machine, choices, names, sharing),
        "networks": networks(machine, choices, names),
        "volumes": volumes(machine, choices, names),
    }
    hostname = target_hostname(machine)
    return spec | ({"hostname": hostname} if hostname else {})


def _placed(placement: Placement) -> dict[str, Any]:
    """Where it may run, in the words of a pod; nothing where the policy leaves it to the cluster."""
    said = {
        "nodeSelector": placement.node_selector,
        "affinity": placement.affinity,
        "tolerations": list(placement.tolerations),
        "priorityClassName": placement.priority_class,
    }
    return {key: value for key, value in said.items() if value}


def target_hostname(machine: Machine) -> str | None:
    """The name that the guest is offered by DHCP: its own, without its domain. Else it would get the object's name."""
    first = (machine.guest.hostname or "").split(".")[0].lower()
    return first if is_dns_label(first) else None


def _domain(machine: Machine, choices: Choices, names: Names, sharing: Sharing) -> dict[str, Any]:
    orders = boot_orders(machine, choices)
    place = choices.placement
    resources = {"requests": place.requests, "limits": place.limits}
    return {
        "machine": {"type": "q35"},
        **({"resources": {key: value for key, value in resources.items() if value}} if any(resources.values()) else {}),
        **({"chassis": dict(machine.chassis)} if machine.chassis else {}),
        "firmware": firmware_domain(machine, choices),
        "cpu": cpu_domain(machine.cpu) | ({"dedicatedCpuPlacement": True} if place.dedicated_cpus else {}),
        "memory": memory_domain(machine),
        "clock": clock_domain(machine, choices),
        "features": features_domain(machine, choices),
        "devices": {
            **device_parts(machine, choices),
            "disks": disk_devices(machine, choices, names, sharing),
            "interfaces": interfaces(machine, choices, names, orders),
        },
    }
