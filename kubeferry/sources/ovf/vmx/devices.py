"""All other devices of a VMX, and its TPM. Pure."""

from __future__ import annotations

import re

from kubeferry.model import Device, Tpm
from kubeferry.sources.facts.settings import Settings

_NUMBERED = re.compile(r"(serial|parallel|pcipassthru|sharedfolder|sound|usb:|usb_xhci:)[0-9]{0,3}\.present", re.ASCII)
_CONTROLLERS = re.compile(r"((?:scsi|sata|nvme|ide)[0-9]{1,3})\.present", re.ASCII)
_USB = {"usb": "usb", "ehci": "usb-ehci", "usb_xhci": "usb-xhci"}
_USB_OF_ITS_OWN = {"hid", "hub", "mouse", "keyboard"}  # what every machine has on its bus
_SOUNDS = {"hdaudio": "hda", "sb16": "sb16", "es1371": "es1371"}
_DETAILS = ("fileType", "fileName", "pipe.endPoint", "network.endPoint", "network.proxy", "hostPath", "guestName",
            "deviceId", "vendorId", "id", "systemId", "vgpu", "passthruType", "deviceType")  # fmt: skip


def read_devices(vmx: Settings, passed: list[str]) -> tuple[Device, ...]:
    """Everything that has no part of its own in the model. `passed` are SCSI devices of the host; a graphics card is
    always there."""
    found = [Device(kind="hostdev", model="scsi", detail={"deviceName": one[:100]}) for one in passed]
    keys = list(vmx)
    for key in keys:
        if (controller := _CONTROLLERS.fullmatch(key)) and vmx.flag(key):
            model = vmx.peek(f"{controller[1]}.virtualDev")
            found.append(Device(kind="controller", model=(model or controller[1].rstrip("0123456789")).lower()))
    found += [Device(kind="controller", model=model) for name, model in _USB.items() if vmx.flag(f"{name}.present")]
    for key in keys:
        if (device := _NUMBERED.fullmatch(key)) and vmx.flag(key):
            found += _device(vmx, device[1], key.removesuffix(".present"))
    return (*found, _video(vmx))


def _device(vmx: Settings, kind: str, name: str) -> list[Device]:
    detail = {one: told[:100] for one in _DETAILS if (told := vmx.value(f"{name}.{one}"))}
    if kind in {"serial", "parallel"}:
        return [Device(kind=kind, detail=detail)]
    if kind == "sound":
        told = (vmx.value(f"{name}.virtualDev") or "").lower()
        return [Device(kind="sound", model=_SOUNDS.get(told, told) or None)]
    if kind == "sharedfolder":
        return [Device(kind="filesystem", model="hgfs", detail=detail)]
    if kind.startswith("usb"):
        own = detail.get("deviceType", "").lower() in _USB_OF_ITS_OWN
        return [] if own else [Device(kind="hostdev", model="usb", detail=detail)]
    return [Device(kind="hostdev", model="vgpu" if "vgpu" in detail else "pci", detail=detail)]


def _video(vmx: Settings) -> Device:
    size = vmx.value("svga.vramSize")
    detail = {"vramBytes": size} if size else {}
    return Device(kind="video", model="vmvga", detail=detail | ({"3d": "yes"} if vmx.flag("mks.enable3d") else {}))


def read_tpm(vmx: Settings) -> Tpm | None:
    """VMware's is version 2.0, and keeps its content in the machine's NVRAM, encrypted."""
    return Tpm(version="2.0") if vmx.flag("vtpm.present") else None
