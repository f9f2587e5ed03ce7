"""What is open, and the lines of the policy that settle it: every answer is a policy, and does what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from kubeferry.documents import Inventory, MachinePolicy, NetworkMap, Policy, Probe
from kubeferry.documents.assessment import Answer, Assessment, OpenDecision
from kubeferry.model import Firmware, Guest, Machine, Nic, Power, Severity
from kubeferry.sources.libvirt.domain.machine import parse_domain
from mappings.assessment import assess
from mappings.decisions import CLASS, NAMESPACE, NETWORK, ZONE
from mappings.rules.machine import RULES as MACHINE_RULES

Build = Callable[..., Machine]
DOMAINS = sorted((Path(__file__).parents[2] / "golden" / "libvirt").glob("*.xml"))
KNOWN = {NETWORK: "lab/lan", CLASS: "fast", ZONE: "Europe/Vienna", NAMESPACE: "shop"}


def inventory(machine: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="libvirt", observed_at="2026-11-24T02:00:00Z", machines=(machine,))


def assessed(machine: Machine, policy: Policy) -> Assessment:
    return assess(inventory(machine), policy)[0]


def said(answer: Answer, policy: Policy) -> Policy:
    """The policy with an answer in it, as a person writes it: what stands there already stays."""
    text = answer.policy
    for word in answer.fill:
        text = text.replace(word, KNOWN.get(word, "renamed"))
    ((name, lines),) = Policy.model_validate(yaml.safe_load(text)).machines.items()
    own = policy.of(name)
    changes = {field: getattr(lines, field) for field in lines.model_fields_set}
    changes["accept"] = (*own.accept, *lines.accept)
    whole = {**{field: getattr(own, field) for field in own.model_fields_set}, **changes}
    return policy.model_copy(update={"machines": {**policy.machines, name: MachinePolicy(**whole)}})


def settles(decision: OpenDecision, answer: Answer, machine: Machine, policy: Policy) -> bool:
    after = assessed(machine, said(answer, policy))
    if answer.means == "leave the machine out":
        return after.verdict == "excluded"
    return decision.id not in {one.id for one in after.decisions}


def open_things(machine: Machine, policy: Policy) -> Iterator[tuple[OpenDecision, Answer]]:
    for decision in assessed(machine, policy).decisions:
        for answer in decision.answers:
            yield decision, answer


@pytest.mark.parametrize("path", DOMAINS, ids=lambda path: path.stem)
def test_every_answer_to_what_is_open_settles_it(path: Path) -> None:
    machine = parse_domain(path.read_text(encoding="utf-8"), source="lab", power=Power.OFF, where=path.name)
    sized = tuple(disk.model_copy(update={"capacity_bytes": 8 << 30}) if disk.uri else disk for disk in machine.disks)
    for subject in (machine, machine.model_copy(update={"disks": sized})):
        wrong = [(d.id, a.means) for d, a in open_things(subject, Policy()) if not settles(d, a, subject, Policy())]
        assert wrong == []


def test_a_critical_one_can_always_be_left_out_and_a_warning_never_has_to(machine: Build) -> None:
    (found,) = [one for one in assessed(machine(arch="s390x"), Policy()).decisions if one.id == "arch.unsupported"]
    assert [answer.means for answer in found.answers] == ["leave the machine out"]
    warnings = [one for one in assessed(machine(), Policy()).decisions if one.severity == Severity.WARNING]
    assert warnings
    assert all("leave the machine out" not in {answer.means for answer in one.answers} for one in warnings)


def test_what_only_a_person_knows_is_named(machine: Build) -> None:
    (found,) = [one for one in assessed(machine(), Policy()).decisions if one.id == "nic.address-changed"]
    plug, drop, accept = found.answers
    assert (plug.fill, drop.fill, accept.fill) == ((NETWORK,), (), ())
    card = Policy.model_validate(yaml.safe_load(plug.policy)).machines["web"].networks
    assert card == (NetworkMap(source_card="net0", target="multus", multus_name=NETWORK),)


def test_a_second_card_on_the_pod_network_moves_and_the_first_one_stays(machine: Build) -> None:
    cards = tuple(Nic(id=f"net{n}", network="default", mac=f"52:54:00:00:00:0{n}", model="virtio") for n in range(2))
    subject = machine(nics=cards)
    (found,) = [one for one in assessed(subject, Policy()).decisions if one.id == "nic.second-pod"]
    after = assessed(subject, said(found.answers[0], Policy()))
    assert [card.network for card in after.cards] == ["the pod network", "lab/lan"]


def test_a_probe_that_needs_an_agent_is_replaced_by_one_that_does_not(machine: Build) -> None:
    subject, policy = machine(guest=Guest(agent_channel=False)), Policy(probes=(Probe(kind="agent"),))
    (found,) = [one for one in assessed(subject, policy).decisions if one.id == "probe.agent-unsure"]
    assert len(found.answers) >= 3
    assert all(settles(found, answer, subject, policy) for answer in found.answers)


def test_hostile_names_stay_names_in_the_lines(machine: Build) -> None:
    for name in ("a: b", "- x", "'\"", "{{ 7*7 }}", "yes", "1e3", "<script>", "z\u202e", "#", "a\nb: c"):
        for _decision, answer in open_things(machine(name=name, arch="s390x"), Policy()):
            assert set(Policy.model_validate(yaml.safe_load(answer.policy)).machines) == {name}


def test_accepted_ones_are_not_open(machine: Build) -> None:
    policy = Policy(machines={"web": MachinePolicy(accept=("nic.address-changed",))})
    found = assessed(machine(), policy)
    assert "nic.address-changed" not in {one.id for one in found.decisions}
    assert "nic.address-changed" in {one.id for one in found.concerns}


def test_rules_that_cannot_be_accepted_offer_no_such_answer(machine: Build) -> None:
    never = {rule.id for rule in MACHINE_RULES if not rule.acceptable}
    subject = machine(arch="s390x", firmware=Firmware())
    found = [one for one in assessed(subject, Policy()).decisions if one.id in never]
    assert found
    assert all("accept" not in answer.policy for one in found for answer in one.answers)
