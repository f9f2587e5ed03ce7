"""The settings of a VMX as a machine: facts only. What the model has no word for is told in its `unmodelled`. Pure."""

from __future__ import annotations

import re
from itertools import pairwise

from kubeferry.errors import InputInvalid
from kubeferry.model import Cpu, Firmware, FirmwareKind, Guest, Machine, Memory, Power, SourceFact
from kubeferry.sources.facts.escaped_names import unescaped
from kubeferry.sources.facts.lists import bounded
from kubeferry.sources.facts.settings import Settings
from kubeferry.sources.ovf.vmx.devices import read_devices, read_tpm
from kubeferry.sources.ovf.vmx.disks import Locate, read_disks
from kubeferry.sources.ovf.vmx.nics import read_nics
from kubeferry.sources.ovf.vmx.usual import SECRET, pass_over

MIB = 1 << 20
SUSPENDED = "checkpoint.vmState"
"""The key, and the fact's path, of the file with what the memory of a suspended machine holds."""
ENCRYPTED = "encryption.data"
_KINDS = {"efi": FirmwareKind.UEFI, "bios": FirmwareKind.BIOS}
_SECURE = ("uefi.secureBoot.enabled", "efi.secureBoot.enabled")
_CLASSES = {"hdd": "hd", "hd": "hd", "cdrom": "cdrom", "cd": "cdrom", "floppy": "fd", "fd": "fd", "ethernet": "network",
            "net": "network"}  # fmt: skip
_CARD = re.compile(r"ethernet[0-9]{1,2}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_ARM = ("arm-", "arm64", "vmkernel-arm")
_PINNED = re.compile(r"[0-9,]{1,200}", re.ASCII)
_PRETTY, _KERNEL = re.compile(r"prettyName='([^']{1,200})'"), re.compile(r"kernelVersion='([^']{1,200})'")


def parse_vmx(vmx: Settings, *, source: str, name: str, called: str, locate: Locate, template: bool = False) -> Machine:
    """The machine. `name` is what it is called where the VMX has no name for it, `called` the first part of its id;
    `template` says that it is one, as a VMX may do itself. Raises InputInvalid with all problems."""
    own = vmx.value("displayName") or name
    if vmx.peek(ENCRYPTED):
        fix = "Decrypt the machine where it ran, and copy it again."
        vmx.refuse("the VMX is encrypted: nothing of the machine can be read", fix)
        raise _invalid(vmx)
    orders, classes = _boot(vmx)
    found = read_disks(vmx, locate, orders)
    machine = Machine(
        id=f"{called}#{own}",
        name=unescaped(own),
        source=source,
        power=Power.OFF,
        description=vmx.value("annotation"),
        arch="aarch64" if (vmx.peek("guestOS") or "").lower().startswith(_ARM) else "x86_64",
        machine_type=_version(vmx),
        uuid=_uuid(vmx.value("uuid.bios")),
        firmware=_firmware(vmx, classes),
        cpu=_cpu(vmx),
        memory=_memory(vmx),
        disks=tuple(found.disks),
        nics=read_nics(vmx, orders),
        tpm=read_tpm(vmx),
        devices=read_devices(vmx, found.passed),
        guest=_guest(vmx),
    )
    noted = [SourceFact(path=path, value="on") for path, key in _HOT if vmx.flag(key)]
    noted += [SourceFact(path="template", value="yes")] if vmx.flag("templateVM") or template else []
    pass_over(vmx)
    left = vmx.left(SECRET)
    if vmx.problems:
        raise _invalid(vmx)
    return machine.model_copy(update={"unmodelled": bounded([*found.facts, *noted, *left])})


_HOT = (("hotPlug/cpu", "vcpu.hotadd"), ("hotPlug/memory", "mem.hotadd"))


def _version(vmx: Settings) -> str | None:
    told = vmx.value("virtualHW.version")
    return f"vmx-{told[:20]}" if told else None


def _uuid(told: str | None) -> str | None:
    """`56 4d ab …-… cd` as it is usually written; what is none stays as it is told."""
    digits = "".join((told or "").replace("-", "").split())
    if not _UUID.fullmatch(digits):
        return told
    ends = (0, 8, 12, 16, 20, 32)
    return "-".join(digits[start:end] for start, end in pairwise(ends)).lower()


def _firmware(vmx: Settings, classes: tuple[str, ...]) -> Firmware:
    """A machine whose VMX says nothing has a BIOS."""
    told = (vmx.peek("firmware") or "bios").lower()
    kind = _KINDS.get(told, FirmwareKind.UNKNOWN)
    secure = [vmx.flag(key) for key in _SECURE]
    if kind is not FirmwareKind.UNKNOWN:
        vmx.value("firmware")
    return Firmware(
        kind=kind,
        secure_boot=any(secure) if kind is FirmwareKind.UEFI else None,
        boot_order=classes,
        boot_menu=vmx.flag("bios.forceSetupOnce"),
    )


def _boot(vmx: Settings) -> tuple[dict[str, int], tuple[str, ...]]:
    """The places of single devices, and the classes in their order where the VMX orders those."""
    classes: list[str] = []
    disks = _words(vmx.value("bios.hddOrder"))
    order: list[str] = []
    words = _words(vmx.peek("bios.bootOrder"))
    for one in words:
        if one in _CLASSES:
            classes.append(_CLASSES[one])
        order += disks if _CLASSES.get(one) == "hd" else [one] if _CARD.fullmatch(one) else []
    if all(one in _CLASSES or _CARD.fullmatch(one) for one in words):
        vmx.value("bios.bootOrder")
    places = {name: place for place, name in enumerate(dict.fromkeys([*order, *disks]), 1)}
    return places, tuple(dict.fromkeys(classes))


def _words(told: str | None) -> list[str]:
    return [one.strip().lower() for one in (told or "").split(",") if one.strip()]


def _cpu(vmx: Settings) -> Cpu:
    vcpus, cores = vmx.number("numvcpus") or 1, vmx.number("cpuid.coresPerSocket") or None
    whole = bool(cores) and vcpus % (cores or 1) == 0
    affinity = vmx.peek("sched.cpu.affinity") or ""
    pinned = vmx.value("sched.cpu.affinity") if _PINNED.fullmatch(affinity) else None
    return Cpu(
        vcpus=vcpus,
        sockets=vcpus // (cores or 1) if whole else None,
        cores=cores if whole else None,
        threads=1 if whole else None,
        pinning=tuple((one, pinned) for one in range(min(vcpus, 1024))) if pinned else (),
        nested=True if vmx.flag("vhv.enable") else None,
    )


def _memory(vmx: Settings) -> Memory:
    size = vmx.number("memsize")
    if not size:
        vmx.refuse("it does not say how much memory the machine has (memsize)", "Write `memsize`, in MiB, into it.")
    return Memory(size_bytes=(size or 0) * MIB, locked=True if vmx.flag("sched.mem.pin") else None)


def _guest(vmx: Settings) -> Guest:
    """The system as it was set; what VMware Tools said of it last, where the VMX keeps that."""
    told = vmx.value("guestOS.detailed.data") or vmx.value("guestInfo.detailed.data") or ""
    pretty, kernel = _PRETTY.search(told), _KERNEL.search(told)
    return Guest(os_id=vmx.value("guestOS"), os_name=pretty and pretty[1], kernel=kernel and kernel[1])


def _invalid(vmx: Settings) -> InputInvalid:
    return InputInvalid("this is not a VMX that can be read", vmx.problems)
