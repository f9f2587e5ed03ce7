"""What the policy says about one machine, defaults filled in: what rules and mapping read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from kubeferry.documents import (
    NetworkMap,
    Offer,
    Placement,
    Platform,
    Policy,
    Probe,
    StateOffer,
    StopPolicy,
    WarmPolicy,
)
from kubeferry.model import Machine, Power
from mappings.storage import UNASKED, Storage, resolve

# KubeVirt's own default: time for the guest to stop before its pod is killed.
_GRACE_SECONDS = 180
# What a machine that was so at its source is run as; of any other nobody knows, and it is left to be started by hand.
_FOLLOWED = {Power.RUNNING: "Always", Power.PAUSED: "Always", Power.OFF: "Halted"}


@dataclass(frozen=True, slots=True)
class Choices:
    """One machine's choices. None means that the policy leaves it to the machine itself; for `state`, that the target
    keeps no UEFI variables, or was not asked."""

    namespace: str
    run_strategy: str
    eviction_strategy: str
    grace_seconds: int
    placement: Placement
    storage: Storage
    state: StateOffer | None
    networks: tuple[NetworkMap, ...]
    probes: tuple[Probe, ...]
    stop: StopPolicy
    mode: Literal["cold", "warm"]
    warm: WarmPolicy
    legacy_disk_bus: str
    disk_bus: str | None
    nic_model: str | None
    virtio_transitional: bool | None
    acpi_index: bool
    firmware: str | None
    keep_variables: bool
    keep_tpm: bool
    timezone: str | None
    labels: dict[str, str]
    annotations: dict[str, str]
    patch: tuple[dict[str, Any], ...]
    kubevirt: Platform | None
    accept: frozenset[str]


def choices_for(machine: Machine, policy: Policy, offer: Offer = UNASKED) -> Choices:
    """The machine's own choices where it has some, else the policy's; for storage, what they come to at this target."""
    own = policy.of(machine.name)
    return Choices(
        namespace=own.namespace or policy.namespace,
        run_strategy=own.run_strategy or policy.run_strategy or _FOLLOWED.get(machine.power, "Manual"),
        eviction_strategy=own.eviction_strategy or policy.eviction_strategy,
        grace_seconds=_GRACE_SECONDS if own.grace_seconds is None else own.grace_seconds,
        placement=own.placement or Placement(),
        storage=resolve(own.storage or policy.storage, offer),
        state=offer.state,
        networks=policy.networks if own.networks is None else own.networks,
        probes=policy.probes if own.probes is None else own.probes,
        stop=own.stop or policy.stop,
        mode=own.mode or policy.mode,
        warm=own.warm or policy.warm,
        legacy_disk_bus=policy.legacy_disk_bus,
        disk_bus=own.disk_bus,
        nic_model=own.nic_model,
        virtio_transitional=own.virtio_transitional,
        acpi_index=policy.acpi_index if own.acpi_index is None else own.acpi_index,
        firmware=own.firmware,
        keep_variables=own.keep_variables is not False,
        keep_tpm=own.keep_tpm is not False,
        timezone=own.timezone,
        labels=policy.labels | own.labels,
        annotations=own.annotations,
        patch=own.patch,
        kubevirt=platform_for(policy, offer),
        accept=frozenset(own.accept),
    )


def platform_for(policy: Policy, offer: Offer) -> Platform | None:
    """The KubeVirt that manifests are made for: what the target says of its own; what the policy names where nobody is
    asked; None, and then the newest, where neither says."""
    if offer.kubevirt is not None:
        return offer.kubevirt
    return Platform(version=policy.kubevirt) if policy.kubevirt else None
