"""All other devices: those that KubeVirt has words for; the rest is told in the concerns and the list of fates."""

from __future__ import annotations

from typing import Any

from kubeferry.model import Device, Machine, SourceFact
from mappings.choices import Choices
from mappings.disks import has_queues
from mappings.nics import has_card_queues
from mappings.systems import is_windows, wants_windows
from mappings.virtio import is_transitional

VIDEOS = ("vga", "cirrus", "virtio", "ramfb", "bochs")
SOUNDS = ("ich9", "ac97")
CHIPSET_WATCHDOG = "itco"  # every Q35 has it, KubeVirt's too
WATCHDOG_ACTIONS = ("poweroff", "reset", "shutdown")
INPUT_BUSES = ("usb", "virtio")

# libvirt calls the standard panic device after its bus.
PANICS = {"isa": "isa", "hyperv": "hyperv", "pvpanic": "pvpanic"}

# Devices whose counterpart KubeVirt brings by itself; nothing of the guest's data or addresses hangs on them.
RECREATED = {
    "controller",
    "serial",
    "console",
    "channel",
    "graphics",
    "memballoon",
    "hub",
    "emulator",
    "audio",
    "nvram",
}
# Devices that reach into the old host: what the guest does with them stops working.
HOST_BOUND = {
    "hostdev",
    "redirdev",
    "smartcard",
    "parallel",
    "filesystem",
    "shmem",
    "lease",
    "vsock",
    "memory",
    "iommu",
    "crypto",
}
# Memory that is a device of its own: a part of the guest's memory, and what keeps the guest's data when it is off.
DIMMS = {"dimm", "virtio-mem"}
PERSISTENT = {"nvdimm", "virtio-pmem"}


def is_address(fact: SourceFact) -> bool:
    """Whether a fact without a word of ours is the place of a device on its bus."""
    return fact.path.endswith("/address")


def of_kind(machine: Machine, kind: str) -> list[Device]:
    return [device for device in machine.devices if device.kind == kind]


def target_video(machine: Machine) -> str | None:
    """The graphics card: the same where KubeVirt has it, else VGA, which every guest knows; None where it is left to
    KubeVirt (also VGA), or there is none."""
    cards = [card for card in of_kind(machine, "video") if card.model != "none"]
    if not cards:
        return None
    return cards[0].model if cards[0].model in VIDEOS else "vga"


def target_sound(machine: Machine) -> str | None:
    cards = of_kind(machine, "sound")
    if not cards:
        return None
    return "ac97" if cards[0].model == "ac97" else "ich9"


def target_watchdog_action(machine: Machine) -> str | None:
    """The action of the watchdog; None leaves the watchdog out: an action that the source did not ask for is worse, and
    the chipset's own is there already."""
    if machine.watchdog is None or machine.watchdog.model == CHIPSET_WATCHDOG:
        return None
    action = machine.watchdog.action or "reset"
    return action if action in WATCHDOG_ACTIONS else None


def tablets(machine: Machine) -> list[dict[str, str]]:
    """Pointers that show an absolute place: the only input devices that KubeVirt is told of. Where the source's words
    are another hypervisor's, none among its devices is silence: they come with its tools, and are not listed."""
    found = [one for one in of_kind(machine, "input") if (one.detail.get("type") or one.model) == "tablet"]
    silent = wants_windows(machine) or (is_windows(machine.guest) and not machine.devices)
    if not found and silent and not _has_none(machine):  # its mouse drifts on a screen without one
        return [{"name": "tablet0", "type": "tablet", "bus": "usb"}]
    return [
        {"name": f"tablet{index}", "type": "tablet", "bus": bus if bus in INPUT_BUSES else "usb"}
        for index, bus in enumerate(one.detail.get("bus", "usb") for one in found)
    ]


def _has_none(machine: Machine) -> bool:
    """Whether Proxmox says that there is no tablet; there is one where it says nothing."""
    return any((fact.path, fact.value) == ("tablet", "0") for fact in machine.unmodelled)


def has_display(machine: Machine) -> bool:
    """Whether the target has a screen: unless the source says that there is none. Exports that list no card are
    silent, and many guests do not get past their boot loader without one."""
    return machine.headless is not True


def has_balloon(machine: Machine) -> bool:
    return all(device.model != "none" for device in of_kind(machine, "memballoon"))


def _switches(machine: Machine, choices: Choices) -> dict[str, bool]:
    """What is on or off for all devices of a kind, and off unless it is said."""
    return {
        "useVirtioTransitional": is_transitional(machine, choices),
        "blockMultiQueue": has_queues(machine, choices),
        "networkInterfaceMultiqueue": has_card_queues(machine, choices),
    }


def device_parts(machine: Machine, choices: Choices) -> dict[str, Any]:
    """The parts of `domain.devices` that are neither disks nor interfaces."""
    parts: dict[str, Any] = {
        "autoattachGraphicsDevice": has_display(machine),
        "autoattachMemBalloon": has_balloon(machine),
        "autoattachPodInterface": False,
        "autoattachSerialConsole": True,
    }
    if (video := target_video(machine)) is not None and has_display(machine):
        parts["video"] = {"type": video}
    parts |= {name: True for name, on in _switches(machine, choices).items() if on}
    if inputs := tablets(machine):
        parts["inputs"] = inputs
    if (sound := target_sound(machine)) is not None:
        parts["sound"] = {"name": "sound", "model": sound}
    if of_kind(machine, "rng"):
        parts["rng"] = {}
    if (action := target_watchdog_action(machine)) is not None:
        parts["watchdog"] = {"name": "watchdog", "i6300esb": {"action": action}}
    if machine.tpm is not None:
        parts["tpm"] = {"enabled": True, "persistent": True}
    panics = [PANICS[one.model] for one in of_kind(machine, "panic") if one.model in PANICS]
    if panics:
        parts["panicDevices"] = [{"model": model} for model in panics]
    return parts
