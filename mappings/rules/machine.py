"""Rules about the machine as a whole: identity, power, firmware, guest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from kubeferry import marks
from kubeferry.model import FirmwareKind, Power
from mappings.devices import is_address
from mappings.firmware import (
    ARCHITECTURES,
    is_secure,
    keeps,
    target_firmware,
    target_smbios_serial,
    target_uuid,
    why_not_carried,
)
from mappings.provenance import is_of_the_place
from mappings.rules.libvirt import is_foreign
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when


def _arch(case: Case) -> Iterable[str]:
    arch = case.machine.arch
    return when(arch is not None and arch not in ARCHITECTURES, f"The machine's architecture is {arch}.")


def _arch_unknown(case: Case) -> Iterable[str]:
    return when(case.machine.arch is None, "The machine's architecture is not known; it is taken for x86_64.")


def _machine_type(case: Case) -> Iterable[str]:
    kind = case.machine.machine_type or ""
    other = bool(kind) and "q35" not in kind
    return when(other, f"The machine is of type {kind}; KubeVirt has Q35 only. PCI addresses of all devices change.")


def _machine_version(case: Case) -> Iterable[str]:
    kind = case.machine.machine_type or ""
    pinned = "q35" in kind and kind != "q35"
    return when(pinned, f"The machine is pinned to {kind}; at the target it follows the cluster's newest Q35.")


def _paused(case: Case) -> Iterable[str]:
    return when(case.machine.power == Power.PAUSED, "The machine is paused: it cannot be asked to stop.")


def _crashed(case: Case) -> Iterable[str]:
    return when(case.machine.power == Power.CRASHED, "The machine has crashed: its file systems may need repair.")


def _power_unknown(case: Case) -> Iterable[str]:
    return when(case.machine.power == Power.UNKNOWN, "Whether the machine runs is not known.")


def _marked(case: Case) -> Iterable[str]:
    mark = marks.of(case.machine)
    return when(mark is not None, f"The machine is off because a move of it is not done: it was {mark}.")


def _moved(case: Case) -> Iterable[str]:
    line = marks.line_in(case.machine.metadata.get(marks.MOVED))
    return when(bool(line), f"The machine was left behind by a move, as its source says: {line}.")


def _renamed(case: Case) -> Iterable[str]:
    name, target = case.machine.name, case.names.machine
    return when(name != target, f"The machine {name!r} is called {target!r} at the target.")


def _uuid(case: Case) -> Iterable[str]:
    told = case.machine.uuid
    return when(target_uuid(case.machine) is None, f"The SMBIOS UUID ({told or 'not told'}) cannot be kept.")


def _smbios_serial(case: Case) -> Iterable[str]:
    lost = case.machine.smbios_serial is not None and target_smbios_serial(case.machine) is None
    return when(lost, f"The SMBIOS serial {case.machine.smbios_serial!r} has characters that KubeVirt refuses.")


def _autostart(case: Case) -> Iterable[str]:
    lost = case.machine.autostart is True and case.choices.run_strategy in {"Halted", "Manual"}
    return when(lost, f"The machine starts with its host; run strategy {case.choices.run_strategy} does not start it.")


def _snapshots(case: Case) -> Iterable[str]:
    count = case.machine.snapshots
    return when(bool(count), f"The machine has {count} snapshot{'s' if count != 1 else ''}.")


def _snapshots_unknown(case: Case) -> Iterable[str]:
    return when(case.machine.snapshots is None, "Whether the machine has snapshots is not known.")


def _firmware_unknown(case: Case) -> Iterable[str]:
    unknown = case.machine.firmware.kind == FirmwareKind.UNKNOWN and case.choices.firmware is None
    unknown = unknown and not is_foreign(case.machine)  # which boots by neither of ours
    return when(unknown, "Whether the machine boots by BIOS or UEFI is not known.")


def _firmware_changed(case: Case) -> Iterable[str]:
    had = case.machine.firmware.kind
    wanted = target_firmware(case.machine, case.choices)
    return when(
        had not in {FirmwareKind.UNKNOWN, wanted}, f"The machine boots by {had.value}, the policy says {wanted.value}."
    )


def _nvram(case: Case) -> Iterable[str]:
    uefi = target_firmware(case.machine, case.choices) == FirmwareKind.UEFI
    why = why_not_carried(case.machine, case.choices)
    lost = f"UEFI variables are not carried, since {why}: boot entries and enrolled keys are gone"
    later = "" if keeps(case.machine, case.choices) else ", and what the guest sets at the target goes at each stop"
    return when(uefi and bool(why), f"{lost}{later}.")


def _secure_boot_unknown(case: Case) -> Iterable[str]:
    uefi = target_firmware(case.machine, case.choices) == FirmwareKind.UEFI
    unknown = uefi and case.machine.firmware.secure_boot is None
    return when(unknown, "Whether secure boot is on is not known; it is written as off.")


def _secure_boot(case: Case) -> Iterable[str]:
    return when(
        is_secure(case.machine, case.choices),
        "Secure boot is on: the standard keys must be those that the guest needs.",
    )


def _boot_menu(case: Case) -> Iterable[str]:
    return when(case.machine.firmware.boot_menu is True, "The firmware's boot menu is not carried.")


def _no_agent(case: Case) -> Iterable[str]:
    return when(case.machine.guest.agent_channel is False, "The machine has no guest agent.")


def _agent_unknown(case: Case) -> Iterable[str]:
    return when(case.machine.guest.agent_channel is None, "Whether the guest has an agent is not known.")


def _agent_silent(case: Case) -> Iterable[str]:
    guest = case.machine.guest
    silent = guest.agent_channel is not False and guest.agent_answers is False and case.machine.power == Power.RUNNING
    return when(silent, "The guest agent does not answer.")


def _os_unknown(case: Case) -> Iterable[str]:
    guest = case.machine.guest
    return when(guest.os_id is None and guest.os_name is None, "Which system the guest runs is not known.")


def _template(case: Case) -> Iterable[str]:
    told = any(fact.path == "template" for fact in case.machine.unmodelled)
    return when(told, "It is a template: at the target it becomes a machine like any other.")


def _no_disks(case: Case) -> Iterable[str]:
    return when(not case.machine.data_disks, "The machine has no disks: nothing is copied.")


def _told(part: str, what: str) -> Callable[[Case], Iterable[str]]:
    """A rule about something that the model has no word for and that decides whether the guest runs."""

    def rule(case: Case) -> Iterable[str]:
        paths = (re.split(r"[/:]", fact.path) for fact in case.machine.unmodelled)
        return when(any(part in path for path in paths), what)

    return rule


_direct_kernel = _told("kernel", "The hypervisor hands over the kernel; at the target the guest boots from its disks.")
_encrypted_memory = _told("launchSecurity", "The processor encrypts the guest's memory; at the target it does not.")


# What a source notes of files: told by rules of its own.
_NOTES = ("manifest[", "header[", "capacity[", "line[", "inUse[", "chain[", "unseen-chain[")
_NOTED = {"certificate", "template", "checkpoint.vmState", "pending"}


def _unmodelled(case: Case) -> Iterable[str]:
    own = (one for one in case.machine.unmodelled if one.path not in _NOTED and not one.path.startswith(_NOTES))
    facts = [one for one in own if not is_address(one) and not is_of_the_place(one)]
    shown = ", ".join(fact.path for fact in facts[:8]) + (", …" if len(facts) > 8 else "")
    return when(bool(facts), f"Settings of the source that are not carried ({len(facts)}): {shown}.")


def _addresses(case: Case) -> Iterable[str]:
    count = sum(map(is_address, case.machine.unmodelled))
    return when(bool(count), f"KubeVirt gives devices new places on their buses; {count} are stated at the source.")


_AGENT_FIX = "Install a guest agent and add its channel, or choose other probes and another way to stop the machine."
_TOLERATE = "Nothing, if the guest does not depend on it."

RULES = (
    Rule(
        "arch.unsupported",
        CRITICAL,
        "an architecture other than x86_64",
        "Leave the machine out (`include: false`): only x86_64 is moved.",
        _arch,
        False,
    ),
    Rule(
        "firmware.unknown",
        CRITICAL,
        "neither BIOS nor UEFI is told",
        "Set `firmware: bios` or `firmware: uefi` for it in the policy.",
        _firmware_unknown,
        False,
    ),
    Rule(
        "machine.paused", CRITICAL, "a paused machine", "Resume or stop it at the source and discover again.", _paused
    ),
    Rule(
        "boot.direct-kernel",
        CRITICAL,
        "a kernel that the hypervisor hands over",
        "Install a boot loader and the kernel in the guest, and remove the kernel from the source's definition.",
        _direct_kernel,
    ),
    Rule(
        "memory.encryption-lost",
        CRITICAL,
        "memory that the processor encrypts",
        "Decide whether the guest may run without; else leave the machine out.",
        _encrypted_memory,
    ),
    Rule("arch.unknown", INFO, "no architecture is told", "Check that it is x86_64.", _arch_unknown),
    Rule(
        "machine.crashed",
        WARNING,
        "a crashed machine",
        "Start it at the source, let it repair itself, and stop it cleanly.",
        _crashed,
    ),
    Rule(
        "machine.stopped-by-move",
        WARNING,
        "a machine that an unfinished move has stopped",
        "Go on with that move, or roll it back, with the journal that holds it; then discover and plan again.",
        _marked,
    ),
    Rule(
        "machine.moved",
        WARNING,
        "a machine that a move has left behind",
        "Leave it out; or roll that move back with the journal that holds it, then discover and plan again.",
        _moved,
    ),
    Rule(
        "machine.power-unknown",
        WARNING,
        "no power state is told",
        "Discover again with access to the running source.",
        _power_unknown,
    ),
    Rule(
        "machine.type-changed",
        WARNING,
        "a machine type other than Q35",
        "Rehearse it; a guest that names devices by PCI address must be changed.",
        _machine_type,
    ),
    Rule("machine.version-changed", INFO, "a pinned version of Q35", _TOLERATE, _machine_version),
    Rule(
        "name.changed",
        INFO,
        "another name at the target",
        "Set `name` for it in the policy if you want another.",
        _renamed,
    ),
    Rule(
        "uuid.unknown",
        WARNING,
        "an SMBIOS UUID that is missing or none",
        "Licences bound to the UUID must be activated again.",
        _uuid,
    ),
    Rule(
        "smbios.serial-illegal",
        WARNING,
        "an SMBIOS serial that KubeVirt refuses",
        "Licences bound to the serial must be activated again.",
        _smbios_serial,
    ),
    Rule(
        "autostart.changed",
        INFO,
        "a machine that starts with its host",
        "Set `runStrategy: Always` after the cutover.",
        _autostart,
    ),
    Rule(
        "snapshot.present",
        INFO,
        "snapshots at the source",
        "Only the present state is moved; keep the source if you need the snapshots.",
        _snapshots,
    ),
    Rule(
        "snapshot.unknown",
        INFO,
        "whether there are snapshots is not told",
        "Only the present state is moved.",
        _snapshots_unknown,
    ),
    Rule(
        "firmware.changed",
        WARNING,
        "another firmware by the policy",
        "Make sure that the guest can boot by both.",
        _firmware_changed,
    ),
    Rule(
        "firmware.nvram-lost",
        WARNING,
        "UEFI variables that are not carried",
        "Make sure that the guest has a boot loader at \\EFI\\BOOT\\BOOTX64.EFI; rehearse it.",
        _nvram,
    ),
    Rule(
        "firmware.secure-boot-unknown",
        WARNING,
        "UEFI without a word on secure boot",
        "Rehearse it, or tell it in the source.",
        _secure_boot_unknown,
    ),
    Rule("firmware.secure-boot", INFO, "secure boot with the standard keys", "Rehearse it.", _secure_boot),
    Rule("firmware.boot-menu", INFO, "a boot menu", _TOLERATE, _boot_menu),
    Rule("guest.no-agent", WARNING, "no guest agent", _AGENT_FIX, _no_agent),
    Rule("guest.agent-unknown", INFO, "whether there is a guest agent is not told", _AGENT_FIX, _agent_unknown),
    Rule("guest.agent-silent", WARNING, "a guest agent that does not answer", _AGENT_FIX, _agent_silent),
    Rule("guest.os-unknown", INFO, "no operating system is told", "Check that KubeVirt supports it.", _os_unknown),
    Rule(
        "machine.template",
        INFO,
        "a template",
        "Leave it out (`include: false`) if you need no machine of it.",
        _template,
    ),
    Rule("disk.none", WARNING, "a machine without disks", "Check that the machine boots from the network.", _no_disks),
    Rule(
        "device.addresses",
        INFO,
        "places of devices on their buses",
        "Rehearse it; a guest that names cards or disks by PCI address must be changed.",
        _addresses,
    ),
    Rule(
        "unmodelled",
        WARNING,
        "settings of the source without a word here",
        "Look at each of them among what is lost; they stay in the inventory.",
        _unmodelled,
    ),
)
