"""All other hardware of a virtual system, and its TPM."""

from __future__ import annotations

from kubeferry.model import Device, Tpm
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf import items as kinds
from kubeferry.sources.ovf.disks import CONTROLLERS, DRIVES
from kubeferry.sources.ovf.items import Item

_ELSEWHERE = {kinds.PROCESSOR, kinds.MEMORY, kinds.ETHERNET, kinds.DISK, kinds.LOGICAL_DISK, *DRIVES}
_KINDS = {
    **dict.fromkeys(CONTROLLERS, "controller"),
    kinds.SERIAL: "serial",
    kinds.PARALLEL: "parallel",
    kinds.GRAPHICS: "video",
    kinds.SOUND: "sound",
}
_PASSED_THROUGH = ("passthrough", "vgpu", "pcidevice")
_TPM = ("vtpm", "virtualtpm")


def read_devices(items: list[Item]) -> tuple[Device, ...]:
    """Everything that has no part of its own in the model; what their items say more stays a fact."""
    return tuple(_device(item) for item in items if item.kind not in _ELSEWHERE and not _is_tpm(item))


def _device(item: Item) -> Device:
    model = item.model or item.node.value("rasd:OtherResourceType") or item.node.value("Device") or ""
    kind = _KINDS.get(item.kind or 0, "other")
    if kind == "other" and any(sign in model.lower() for sign in _PASSED_THROUGH):
        kind = "hostdev"
    item.node.skip("rasd:AutomaticAllocation", "Type")
    if kind == "video":
        item.node.word("rasd:VirtualQuantity", {"1"})  # screens
    item.node.label = item.instance
    return Device(kind=kind, model=model or None, detail={} if kind != "other" else {"type": str(item.kind)})


def _is_tpm(item: Item) -> bool:
    """By its subtype: products have it under one type of the standard or another."""
    return item.kind not in _ELSEWHERE and any(sign in item.model.lower() for sign in _TPM)


def read_tpm(system: Node, items: list[Item]) -> Tpm | None:
    """VMware has it in the hardware list, VirtualBox in its own section."""
    for item in filter(_is_tpm, items):
        item.node.skip("rasd:AutomaticAllocation")
        return Tpm(version="2.0")  # VMware knows no other
    told = system.peek("vbox:Machine/Hardware/TrustedPlatformModule@type")
    version = {"v1_2": "1.2", "v2_0": "2.0"}.get(told or "")
    if version is None:
        return None
    system.value("vbox:Machine/Hardware/TrustedPlatformModule@type")
    if not system.peek("vbox:Machine/Hardware/TrustedPlatformModule@location"):
        system.skip("vbox:Machine/Hardware/TrustedPlatformModule@location")
    return Tpm(version=version)
