"""Network cards of a virtual system."""

from __future__ import annotations

from kubeferry.model import Nic
from kubeferry.sources.facts.escaped_names import unescaped
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf.items import ETHERNET, Item, of_kind
from kubeferry.sources.ovf.words import first_known, is_true

# The same cards under QEMU's names; oVirt has numbers.
_MODELS = {"pcnet32": "pcnet", "flexible": "pcnet", "virtio-net": "virtio", "1": "rtl8139", "2": "e1000", "3": "virtio"}
_PASSED_THROUGH = {"sriovethernetcard", "pcipassthrough"}
_CARDS = {*_MODELS, *_MODELS.values(), *_PASSED_THROUGH, "e1000e", "vmxnet", "vmxnet2", "vmxnet3"}
_NONE = "none"  # vCloud's word for a card on no network


def read_nics(system: Node, items: list[Item]) -> tuple[Nic, ...]:
    """The cards in the order of the list, called `net0`, `net1`, …: an OVF has no stable name for them."""
    cards = of_kind(items, ETHERNET)
    found = [_nic(item, f"net{index}") for index, item in enumerate(cards)]
    found = [_in_vcloud(nic, item, system) for nic, item in zip(found, cards, strict=True)]
    macs = _virtualbox_macs(system)
    if len(macs) == len(found):
        found = [nic.model_copy(update={"mac": nic.mac or mac}) for nic, mac in zip(found, macs, strict=True)]
    return tuple(one.model_copy(update={"network": one.network and unescaped(one.network)}) for one in found)


def _nic(item: Item, name: str) -> Nic:
    node = item.node
    node.label = name
    node.skip("Type", "Device")  # oVirt's words for the kind that the item has already
    network = node.value("rasd:Connection")
    node.word("rasd:OtherResourceType", {network or ""})  # oVirt has it there, too
    model = first_known(item.model, _CARDS)
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
        boot_order=item.order,
    )


def _in_vcloud(nic: Nic, item: Item, system: Node) -> Nic:
    """A card with what vCloud's own section says of it: MAC, network, and whether it is connected. Its index there is
    the card's address in the hardware list."""
    for told in system.all("vcloud:NetworkConnectionSection/vcloud:NetworkConnection"):
        if item.unit is None or told.peek("vcloud:NetworkConnectionIndex") != str(item.unit):
            continue
        told.value("vcloud:NetworkConnectionIndex")
        network = nic.network or told.peek(".@network")
        told.word(".@network", {network or ""})
        mac = nic.mac or told.peek("vcloud:MACAddress")
        if (mac or "").lower() == (told.peek("vcloud:MACAddress") or "").lower():
            told.value("vcloud:MACAddress")
        off = is_true(told.value("vcloud:IsConnected")) is False
        if network == _NONE:
            network, off = None, True
        return nic.model_copy(update={
            "network": network,
            "network_kind": "network" if network and nic.network_kind == "unknown" else nic.network_kind,
            "mac": mac,
            "link_up": False if off else nic.link_up,
        })  # fmt: skip
    return nic


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
