"""What becomes of network cards."""

from __future__ import annotations

from kubeferry.model import Fate
from mappings.fates.carried import Leaf, Mapping, Rule, Verdict
from mappings.fates.devices import virtio
from mappings.fates.kinds import NIC, becomes, kept, place_of
from mappings.neighbours import TRAFFIC, guarded_card
from mappings.nics import is_standby
from mappings.traffic import policy_name
from mappings.virtio import GENERATIONS

STANDBY = "KubeVirt has no failover pairs: its partner stays alone"
DROPPED = "the policy has no network for this card"


def network() -> Rule:
    return of_card(becomes("networks[{interface}]", "the policy maps this network", otherwise=DROPPED))


def filtered(reason: str) -> Rule:
    """Of the card that NetworkPolicies reach its filters become one, where the policy asks for it."""

    def found(mapping: Mapping, leaf: Leaf) -> Verdict:
        card = guarded_card(mapping.machine, mapping.choices)
        known_by = mapping.find(f"spec.template.metadata.labels[{TRAFFIC}]")
        if card is not None and known_by and leaf.path.startswith(f"nics[{card.id}]."):
            return Fate.CHANGED, f"NetworkPolicy {policy_name(known_by)}", "as far as a NetworkPolicy can say it"
        return Fate.LOST, "", reason

    return found


def of_card(rule: Rule) -> Rule:
    """The rule, but for a card that another one of its failover pair stands in for."""

    def found(mapping: Mapping, leaf: Leaf) -> Verdict:
        standby = any(nic.id == leaf.key and is_standby(nic) for nic in mapping.machine.nics)
        return (Fate.LOST, "", STANDBY) if standby else rule(mapping, leaf)

    return found


def teaming(mapping: Mapping, leaf: Leaf) -> Verdict:
    """Of a failover pair the card that stays is a card like any other."""
    place = place_of(NIC, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", STANDBY
    return Fate.CHANGED, place, "KubeVirt has no failover pairs: it is the only card"


def model(mapping: Mapping, leaf: Leaf) -> Verdict:
    """A virtio card of a named generation is a virtio card; which generation, one switch says."""
    place = place_of(f"{NIC}.model", mapping, leaf)
    if leaf.value in GENERATIONS and mapping.find(place) == "virtio":
        return virtio(mapping, leaf)
    return kept(f"{NIC}.model", changed="KubeVirt has no such card or the policy names this one", lost=DROPPED)(
        mapping, leaf
    )


def link(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = place_of(NIC, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", DROPPED
    return Fate.CARRIED, f"{place}.state" if leaf.value is False else place, ""
