"""Network cards: which network each one is plugged into, as which model, and the manifest parts that say so."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from kubeferry.documents import NetworkMap
from kubeferry.documents.assessment import Card
from kubeferry.model import Guest, Machine, Nic
from mappings.choices import Choices
from mappings.names import Names
from mappings.systems import is_windows

MODELS = ("virtio", "e1000", "e1000e", "igb", "rtl8139", "pcnet", "ne2k_pci")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
# KubeVirt gives this address to the pod's side of a masqueraded card.
_MASQUERADE_MAC = "02:00:00:00:00:00"


def network_rule(nic: Nic, choices: Choices) -> NetworkMap | None:
    """The first rule of the policy that fits the card's network, None when none does."""
    return next((rule for rule in choices.networks if _fits_network(rule, nic) and _fits_card(rule, nic)), None)


def _fits_network(rule: NetworkMap, nic: Nic) -> bool:
    return (
        rule.source_kind in {"*", nic.network_kind}
        and rule.source_name in {"*", nic.network, nic.portgroup}
        and rule.source_switch in {None, nic.switch}
        and rule.source_key in {None, nic.network_key}
        and rule.source_vlan in {None, *nic.vlans}
    )


def _fits_card(rule: NetworkMap, nic: Nic) -> bool:
    return rule.source_card in {"*", nic.id} and _spelled(rule.source_mac) in {"*", _spelled(nic.mac or "")}


def is_standby(nic: Nic) -> bool:
    """The part of a failover pair that KubeVirt has no word for: with its partner it would be two cards of one MAC."""
    return nic.teaming == "transient"


def plugged(machine: Machine, choices: Choices) -> list[tuple[Nic, NetworkMap]]:
    """The cards that exist at the target, each with its rule: neither unmapped nor dropped, nor a partner's standby."""
    found = []
    for nic in machine.nics:
        rule = network_rule(nic, choices)
        if rule is not None and rule.target != "drop" and not is_standby(nic):
            found.append((nic, rule))
    return found


def target_model(nic: Nic, guest: Guest, choices: Choices) -> str:
    """The model at the target: the same where KubeVirt has it, else virtio; for a Windows that never had a virtio card,
    e1000e, of which every Windows brings the driver."""
    if choices.nic_model or nic.model in MODELS:
        return choices.nic_model or str(nic.model)
    return "e1000e" if is_windows(guest) and "virtio" not in (nic.model or "") else "virtio"


def target_indexes(machine: Machine, choices: Choices) -> dict[str, int]:
    """The number that the firmware gives to each card, by its id: the source's own, and, where the policy asks for
    numbers, the next free ones in the order of the cards."""
    cards = [nic for nic, _rule in plugged(machine, choices)]
    found = {nic.id: nic.acpi_index for nic in cards if nic.acpi_index}
    if choices.acpi_index:
        free = (number for number in count(1) if number not in set(found.values()))
        found = {nic.id: found.get(nic.id) or next(free) for nic in cards}
    return found


def has_card_queues(machine: Machine, choices: Choices) -> bool:
    """Whether a card had several queues: KubeVirt then gives each virtio card one for each processor."""
    return any((nic.queues or 1) > 1 for nic, _rule in plugged(machine, choices))


def target_mac(nic: Nic) -> str | None:
    """The address in KubeVirt's spelling, None where it is missing or no address of a single card."""
    if nic.mac is None:
        return None
    mac = _spelled(nic.mac)
    return mac if mac_problem(mac) is None else None


def _spelled(mac: str) -> str:
    return mac.strip().lower().replace("-", ":")


def mac_problem(mac: str) -> str | None:
    """Why an address cannot be that of a card; None when it can."""
    if _MAC.fullmatch(mac) is None:
        return "is not six pairs of hexadecimal digits"
    if int(mac[:2], 16) & 1:
        return "is a multicast address"
    if mac == "00:00:00:00:00:00":
        return "is all zeros"
    return "belongs to the pod's side of a masqueraded network" if mac == _MASQUERADE_MAC else None


def interfaces(machine: Machine, choices: Choices, names: Names, orders: dict[str, int]) -> list[dict[str, Any]]:
    """`domain.devices.interfaces`."""
    indexes = target_indexes(machine, choices)
    made: list[dict[str, Any]] = [
        {
            "name": names.interfaces[nic.id],
            **_bound(rule),
            "model": target_model(nic, machine.guest, choices) if rule.binding != "sriov" else None,
            "macAddress": target_mac(nic) if rule.mac == "keep" else None,
            "acpiIndex": indexes.get(nic.id),
            "state": "down" if nic.link_up is False else None,
            "bootOrder": orders.get(f"nic:{nic.id}"),
        }
        for nic, rule in plugged(machine, choices)
    ]
    return [{key: value for key, value in one.items() if value is not None} for one in made]


def target_binding(rule: NetworkMap) -> str:
    """Masquerade works on the pod network only; every other network is bridged, unless it is a device's own."""
    return rule.binding if rule.target == "pod" or rule.binding == "sriov" else "bridge"


def _bound(rule: NetworkMap) -> dict[str, Any]:
    """How the card is joined to its network: by a binding of KubeVirt's, or by a plugin of the cluster's."""
    return {"binding": {"name": rule.binding_plugin}} if rule.binding_plugin else {target_binding(rule): {}}


def networks(machine: Machine, choices: Choices, names: Names) -> list[dict[str, Any]]:
    """`spec.networks`, one per interface, of the same name."""
    return [{"name": names.interfaces[nic.id], **_network(rule)} for nic, rule in plugged(machine, choices)]


def _network(rule: NetworkMap) -> dict[str, Any]:
    return {"pod": {}} if rule.target == "pod" else {"multus": {"networkName": rule.multus_name}}


def cards(machine: Machine, choices: Choices) -> tuple[Card, ...]:
    """Each card of the machine, with the network that it is plugged into at the target, or why it is not there."""
    return tuple(_card(nic, network_rule(nic, choices), machine, choices) for nic in machine.nics)


def _card(nic: Nic, rule: NetworkMap | None, machine: Machine, choices: Choices) -> Card:
    told: dict[str, Any] = {"card": nic.id, "source": _at_source(nic), "model": nic.model, "mac": nic.mac}
    if is_standby(nic):
        return Card(**told, why="it is the standby of a failover pair, which KubeVirt has not: its partner stays alone")
    if rule is None:
        return Card(**told, why="no rule of the policy fits its network")
    if rule.target == "drop":
        return Card(**told, why="the policy drops it")
    sriov = rule.binding == "sriov"
    return Card(
        **told,
        network="the pod network" if rule.target == "pod" else str(rule.multus_name),
        joined=rule.binding_plugin or target_binding(rule),
        becomes="a device of the node" if sriov else target_model(nic, machine.guest, choices),
        keeps_mac=rule.mac == "keep" and target_mac(nic) is not None,
    )


def _at_source(nic: Nic) -> str:
    """The card's network in the source's own words; empty where it tells none."""
    named = nic.portgroup or nic.network or ("" if nic.network_kind == "unknown" else nic.network_kind)
    tags = f"VLAN {', '.join(map(str, nic.vlans))}" if nic.vlans else ""
    return ", ".join(filter(None, (named, f"switch {nic.switch}" if nic.switch else "", tags)))
