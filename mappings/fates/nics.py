"""What becomes of network cards."""

from __future__ import annotations

from kubeferry.model import Fate
from mappings.fates.carried import Leaf, Mapping, Rule, Verdict
from mappings.fates.kinds import NIC, becomes, place_of

DROPPED = "the policy has no network for this card"


def network() -> Rule:
    return becomes("networks[{interface}]", "the policy maps this network", otherwise=DROPPED)


def link(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = place_of(NIC, mapping, leaf)
    if mapping.find(place) is None:
        return Fate.LOST, "", DROPPED
    return Fate.CARRIED, f"{place}.state" if leaf.value is False else place, ""
