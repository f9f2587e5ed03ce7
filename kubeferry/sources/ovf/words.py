"""The words of an OVF: its namespaces, one spelling for old and new ones, and settings that stand as key and value."""

from __future__ import annotations

import re
from collections.abc import Container

from kubeferry.sources.facts.xml_tree import Dialect, Node, read_tree

AGAIN = "Export the machine again, or correct the OVF."
_CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_"
OVF = Dialect(
    what="an OVF",
    again=AGAIN,
    single="Export fewer machines into one OVF.",
    doctype="Remove it; an OVF has none.",
    namespaces={
        "http://schemas.dmtf.org/ovf/envelope/1": "",
        "http://schemas.dmtf.org/ovf/envelope/1/": "",  # oVirt, CloudStack, virt-v2v
        "http://schemas.dmtf.org/ovf/envelope/2": "",
        "http://schemas.dmtf.org/ovf/1/envelope": "",
        "http://www.vmware.com/schema/ovf/1/envelope": "",
        f"{_CIM}ResourceAllocationSettingData": "rasd",
        f"{_CIM}ResourceAllocationSettingData.xsd": "rasd",
        f"{_CIM}StorageAllocationSettingData": "rasd",
        f"{_CIM}StorageAllocationSettingData.xsd": "rasd",
        f"{_CIM}EthernetPortAllocationSettingData": "rasd",
        f"{_CIM}EthernetPortAllocationSettingData.xsd": "rasd",
        f"{_CIM}VirtualSystemSettingData": "vssd",
        f"{_CIM}VirtualSystemSettingData.xsd": "vssd",
        "http://www.vmware.com/schema/ovf": "vmw",
        "http://www.virtualbox.org/ovf/machine": "vbox",
        "http://www.ovirt.org/ovf": "ovirt",
        "http://www.vmware.com/vcloud/v1": "vcloud",
        "http://www.vmware.com/vcloud/v1.5": "vcloud",
        "http://www.w3.org/2001/XMLSchema-instance": "xsi",
        "http://www.w3.org/XML/1998/namespace": "xml",
    },
)
_TYPED = re.compile(r"(?:\w+:)?(\w+)_Type")
_SETTINGS = {"vmw:Config": "vmw:key", "vmw:ExtraConfig": "vmw:key", "Property": "key", "ExtraDataItem": "name"}


def read_envelope(text: str, where: str) -> Node:
    """The tree of an OVF. Raises InputInvalid like `read_tree`."""
    root = read_tree(text, where, OVF)
    _respell(root)
    return root


def _respell(root: Node) -> None:
    """Older OVFs say `<Section xsi:type="ovf:DiskSection_Type">` and `<Content …>`; settings are told by their keys.
    What need not be understood is read like all else."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        kind = node.attributes.pop("xsi:type", "")
        typed = _TYPED.fullmatch(kind)
        if typed and node.tag in {"Section", "Content"}:
            node.tag = typed[1]
        if is_true(node.attributes.get("required")) is False:
            del node.attributes["required"]
        key = _SETTINGS.get(node.tag)
        if key and node.attributes.get(key):
            node.label = node.attributes.pop(key)[:80]
        waiting += node.children


def setting(node: Node, *keys: str) -> str | None:
    """The value of the first of these VMware settings that stands in an element."""
    for key in keys:
        for child in node.children:
            if child.tag in {"vmw:Config", "vmw:ExtraConfig"} and child.label == key:
                child.skip(".@required")
                return child.value(".@vmw:value")
    return None


def is_true(value: str | None) -> bool | None:
    """true or false as XML has them; None for anything else."""
    return {"true": True, "1": True, "false": False, "0": False}.get((value or "").strip().lower())


def first_known(told: str, known: Container[str]) -> str:
    """A subtype in small letters: of a list, as the standard allows, the first that is known; else all that is told."""
    words = told.lower().split()
    return next((word for word in words if word in known), " ".join(words))
