"""The rules that `fates` names: how one fact of a machine is found again in the manifest, and why if it is not."""

from __future__ import annotations

from typing import Any

from kubeferry.model import CpuFeature, Device, Fate, Power, Timer
from mappings.cpu import HUGEPAGES
from mappings.devices import HOST_BOUND, RECREATED, SOUNDS, is_address, of_kind
from mappings.disks import boot_orders_told
from mappings.fates.carried import Leaf, Mapping, Rule, Verdict, equal
from mappings.firmware import HYPERV, TIMERS, hyperv_path, is_on

# Run strategies that start a machine without being asked.
STARTING = {"Always", "RerunOnFailure"}

DISK = "domain.devices.disks[{volume}]"
NIC = "domain.devices.interfaces[{interface}]"


# --- kinds of rules ----------------------------------------------------------------------------------------------


def kept(path: str, *, changed: str = "", lost: str = "") -> Rule:
    """Carried when the manifest has the same value at `path`, changed when another, lost when none."""

    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        place = _place(path, mapping, leaf)
        found = mapping.find(place)
        if found is None:
            return Fate.LOST, "", lost or "KubeVirt has no field for it"
        same = equal(leaf.value, found)
        return (
            (Fate.CARRIED, place, "") if same else (Fate.CHANGED, place, f"now {found}: {changed}" if changed else "")
        )

    return rule


def lost(reason: str) -> Rule:
    return lambda _mapping, _leaf: (Fate.LOST, "", reason)


def same(reason: str) -> Rule:
    """Carried without a field of its own: it holds at the target by the target's nature."""
    return lambda _mapping, _leaf: (Fate.CARRIED, "", reason)


def becomes(path: str, reason: str, *, otherwise: str) -> Rule:
    """Changed into what stands at `path`; lost, for the reason `otherwise`, where nothing does."""

    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        place = _place(path, mapping, leaf)
        if mapping.find(place) is None:
            return Fate.LOST, "", otherwise
        return Fate.CHANGED, place, reason

    return rule


def switch(on: Rule, off: Rule) -> Rule:
    """One rule for yes, another for no."""
    return lambda mapping, leaf: (on if leaf.value else off)(mapping, leaf)


def _place(path: str, mapping: Mapping, leaf: Leaf) -> str:
    names = mapping.names
    return path.format(volume=names.volumes.get(leaf.key, ""), interface=names.interfaces.get(leaf.key, ""))


# --- the machine -------------------------------------------------------------------------------------------------


def power(mapping: Mapping, leaf: Leaf) -> Verdict:
    strategy = mapping.choices.run_strategy
    if (leaf.value == Power.RUNNING) == (strategy in STARTING):
        return Fate.CARRIED, "spec.runStrategy", ""
    return Fate.CHANGED, "spec.runStrategy", f"now {strategy}: the policy's run strategy says when the machine runs"


def autostart(mapping: Mapping, leaf: Leaf) -> Verdict:
    starts = mapping.choices.run_strategy in STARTING
    if starts == leaf.value:
        return Fate.CARRIED, "spec.runStrategy", ""
    return Fate.CHANGED, "spec.runStrategy", f"now {mapping.choices.run_strategy}, as the policy says"


def machine_type(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.machine.type"
    if leaf.value == mapping.find(place):
        return Fate.CARRIED, place, ""
    if "q35" in leaf.value:
        return Fate.CHANGED, place, "now q35: the newest version that the cluster has"
    return Fate.CHANGED, place, "now q35: KubeVirt has no other; PCI addresses change"


def architecture(mapping: Mapping, leaf: Leaf) -> Verdict:
    found = mapping.find("architecture")
    if leaf.value in {"x86_64", "amd64"}:
        return Fate.CARRIED, "architecture", ""
    return Fate.CHANGED, "architecture", f"now {found}: kubeferry maps x86_64 machines only"


def firmware(mapping: Mapping, leaf: Leaf) -> Verdict:
    wanted = {"bios": "bios", "uefi": "efi"}[leaf.value]
    found = next(iter(mapping.find("domain.firmware.bootloader")))
    place = f"domain.firmware.bootloader.{found}"
    return (Fate.CARRIED, place, "") if wanted == found else (Fate.CHANGED, place, "the policy names this firmware")


def secure_boot(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.firmware.bootloader.efi.secureBoot"
    if mapping.find(place) is not None:
        return kept(place, changed="the firmware was changed")(mapping, leaf)
    if leaf.value:
        return Fate.LOST, "", "a BIOS machine has no secure boot"
    return Fate.CARRIED, "", "a BIOS machine has no secure boot"


def boot_classes(mapping: Mapping, _leaf: Leaf) -> Verdict:
    if boot_orders_told(mapping.machine):
        return Fate.LOST, "", "single devices have a boot order, which counts instead"
    return Fate.CHANGED, "domain.devices", "now a bootOrder at each device that is tried"


def boot_order(path: str) -> Rule:
    return kept(
        f"{path}.bootOrder", changed="numbered anew, in the same order", lost="the device is not there any more"
    )


# --- processors, clock, features ---------------------------------------------------------------------------------


def vcpus(sockets: str) -> Rule:
    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        cpu = mapping.find("domain.cpu")
        total = cpu[sockets] * cpu["cores"] * cpu["threads"]
        place = f"domain.cpu.{sockets}"
        return (Fate.CARRIED, place, "") if total == leaf.value else (Fate.CHANGED, place, f"now {total}")

    return rule


def cpu_mode(mapping: Mapping, leaf: Leaf) -> Verdict:
    model = mapping.find("domain.cpu.model")
    named = model not in {"host-model", "host-passthrough"}
    if model == leaf.value or (leaf.value == "custom" and named):
        return Fate.CARRIED, "domain.cpu.model", ""
    return Fate.CHANGED, "domain.cpu.model", f"now {model}: nodes offer no such mode or model"


def cpu_feature(mapping: Mapping, leaf: Leaf) -> Verdict:
    wanted: CpuFeature = leaf.value
    place = f"domain.cpu.features[{wanted.name}].policy"
    if equal(wanted.policy, mapping.find(place)):
        return Fate.CARRIED, place, ""
    return Fate.LOST, "", "its policy is none that KubeVirt knows"


def nested(mapping: Mapping, _leaf: Leaf) -> Verdict:
    cpu = mapping.find("domain.cpu")
    features = {one["name"] for one in cpu.get("features", []) if one["policy"] in {"force", "require"}}
    if cpu["model"] == "host-passthrough" or features & {"vmx", "svm"}:
        return Fate.CARRIED, "domain.cpu", "if the nodes allow it"
    return Fate.LOST, "", "the nodes decide whether a guest may run guests"


def hugepages(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.memory.hugepages.pageSize"
    if mapping.find(place) == HUGEPAGES.get(leaf.value, ""):
        return Fate.CARRIED, place, ""
    return Fate.LOST, "", "KubeVirt has pages of 2 MiB and 1 GiB, and memory must be a multiple of them"


def clock_offset(mapping: Mapping, leaf: Leaf) -> Verdict:
    zone = mapping.find("domain.clock.timezone")
    place = "domain.clock.timezone" if zone else "domain.clock.utc"
    if (leaf.value == "utc") == (zone is None) and leaf.value in {"utc", "timezone", "localtime"}:
        return Fate.CARRIED, place, ""
    return Fate.CHANGED, place, f"now {zone or 'UTC'}"


def timer(mapping: Mapping, leaf: Leaf) -> Verdict:
    had: Timer = leaf.value
    place = f"domain.clock.timer.{TIMERS.get(had.name, had.name)}"
    made = mapping.find(place)
    if made is None:
        return Fate.LOST, "", "KubeVirt has no such timer"
    asked = {"tickPolicy": had.tickpolicy, "track": had.track}
    dropped = [name for name, value in asked.items() if value is not None and made.get(name) != value]
    if dropped:
        return Fate.CHANGED, place, f"without its {' and '.join(dropped)}: KubeVirt has none or not this one"
    return Fate.CARRIED, place, ""


def hyperv(mapping: Mapping, leaf: Leaf) -> Verdict:
    if mapping.find("domain.features.hypervPassthrough") is not None:
        return Fate.CARRIED, "domain.features.hypervPassthrough", ""
    if leaf.key == "mode":
        return Fate.CARRIED, "", "each enlightenment is named"
    place = f"domain.features.hyperv.{hyperv_path(leaf.key)}"
    if mapping.find(place) is not None:
        return Fate.CARRIED, place, ""
    if not is_on(leaf.value):
        return Fate.CARRIED, "", "off here and there"
    known = leaf.key in HYPERV
    return Fate.LOST, "", "what it builds on is off" if known else "KubeVirt has no such enlightenment"


def feature(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.features.kvm.hidden" if leaf.key == "kvm.hidden" else f"domain.features.{leaf.key}.enabled"
    found = mapping.find(place)
    if found is not None:
        same_state = found is is_on(leaf.value)
        return (Fate.CARRIED, place, "") if same_state else (Fate.CHANGED, place, "Q35 and a clean stop need it")
    if not is_on(leaf.value):
        return Fate.CARRIED, "", "off here and there"
    return Fate.LOST, "", "KubeVirt has no such feature"


def unmodelled(_mapping: Mapping, leaf: Leaf) -> Verdict:
    if is_address(leaf.value):
        return Fate.LOST, "", "KubeVirt gives devices new places on their buses"
    return Fate.LOST, "", "kubeferry has no word for it"


# --- disks -------------------------------------------------------------------------------------------------------


def disk_field(field: str, *, changed: str = "", lost: str = "") -> Rule:
    """A field of the disk itself: under `disk` or `cdrom` for the bus, else beside them."""
    return kept(f"{DISK}.{field}", changed=changed, lost=lost)


def disk_device(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = _place(DISK, mapping, leaf)
    found = mapping.find(place)
    if found is None:
        return Fate.LOST, "", "KubeVirt has no floppy drives"
    if leaf.value == "cdrom":
        return Fate.CARRIED, f"{place}.cdrom", ""
    return Fate.CHANGED, f"{place}.disk", "a copy of a disk cannot pass SCSI commands to the old storage"


def disk_bus(mapping: Mapping, leaf: Leaf) -> Verdict:
    kind = "cdrom" if mapping.find(_place(f"{DISK}.cdrom", mapping, leaf)) else "disk"
    return kept(
        f"{DISK}.{kind}.bus", changed="KubeVirt has no such bus or the policy names this one", lost="no such drive"
    )(mapping, leaf)


def controller(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = _place(f"{DISK}.disk.bus", mapping, leaf)
    bus = mapping.find(place)
    if bus == "scsi" and leaf.value == "virtio-scsi":
        return Fate.CARRIED, place, "KubeVirt's SCSI controller is virtio-scsi"
    if bus is None:
        return Fate.LOST, "", "KubeVirt brings the controllers of drives by itself"
    return Fate.CHANGED, place, f"now the controller of bus {bus}"


VOLUME = "volumes[{volume}]"
MEDIUM = "a drive's medium is not moved"


def disk_format(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = _place(VOLUME, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", MEDIUM
    return (Fate.CARRIED, place, "") if leaf.value == "raw" else (Fate.CHANGED, place, "now raw")


def capacity(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = _place(VOLUME, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", MEDIUM
    return Fate.CARRIED, place, "the claim is larger where a file system takes its share"


def readonly(mapping: Mapping, leaf: Leaf) -> Verdict:
    if mapping.find(_place(f"{DISK}.cdrom", mapping, leaf)) is not None:
        return Fate.CARRIED, _place(f"{DISK}.cdrom", mapping, leaf), "a CD-ROM is read-only"
    return disk_field("disk.readonly", lost="KubeVirt refuses read-only SATA disks")(mapping, leaf)


# --- network cards -----------------------------------------------------------------------------------------------

DROPPED = "the policy has no network for this card"


def network() -> Rule:
    return becomes("networks[{interface}]", "the policy maps this network", otherwise=DROPPED)


def link(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = _place(NIC, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", DROPPED
    return Fate.CARRIED, f"{place}.state" if leaf.value is False else place, ""


# --- other devices -----------------------------------------------------------------------------------------------


def other_device(mapping: Mapping, leaf: Leaf) -> Verdict:
    device: Any = leaf.value
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


def _balloon(_mapping: Mapping, leaf: Leaf) -> Verdict:
    return _with_settings("domain.devices.autoattachMemBalloon", leaf.value)


def _panic(mapping: Mapping, leaf: Leaf) -> Verdict:
    found = [one["model"] for one in mapping.find("domain.devices.panicDevices") or []]
    if leaf.value.model in found:
        return Fate.CARRIED, "domain.devices.panicDevices", ""
    return Fate.LOST, "", "its model is unknown"


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
    "panic": _panic,
    "graphics": _graphics,
}

TPM = "domain.devices.tpm"


def tpm(*values: str) -> Rule:
    """Carried for the values that KubeVirt's software TPM has."""

    def rule(_mapping: Mapping, leaf: Leaf) -> Verdict:
        if leaf.value in values:
            return Fate.CARRIED, TPM, ""
        return Fate.CHANGED, TPM, f"now {values[0]}"

    return rule


def watchdog(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.devices.watchdog"
    if mapping.find(place) is None:
        return Fate.LOST, "", "KubeVirt has none with this action"
    return (Fate.CARRIED, place, "") if leaf.value == "i6300esb" else (Fate.CHANGED, place, "now i6300esb")
