"""Forklift's validation concerns and what covers each of them here: the field's yardstick, side by side.

Theirs are those of its rego policies (`validation/policies`, 102 at commit d42511b of 2026-08-21), in our words. Ours
are ids of rules, or a sentence on why there is none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theirs:
    """One concern of theirs: the provider it is for, its severity there, and what it looks for. `ours` names rules of
    ours; `instead` says what takes their place, or why nothing has to."""

    provider: str
    severity: str
    about: str
    ours: tuple[str, ...] = ()
    instead: str = ""


C, W, I = "critical", "warning", "information"  # noqa: E741 (as in the columns of the table)
_ENGINE = "a setting of the engine, which a domain does not have"
_NO_SOURCE = "no source of that kind here"
_DISK_STATE = "the disk is looked at before the copy (source.refused)"

_VMWARE = (
    (W, "changed block tracking off (machine)", ("vmware.tracking-off",), ""),
    (W, "changed block tracking off (disk)", ("vmware.disk-untracked",), ""),
    (W, "disk consolidation needed", ("vmware.consolidation",), ""),
    (W, "CPU affinity", ("cpu.pinning",), ""),
    (W, "CPU or memory hot-plug", ("vmware.hot-plug", "memory.hotplug-lost"), ""),
    (C, "datastore missing", ("vmware.datastore-missing",), ""),
    (W, "more than 165 disks", ("disk.many", "disk.too-many"), ""),
    (W, "independent disk mode", ("vmware.independent-disk",), ""),
    (I, "disk serial truncated", ("disk.serial-illegal",), "serials are not cut"),
    (C, "disk capacity not above 0", ("disk.size-unknown",), ""),
    (I, "DPM on", ("vmware.cluster",), ""),
    (I, "DRS on", ("vmware.cluster",), ""),
    (I, "fault tolerance on", ("vmware.fault-tolerance",), ""),
    (C, "guest free space too low", ("vmware.guest-full",), ""),
    (I, "guest disk key not found", (), "disks are matched by their own key, not by what the guest says"),
    (W, "host affinity rule", ("vmware.host-affinity", "vmware.affinity"), ""),
    (W, "empty hostname", ("vmware.hostname",), ""),
    (W, "default hostname (localhost)", ("vmware.hostname",), ""),
    (W, "machine reports no IP", ("vmware.no-address",), ""),
    (W, "invalid machine name", ("name.changed",), ""),
    (W, "NUMA affinity", ("vmware.numa",), ""),
    (C, "passthrough device", ("host-device",), ""),
    (W, "RDM disk", ("vmware.raw-device", "disk.lun"), ""),
    (W, "shared disk", ("disk.shared",), ""),
    (I, "snapshot present", ("snapshot.present",), ""),
    (W, "SR-IOV card", ("nic.hostdev",), ""),
    (W, "TPM", ("tpm.state-lost",), ""),
    (W, "USB controller", ("vmware.usb-controller",), ""),
    (W, "system unsupported", ("vmware.guest-unsupported",), ""),
)
_OVIRT = (
    (I, "memory ballooning", (), "KubeVirt has a balloon, too: carried"),
    (W, "BIOS boot menu on", ("firmware.boot-menu",), ""),
    (W, "custom CPU model", ("cpu.model-changed", "cpu.model-named"), ""),
    (W, "CPU pinning policy", ("cpu.pinning",), ""),
    (W, "CPU shares", ("unmodelled",), ""),
    (W, "CPU tuning (pinning)", ("cpu.pinning",), ""),
    (W, "custom properties of the machine", (), _ENGINE),
    (W, "more than 165 disks", ("disk.many", "disk.too-many"), ""),
    (W, "disk interface type", ("disk.bus-changed",), ""),
    (C, "disk capacity not above 0", ("disk.size-unknown",), ""),
    (C, "disk status illegal or locked", (), _DISK_STATE),
    (C, "disk storage type unsupported", ("disk.source-missing",), _DISK_STATE),
    (I, "SPICE display", ("device.spice",), ""),
    (W, "high availability on", (), _ENGINE),
    (W, "high-availability reservation", (), _ENGINE),
    (W, "host devices mapped", ("host-device",), ""),
    (C, "illegal disk images", (), _DISK_STATE),
    (I, "I/O threads", ("unmodelled",), ""),
    (W, "cluster KSM on", (), _ENGINE),
    (W, "invalid name", ("name.changed",), ""),
    (W, "custom properties of a card", (), _ENGINE),
    (W, "card's interface type", ("nic.model-changed",), ""),
    (W, "card's network filter", ("nic.filtered",), ""),
    (W, "card's PCI passthrough", ("nic.hostdev",), ""),
    (W, "card unplugged", (), "carried: the link is down at the target, too"),
    (W, "card's port mirroring", (), _ENGINE),
    (W, "card's QoS", ("nic.throttled",), ""),
    (W, "NUMA tuning", ("cpu.numa",), ""),
    (W, "snapshot with memory", ("snapshot.present",), ""),
    (W, "placement affinity", (), _ENGINE),
    (W, "SCSI reservation", ("disk.lun",), ""),
    (W, "Secure Boot", ("firmware.secure-boot",), ""),
    (W, "shared disk", ("disk.shared",), ""),
    (I, "behaviour after storage errors", ("unmodelled",), ""),
    (W, "TPM required by the system", ("tpm.state-lost",), ""),
    (W, "USB", ("device.host-bound", "host-device"), ""),
    (W, "system unsupported (RHEL 6)", ("guest.os-unknown",), "told, and left to the rehearsal"),
    (W, "machine neither up nor down", ("machine.paused", "machine.crashed", "machine.power-unknown"), ""),
    (W, "watchdog", ("watchdog.changed",), ""),
)
_OPENSTACK = (
    (W, "BIOS boot menu", ("firmware.boot-menu",), ""),
    (W, "CPU shares", ("unmodelled",), ""),
    (W, "more than 165 disks", ("disk.many", "disk.too-many"), ""),
    (W, "disk bus unsupported", ("disk.bus-changed",), ""),
    (C, "disk capacity invalid", ("disk.size-unknown",), ""),
    (C, "disk status unsupported", (), _DISK_STATE),
    (W, "floating IPs", (), _NO_SOURCE),
    (W, "host devices", ("host-device",), ""),
    (W, "invalid machine name", ("name.changed",), ""),
    (W, "NUMA tuning", ("cpu.numa",), ""),
    (W, "Secure Boot", ("firmware.secure-boot",), ""),
    (W, "shared disk", ("disk.shared",), ""),
    (W, "model of a card unsupported", ("nic.model-changed",), ""),
    (W, "system unsupported", ("guest.os-unknown",), "told, and left to the rehearsal"),
    (W, "machine's status invalid", ("machine.paused", "machine.crashed", "machine.power-unknown"), ""),
    (W, "watchdog", ("watchdog.changed",), ""),
)
_HYPERV = (
    (I, "checkpoint present", ("snapshot.present",), ""),
    (W, "not a cluster role", (), _NO_SOURCE),
    (W, "more than 165 disks", ("disk.many", "disk.too-many"), ""),
    (C, "disk capacity invalid", ("disk.size-unknown",), ""),
    (W, "disk has no SMB path", (), _NO_SOURCE),
    (W, "integration services not seen", ("guest.agent-unknown",), ""),
    (W, "machine reports no IP", (), _NO_SOURCE),
    (W, "invalid machine name", ("name.changed",), ""),
    (W, "network of a card unresolved", ("nic.unmapped", "nic.network-unknown"), ""),
    (I, "Secure Boot on", ("firmware.secure-boot",), ""),
    (W, "TPM", ("tpm.state-lost",), ""),
    (W, "system unsupported", ("guest.os-unknown",), "told, and left to the rehearsal"),
)
_OVA = (
    (W, "CPU affinity", ("cpu.pinning",), ""),
    (W, "CPU or memory hot-plug", ("ova.hot-plug", "memory.hotplug-lost"), ""),
    (W, "more than 165 disks", ("disk.many", "disk.too-many"), ""),
    (C, "disk capacity invalid", ("disk.size-unknown",), ""),
    (W, "exported by another product", (), "exports of other products are read and tested, too"),
    (W, "invalid name", ("name.changed",), ""),
)
THEIRS: tuple[Theirs, ...] = tuple(
    Theirs(provider, severity, about, ours, instead)
    for provider, rows in (
        ("vmware", _VMWARE),
        ("ovirt", _OVIRT),
        ("openstack", _OPENSTACK),
        ("hyperv", _HYPERV),
        ("ova", _OVA),
    )
    for severity, about, ours, instead in rows
)


def covered_by(rule: str) -> list[Theirs]:
    """What of theirs a rule of ours stands for."""
    return [one for one in THEIRS if rule in one.ours]
