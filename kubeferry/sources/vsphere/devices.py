"""All other devices: what the model has a kind for, and what is only told. Pure."""

from __future__ import annotations

from collections.abc import Callable

from kubeferry.model import Device, Tpm
from kubeferry.sources.vsphere.disks import CDROM, CONTROLLERS, DISK, FLOPPY
from kubeferry.sources.vsphere.nics import is_nic
from kubeferry.sources.vsphere.plain import Plain

_TPM, _WATCHDOG = "VirtualTPM", "VirtualWDT"
# What a machine always has and nothing hangs on.
_ALWAYS = {
    "VirtualPCIController",
    "VirtualPS2Controller",
    "VirtualSIOController",
    "VirtualKeyboard",
    "VirtualPointingDevice",
    "VirtualMachineVMCIDevice",
}
_SOUNDS = {"VirtualHdAudioCard": "hda", "VirtualSoundBlaster16": "sb16", "VirtualEnsoniq1371": "es1371"}


def read_devices(devices: list[Plain]) -> tuple[Device, ...]:
    """Everything but disks, drives, cards, TPM, and what every machine has."""
    found = []
    for one in sorted(devices, key=lambda device: device.get("key", 0)):
        kind = one["_type"]
        if kind in {DISK, CDROM, FLOPPY, _TPM, *_ALWAYS} or is_nic(one):
            continue
        found.append(_READERS.get(kind, _other)(one))
    return tuple(found)


def read_tpm(devices: list[Plain]) -> Tpm | None:
    """vSphere's TPM is version 2.0 and keeps its content in the machine's NVRAM."""
    present = any(one["_type"] == _TPM for one in devices)
    return Tpm(model="tpm-crb", version="2.0", backend="emulator", persistent=True) if present else None


def _passthrough(one: Plain) -> Device:
    backing: Plain = one.get("backing", {})
    detail = {
        name: str(backing[name])[:100] for name in ("deviceName", "deviceId", "vgpu", "customLabel") if name in backing
    }
    return Device(kind="hostdev", model="vgpu" if "vgpu" in backing else "pci", detail=detail)


def _usb(one: Plain) -> Device:
    name = one.get("backing", {}).get("deviceName") or one.get("deviceInfo", {}).get("label", "")
    return Device(kind="hostdev", model="usb", detail={"deviceName": str(name)[:100]} if name else {})


def _usb_controller(one: Plain) -> Device:
    return Device(kind="controller", model="usb-xhci" if one["_type"] == "VirtualUSBXHCIController" else "usb")


def _port(one: Plain) -> Device:
    backing: Plain = one.get("backing", {})
    detail = {
        name: str(backing[name])[:200]
        for name in ("fileName", "deviceName", "serviceURI", "pipeName")
        if backing.get(name)
    }
    return Device(kind="serial" if one["_type"] == "VirtualSerialPort" else "parallel", detail=detail)


def _video(one: Plain) -> Device:
    detail = {"vramKB": str(one["videoRamSizeInKB"])} if "videoRamSizeInKB" in one else {}
    return Device(kind="video", model="vmvga", detail=detail | ({"3d": "yes"} if one.get("enable3DSupport") else {}))


def _watchdog(one: Plain) -> Device:
    return Device(kind="watchdog", model="vmwdt", detail={"runOnBoot": str(one.get("runOnBoot", False)).lower()})


def _other(one: Plain) -> Device:
    if one["_type"] in CONTROLLERS:
        return Device(kind="controller", model=CONTROLLERS[one["_type"]][1] or CONTROLLERS[one["_type"]][0].value)
    if one["_type"] in _SOUNDS:
        return Device(kind="sound", model=_SOUNDS[one["_type"]])
    return Device(kind="unknown", model=one["_type"])


_READERS: dict[str, Callable[[Plain], Device]] = {
    "VirtualPCIPassthrough": _passthrough,
    "VirtualUSB": _usb,
    "VirtualUSBController": _usb_controller,
    "VirtualUSBXHCIController": _usb_controller,
    "VirtualSerialPort": _port,
    "VirtualParallelPort": _port,
    "VirtualMachineVideoCard": _video,
    _WATCHDOG: _watchdog,
}
