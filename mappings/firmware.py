"""Firmware, identity, clock and the features of the platform."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from kubeferry.images.uefi_data import FORM
from kubeferry.model import Clock, FirmwareKind, Machine, Timer
from mappings.choices import Choices
from mappings.disks import SERIAL
from mappings.ec2 import is_ec2, new_uuid
from mappings.systems import wants_windows

# libvirt's and KubeVirt's names of the same timers; the others have no counterpart.
TIMERS = {"hpet": "hpet", "pit": "pit", "rtc": "rtc", "kvmclock": "kvm", "hypervclock": "hyperv"}
_TICK_POLICIES = {
    "hpet": ("delay", "catchup", "merge", "discard"),
    "pit": ("delay", "catchup", "discard"),
    "rtc": ("delay", "catchup"),
}
_TRACKS = ("guest", "wall")
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "i686": "amd64"}
TIMEZONE = re.compile(r"UTC|[A-Z][A-Za-z]+(?:/[A-Za-z0-9_+-]+){1,2}")

# Enlightenments by libvirt's names. Of those that need others, KubeVirt refuses the one without the other.
HYPERV = {
    "relaxed": "relaxed",
    "vapic": "vapic",
    "spinlocks": "spinlocks",
    "vpindex": "vpindex",
    "runtime": "runtime",
    "synic": "synic",
    "stimer": "synictimer",
    "reset": "reset",
    "vendor_id": "vendorid",
    "frequencies": "frequencies",
    "reenlightenment": "reenlightenment",
    "tlbflush": "tlbflush",
    "ipi": "ipi",
    "evmcs": "evmcs",
}
HYPERV_EXTRAS = {"stimer": ("direct",), "tlbflush": ("direct", "extended")}
HYPERV_NEEDS = {
    "synictimer": ("synic",),
    "synic": ("vpindex",),
    "tlbflush": ("vpindex",),
    "ipi": ("vpindex",),
    "evmcs": ("vapic",),
}
# What Windows runs best with under KVM, where the source says nothing of its platform: what KubeVirt's own preference
# for Windows sets, too.
WINDOWS_HYPERV = {
    "relaxed": "on",
    "vapic": "on",
    "spinlocks": "on retries=8191",
    "vpindex": "on",
    "runtime": "on",
    "synic": "on",
    "stimer": "on",
    "stimer.direct": "on",
    "reset": "on",
    "frequencies": "on",
    "reenlightenment": "on",
    "tlbflush": "on",
    "ipi": "on",
}
WINDOWS_TIMERS: dict[str, dict[str, Any]] = {
    "hpet": {"present": False},
    "pit": {"present": True, "tickPolicy": "delay"},
    "rtc": {"present": True, "tickPolicy": "catchup"},
    "hyperv": {"present": True},
}
_FLASH_FORMATS = ("raw", "qcow2", FORM)
_OFF = {"off", "no", "false", "0", "disabled"}


def is_on(value: str) -> bool:
    """Whether a source's word for a switch means on; a feature that is only named is on."""
    return value.strip().lower().split(" ")[0].split(",")[0] not in _OFF


def target_firmware(machine: Machine, choices: Choices) -> FirmwareKind:
    """The policy's firmware, else the source's; BIOS where neither says, which the concern `firmware.unknown` stops."""
    if choices.firmware:
        return FirmwareKind(choices.firmware)
    known = machine.firmware.kind
    return FirmwareKind.BIOS if known == FirmwareKind.UNKNOWN else known


def is_secure(machine: Machine, choices: Choices) -> bool:
    return target_firmware(machine, choices) == FirmwareKind.UEFI and machine.firmware.secure_boot is True


def keeps(machine: Machine, choices: Choices) -> bool:
    """Whether the target keeps UEFI variables over a stop: where the source did, and the target can."""
    both = target_firmware(machine, choices) == FirmwareKind.UEFI == machine.firmware.kind
    return both and choices.state is not None


def carries(machine: Machine, choices: Choices) -> bool:
    """Whether the variables that the source has kept go with the machine."""
    return not why_not_carried(machine, choices)


def why_not_carried(machine: Machine, choices: Choices) -> str:
    """Why the variables that the source has kept do not go with the machine; empty where they do."""
    if not choices.keep_variables:
        return "the policy leaves them behind"
    readable = machine.firmware.nvram is not None and machine.firmware.nvram_format in {None, *_FLASH_FORMATS}
    if not readable or machine.firmware.kind != FirmwareKind.UEFI:
        return "the source has none that can be read"
    if choices.state is None or not keeps(machine, choices):
        return "the target was not asked, or has no room for them"
    if not choices.state.carries:
        return "this KubeVirt has none put there before the first start"
    known = machine.arch is None or machine.arch in ARCHITECTURES  # others have flash of other sizes
    return "" if known and machine.data_disks else "no flash of this machine's is known"


def target_uuid(machine: Machine) -> str | None:
    """The SMBIOS UUID in its usual spelling; None if it is none. KubeVirt would take anything. An instance of EC2 gets
    a new one."""
    if is_ec2(machine):
        return new_uuid(machine)
    try:
        return str(UUID(machine.uuid)) if machine.uuid else None
    except ValueError:
        return None


def target_smbios_serial(machine: Machine) -> str | None:
    serial = machine.smbios_serial
    return serial if serial is not None and SERIAL.fullmatch(serial) else None


def firmware_domain(machine: Machine, choices: Choices) -> dict[str, Any]:
    """`domain.firmware`. `secureBoot` is always written with UEFI: KubeVirt takes its absence for true."""
    if target_firmware(machine, choices) == FirmwareKind.UEFI:
        efi = {"secureBoot": is_secure(machine, choices), "persistent": keeps(machine, choices)}
        bootloader: dict[str, Any] = {"efi": efi}
    else:
        bootloader = {"bios": {}}
    identity = {"uuid": target_uuid(machine), "serial": target_smbios_serial(machine)}
    return {"bootloader": bootloader} | {key: value for key, value in identity.items() if value is not None}


def target_timezone(clock: Clock, choices: Choices) -> str | None:
    """The time zone in which the machine's clock runs; None is UTC."""
    wanted = choices.timezone or (clock.timezone if clock.offset in {"timezone", "localtime"} else None)
    return wanted if wanted and TIMEZONE.fullmatch(wanted) and wanted != "UTC" else None


def clock_domain(machine: Machine, choices: Choices) -> dict[str, Any]:
    """`domain.clock`: UTC, so many seconds from it, or a time zone; and the timers that both sides know."""
    zone = target_timezone(machine.clock, choices)
    clock: dict[str, Any] = {"timezone": zone} if zone else {"utc": _offset(machine.clock, choices)}
    timers = {TIMERS[timer.name]: _timer(timer) for timer in machine.clock.timers if timer.name in TIMERS}
    timers = timers or (WINDOWS_TIMERS if wants_windows(machine) else {})
    return clock | ({"timer": timers} if timers else {})


def _offset(clock: Clock, choices: Choices) -> dict[str, int]:
    """How far from UTC a clock without a zone runs, in seconds; a zone that the policy names takes its place."""
    if choices.timezone or clock.offset != "variable" or not clock.adjustment:
        return {}
    return {"offsetSeconds": clock.adjustment}


def _timer(timer: Timer) -> dict[str, Any]:
    name = TIMERS[timer.name]
    made: dict[str, Any] = {"present": timer.present is not False}
    if timer.tickpolicy in _TICK_POLICIES.get(name, ()):
        made["tickPolicy"] = timer.tickpolicy
    if name == "rtc" and timer.track in _TRACKS:
        made["track"] = timer.track
    return made


def features_domain(machine: Machine, choices: Choices) -> dict[str, Any]:
    """`domain.features`: ACPI always (Q35 and the graceful stop need it), SMM with secure boot, what the source had."""
    had = machine.features
    features: dict[str, Any] = {"acpi": {"enabled": True}}
    for name in ("apic", "pvspinlock"):
        if name in had:
            features[name] = {"enabled": is_on(had[name])}
    if had.get("apic") == "on eoi=on":
        features["apic"]["endOfInterrupt"] = True
    if is_secure(machine, choices) or is_on(had.get("smm", "off")):
        features["smm"] = {"enabled": True}
    if is_on(had.get("kvm.hidden", "off")):
        features["kvm"] = {"hidden": True}
    if passes_hyperv(machine.hyperv):
        return features | {"hypervPassthrough": {"enabled": True}}
    enlightened = hyperv_domain(WINDOWS_HYPERV if wants_windows(machine) else machine.hyperv)
    return features | ({"hyperv": enlightened} if enlightened else {})


def passes_hyperv(hyperv: dict[str, str]) -> bool:
    """Whether the guest sees every enlightenment of its host, whatever else is listed."""
    return hyperv.get("mode") == "passthrough"


def hyperv_domain(hyperv: dict[str, str]) -> dict[str, Any]:
    """`domain.features.hyperv`. An enlightenment whose prerequisite is off is left out."""
    on = {HYPERV[name]: value for name, value in hyperv.items() if name in HYPERV and is_on(value)}
    extras = [name.partition(".") for name, value in hyperv.items() if is_on(value)]
    while missing := [name for name in on if any(need not in on for need in HYPERV_NEEDS.get(name, ()))]:
        for name in missing:
            del on[name]
    made = {name: _enlightenment(name, value) for name, value in on.items()}
    for owner, _, extra in extras:
        if extra in HYPERV_EXTRAS.get(owner, ()) and HYPERV[owner] in made:
            made[HYPERV[owner]][extra] = {"enabled": True}
    return made


def hyperv_path(name: str) -> str:
    """Where an enlightenment, or an extra such as `stimer.direct`, stands under `features.hyperv`."""
    owner, dot, extra = name.partition(".")
    return f"{HYPERV.get(owner, owner)}{dot}{extra}"


def _enlightenment(name: str, value: str) -> dict[str, Any]:
    made: dict[str, Any] = {"enabled": True}
    number = re.search(r"[0-9]+", value)
    if name == "spinlocks" and number:
        made["spinlocks"] = int(number[0])
    text = re.search(r"value=(.+?)(?: \w+=|$)", value)
    if name == "vendorid" and text:
        made["vendorid"] = text[1]
    return made
