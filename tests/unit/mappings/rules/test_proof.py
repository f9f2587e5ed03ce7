"""Whether what the policy asks of the started copy can be answered: said before its source is stopped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubeferry.documents import Offer, Policy, Probe
from kubeferry.model import Guest, Machine, Nic, Severity
from mappings.machine import to_manifests
from mappings.names import machine_names

Build = Callable[..., Machine]


def told(machine: Machine, *kinds: str, accept: tuple[str, ...] = ()) -> list[tuple[Severity, str]]:
    needs = {"path": "/data/x", "port": 22, "expect": "x"}
    policy = Policy(
        probes=tuple(Probe.model_validate({"kind": kind} | needs) for kind in kinds),
        machines={machine.name: {"accept": accept}},
    )
    found = to_manifests(machine, policy, machine_names([machine], policy)[machine.name]).concerns
    return [(one.severity, one.what) for one in found if one.id == "probe.agent-unsure"]


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        (Guest(), "is not known to be there"),
        (Guest(agent_channel=False), "is not there"),
        (Guest(agent_channel=True, agent_answers=False), "does not answer"),
        (Guest(agent_channel=True, agent_answers=True), None),
        (Guest(agent_channel=True), None),  # it is off, and somebody gave it a channel
    ],
)
def test_a_probe_that_needs_an_agent_is_critical_where_none_is_known(
    machine: Build, guest: Guest, said: str | None
) -> None:
    found = told(machine(guest=guest), "agent")
    assert [severity for severity, _ in found] == [Severity.CRITICAL] * (said is not None)
    assert said is None or said in found[0][1]


@pytest.mark.parametrize("kind", ["tcp", "http", "serial", "screen", "packets"])
def test_probes_that_need_none_say_nothing(machine: Build, kind: str) -> None:
    assert told(machine(guest=Guest()), kind) == []
    assert "(file)" in told(machine(guest=Guest()), kind, "file")[0][1]


def test_who_knows_that_it_is_there_accepts_it(machine: Build) -> None:
    found = told(machine(guest=Guest()), "agent", accept=("probe.agent-unsure",))
    assert [severity for severity, _ in found] == [Severity.INFO]


def test_the_ways_out_are_named_where_no_agent_is_known(machine: Build) -> None:
    subject = machine(guest=Guest())
    found = to_manifests(subject, Policy(), machine_names([subject], Policy())[subject.name]).concerns
    fix = next(one.fix for one in found if one.id == "probe.agent-unsure")
    assert all(f"`{kind}`" in fix for kind in ("screen", "tcp", "http", "serial", "packets"))


def ids(machine: Machine, policy: Policy, offer: Offer = Offer()) -> set[str]:  # noqa: B008
    found = to_manifests(machine, policy, machine_names([machine], policy)[machine.name], offer).concerns
    return {one.id for one in found if one.id.startswith("probe.")}


CARD = Nic(id="net0", model="virtio", mac="52:54:00:12:34:56", network="prod", network_kind="network")


def test_a_screen_is_asked_for_only_where_the_finished_machine_has_one(machine: Build) -> None:
    def patched(on: bool) -> Policy:
        devices = {"autoattachGraphicsDevice": on}
        patch = {"spec": {"template": {"spec": {"domain": {"devices": devices}}}}}
        return Policy.model_validate({"probes": [{"kind": "screen"}], "machines": {"web": {"patch": patch}}})

    asked = Policy(probes=(Probe(kind="screen"),))
    assert ids(machine(name="web"), asked) == set()
    assert ids(machine(name="web", headless=True), asked) == {"probe.no-screen"}
    assert ids(machine(name="web", headless=True), patched(on=True)) == set()
    assert ids(machine(name="web"), patched(on=False)) == {"probe.no-screen"}
    without = {"op": "remove", "path": "/spec/template/spec/domain/devices"}
    odd = Policy.model_validate({"probes": [{"kind": "screen"}], "machines": {"web": {"patch": [without]}}})
    assert ids(machine(name="web"), odd) == set()


@pytest.mark.parametrize("kind", ["tcp", "http", "packets"])
def test_a_probe_through_the_network_needs_a_card_at_the_target(machine: Build, kind: str) -> None:
    asked = Policy(probes=(Probe.model_validate({"kind": kind, "port": 22}),))
    dropped = Policy.model_validate({**asked.model_dump(by_alias=True), "networks": [{"target": "drop"}]})
    assert ids(machine(nics=(CARD,)), asked) == set()
    assert ids(machine(nics=(CARD,)), dropped) == {"probe.no-card"}
    assert ids(machine(nics=()), asked) == {"probe.no-card"}


@pytest.mark.parametrize(("seen", "said"), [(True, set()), (False, {"probe.packets-unseen"}), (None, set())])
def test_packets_are_asked_for_only_where_the_target_sees_them(machine: Build, seen: bool | None, said: set) -> None:
    asked = Policy(probes=(Probe(kind="packets"),))
    assert ids(machine(nics=(CARD,)), asked, Offer(packets=seen)) == said
