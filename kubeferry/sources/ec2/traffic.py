"""What security groups let through, a line for each rule as the console shows it. Pure.

All of a rule is read, so that none of it is lost in silence: what neither protocol, ports nor addresses say (lists of
prefixes, kinds of ICMP) stands in the line's `beyond`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubeferry.model import TrafficFilter, TrafficRule
from kubeferry.sources.ec2.facts import Facts
from kubeferry.sources.ec2.told import Told

MOST_RULES = 1000
"""Of a group: AWS allows no more of all groups of a card together."""
_PROTOCOLS = {"-1": "all", "6": "tcp", "17": "udp", "132": "sctp", "1": "icmp", "58": "icmpv6"}
_WITH_PORTS = frozenset({"tcp", "udp"})
# AWS ignores the ports of all others.
_WHOLE = frozenset({"all", "sctp"})
_PORTS = 65535
# What a rule lists, what of an item names the other end, and in which field of ours that goes.
_ENDS = (
    ("IpRanges", "CidrIp", "cidr"),
    ("Ipv6Ranges", "CidrIpv6", "cidr"),
    ("UserIdGroupPairs", "GroupId", "group"),
    ("PrefixListIds", "PrefixListId", "beyond"),
)


def security_group(named: Facts, told: Told) -> TrafficFilter:
    """A group that a card names; its rules are None where nobody told them."""
    name = named.text("GroupId") or "unknown"
    content = told.groups.get(name)
    rules = None
    if content is not None and {"IpPermissions", "IpPermissionsEgress"} <= content.keys():
        group = Facts(content)
        both = (("IpPermissions", True), ("IpPermissionsEgress", False))
        found = [rule for key, inward in both for one in group.all(key) for rule in _rules(one, inward=inward)]
        rules = tuple(found) if len(found) <= MOST_RULES else None
    members = told.members.get(name)
    return TrafficFilter(name=name, title=named.text("GroupName"), kind="security-group", rules=rules, members=members)


def referred_to(groups: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The groups whose members the rules of these let through."""
    permissions = (
        Facts(one)
        for group in groups.values()
        for key in ("IpPermissions", "IpPermissionsEgress")
        for one in group.get(key) or ()
    )
    pairs = (pair.text("GroupId") for one in permissions for pair in one.all("UserIdGroupPairs"))
    return {name for name in pairs if name}


def _rules(permission: Facts, *, inward: bool) -> Iterator[TrafficRule]:
    said = (permission.text("IpProtocol") or "").lower()
    protocol = _PROTOCOLS.get(said, said or "unknown")
    ports = _ports(permission) if protocol in _WITH_PORTS else (None, None)
    for key, name, field in _ENDS:
        for end in permission.all(key):
            other = end.text(name)
            beyond = f"the prefix list {other}" if field == "beyond" else None
            if protocol not in _WITH_PORTS | _WHOLE:
                beyond = f"the protocol {protocol}"
            elif ports is None:
                beyond = "ports that are not told"
            elif other is None:
                beyond = "an end that is not told"
            first, last = ports or (None, None)
            yield TrafficRule(
                inward=inward,
                protocol=protocol,
                first_port=first,
                last_port=last,
                cidr=other if field == "cidr" else None,
                group=other if field == "group" else None,
                beyond=beyond,
                line=_line(protocol, first, last, other or "an end that is not told", inward=inward),
            )


def _ports(permission: Facts) -> tuple[int | None, int | None] | None:
    """The ports of a rule, (None, None) for all of them; None where they are not told, or are none."""
    first, last = permission.number("FromPort"), permission.number("ToPort")
    if first is None or last is None or not first <= last <= _PORTS:
        return None
    return (None, None) if (first, last) == (0, _PORTS) else (first, last)


def _line(protocol: str, first: int | None, last: int | None, other: str, *, inward: bool) -> str:
    ports = "" if first is None else f" {first}" if first == last else f" {first}-{last}"
    what = "everything" if protocol == "all" else f"{protocol}{ports}"
    return f"{what} {'from' if inward else 'to'} {other}"
