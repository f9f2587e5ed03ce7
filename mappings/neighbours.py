"""Who else is in the groups that filters name: whether all of a group move, where to, and by which labels they are
known there.

A group becomes a selector of pods only where every card in it goes to the pod network of the plan's own machines. Of
any other one nobody knows which addresses its members will have, and none are guessed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kubeferry.documents import NetworkMap, Offer, Policy
from kubeferry.model import Machine, Nic, TrafficFilter
from kubeferry.words import counted
from mappings.choices import Choices, choices_for
from mappings.names import LABEL_VALUE, Names
from mappings.nics import plugged
from mappings.storage import UNASKED

TRAFFIC = "kubeferry.io/traffic"
"""The label by which a NetworkPolicy selects a machine's pod; movers of its disks do not have it."""
GROUP = "kubeferry.io/group-"
MEMBER = "member"
_ROOM = 63 - len("group-")
NO_MEMBER = "none of its members is known to move with the plan"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Groups by what they are called at the source: `places` are the namespaces of their members, of those of which all
    members move; `missing` says why the others are no selector."""

    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


NOBODY = Neighbours()


def neighbours(moving: Iterable[Machine], policy: Policy, offer: Offer = UNASKED) -> Neighbours:
    """The groups that filters of these machines name, as far as their traffic is to be filtered."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    told: dict[str, int | None] = {}
    named: set[str] = set()
    for machine in moving:
        if not any(nic.filters or nic.network_key for nic in machine.nics):
            continue
        choices = choices_for(machine, policy, offer)
        card = guarded_card(machine, choices)
        for group in groups_of(card, machine):
            places[group].append(choices.namespace)
        for one in (card.filters or ()) if card else ():
            told[one.name] = one.members
            if choices.network.policies == "from-source":
                named |= {rule.group for rule in one.rules or () if rule.group is not None}
        if card and choices.network.segments and (segment := segment_of(machine, card)):
            named.add(segment)
    missing = {group: why for group in named if (why := _why_not(group, places, told))}
    whole = sorted(named - missing.keys())
    return Neighbours({group: tuple(sorted(set(places[group]))) for group in whole}, missing)


def _why_not(group: str, places: Mapping[str, list[str]], told: Mapping[str, int | None]) -> str:
    """Why a group is no selector of pods; empty where it is one. Of a segment whoever moves is in it."""
    here = len(places.get(group, ()))
    if not here:
        return NO_MEMBER
    if group.startswith(_SEGMENT):
        return ""
    known = told.get(group)
    if known is None:
        return f"how many are in it was not told: {counted(here, 'card')} of it {'moves' if here == 1 else 'move'}"
    return "" if known == here else f"{known - here} of the {counted(known, 'card')} in it do not move with the plan"


def guarded_card(machine: Machine, choices: Choices) -> Nic | None:
    """The card that NetworkPolicies reach: that on the pod network, behind its pod's own address. Where there is none,
    or more than one, there is nothing to select."""
    found = [nic for nic, rule in plugged(machine, choices) if is_reached(rule)]
    return found[0] if len(found) == 1 else None


def is_reached(rule: NetworkMap) -> bool:
    return rule.target == "pod" and rule.binding == "masquerade" and rule.binding_plugin is None


def groups_of(card: Nic | None, machine: Machine) -> Iterator[str]:
    """The groups that a card is in."""
    if card is not None:
        yield from dict.fromkeys(one.name for one in card.filters or () if one.kind == "security-group")
        if segment := segment_of(machine, card):
            yield segment


_SEGMENT = "vlan "


def segment_of(machine: Machine, card: Nic) -> str | None:
    """The segment of a card on a port group of a distributed switch, which is one on all hosts; a standard switch of
    the same name may be another one on another host."""
    if card.network_key is None or card.switch is None or len(card.vlans) != 1:
        return None
    return f"{_SEGMENT}{card.vlans[0]} of switch {card.switch} of {machine.source}"


def is_segment(group: str) -> bool:
    return group.startswith(_SEGMENT)


def group_label(group: str) -> str:
    """The label of the members of a group; its key tells groups apart, since a card is in several."""
    legal = LABEL_VALUE.fullmatch(group) is not None and 0 < len(group) <= _ROOM
    return GROUP + (group if legal else hashlib.sha256(group.encode()).hexdigest()[:16])


def traffic_labels(
    machine: Machine, choices: Choices, names: Names, around: Neighbours, *, guarded: bool
) -> dict[str, str]:
    """What the machine's pod is known by to policies: to its own where it is `guarded` by one, and to those of others
    that name a group of it."""
    card = guarded_card(machine, choices)
    own = {TRAFFIC: names.machine} if guarded else {}
    return own | {group_label(group): MEMBER for group in groups_of(card, machine) if group in around.places}


def title(one: TrafficFilter) -> str:
    """A filter as people at its source call it."""
    return f"{one.title} ({one.name})" if one.title and one.title != one.name else one.name
