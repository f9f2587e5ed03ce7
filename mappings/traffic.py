"""Filters of the source as NetworkPolicies: what a card's filters let through and can be said so, and a list of what
cannot. A policy never lets through what the source did not.

A filter whose first line that fits decides is reckoned out, box by box: where a line that refuses cannot be understood
all that it may have meant is taken away, where one that accepts cannot be, nothing is added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from kubeferry.model import Machine, Nic, TrafficFilter, TrafficRule
from mappings import boxes
from mappings.boxes import Box
from mappings.choices import Choices
from mappings.marks import labels, origin
from mappings.names import Names, dns_label
from mappings.neighbours import (
    MEMBER,
    NOBODY,
    TRAFFIC,
    Neighbours,
    group_label,
    guarded_card,
    is_segment,
    segment_of,
    title,
)
from mappings.nics import plugged

NAMESPACE = "kubernetes.io/metadata.name"
_DNS: dict[str, Any] = {
    "to": [{"namespaceSelector": {"matchLabels": {NAMESPACE: "kube-system"}}}],
    "ports": [{"protocol": "TCP", "port": 53}, {"protocol": "UDP", "port": 53}],
}
_DNS_PORT = 53

Ports = tuple[tuple[str, int, int], ...]
"""Protocols with ranges of ports; empty for all traffic there is."""


@dataclass(slots=True)
class _Way:
    """What is let through in one direction: other ends by addresses, and by groups. `limited` is False where all is."""

    boxes: list[Box] = field(default_factory=list)
    groups: list[tuple[str, Ports]] = field(default_factory=list)
    limited: bool = True


@dataclass(frozen=True, slots=True)
class Traffic:
    """What becomes of a machine's filters. `policy` is None where none is written. `left` are lines that no policy
    says, each with its reason; `unreached` cards with filters that policies do not reach; `unknown` filters whose lines
    nobody told. `awaited` are groups of which pods are let through as they arrive. `deaf` says that its ways out are
    limited, and DNS is not among them."""

    policy: dict[str, Any] | None = None
    left: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    deaf: bool = False


UNFILTERED = Traffic()


def policy_name(machine: str) -> str:
    """What the NetworkPolicy of a machine of this name is called: not as the machine, as people's own often are."""
    return dns_label(f"{machine}-traffic")


def traffic_of(machine: Machine, choices: Choices, names: Names, around: Neighbours = NOBODY) -> Traffic:
    """What becomes of its filters; nothing, where the policy asks for nothing."""
    if not choices.network.asked:
        return UNFILTERED
    card = guarded_card(machine, choices)
    filtering = choices.network.policies == "from-source"
    unreached = tuple(_unreached(machine, choices, card, filtering=filtering))
    filters = (card.filters or ()) if card and filtering else ()
    segment = segment_of(machine, card) if card and choices.network.segments and not card.filters else None
    unknown = tuple(title(one) for one in filters if one.rules is None)
    if not (segment or filters) or unknown:  # what one of them lets through, a policy of the others would not
        return Traffic(unreached=unreached, unknown=unknown)
    try:
        ways = _within(segment) if segment else _ways(filters, around)
    except boxes.TooMany as many:
        listed = tuple(f"{title(one)} (its lines come to {many})" for one in filters)
        return Traffic(left=listed, unreached=unreached)
    outward = ways[1]
    return Traffic(
        policy=_policy(machine, choices, names, around, ways),
        left=tuple(_left(filters, around)),
        unreached=unreached,
        awaited=tuple(dict.fromkeys(group for way in ways for group, _ in way.groups)),
        deaf=outward.limited and not choices.network.resolver and not _asks(outward),
    )


def _unreached(machine: Machine, choices: Choices, card: Nic | None, *, filtering: bool) -> Iterator[str]:
    """Cards with filters that are there at the target, and on another network than their pod's own."""
    for nic, rule in plugged(machine, choices):
        if filtering and nic.filters and nic is not card:
            where = (
                rule.multus_name
                if rule.target == "multus"
                else f"the pod network by {rule.binding_plugin or rule.binding}"
            )
            names = ", ".join(title(one) for one in nic.filters)
            yield f"{nic.id}, which is on {where}: {names}"


def _within(segment: str) -> tuple[_Way, _Way]:
    return _Way(groups=[(segment, ())]), _Way(groups=[(segment, ())])


def _asks(way: _Way) -> bool:
    """Whether DNS by UDP is let through to some address."""
    return any(box.protocol == "udp" and box.first <= _DNS_PORT <= box.last for box in way.boxes)


# --- what filters let through -------------------------------------------------------------------------------------


def _ways(filters: Iterable[TrafficFilter], around: Neighbours) -> tuple[_Way, _Way]:
    """What a card's filters let in, and out. Raises TooMany."""
    filters = tuple(filters)
    if any(one.kind == "nwfilter" for one in filters):
        return _first_fits(filters, inward=True), _first_fits(filters, inward=False)
    return _added_up(filters, around, inward=True), _added_up(filters, around, inward=False)


def _left(filters: Iterable[TrafficFilter], around: Neighbours) -> Iterator[str]:
    """The lines that stand in no policy, each with its reason."""
    for one in filters:
        for rule in one.rules or ():
            if why := _why_left(rule, around):
                yield f"{title(one)}: {rule.line} ({why})"


def _why_left(rule: TrafficRule, around: Neighbours) -> str:
    """Why a line stands in no policy; empty where it does."""
    if rule.beyond is not None or rule.protocol not in {"all", *boxes.PORTED}:
        return f"no NetworkPolicy says {rule.beyond or f'the protocol {rule.protocol}'}"
    if rule.group is not None:
        return around.missing.get(rule.group, "" if rule.group in around.places else "its members are not known")
    return "its addresses cannot be read" if _networks(rule) is None else ""


def _added_up(filters: Iterable[TrafficFilter], around: Neighbours, *, inward: bool) -> _Way:
    """Security groups: each line adds to what is let through."""
    way = _Way()
    for rule in (rule for one in filters for rule in one.rules or () if rule.inward == inward and rule.accepts):
        if _why_left(rule, around) or not _boxes(rule):
            continue
        if rule.group is not None:
            way.groups.append((rule.group, _ports(rule)))
        else:
            way.boxes += _boxes(rule)
    return way


def _first_fits(filters: Iterable[TrafficFilter], *, inward: bool) -> _Way:
    """A filter of libvirt's: the first line that fits decides, and what none fits is let through."""
    undecided, let = boxes.everything(), []
    for rule in (rule for one in filters for rule in one.rules or () if rule.inward == inward):
        unclear = bool(_why_left(rule, NOBODY))
        if unclear and rule.accepts:
            continue
        for box in _boxes(rule) if not unclear else _at_most(rule):
            if rule.accepts:
                let += boxes.common(undecided, box)
            undecided = boxes.without(undecided, box)
    let += undecided
    closed = boxes.everything()
    for box in let:
        closed = boxes.without(closed, box)
    return _Way(boxes=let, limited=bool(closed))


def _at_most(rule: TrafficRule) -> list[Box]:
    """All that a line may mean of which not everything is understood: whatever of it is."""
    known = rule.protocol in {"all", *boxes.PORTED}
    return _boxes(rule.model_copy(update={"protocol": rule.protocol if known else "rest", "cidr": None}))


def _boxes(rule: TrafficRule) -> list[Box]:
    protocols = boxes.PROTOCOLS if rule.protocol == "all" else (rule.protocol,)
    first = max(rule.first_port or boxes.FIRST, boxes.FIRST)
    last = min(boxes.LAST if rule.last_port is None else rule.last_port, boxes.LAST)
    networks = _networks(rule) or ()
    return [Box(one, first, last, network) for one in protocols for network in networks if first <= last]


def _networks(rule: TrafficRule) -> tuple[boxes.Network, ...] | None:
    """The addresses of the other end; None where they cannot be read."""
    return boxes.ANYBODY if rule.cidr is None else _network(rule.cidr)


@lru_cache(maxsize=4096)  # an estate names the same ranges over and over
def _network(cidr: str) -> tuple[boxes.Network, ...] | None:
    try:
        return (ip_network(cidr, strict=False),)
    except ValueError:
        return None


def _ports(rule: TrafficRule) -> Ports:
    return () if rule.protocol == "all" else tuple((one.protocol, one.first, one.last) for one in _boxes(rule)[:1])


# --- the manifest -------------------------------------------------------------------------------------------------


def _policy(
    machine: Machine, choices: Choices, names: Names, around: Neighbours, ways: tuple[_Way, _Way]
) -> dict[str, Any] | None:
    """The NetworkPolicy; None where nothing is limited."""
    inward, outward = ways
    spec: dict[str, Any] = {"podSelector": {"matchLabels": {TRAFFIC: names.machine}}, "policyTypes": []}
    if inward.limited:
        spec["policyTypes"].append("Ingress")
        spec["ingress"] = _rules(inward, "from", choices.namespace, around)
    if outward.limited:
        spec["policyTypes"].append("Egress")
        spec["egress"] = [
            *_rules(outward, "to", choices.namespace, around),
            *([_DNS] if choices.network.resolver else []),
        ]
    if not spec["policyTypes"]:
        return None
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": policy_name(names.machine),
            "namespace": choices.namespace,
            "labels": labels(machine, choices, names),
            "annotations": origin(machine),
        },
        "spec": spec,
    }


def _rules(way: _Way, end: str, namespace: str, around: Neighbours) -> list[dict[str, Any]]:
    """Other ends to which the same ports are open in one rule each."""
    by_ports: defaultdict[Ports, list[boxes.Network]] = defaultdict(list)
    for network, ports in _by_network(way.boxes).items():
        by_ports[ports].append(network)
    found = [
        {end: [{"ipBlock": {"cidr": str(network)}} for network in boxes.joined(networks)], **_opened(ports)}
        for ports, networks in sorted(by_ports.items())
    ]
    of_groups: defaultdict[Ports, list[str]] = defaultdict(list)
    for group, ports in way.groups:
        of_groups[ports].append(group)
    for ports, groups in sorted(of_groups.items()):
        peers = [peer for group in sorted(set(groups)) for peer in _pods(group, namespace, around)]
        if peers:  # a rule without peers would be one for everybody
            found.append({end: peers, **_opened(ports)})
    return found


def _by_network(listed: list[Box]) -> dict[boxes.Network, Ports]:
    """The ports that are open to each network, none where all traffic is; without protocols that no policy names."""
    there: defaultdict[boxes.Network, set[Box]] = defaultdict(set)
    for box in listed:
        there[box.network].add(box)
    found: dict[boxes.Network, Ports] = {}
    for network, those in there.items():
        if {box.protocol for box in those if box.every_port} == set(boxes.PROTOCOLS):
            found[network] = ()
        elif said := tuple(sorted((one.protocol, one.first, one.last) for one in those if one.protocol != boxes.REST)):
            found[network] = said
    return found


def _opened(ports: Ports) -> dict[str, Any]:
    return {"ports": [_port(*one) for one in ports]} if ports else {}


def _port(protocol: str, first: int, last: int) -> dict[str, Any]:
    said: dict[str, Any] = {"protocol": protocol.upper()}
    if (first, last) != (boxes.FIRST, boxes.LAST):
        said["port"] = first
        if first != last:
            said["endPort"] = last
    return said


def _pods(group: str, namespace: str, around: Neighbours) -> Iterator[dict[str, Any]]:
    for place in around.places.get(group, ()):
        elsewhere = {} if place == namespace else {"namespaceSelector": {"matchLabels": {NAMESPACE: place}}}
        yield {**elsewhere, "podSelector": {"matchLabels": {group_label(group): MEMBER}}}


def shown_group(group: str) -> str:
    return group if is_segment(group) else f"group {group}"
