"""Network cards of a domain."""

from __future__ import annotations

import re

from kubeferry.model import Nic, TrafficFilter
from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.libvirt.domain.addresses import in_words

# Names that libvirt gives to the host's side for one run.
_FOR_ONE_RUN = re.compile(r"(vnet|macvtap|macvlan|tap)[0-9]+")


def read_nics(root: Node) -> tuple[Nic, ...]:
    """The cards in the order of the XML, called `net0`, `net1`, …: libvirt has no stable name of its own for them."""
    return tuple(_nic(node, f"net{index}") for index, node in enumerate(root.all("devices/interface")))


def _nic(node: Node, name: str) -> Nic:
    node.label = name
    kind = node.value(".@type") or "unknown"
    node.skip("alias", "source@portid", "source@index", "backenddomain")
    node.skip("teaming@persistent")  # its partner is the card with the same MAC
    node.word("driver@name", {"qemu", "vhost"})
    if _FOR_ONE_RUN.fullmatch(node.peek("target@dev") or ""):
        node.skip("target@dev")
    if kind == "network":  # the bridge or device that stands for the network in one run
        node.skip("source@bridge", "source@dev")
    return Nic(
        id=name,
        network_kind=kind,
        network=_network(node, kind),
        portgroup=node.value("source@portgroup"),
        mode=node.value("source@mode"),
        model=node.value("model@type"),
        mac=node.value("mac@address"),
        teaming=node.word("teaming@type", {"persistent", "transient"}),
        acpi_index=node.number("acpi@index"),
        queues=node.number("driver@queues"),
        vlans=_vlans(node),
        link_up=_link(node),
        mtu=node.number("mtu@size"),
        throttled=node.has("bandwidth"),
        filtered=node.has("filterref"),
        filters=_filters(node),
        boot_order=node.number("boot@order"),
    )


def _network(node: Node, kind: str) -> str | None:
    """What the card is plugged into: a network's, bridge's or device's name, a socket, a host device's address."""
    if kind == "hostdev":
        address = node.child("source/address")
        return in_words(address) if address.present else node.value("source@dev")
    attribute = {"network": "network", "bridge": "bridge", "vhostuser": "path", "internal": "name"}.get(kind, "dev")
    return node.value(f"source@{attribute}")


def _filters(node: Node) -> tuple[TrafficFilter, ...] | None:
    """The filter by its name: what it lets through stands in another XML."""
    name = node.peek("filterref@filter")
    return (TrafficFilter(name=name, kind="nwfilter"),) if name else None


def _vlans(node: Node) -> tuple[int, ...]:
    """One tag, or the tags of a trunk."""
    if len(node.child("vlan").children) > 1:
        node.word("vlan@trunk", {"yes"})
    tags = [tag.number(".@id") for tag in node.all("vlan/tag")]
    return tuple(tag for tag in tags if tag is not None)


def _link(node: Node) -> bool | None:
    state = node.word("link@state", {"up", "down"})
    return None if state is None else state == "up"
