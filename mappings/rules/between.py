"""Rules between machines: what is right for each alone and wrong for them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from kubeferry.documents import NetworkMap, Policy
from kubeferry.model import UP, Concern, Machine
from mappings.choices import choices_for
from mappings.names import Names, empty_words, rendered, settles
from mappings.nics import is_standby, network_rule, target_mac
from mappings.rules.rule import CRITICAL, INFO, WARNING
from mappings.sharing import ALONE, Sharing, unsaid

_MAC_FIX = "Change the address at the source, or leave one of the machines out (`include: false` in the policy)."
_NAME_FIX = "Set another `name` or `namespace` for one of them in the policy."
_NAMESPACE_FIX = "Set `namespace` for it in the policy, or leave it out (`include: false`)."
_UNSETTLED_FIX = "Tag it at the source and discover again, or set `name` for it in the policy."
_LABELS_FIX = "Tag it at the source and discover again, or say the value in the policy's `labels` or `annotations`."
_NETWORK_FIX = (
    "Tell them apart in the policy's `networks`: `sourceSwitch`, `sourceVlan` or `sourceKey` beside `sourceName`."
)
_SET_FIX = "Rehearse the set; cluster software that fences by SCSI reservations needs another way."
_COLD_FIX = "Nothing: the downtime is that of a cold move of the whole set."
_SAME_FIX = (
    "Leave out all but the one that uses it (`include: false` for a machine, or for the disk in its `disks`); or call "
    "it shared in all of them at the source and discover again: then it moves once, for all. Nothing, if each is to "
    "have a copy."
)
_BOTH_RUN_FIX = (
    "Correct the machine that has it by mistake, or shut down all but one, and discover again; or call it shared in "
    "all of them at the source: then it moves once, for all."
)
_TENANT_FIX = "Give each tenant a namespace of its own: `namespace` or `namespaceTemplate` in the policy."
_UUID_FIX = "Licences and management tools may take them for one machine; change it at the source if so."

CLASHES = frozenset({"mac.duplicate", "name.duplicate"})
"""What no plan can be made with; other critical concerns leave out the machines that have them."""

_NOTHING: Mapping[str, Sharing] = MappingProxyType({})


def included(machines: Iterable[Machine], policy: Policy) -> list[Machine]:
    """The machines that the policy does not leave out."""
    return [machine for machine in machines if policy.of(machine.name).include]


def inventory_concerns(
    machines: Iterable[Machine], policy: Policy, names: dict[str, Names], same: Mapping[str, Sharing] = _NOTHING
) -> dict[str, tuple[Concern, ...]]:
    """Concerns by machine name, among the machines that are to move; `same` is what they have in common. None of the
    critical ones can be accepted."""
    machines = list(machines)
    moving = included(machines, policy)
    found: defaultdict[str, list[Concern]] = defaultdict(list)
    for name, concern in (
        *_macs(moving),
        *_targets(moving, policy, names),
        *_namespaces(moving, policy),
        *_labels(moving, policy),
        *_uuids(moving),
        *_tenants(moving, policy),
        *_networks(moving, policy),
        *_sets(moving, policy, same),
        *_same_files(machines, {machine.name for machine in moving}),
    ):
        found[name].append(concern)
    return {name: tuple(concerns) for name, concerns in found.items()}


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


def _namespaces(machines: list[Machine], policy: Policy) -> Iterator[tuple[str, Concern]]:
    """Machines whose namespace or name a template should tell, and of which it makes none."""
    for machine in machines:
        own = policy.of(machine.name)
        if (template := own.namespace_template) and not own.namespace and not settles(template, machine):
            what = f"Its namespace is to be {template!r}, and {_missing(template, machine)}."
            yield machine.name, Concern(id="namespace.unsettled", severity=CRITICAL, what=what, fix=_NAMESPACE_FIX)
        if (template := own.name_template) and not own.name and not settles(template, machine):
            what = f"Its name is to be {template!r}, and {_missing(template, machine)}: it is made of its own."
            yield machine.name, Concern(id="name.unsettled", severity=WARNING, what=what, fix=_UNSETTLED_FIX)


def _missing(template: str, machine: Machine) -> str:
    """Why nothing can be made of a template."""
    if words := empty_words(template, machine):
        return f"it has no {', '.join(words)} to make it of"
    return f"no letter of {rendered(template, machine)!r} can stand there"


def _labels(machines: list[Machine], policy: Policy) -> Iterator[tuple[str, Concern]]:
    """Machines that have nothing for a label or annotation that the policy makes of their tags."""
    for machine in machines:
        own = policy.of(machine.name)
        for what, templates, made in (
            ("label", own.labels_from, policy.labels | own.labels),
            ("annotation", own.annotations_from, own.annotations),
        ):
            for key, text in sorted(templates.items()):
                if key not in made:
                    told = f"It gets no {what} {key}, which is to be {text!r}, and {_missing(text, machine)}."
                    yield machine.name, Concern(id="labels.unset", severity=WARNING, what=told, fix=_LABELS_FIX)


def _uuids(machines: list[Machine]) -> Iterator[tuple[str, Concern]]:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for machine in machines:
        if machine.uuid:
            owners[machine.uuid.lower()].append(machine.name)
    for uuid, sharers in owners.items():
        for name, others in _among(sharers):
            what = f"The SMBIOS UUID {uuid} is also that of {others}."
            yield name, Concern(id="uuid.duplicate", severity=WARNING, what=what, fix=_UUID_FIX)


def _sets(machines: list[Machine], policy: Policy, same: Mapping[str, Sharing]) -> Iterator[tuple[str, Concern]]:
    """What it means for a machine that it shares disks, which move once for the whole set."""
    for machine in machines:
        sharing = same.get(machine.name, ALONE)
        for disk in (disk for disk in machine.data_disks if sharing.is_one(disk)):
            shared = sharing.disks[disk.id]
            who = f"{shared.carrier} carries it" if sharing.attaches(disk) else "this one carries it"
            what = (
                f"Disk {disk.id} is one with that of {', '.join(shared.others)}: {who}, all attach claim "
                f"{shared.claim}, and they stop, start and go back together. It takes no SCSI reservations there."
            )
            yield machine.name, Concern(id="disk.shared-set", severity=WARNING, what=what, fix=_SET_FIX)
        if sharing.moves_with and (policy.of(machine.name).mode or policy.mode) == "warm":
            others = ", ".join(sharing.moves_with)
            what = f"It is moved cold: what {others} write to a disk of all of them, no round of this machine sees."
            yield machine.name, Concern(id="disk.shared-cold", severity=INFO, what=what, fix=_COLD_FIX)


def _same_files(machines: list[Machine], moving: set[str]) -> Iterator[tuple[str, Concern]]:
    """Disks that others have, too, and nobody calls shared: clones and templates do while one of them runs. Two cannot
    run with it. Those that are left out are named, too."""
    for machine, disk, others in unsaid(machines):
        awake = [one.name for one in (machine, *others) if one.power in UP]
        named = ", ".join(one.name for one in others)
        what = f"Disk {disk.id} is also that of {named}, and none of them calls it shared: "
        if len(awake) > 1:
            what += f"{', '.join(awake)} run with it, each as if it were its own, and no copy of it is whole."
            concern = Concern(id="disk.same-file-runs", severity=CRITICAL, what=what, fix=_BOTH_RUN_FIX)
        else:
            what += "each gets a copy of its own, and what one writes no other sees."
            concern = Concern(id="disk.same-file", severity=WARNING, what=what, fix=_SAME_FIX)
        if machine.name in moving:
            yield machine.name, concern


def _tenants(machines: list[Machine], policy: Policy) -> Iterator[tuple[str, Concern]]:
    """Machines of several tenants in one namespace, which is the border between them."""
    there: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for machine in machines:
        choices = choices_for(machine, policy)
        if choices.sandbox and choices.sandbox.tenant:
            there[choices.namespace][machine.name] = choices.sandbox.tenant
    for namespace, tenants in there.items():
        for name, tenant in tenants.items():
            if others := sorted({*tenants.values()} - {tenant}):
                what = f"It belongs to {tenant}, and namespace {namespace} takes machines of {', '.join(others)}, too."
                yield name, Concern(id="sandbox.shared-namespace", severity=WARNING, what=what, fix=_TENANT_FIX)


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
