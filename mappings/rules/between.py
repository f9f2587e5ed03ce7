"""Rules between machines: what is right for each alone and wrong for them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from kubeferry.documents import NetworkMap, Policy
from kubeferry.model import Concern, Disk, Machine
from mappings.choices import choices_for
from mappings.names import Names
from mappings.nics import is_standby, network_rule, target_mac
from mappings.rules.rule import CRITICAL, WARNING

_MAC_FIX = "Change the address at the source, or leave one of the machines out (`include: false` in the policy)."
_NAME_FIX = "Set another `name` or `namespace` for one of them in the policy."
_NETWORK_FIX = (
    "Tell them apart in the policy's `networks`: `sourceSwitch`, `sourceVlan` or `sourceKey` beside `sourceName`."
)
_UUID_FIX = "Licences and management tools may take them for one machine; change it at the source if so."


def included(machines: Iterable[Machine], policy: Policy) -> list[Machine]:
    """The machines that the policy does not leave out."""
    return [machine for machine in machines if policy.of(machine.name).include]


def inventory_concerns(
    machines: Iterable[Machine], policy: Policy, names: dict[str, Names]
) -> dict[str, tuple[Concern, ...]]:
    """Concerns by machine name, among the machines that are to move. None of the critical ones can be accepted."""
    moving = included(machines, policy)
    found: defaultdict[str, list[Concern]] = defaultdict(list)
    for name, concern in (
        *_macs(moving),
        *_targets(moving, policy, names),
        *_uuids(moving),
        *_networks(moving, policy),
    ):
        found[name].append(concern)
    return {name: tuple(concerns) for name, concerns in found.items()}


def sharers(machines: Iterable[Machine]) -> dict[str, dict[str, tuple[str, ...]]]:
    """By machine and disk: the other machines that have the very same disk, those that the policy leaves out among
    them, where any of them says that it is shared. A disk is known by its place at the source; a LUN by its own number,
    too, since each machine has a file of its own that leads there."""
    owners: defaultdict[tuple[str, str], list[tuple[str, Disk]]] = defaultdict(list)
    for machine in machines:
        for disk in machine.data_disks:
            for identity in _identities(disk):
                owners[machine.source, identity].append((machine.name, disk))
    found: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for have in owners.values():
        for name, disk in have if any(disk.shareable for _, disk in have) else ():
            others = {other for other, _ in have} - {name}
            if others:
                found[name][disk.id] = tuple(sorted({*found[name].get(disk.id, ()), *others}))
    return dict(found)


def _identities(disk: Disk) -> Iterator[str]:
    if disk.uri:
        yield disk.uri
    if disk.serial and disk.source_kind == "rdm":
        yield f"serial {disk.serial}"


def _macs(machines: list[Machine]) -> Iterator[tuple[str, Concern]]:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for machine in machines:
        for nic in machine.nics:
            if (mac := target_mac(nic)) and not is_standby(nic):
                owners[mac].append(machine.name)
    for mac, sharers in owners.items():
        for name, others in _among(sharers):
            what = f"The MAC address {mac} is also that of {others}."
            yield name, Concern(id="mac.duplicate", severity=CRITICAL, what=what, fix=_MAC_FIX)


def _targets(machines: list[Machine], policy: Policy, names: dict[str, Names]) -> Iterator[tuple[str, Concern]]:
    owners: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for machine in machines:
        namespace = policy.of(machine.name).namespace or policy.namespace
        owners[namespace, names[machine.name].machine].append(machine.name)
    for (namespace, target), sharers in owners.items():
        for name, others in _among(sharers):
            what = f"The name {target!r} in namespace {namespace!r} is also that of {others}."
            yield name, Concern(id="name.duplicate", severity=CRITICAL, what=what, fix=_NAME_FIX)


def _uuids(machines: list[Machine]) -> Iterator[tuple[str, Concern]]:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for machine in machines:
        if machine.uuid:
            owners[machine.uuid.lower()].append(machine.name)
    for uuid, sharers in owners.items():
        for name, others in _among(sharers):
            what = f"The SMBIOS UUID {uuid} is also that of {others}."
            yield name, Concern(id="uuid.duplicate", severity=WARNING, what=what, fix=_UUID_FIX)


def _networks(machines: list[Machine], policy: Policy) -> Iterator[tuple[str, Concern]]:
    """Several networks of one name, where a rule takes them for one. Port groups of one name on the switches of single
    hosts are one network by custom; those of distributed switches are not."""
    places: defaultdict[tuple[str, str | None], dict[str, str]] = defaultdict(dict)
    cards = [(machine, nic) for machine in machines for nic in machine.nics]
    for machine, nic in cards:
        if nic.network_key:
            places[machine.source, nic.network][nic.network_key] = nic.switch or nic.network_key
    for machine, nic in cards:
        several = places[machine.source, nic.network]
        if len(several) > 1 and _takes_all(network_rule(nic, choices_for(machine, policy))):
            where = ", ".join(sorted(several.values()))
            what = f"Network card {nic.id} is on one of several networks called {nic.network!r} (on {where}), and the "
            what += "policy takes them for one."
            yield machine.name, Concern(id="nic.network-ambiguous", severity=WARNING, what=what, fix=_NETWORK_FIX)


def _takes_all(rule: NetworkMap | None) -> bool:
    """Whether a rule says neither which of several networks it means nor which card."""
    if rule is None or rule.target != "multus":
        return False
    told = (rule.source_switch, rule.source_vlan, rule.source_key)
    return all(one is None for one in told) and (rule.source_card, rule.source_mac) == ("*", "*")


def _among(sharers: list[str]) -> Iterator[tuple[str, str]]:
    """Each sharer once, with the others; a machine that has it twice shares it with itself."""
    if len(sharers) > 1:
        for name in dict.fromkeys(sharers):
            others = [other for other in dict.fromkeys(sharers) if other != name]
            yield name, ", ".join(others) or "another card of its own"
