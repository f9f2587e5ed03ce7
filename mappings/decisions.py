"""What nobody has decided yet of a machine, and the lines of the policy that decide it: a concern by a concern.

Each answer is a piece of a policy that can be copied as it stands; where only a person knows a name, such as that of a
network at the target, a word stands for it (`fill`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kubeferry.documents import NetworkMap
from kubeferry.documents.assessment import ACCEPT, Answer, OpenDecision, policy_lines
from kubeferry.model import Concern, Machine, Nic, Severity
from mappings.choices import Choices
from mappings.neighbours import guarded_card
from mappings.nics import is_standby, network_rule
from mappings.rules.table import RULES

Lines = dict[str, Any]

ACCEPTABLE = frozenset(rule.id for rule in RULES if rule.acceptable)
"""Concerns that a person may accept; of all others no word of the user's changes what would come of it."""

NETWORK, CLASS, ZONE = "some-namespace/some-network", "some-class", "Some/Zone"
NAMESPACE, NAME = "some-namespace", "some-name"
FILL = (NETWORK, CLASS, ZONE, NAMESPACE, NAME)
"""Words that stand for what only a person knows."""


def open_decisions(machine: Machine, choices: Choices, concerns: Iterable[Concern]) -> tuple[OpenDecision, ...]:
    """What is critical or a warning and was not accepted, the gravest first; each kind of concern once."""
    found: dict[str, list[Concern]] = {}
    for one in concerns:
        if one.severity != Severity.INFO:
            found.setdefault(one.id, []).append(one)
    grave = sorted(found.values(), key=lambda kind: kind[0].severity != Severity.CRITICAL)
    return tuple(
        OpenDecision(
            id=kind[0].id,
            severity=kind[0].severity,
            what=tuple(dict.fromkeys(one.what for one in kind)),
            fix=kind[0].fix,
            answers=tuple(_answers(kind[0], machine, choices)),
        )
        for kind in grave
    )


def _answers(concern: Concern, machine: Machine, choices: Choices) -> Iterator[Answer]:
    for means, lines in _OTHERWISE.get(concern.id, _nothing)(machine, choices):
        yield _answer(machine, means, lines)
    if concern.id in ACCEPTABLE:
        yield _answer(machine, ACCEPT, {"accept": [concern.id]})
    if concern.severity == Severity.CRITICAL:
        yield _answer(machine, "leave the machine out", {"include": False})


def _answer(machine: Machine, means: str, lines: Lines) -> Answer:
    text = policy_lines({"machines": {machine.name: lines}})
    said = set(_words(lines))
    return Answer(means=means, policy=text, fill=tuple(word for word in FILL if word in said))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _words(one)
    elif isinstance(value, str):
        yield value


# --- other ways than to accept it ---------------------------------------------------------------------------------

Ways = Iterator[tuple[str, Lines]]
Way = Callable[[Machine, Choices], Ways]


def _nothing(_machine: Machine, _choices: Choices) -> Ways:
    yield from ()


def _say(*ways: tuple[str, Lines]) -> Way:
    """The same for every machine."""

    def way(_machine: Machine, _choices: Choices) -> Ways:
        yield from ways

    return way


_PLUG: tuple[str, Lines] = ("plug it into a network of the target", {"target": "multus", "multusName": NETWORK})
_DROP: tuple[str, Lines] = ("leave the card out", {"target": "drop"})


def _for_cards(wanted: Callable[[Nic, NetworkMap | None], bool]) -> Way:
    """A network of the target for the cards that are meant, beside what the policy has for the others."""

    def way(machine: Machine, choices: Choices) -> Ways:
        meant = [nic for nic in machine.nics if not is_standby(nic) and wanted(nic, network_rule(nic, choices))]
        kept = [nic for nic in machine.nics if nic not in meant]
        if not meant:
            return
        ahead = [_kept(nic, rule) for nic in kept if (rule := network_rule(nic, choices)) is not None]
        for means, goes in (_PLUG, _DROP):
            if all((rule := network_rule(nic, choices)) is None or rule.target != goes["target"] for nic in meant):
                yield means, {"networks": [*ahead, *({"sourceCard": nic.id, **goes} for nic in meant)]}

    return way


def _kept(nic: Nic, rule: NetworkMap) -> Lines:
    """What holds for a card, said of this card alone."""
    said = rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {"sourceCard": nic.id, **{key: value for key, value in said.items() if not key.startswith("source")}}


def _on_the_pod_network(_nic: Nic, rule: NetworkMap | None) -> bool:
    return rule is not None and rule.target == "pod"


def _second_on_the_pod_network(machine: Machine, choices: Choices) -> Ways:
    on_it = [nic.id for nic in machine.nics if _on_the_pod_network(nic, network_rule(nic, choices))]
    yield from _for_cards(lambda nic, _rule: nic.id in on_it[1:])(machine, choices)


def _other_probes(machine: Machine, _choices: Choices) -> Ways:
    """Questions that need no agent."""
    if machine.nics:
        yield "ask a port that it answers on", {"probes": [{"kind": "tcp", "port": 22}]}
    if machine.headless is not True:
        yield "look at its screen", {"probes": [{"kind": "screen"}]}
    yield "wait for a word on its serial console", {"probes": [{"kind": "serial", "expect": "login:"}]}


def _policies(machine: Machine, choices: Choices) -> Ways:
    """NetworkPolicies, where a card that they reach has filters of which the lines are known."""
    card = guarded_card(machine, choices)
    if card is not None and card.filters and all(one.rules is not None for one in card.filters):
        yield "make a NetworkPolicy of its filters", {"network": {"policies": "from-source"}}


_STORAGE = _say(("name the class", {"storage": {"storageClass": CLASS}}))
_PROBES: Way = _other_probes

_OTHERWISE: dict[str, Way] = {
    "clock.timezone-invalid": _say(("name its zone", {"timezone": ZONE})),
    "downtime.over-budget": _say(("copy it ahead, while it runs", {"mode": "warm"})),
    "eviction.blocked": _say(("let drains stop it", {"evictionStrategy": "LiveMigrateIfPossible"})),
    "firmware.unknown": _say(("it boots by BIOS", {"firmware": "bios"}), ("it boots by UEFI", {"firmware": "uefi"})),
    "guest.virtio-unknown": _say(
        ("its system is of before 2015", {"virtioTransitional": True}),
        ("its system knows virtio 1", {"virtioTransitional": False}),
    ),
    "name.duplicate": _say(("give it another name", {"name": NAME})),
    "namespace.unsettled": _say(("name its namespace", {"namespace": NAMESPACE})),
    "nic.address-changed": _for_cards(_on_the_pod_network),
    "nic.dropped": _for_cards(lambda _nic, rule: rule is not None and rule.target == "drop"),
    "nic.filtered": _policies,
    "nic.second-pod": _second_on_the_pod_network,
    "nic.unmapped": _for_cards(lambda _nic, rule: rule is None),
    "probe.agent-unsure": _PROBES,
    "probe.counter-unheard": _PROBES,
    "probe.no-card": _PROBES,
    "probe.no-screen": _PROBES,
    "probe.none": _PROBES,
    "probe.packets-unseen": _PROBES,
    "storage.class-missing": _STORAGE,
    "storage.class-open": _STORAGE,
    "storage.modes-unknown": _say(
        ("one node at a time", {"storage": {"accessMode": "ReadWriteOnce", "volumeMode": "Block"}}),
        ("several nodes, for live migration", {"storage": {"accessMode": "ReadWriteMany", "volumeMode": "Block"}}),
    ),
    "traffic.resolver": _say(("let it ask the cluster's DNS", {"network": {"resolver": True}})),
    "windows.clock": _say(("name its zone", {"timezone": ZONE})),
}
