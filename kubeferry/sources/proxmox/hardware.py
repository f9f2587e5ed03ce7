"""Processors, memory, firmware, boot order and identity of a configuration. Pure."""

from __future__ import annotations

import base64
import binascii
import re

from kubeferry.model import Cpu, CpuFeature, Firmware, FirmwareKind, Memory
from kubeferry.sources.facts.settings import Settings
from kubeferry.sources.proxmox.sections import is_on, options

MIB = 1 << 20
_DEFAULT_MIB = 512
_PAGES = {"2": 2 * MIB, "1024": 1024 * MIB}
_CLASSES = {"a": "fd", "c": "hd", "d": "cdrom", "n": "network"}
_FLAG = re.compile(r"([+-])([a-z0-9_.-]{1,40})", re.ASCII | re.IGNORECASE)
_POLICY = {"+": "require", "-": "disable"}
_AFFINITY = re.compile(r"[0-9,-]{1,200}", re.ASCII)
_PINNED_MOST = 1024


def read_cpu(now: Settings) -> Cpu:
    """`vcpus` of the sockets' cores are switched on, all of them where nothing is said."""
    sockets, cores = now.number("sockets") or 1, now.number("cores") or 1
    room = sockets * cores
    vcpus = min(now.number("vcpus") or room, room)
    told = options(now.value("cpu"), "cputype")
    model = told.get("cputype")
    host = model in {"host", "max"}
    flags = [found for one in told.get("flags", "").split(";") if (found := _FLAG.fullmatch(one))]
    affinity = now.value("affinity") if _AFFINITY.fullmatch(now.peek("affinity") or "") else None
    return Cpu(
        vcpus=vcpus,
        max_vcpus=room if room > vcpus else None,
        sockets=sockets,
        cores=cores,
        threads=1,
        mode="host-passthrough" if host else "custom" if model else None,
        model=None if host else model,
        features=tuple(CpuFeature(name=one[2], policy=_POLICY[one[1]]) for one in flags),
        pinning=tuple((one, affinity) for one in range(min(vcpus, _PINNED_MOST))) if affinity else (),
    )


def read_memory(now: Settings) -> Memory:
    """`memory: 4096`, or `memory: current=4096`, in MiB."""
    told = options(now.value("memory"), "current").get("current", str(_DEFAULT_MIB))
    if not re.fullmatch(r"[0-9]{1,12}", told) or not int(told):
        now.refuse(f"{told[:40]!r} is no amount of memory", "Write it anew with `qm config VMID`.")
        told = str(_DEFAULT_MIB)
    pages = _PAGES.get(now.peek("hugepages") or "")
    if pages is not None:
        now.value("hugepages")
    return Memory(size_bytes=int(told) * MIB, hugepage_bytes=pages)


def read_firmware(now: Settings, classes: tuple[str, ...]) -> Firmware:
    """Secure boot is on where keys were enrolled with the disk of UEFI variables."""
    uefi = (now.value("bios") or "seabios").lower() == "ovmf"
    variables = options(now.value("efidisk0"), "file")
    secure = bool(is_on(variables.get("pre-enrolled-keys"))) if variables else None
    return Firmware(
        kind=FirmwareKind.UEFI if uefi else FirmwareKind.BIOS,
        secure_boot=secure if uefi else None,
        boot_order=classes,
    )


def machine_type(now: Settings) -> str:
    """`q35`, `pc-i440fx-8.1`, or `type=q35,viommu=intel`; nothing said is i440FX, which QEMU calls `pc`."""
    return options(now.value("machine"), "type").get("type", "pc")


def read_boot(now: Settings) -> tuple[dict[str, int], tuple[str, ...]]:
    """`order=scsi0;net0` as the places of devices; `cdn`, the older form, as classes, where `bootdisk` is the disk."""
    told = now.value("boot") or ""
    if told.startswith("order="):
        devices = [one.strip() for one in told.removeprefix("order=").split(";") if one.strip()]
        return {name: place for place, name in enumerate(dict.fromkeys(devices), 1)}, ()
    letters = options(told, "legacy").get("legacy", "")
    disk = now.value("bootdisk")
    classes = tuple(dict.fromkeys(_CLASSES[one] for one in letters if one in _CLASSES))
    if disk and (not classes or classes[0] == "hd"):
        return {disk: 1}, ()
    return {}, classes


def read_smbios(now: Settings) -> dict[str, str]:
    """`uuid=…,manufacturer=…`; with `base64=1` all but the UUID are packed so."""
    told = options(now.value("smbios1"))
    packed = is_on(told.pop("base64", None)) is True
    return {key: _unpacked(value) if packed and key != "uuid" else value for key, value in told.items()}


def _unpacked(value: str) -> str:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value
