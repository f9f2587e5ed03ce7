"""Whether what the policy asks of the started copy can be answered: said before its source is stopped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubeferry.documents import Policy, Probe
from kubeferry.model import Guest, Machine, Severity
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


@pytest.mark.parametrize("kind", ["tcp", "http", "serial"])
def test_probes_that_need_none_say_nothing(machine: Build, kind: str) -> None:
    assert told(machine(guest=Guest()), kind) == []
    assert "(file)" in told(machine(guest=Guest()), kind, "file")[0][1]


def test_who_knows_that_it_is_there_accepts_it(machine: Build) -> None:
    found = told(machine(guest=Guest()), "agent", accept=("probe.agent-unsure",))
    assert [severity for severity, _ in found] == [Severity.INFO]
