"""Firmware, clock, guest and identity: what each product says in words of its own."""

from __future__ import annotations

import re

from kubeferry.model import Clock, Firmware, FirmwareKind, Guest
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf.words import is_true, setting

_KINDS = {"efi": FirmwareKind.UEFI, "uefi": FirmwareKind.UEFI, "bios": FirmwareKind.BIOS}
# oVirt's numbers: what boots, and whether securely; and the board. 0 is what its cluster has: the OVF does not say.
_OVIRT = {"1": (FirmwareKind.BIOS, None), "2": (FirmwareKind.BIOS, None), "3": (FirmwareKind.UEFI, False),
          "4": (FirmwareKind.UEFI, True)}  # fmt: skip
_OVIRT_BOARDS = {"1": "pc-i440fx", "2": "q35", "3": "q35", "4": "q35"}
_ENGINE = "ENGINE"
_VBOX = "vbox:Machine/Hardware"
_EARLY = "out"
_UTC = {"Etc/GMT", "Etc/UTC"}
_ZONE = re.compile(r"[A-Z][A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_OVIRT_ARCHES = {"x64": "x86_64", "ppc64": "ppc64le", "s390x": "s390x"}


def family(hardware: Node) -> str:
    """`vmx-19`, `virtualbox-2.2`, …: the product and version whose hardware it is."""
    return hardware.peek("System/vssd:VirtualSystemType") or ""


def read_machine_type(system: Node, hardware: Node) -> str | None:
    """The product's own word. oVirt says the version of its engine there, and the board beside: named, or by number."""
    if not family(hardware).startswith(_ENGINE):
        return hardware.value("System/vssd:VirtualSystemType")
    hardware.value("System/vssd:VirtualSystemType")
    return system.value("CustomEmulatedMachine") or _OVIRT_BOARDS.get(system.peek("BiosType") or "")


def read_firmware(system: Node, hardware: Node) -> Firmware:
    """Where VMware and VirtualBox say nothing, they mean a BIOS; where another product says nothing, it is unknown."""
    told = (setting(hardware, "firmware") or "").lower()
    if told in _KINDS:
        kind = _KINDS[told]
        secure = is_true(setting(hardware, "bootOptions.efiSecureBootEnabled", "uefi.secureBoot.enabled"))
        return Firmware(kind=kind, secure_boot=bool(secure) if kind is FirmwareKind.UEFI else None)
    if system.has("vbox:Machine"):
        uefi = (system.value(f"{_VBOX}/Firmware@type") or "").lower().startswith("efi")
        return Firmware(kind=FirmwareKind.UEFI if uefi else FirmwareKind.BIOS)
    if (number := system.peek("BiosType")) in _OVIRT:
        system.value("BiosType")
        kind, secure = _OVIRT[number or ""]
        return Firmware(kind=kind, secure_boot=secure)
    if (generation := _hyperv_generation(hardware)) is not None:
        return Firmware(kind=FirmwareKind.UEFI if generation == 2 else FirmwareKind.BIOS)
    return Firmware(kind=FirmwareKind.BIOS if family(hardware).startswith("vmx-") else FirmwareKind.UNKNOWN)


def _hyperv_generation(hardware: Node) -> int | None:
    told = hardware.peek("System/vssd:VirtualSystemSubType") or ""
    number = told.rpartition(":")[2]
    if not told.startswith("Microsoft:Hyper-V:SubType:") or number not in {"1", "2"}:
        return None
    hardware.value("System/vssd:VirtualSystemSubType")
    return int(number)


def read_clock(system: Node) -> Clock:
    told = system.word(f"{_VBOX}/RTC@localOrUTC", {"UTC", "local"})
    zone = system.peek("TimeZone") or ""  # oVirt's; for Windows in Windows' own words, which stay a fact
    if zone in _UTC:
        system.value("TimeZone")
        return Clock(offset="utc")
    if _ZONE.fullmatch(zone):
        return Clock(offset="timezone", timezone=system.value("TimeZone"))
    return Clock(offset={"UTC": "utc", "local": "localtime"}.get(told or "", "unknown"))


def read_guest(system: Node) -> Guest:
    """The system as the product calls it; its number in CIM's list stays a fact where the product says no more."""
    section = system.child("OperatingSystemSection")
    section.skip("Info", ".@required")
    if section.peek(".@ovirt:id") and section.peek("Description"):  # two numbers of the system that it names
        section.skip(".@ovirt:id", ".@id")
    own = section.value(".@vmw:osType") or section.value("vbox:OSType")
    if own:
        section.skip(".@id", ".@version", "vbox:OSType@required")
    return Guest(os_id=own, os_name=section.value("Description"))


def read_arch(hardware: Node, guest: Guest) -> str | None:
    """These products make PCs, and machines with ARM processors where the guest's name says so."""
    told = f"{guest.os_id or ''} {guest.os_name or ''}".lower()
    if family(hardware).startswith(_ENGINE):  # its names of systems end in it
        return next((arch for sign, arch in _OVIRT_ARCHES.items() if told.strip().endswith(sign)), None)
    if not family(hardware).startswith(("vmx-", "virtualbox-")):
        return None
    return "aarch64" if "arm64" in told or told.startswith("arm") or "aarch64" in told else "x86_64"


def read_uuid(system: Node, hardware: Node) -> str | None:
    """VirtualBox and oVirt give their machine's UUID to the guest, and tell it; other products do not tell.

    oVirt's is the id of its system; in its early form, where every system is called `out`, that of the operating
    system, which is a number of the standard's list elsewhere."""
    early = system.peek(".@id") == _EARLY
    if early or family(hardware).startswith(_ENGINE):
        places = (path for path in (".@id", "OperatingSystemSection@id") if _UUID.fullmatch(system.peek(path) or ""))
        uuid = system.value(place) if (place := next(places, None)) else None
        system.word("OperatingSystemSection@id", {uuid or ""})
        return uuid
    told = system.value("vbox:Machine@uuid")
    return told.strip("{}") if told else None


def read_snapshots(system: Node) -> int:
    """oVirt's early form lists them, with the machine as it is among them; other exports hold none."""
    told = system.all("SnapshotsSection/Snapshot")
    for snapshot in told:
        snapshot.skip(".@id", "Type")
    return sum(snapshot.peek("Type") != "ACTIVE" for snapshot in told)
