"""Network cards: their network by name, its VLAN and switch, their model and address. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubeferry.model import Nic, SourceFact
from kubeferry.sources.facts.escaped_names import unescaped
from kubeferry.sources.vsphere.plain import Plain, name_of

MODELS = {
    "VirtualVmxnet3": "vmxnet3",
    "VirtualVmxnet3Vrdma": "vmxnet3",
    "VirtualVmxnet2": "vmxnet2",
    "VirtualVmxnet": "vmxnet",
    "VirtualE1000": "e1000",
    "VirtualE1000e": "e1000e",
    "VirtualPCNet32": "pcnet",
    "VirtualSriovEthernetCard": "sriov",
}
SRIOV = "VirtualSriovEthernetCard"
Around = Mapping[str, Plain]
"""Everything that is not a machine, by reference: its properties."""


def is_nic(device: Plain) -> bool:
    return device["_type"] in MODELS or "macAddress" in device


def read_nics(
    devices: list[Plain], around: Around, *, running: bool, host: str, boot: Mapping[int, int]
) -> tuple[Nic, ...]:
    """All cards, in the order of their keys. `host` is the reference of the host that the machine is on."""
    cards = sorted((one for one in devices if is_nic(one)), key=lambda one: one["key"])
    return tuple(_nic(one, around, running=running, host=host, boot=boot) for one in cards)


def _nic(device: Plain, around: Around, *, running: bool, host: str, boot: Mapping[int, int]) -> Nic:
    backing: Plain = device.get("backing", {})
    kind, network, vlans = _network(backing, around, host)
    plug = device.get("connectable", {})
    return Nic(
        id=str(device["key"]),
        network_kind="hostdev" if device["_type"] == SRIOV else kind,
        network=network,
        switch=_switch(backing, around, host),
        network_key=backing.get("port", {}).get("portgroupKey"),
        model=MODELS.get(device["_type"]),
        mac=device.get("macAddress") or None,
        vlans=tuple(vlans),
        link_up=plug.get("connected" if running else "startConnected"),
        throttled=_limited(device.get("resourceAllocation", {})),
        boot_order=boot.get(device["key"]),
    )


def _switch(backing: Plain, around: Around, host: str) -> str | None:
    """The name of the switch; of a distributed one that is not told, its UUID."""
    port = backing.get("port", {})
    if port:
        group = around.get(f"DistributedVirtualPortgroup:{port.get('portgroupKey')}", {})
        switch = around.get(group.get("config.distributedVirtualSwitch", ""), {})
        return name_of(switch) or port.get("switchUuid")
    return backing.get("switchName") or _standard(around.get(host, {}), backing.get("deviceName")).get("vswitchName")


def _limited(allocation: Plain) -> bool:
    limit = allocation.get("limit")
    return limit is not None and limit >= 0


def _network(backing: Plain, around: Around, host: str) -> tuple[str, str | None, list[int]]:
    """Kind, name and VLAN of what a card is plugged into."""
    kind = backing.get("_type", "")
    if kind.endswith("DistributedVirtualPortBackingInfo"):
        group = around.get(f"DistributedVirtualPortgroup:{backing.get('port', {}).get('portgroupKey')}", {})
        return "network", name_of(group) or None, vlan_ids(group.get("config.defaultPortConfig", {}).get("vlan", {}))
    if kind.endswith("OpaqueNetworkBackingInfo"):
        wanted = backing.get("opaqueNetworkId")
        for ref, one in around.items():
            if ref.startswith("OpaqueNetwork:") and one.get("summary", {}).get("opaqueNetworkId") == wanted:
                return "network", name_of(one) or None, []
        return "network", wanted, []
    if backing.get("deviceName"):
        name = str(backing["deviceName"])
        return "network", unescaped(name), _standard_vlan(around.get(host, {}), name)
    return "unknown", None, []


def _standard_vlan(host: Plain, name: str) -> list[int]:
    tag = _standard(host, name).get("vlanId", 0)
    return [tag] if 0 < tag < 4095 else []


def _standard(host: Plain, name: str | None) -> Plain:
    """What a host says of a port group of a standard switch."""
    specs = (group.get("spec", {}) for group in host.get("config.network.portgroup", []))
    return next((spec for spec in specs if name and spec.get("name") == name), {})


def vlan_ids(vlan: Plain) -> list[int]:
    """The tags of a distributed port group; a trunk of few tags is spelled out, a wide one is a fact of its own."""
    told = vlan.get("vlanId")
    if isinstance(told, int):
        return [told] if told else []
    ranges = _ranges(told)
    wide = sum(last - first + 1 for first, last in ranges) > 64
    return [] if wide else [tag for first, last in ranges for tag in range(first, last + 1)]


def _ranges(told: Any) -> list[tuple[int, int]]:
    found = told if isinstance(told, list) else []
    return [(one["start"], one["end"]) for one in found if isinstance(one, dict) and "start" in one and "end" in one]


def nic_leftovers(devices: list[Plain], around: Around) -> Iterator[SourceFact]:
    """What the model has no word for, of each card."""
    for device in sorted((one for one in devices if is_nic(one)), key=lambda one: one["key"]):
        backing, where = device.get("backing", {}), f"nic[{device['key']}]"
        if device["_type"] not in MODELS:
            yield SourceFact(path=f"{where}/type", value=device["_type"])
        if device.get("addressType") == "manual":
            yield SourceFact(path=f"{where}/addressType", value="manual")
        port = backing.get("port", {})
        if port:
            group = around.get(f"DistributedVirtualPortgroup:{port.get('portgroupKey')}", {})
            ranges = _ranges(group.get("config.defaultPortConfig", {}).get("vlan", {}).get("vlanId"))
            if ranges:
                yield SourceFact(path=f"{where}/trunk", value=", ".join(f"{first}-{last}" for first, last in ranges))
        if device["_type"] == SRIOV:
            yield SourceFact(path=f"{where}/sriov", value=str(device.get("sriovBacking", {}).get("_type", "SR-IOV")))
