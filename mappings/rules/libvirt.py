"""Rules about what libvirt's domains may be and hold: containers, disks that nobody reads, arguments to QEMU itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kubeferry.images.network import is_read
from kubeferry.model import Disk, FirmwareKind, Machine
from kubeferry.uris import local_path
from mappings.rules.ovf import is_exported
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when

# Of the kinds of disks that libvirt has (`<disk type=…>`), files and block devices are read.
_UNREAD = {
    "network": "lies on a server of its own",
    "nvme": "is an NVMe device of the host's, handed over whole",
    "vhostuser": "is served by a program over a socket",
    "vhostvdpa": "is a device of the host's, handed over whole",
    "dir": "is a folder shown as a disk",
}
_READ = ("raw", "qcow2")
_IMAGES = {"file", "block"}
_PARTS = re.compile(r"devices/disk\[(?P<disk>[^]]+)\]/(backingStore/)*source/(slices|dataStore)")
_CHAIN = "chain[{}]"
# Whose the domain is, where it is not QEMU's; QEMU runs with the accelerator hvf on macOS.
_HYPERVISOR = re.compile(r"\btype=(?!hvf\b)(\w+)")
_ARGUMENT = re.compile(r"^(qemu:commandline/qemu:arg(\[\d+\])?|args)$")  # libvirt has one in each, Proxmox all in one
# Arguments that give the guest something: a disk, a card, a folder, a device.
_DEVICES = re.compile(
    r"--?(drive|blockdev|device|hd[a-d]|sd|mtdblock|pflash|cdrom|fd[ab]|virtfs|fsdev|netdev|nic|net|usbdevice|"
    r"readconfig)"
)


def is_foreign(machine: Machine) -> bool:
    """Whether the domain is no machine of QEMU's: a container, a guest that is handed its kernel and boots no firmware,
    or one of another hypervisor."""
    return _foreign_kind(machine) is not None


def _foreign_kind(machine: Machine) -> str | None:
    told = {fact.path: fact.value for fact in machine.unmodelled}
    if kind := told.get("os/type"):
        return "a container" if kind == "exe" else f"a paravirtual guest ({kind})"
    other = _HYPERVISOR.search(told.get("domain", ""))
    return f"a guest of another hypervisor ({other[1]})" if other else None


def _foreign(case: Case) -> Iterable[str]:
    kind = _foreign_kind(case.machine)
    return when(kind is not None, f"The domain is {kind}, no machine with QEMU's firmware and disks of its own.")


def _narrow(case: Case) -> Iterable[str]:
    return when(case.machine.arch == "i686", "The machine is a 32-bit PC; at the target it is an amd64 one.")


def _narrow_uefi(case: Case) -> Iterable[str]:
    odd = case.machine.arch == "i686" and case.machine.firmware.kind == FirmwareKind.UEFI
    return when(odd, "Its UEFI is a 32-bit one, and that of the target starts 64-bit boot loaders only.")


def _acpi(case: Case) -> Iterable[str]:
    off = case.machine.features.get("acpi") == "off"
    return when(off, "ACPI is off at the source and on at the target: Q35 and a clean stop need it.")


def _unread(case: Case) -> Iterator[str]:
    parts = {found["disk"] for fact in case.machine.unmodelled if (found := _PARTS.match(fact.path))}
    for disk in case.machine.data_disks:
        if why := _why_unread(disk, disk.id in parts):
            yield f"Disk {disk.id} {why}, and is not read."


def _why_unread(disk: Disk, in_part: bool) -> str | None:
    if is_read(disk.uri) and not in_part:
        told = disk.format in {None, "raw"}
        return None if told else f"({disk.uri}) is {disk.format} on a server, where raw disks are read"
    if disk.source_kind in _UNREAD:
        return f"({disk.uri or 'without an address'}) {_UNREAD[disk.source_kind]}"
    if disk.source_kind not in _IMAGES or is_exported(disk):
        return None
    if in_part:
        return "is a slice of its image, or its image keeps the data in another file"
    if disk.format is not None and disk.format not in _READ:
        return f"is {disk.format}"
    below = [f"is {link.format}" for link in disk.chain or () if link.format not in _READ]
    below += [f"is no file or device ({link.uri})" for link in disk.chain or () if local_path(link.uri) is None]
    return f"lies on an image that {below[0]}" if below else None


def _broken(case: Case) -> Iterator[str]:
    told = {fact.path: fact.value for fact in case.machine.unmodelled}
    for disk in case.machine.data_disks:
        if why := told.get(_CHAIN.format(disk.id)):
            yield f"The chain of images of disk {disk.id} cannot be followed: {why}."


def _volume(case: Case) -> Iterator[str]:
    for disk in case.machine.data_disks:
        if disk.source_kind == "volume":
            yield f"Disk {disk.id} is a volume of a storage pool ({disk.uri}): only its libvirt knows where it lies."


def _arguments(case: Case) -> Iterable[str]:
    told = [one for fact in case.machine.unmodelled if _ARGUMENT.match(fact.path) for one in fact.value.split()]
    found = [one for word in told if _DEVICES.fullmatch(one := word.removeprefix("value=").strip("'\""))]
    what = f"QEMU itself is told of devices ({', '.join(dict.fromkeys(found))}): a disk among them is not copied."
    return when(bool(found), what)


RULES = (
    Rule(
        "machine.container",
        CRITICAL,
        "a domain that is no machine",
        "Leave it out (`include: false`): move what is in a container as a container image, and another hypervisor's "
        "guest as what that one exports (OVF with its disks).",
        _foreign,
        False,
    ),
    Rule(
        "disk.unreadable",
        CRITICAL,
        "a disk of a kind that is not read",
        "Copy it to a raw or qcow2 image of its own with `qemu-img convert`, and let the domain use that.",
        _unread,
        False,
    ),
    Rule(
        "disk.chain-broken",
        CRITICAL,
        "an image whose lower layers cannot be followed",
        "Bring back what is missing; where an image does not say what lies below it, and in which format, say it in "
        "the domain's <backingStore>, image by image, down to the empty one that ends it. Then discover again.",
        _broken,
        False,
    ),
    Rule(
        "disk.pool-unasked",
        CRITICAL,
        "a volume of a pool that nobody asked",
        "Discover from the running libvirt, which says where its volumes lie.",
        _volume,
        False,
    ),
    Rule(
        "device.by-arguments",
        CRITICAL,
        "devices in arguments to QEMU itself",
        "Give them to the domain as libvirt's own devices, or remove them.",
        _arguments,
    ),
    Rule(
        "acpi.added",
        WARNING,
        "a machine without ACPI",
        "Rehearse it: a Windows of before 2003 has another kernel for ACPI, and some old systems do not start with it.",
        _acpi,
    ),
    Rule(
        "firmware.32-bit",
        CRITICAL,
        "a 32-bit UEFI",
        "Leave it out, unless a 64-bit boot loader lies on its EFI partition, too: accept it then, and rehearse it.",
        _narrow_uefi,
    ),
    Rule("arch.32-bit", INFO, "a 32-bit PC", "Nothing: an amd64 processor runs 32-bit systems.", _narrow),
)
