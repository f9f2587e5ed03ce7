"""What becomes of all other devices."""

from __future__ import annotations

from typing import Any

from kubeferry.model import Device, Fate
from mappings.devices import CHIPSET_WATCHDOG, DIMMS, HOST_BOUND, PANICS, PERSISTENT, RECREATED, SOUNDS, of_kind
from mappings.fates.carried import Leaf, Mapping, Rule, Verdict
from mappings.fates.kinds import kept
from mappings.tpm import why_not_carried
from mappings.virtio import TRANSITIONAL


def virtio(mapping: Mapping, leaf: Leaf) -> Verdict:
    """The generation of a virtio device, which KubeVirt has one switch for."""
    transitional = mapping.find(_TRANSITIONAL) is True
    if transitional == (leaf.value == TRANSITIONAL):
        return Fate.CARRIED, _TRANSITIONAL if transitional else "", ""
    return Fate.CHANGED, _TRANSITIONAL, "one switch for all of the machine's devices"


def queues(switch: str) -> Rule:
    """Several queues of a disk or card: KubeVirt gives as many as there are processors, or one."""

    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        place = f"domain.devices.{switch}"
        if mapping.find(place) is True:
            return Fate.CHANGED, place, "now as many as there are processors"
        return (Fate.CARRIED, "", "") if leaf.value == 1 else (Fate.LOST, "", "its bus has one queue")

    return rule


def headless(mapping: Mapping, leaf: Leaf) -> Verdict:
    """Whether there is a screen: the machine's own word, or an adapter of the model `none`, which is none."""
    place = "domain.devices.autoattachGraphicsDevice"
    carried = mapping.find(place) is (leaf.value is False)
    return (Fate.CARRIED, place, "") if carried else (Fate.CHANGED, place, "another card is its screen")


def other_device(mapping: Mapping, leaf: Leaf) -> Verdict:
    device: Any = leaf.value
    if device.kind == "video" and device.model == "none":
        return headless(mapping, leaf)
    rule = _DEVICES.get(device.kind)
    if rule is not None:
        return rule(mapping, leaf)
    if device.kind in RECREATED:
        return Fate.CHANGED, "", "KubeVirt brings its own"
    if device.kind in HOST_BOUND:
        return Fate.LOST, "", "it belongs to the old host"
    return Fate.LOST, "", "KubeVirt has no such device"


def _modelled(path: str, field: str, models: tuple[str, ...] | None = None) -> Rule:
    """The first device of its kind; KubeVirt has one of each."""

    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        found = mapping.find(path)
        if found is None and leaf.value.kind == "video":
            return Fate.CHANGED, "domain.devices.autoattachGraphicsDevice", "this KubeVirt chooses the card: VGA"
        if found is None:
            return Fate.LOST, "", "KubeVirt has no such device"
        if leaf.value is not of_kind(mapping.machine, leaf.value.kind)[0]:
            return Fate.LOST, "", "KubeVirt has one such device"
        if (now := found.get(field)) == leaf.value.model or (models is None):
            return _with_settings(path, leaf.value)
        return Fate.CHANGED, path, f"now {now}: KubeVirt has {', '.join(models)}"

    return rule


def _with_settings(path: str, device: Device) -> Verdict:
    """Carried where the device says no more than its model and its place, else without what it says."""
    dropped = [name for name, value in device.detail.items() if not {name, f"{name}={value}"} & _USUAL]
    if dropped:
        return Fate.CHANGED, path, f"without its {', '.join(dropped)}: KubeVirt has no such settings"
    return Fate.CARRIED, path, ""


def _input(mapping: Mapping, leaf: Leaf) -> Verdict:
    detail = leaf.value.detail
    if (detail.get("type") or leaf.value.model) == "tablet" and mapping.find("domain.devices.inputs"):
        return Fate.CARRIED, "domain.devices.inputs", ""
    return Fate.CHANGED, "", "KubeVirt brings keyboard and mouse itself"


def _memory(_mapping: Mapping, leaf: Leaf) -> Verdict:
    if leaf.value.model in DIMMS:
        return Fate.CHANGED, "domain.memory.guest", "a part of the machine's memory, and no module of its own"
    if leaf.value.model in PERSISTENT:
        return Fate.LOST, "", "KubeVirt has no persistent memory, and what is in it is not copied"
    return Fate.LOST, "", "it belongs to the old host"


def _balloon(_mapping: Mapping, leaf: Leaf) -> Verdict:
    return _with_settings("domain.devices.autoattachMemBalloon", leaf.value)


def _panic(mapping: Mapping, leaf: Leaf) -> Verdict:
    found = [one["model"] for one in mapping.find("domain.devices.panicDevices") or []]
    if leaf.value.model in found:
        return Fate.CARRIED, "domain.devices.panicDevices", ""
    return Fate.LOST, "", "this KubeVirt has none" if leaf.value.model in PANICS else "its model is unknown"


def _graphics(_mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.devices.autoattachGraphicsDevice"
    if leaf.value.model == "vnc":
        return Fate.CARRIED, place, "KubeVirt guards it by its own access rules; address, port and password go"
    return Fate.CHANGED, place, "now VNC"


# What its counterpart has too, or what says nothing of what a device does.
_USUAL = {"address", "model.primary", "model.heads=1", "backend", "backend.model=random"}

_DEVICES: dict[str, Rule] = {
    "video": _modelled("domain.devices.video", "type", ("vga", "cirrus", "virtio", "ramfb", "bochs")),
    "sound": _modelled("domain.devices.sound", "model", SOUNDS),
    "rng": _modelled("domain.devices.rng", "", None),
    "input": _input,
    "memballoon": _balloon,
    "memory": _memory,
    "panic": _panic,
    "graphics": _graphics,
}


def watchdog_action(mapping: Mapping, leaf: Leaf) -> Verdict:
    """What the chipset's own watchdog does by itself is a reset; nothing else can be said of it."""
    if mapping.machine.watchdog is not None and mapping.machine.watchdog.model == CHIPSET_WATCHDOG:
        return (Fate.CARRIED, "", "") if leaf.value == "reset" else (Fate.LOST, "", "the chipset's resets the machine")
    return kept("domain.devices.watchdog.i6300esb.action", lost="KubeVirt has no such action")(mapping, leaf)


TPM = "domain.devices.tpm"
_TRANSITIONAL = "domain.devices.useVirtioTransitional"


def tpm(*values: str) -> Rule:
    """Carried for the values that KubeVirt's software TPM has."""

    def rule(_mapping: Mapping, leaf: Leaf) -> Verdict:
        if leaf.value in values:
            return Fate.CARRIED, TPM, ""
        return Fate.CHANGED, TPM, f"now {values[0]}"

    return rule


def tpm_kept(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = f"{TPM}.persistent"
    if mapping.find(place) is False:
        return Fate.CHANGED, place, "this KubeVirt keeps no state of a TPM"
    if not why_not_carried(mapping.machine, mapping.choices):
        return Fate.CARRIED, place, ""
    return kept(place, changed="kept from now on; what it held is not carried")(mapping, leaf)


def tpm_state(mapping: Mapping, _leaf: Leaf) -> Verdict:
    kept_there = mapping.find(f"{TPM}.persistent") is True
    why = why_not_carried(mapping.machine, mapping.choices) if kept_there else "the target keeps no state of a TPM"
    return (Fate.LOST, "", why) if why else (Fate.CARRIED, f"{TPM}.persistent", "")


def watchdog(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.devices.watchdog"
    if leaf.value == CHIPSET_WATCHDOG:
        return Fate.CARRIED, "", "part of the chipset, there too"
    if mapping.find(place) is None:
        return Fate.LOST, "", "KubeVirt has none with this action"
    return (Fate.CARRIED, place, "") if leaf.value == "i6300esb" else (Fate.CHANGED, place, "now i6300esb")
