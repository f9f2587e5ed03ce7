"""Addresses of devices, in one word or two."""

from __future__ import annotations

from kubeferry.sources.facts.xml_tree import Node

_PCI = ("domain", "bus", "slot", "function")


def in_words(node: Node) -> str:
    """`pci 0000:03:00.0`, `usb 1:2`, `drive 0:0:0:1`, or the type, and all else that it says. It counts as read."""
    node.skip_all()
    told = dict(node.attributes)
    words = [told.pop("type", "")]
    if (pci := _pci(told)) is not None:
        words = ["pci", pci]
        for key in _PCI:
            told.pop(key, None)
    elif words == ["drive"]:
        words.append(":".join(told.pop(key, "0") for key in ("controller", "bus", "target", "unit")))
    elif {"bus", "device"} <= told.keys():
        words = ["usb", f"{told.pop('bus')}:{told.pop('device')}"]
    return " ".join([*filter(None, words), *(f"{key}={value}" for key, value in told.items())])


def _pci(told: dict[str, str]) -> str | None:
    if not {"bus", "slot", "function"} <= told.keys():
        return None
    try:
        domain, bus, slot, function = (int(told.get(key, "0"), 16) for key in _PCI)
    except ValueError:
        return None
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"
