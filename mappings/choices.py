"""What the policy says about one machine, defaults filled in: what rules and mapping read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kubeferry import marks
from kubeferry.documents import (
    AppProbe,
    CommitPolicy,
    DiskChoice,
    DowntimePolicy,
    Hook,
    MachinePolicy,
    NetworkMap,
    Offer,
    Placement,
    Platform,
    Policy,
    Probe,
    RehearsalPolicy,
    SandboxPolicy,
    StateOffer,
    StopPolicy,
    StoragePolicy,
    TrafficPolicy,
    WarmPolicy,
    over,
)
from kubeferry.model import Machine, Power
from mappings import instancetypes
from mappings.disk_wishes import disk_wishes
from mappings.ec2 import boots_from_virtio
from mappings.instancetypes import Types
from mappings.storage import UNASKED, Storage, resolve

# KubeVirt's own default: time for the guest to stop before its pod is killed.
_GRACE_SECONDS = 180
# What a machine that was so at its source is run as; of any other nobody knows, and it is left to be started by hand.
_FOLLOWED = {Power.RUNNING: "Always", Power.PAUSED: "Always", Power.OFF: "Halted"}


@dataclass(frozen=True, slots=True)
class DiskWish:
    """What the policy says of one disk or drive: where it goes, and, where it says so, its bus and its boot order."""

    storage: Storage
    bus: str | None
    boot_order: int | None


@dataclass(frozen=True, slots=True)
class Choices:
    """One machine's choices. None means that the policy leaves it to the machine itself; for `state`, that the target
    keeps no UEFI variables, or was not asked; for `packets`, whether it sees what network cards send, that nobody was
    asked. `storage` is for all disks that are not in `disks`. `together`: its app is to be rehearsed together; `alone`:
    the target rehearses each machine by itself."""

    namespace: str
    run_strategy: str
    eviction_strategy: str
    grace_seconds: int
    placement: Placement
    types: Types
    storage: Storage
    disks: Mapping[str, DiskWish]
    state: StateOffer | None
    networks: tuple[NetworkMap, ...]
    probes: tuple[Probe, ...]
    app_probes: tuple[AppProbe, ...]
    hooks: tuple[Hook, ...]
    packets: bool | None
    together: bool
    alone: bool
    stop: StopPolicy
    mode: Literal["cold", "warm"]
    warm: WarmPolicy
    downtime: DowntimePolicy | None
    commit: CommitPolicy | None
    rehearsal: RehearsalPolicy | None
    network: TrafficPolicy
    sandbox: SandboxPolicy | None
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

    def storage_of(self, disk: str) -> Storage:
        """Where a disk goes: where the policy says for it, else where it says for all of the machine."""
        return self.disks[disk].storage if disk in self.disks else self.storage

    def bus_of(self, disk: str) -> str | None:
        """The bus that the policy names for a disk, or for all of the machine."""
        own = self.disks[disk].bus if disk in self.disks else None
        return own or self.disk_bus

    @property
    def boot_orders(self) -> dict[str, int]:
        """The boot orders that the policy names, by disk."""
        return {disk: wish.boot_order for disk, wish in self.disks.items() if wish.boot_order is not None}


def choices_for(machine: Machine, policy: Policy, offer: Offer = UNASKED) -> Choices:
    """The machine's own choices where it has some, else the policy's; for storage, what they come to at this target."""
    own = policy.of(machine.name)
    namespace = own.namespace or policy.namespace
    storage = over(policy.storage, own.storage)
    return Choices(
        namespace=namespace,
        run_strategy=own.run_strategy or policy.run_strategy or _FOLLOWED.get(own_power(machine), "Manual"),
        eviction_strategy=own.eviction_strategy or policy.eviction_strategy,
        grace_seconds=_GRACE_SECONDS if own.grace_seconds is None else own.grace_seconds,
        placement=own.placement or Placement(),
        types=instancetypes.resolve(own.instancetype, own.preference, namespace, offer),
        storage=resolve(storage, offer),
        disks=_disks(machine, own, storage, offer),
        state=offer.state,
        networks=_networks(own, policy),
        probes=policy.probes if own.probes is None else own.probes,
        app_probes=_of_its_app(machine, policy, own),
        hooks=(policy.hooks if own.hooks is None else own.hooks) or (),
        packets=offer.packets,
        together=_together(policy, own),
        alone=offer.together is False,
        stop=over(policy.stop, own.stop),
        mode=own.mode or policy.mode,
        warm=over(policy.warm, own.warm),
        downtime=_downtime(policy, own),
        commit=over(policy.commit, own.commit) if policy.commit else own.commit,
        rehearsal=over(policy.rehearsal or RehearsalPolicy(), own.rehearsal) if own.rehearsal else policy.rehearsal,
        network=over(policy.network or TrafficPolicy(), own.network),
        sandbox=over(policy.sandbox or SandboxPolicy(), own.sandbox) if own.sandbox else policy.sandbox,
        legacy_disk_bus=_legacy_disk_bus(machine, policy),
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


def _together(policy: Policy, own: MachinePolicy) -> bool:
    app = (policy.apps or {}).get(own.app or "")
    return app is not None and app.rehearsal is not None and app.rehearsal.together


def _downtime(policy: Policy, own: MachinePolicy) -> DowntimePolicy | None:
    """With a budget no longer than that of its app as a whole."""
    said = over(policy.downtime, own.downtime) if policy.downtime else own.downtime
    app = (policy.apps or {}).get(own.app or "")
    bound = app.downtime_seconds if app else None
    if bound is None or (said and said.budget_seconds and said.budget_seconds <= bound):
        return said
    return (said or DowntimePolicy()).model_copy(update={"budget_seconds": bound})


def _of_its_app(machine: Machine, policy: Policy, own: MachinePolicy) -> tuple[AppProbe, ...]:
    app = (policy.apps or {}).get(own.app or "")
    return tuple(probe for probe in app.probes if probe.machine == machine.name) if app else ()


def _networks(own: MachinePolicy, policy: Policy) -> tuple[NetworkMap, ...]:
    """In the order in which they are looked at. What holds where nobody says anything does not where somebody does: a
    card that was forgotten would be on the pod network without a word."""
    if own.networks is None:
        return policy.networks
    return (*own.networks, *(policy.networks if "networks" in policy.model_fields_set else ()))


def own_power(machine: Machine) -> Power:
    """The power that the machine is to have: that before a stop of ours, where it is off by one."""
    mark = marks.of(machine)
    return machine.power if mark is None else mark.before


def _legacy_disk_bus(machine: Machine, policy: Policy) -> str:
    """Where disks go whose bus KubeVirt has not: as the policy says, if it says anything; else where the system finds
    them."""
    if "legacy_disk_bus" not in policy.model_fields_set and boots_from_virtio(machine):
        return "virtio"
    return policy.legacy_disk_bus


def _disks(machine: Machine, own: MachinePolicy, storage: StoragePolicy, offer: Offer) -> dict[str, DiskWish]:
    return {
        disk: DiskWish(resolve(_stored(wish, storage), offer), wish.bus, wish.boot_order)
        for disk, wish in disk_wishes(own.disks, machine).items()
    }


def _stored(wish: DiskChoice, storage: StoragePolicy) -> StoragePolicy:
    said = {"storage_class": wish.storage_class, "access_mode": wish.access_mode, "volume_mode": wish.volume_mode}
    return storage.model_copy(update={field: value for field, value in said.items() if value is not None})


def platform_for(policy: Policy, offer: Offer) -> Platform | None:
    """The KubeVirt that manifests are made for: what the target says of its own; what the policy names where nobody is
    asked; None, and then the newest, where neither says."""
    if offer.kubevirt is not None:
        return offer.kubevirt
    return Platform(version=policy.kubevirt) if policy.kubevirt else None
