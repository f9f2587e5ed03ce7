"""Rules about traffic: what of the source's filters no NetworkPolicy carries, and what that means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mappings.rules.rule import INFO, WARNING, Case, Rule, when
from mappings.traffic import shown_group


def _left(case: Case) -> Iterable[str]:
    listed = case.traffic.left
    return when(bool(listed), f"No NetworkPolicy carries: {'; '.join(listed)}.")


def _unreached(case: Case) -> Iterator[str]:
    for card in case.traffic.unreached:
        yield f"NetworkPolicies do not reach card {card}."


def _unknown(case: Case) -> Iterable[str]:
    listed = case.traffic.unknown
    return when(
        bool(listed), f"What they let through was not told, so no NetworkPolicy is written: {'; '.join(listed)}."
    )


def _deaf(case: Case) -> Iterable[str]:
    what = "Its ways out are limited, and DNS is not among them: names are not found there."
    return when(case.traffic.deaf and case.traffic.policy is not None, what)


def _awaited(case: Case) -> Iterable[str]:
    groups = ", ".join(map(shown_group, case.traffic.awaited))
    what = (
        f"Its NetworkPolicy knows members of {groups} once they run in the cluster: those that have not moved yet are"
    )
    return when(bool(groups), f"{what} not let through by it.")


RULES = (
    Rule(
        "traffic.left",
        WARNING,
        "lines of filters that no NetworkPolicy carries",
        "See who needs them: name their addresses at the source and discover again, or open the way by a NetworkPolicy "
        "of your own, which adds to this one.",
        _left,
    ),
    Rule(
        "traffic.unreached",
        WARNING,
        "filters of a card that NetworkPolicies do not reach",
        "Filter where its network is: at its router, or by a multi-network policy of the cluster's; or put the card on "
        "the pod network by masquerade.",
        _unreached,
    ),
    Rule(
        "traffic.unknown",
        WARNING,
        "filters whose lines were not told",
        "Discover again from the source itself, by an account that may ask for them; of exports only those of EC2 tell "
        "them, where `describe-security-groups` lies beside the instances.",
        _unknown,
    ),
    Rule(
        "traffic.resolver",
        WARNING,
        "limited ways out without DNS",
        "Set `network: {resolver: true}` in the policy for the cluster's DNS; its source's was reached whatever its "
        "filters said.",
        _deaf,
    ),
    Rule(
        "traffic.members",
        INFO,
        "a NetworkPolicy that knows others as they arrive",
        "Move them in one wave, or open the way to their old addresses by a NetworkPolicy of your own meanwhile.",
        _awaited,
    ),
)
