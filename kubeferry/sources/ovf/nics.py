"""Network cards of a virtual system."""

from __future__ import annotations

from kubeferry.model import Nic
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf.items import ETHERNET, Item, of_kind
from kubeferry.sources.ovf.words import is_true

# The same cards under QEMU's names; oVirt has numbers.
_MODELS = {"pcnet32": "pcnet", "virtio-net": "virtio", "1": "rtl8139", "2": "e1000", "3": "virtio"}
_PASSED_THROUGH = {"sriovethernetcard", "pcipassthrough"}


def read_nics(system: Node, items: list[Item]) -> tuple[Nic, ...]:
    """The cards in the order of the list, called `net0`, `net1`, …: an OVF has no stable name for them."""
    found = [_nic(item, f"net{index}") for index, item in enumerate(of_kind(items, ETHERNET))]
    macs = _virtualbox_macs(system)
    if len(macs) == len(found):
        found = [nic.model_copy(update={"mac": nic.mac or mac}) for nic, mac in zip(found, macs, strict=True)]
    return tuple(found)


def _nic(item: Item, name: str) -> Nic:
    node = item.node
    node.label = name
    node.skip("Type", "Device")  # oVirt's words for the kind that the item has already
    network = node.value("rasd:Connection")
    model = item.model.lower()
    connected = is_true(node.value("rasd:Linked"))
    if connected is None:
        connected = is_true(node.value("rasd:AutomaticAllocation"))
    kind = "network" if network else "unknown"
    return Nic(
        id=name,
        network_kind="hostdev" if model in _PASSED_THROUGH else kind,
        network=network,
        model=_MODELS.get(model, model) or None,
        mac=node.value("rasd:Address") or node.value("rasd:MACAddress"),
        link_up=False if connected is False else None,
    )


def _virtualbox_macs(system: Node) -> list[str | None]:
    """Addresses of the adapters that VirtualBox has switched on, in their order: the hardware list has none."""
    found = []
    for adapter in system.all("vbox:Machine/Hardware/Network/Adapter"):
        if is_true(adapter.peek(".@enabled")):
            adapter.skip(".@enabled", ".@slot", ".@type")
            digits = adapter.value(".@MACAddress") or ""
            mac = ":".join(digits[at : at + 2] for at in range(0, 12, 2)).lower()
            found.append(mac if len(digits) == 12 else digits or None)
    return found
