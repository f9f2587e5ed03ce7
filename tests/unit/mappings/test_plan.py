"""From inventory and policy to a frozen plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import (
    Inventory,
    MachinePolicy,
    Match,
    NetworkMap,
    Plan,
    Policy,
    PolicyRule,
    Probe,
    StopPolicy,
    Window,
    digest_of,
    dump,
    parse,
)
from kubeferry.errors import InputInvalid
from kubeferry.model import Machine, Nic, Power
from mappings.admission.check import check_all
from mappings.assessment import assess
from mappings.plan import make_plan

Build = Callable[..., Machine]
WHEN = "2026-11-24T02:00:00Z"


def inventory(*machines: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="libvirt", observed_at=WHEN, machines=machines)


def planned(machines: tuple[Machine, ...], policy: Policy) -> Plan:
    return make_plan(inventory(*machines), policy, name="first", created_at=WHEN)


@pytest.fixture
def trio(machine: Build) -> tuple[Machine, ...]:
    def one(name: str, last: int) -> Machine:
        nic = Nic(id="net0", network_kind="network", network="default", model="virtio", mac=f"52:54:00:00:00:0{last}")
        return machine(name=name, nics=(nic,), uuid=f"6f1d2b3c-1111-4222-8333-44445555666{last}")

    return one("web", 1), one("db", 2), one("cache", 3)


def policy(**machines: dict[str, Any]) -> Policy:
    return Policy(machines={name: MachinePolicy(**own) for name, own in machines.items()})


def test_a_plan_holds_everything_that_was_decided(trio: tuple[Machine, ...]) -> None:
    probes = (Probe(kind="http", port=80),)
    own = policy(
        web={"after": ("db",), "wave": "late", "probes": probes, "stop": StopPolicy(force=True), "namespace": "shop"}
    )
    plan = planned(trio, own)
    web = plan.entry("web")
    assert (web.namespace, web.target_name, web.probes, web.stop.force) == ("shop", "web", probes, True)
    assert [manifest["metadata"]["namespace"] for manifest in web.manifests] == ["shop", "shop"]
    assert web.machine == trio[0]
    assert web.disks[0].claim == "web-vda"
    assert web.carried
    order = [name for wave in plan.waves for name in wave.machines]
    assert order.index("db") < order.index("web")
    assert plan.waves[-1].name == "late"
    assert plan.inventory_digest == digest_of(inventory(*trio))
    assert check_all(manifest for entry in plan.entries for manifest in entry.manifests) == []


def test_the_same_input_gives_the_same_plan_and_it_is_frozen(trio: tuple[Machine, ...]) -> None:
    first, again = planned(trio, Policy()), planned(trio, Policy())
    assert dump(first) == dump(again)
    assert first.digest == digest_of(first, without=("digest",))
    assert parse(dump(first), Plan) == first


def test_a_blocked_machine_is_excluded_with_its_reason_and_so_is_what_waits_for_it(trio: tuple[Machine, ...]) -> None:
    paused = trio[1].model_copy(update={"power": Power.PAUSED})
    plan = planned((trio[0], paused, trio[2]), policy(web={"after": ("cache",)}, cache={"after": ("db",)}))
    assert plan.entries == ()
    assert plan.waves == ()
    assert plan.excluded["db"].startswith("[machine.paused] The machine is paused")
    assert plan.excluded["cache"] == "It comes after db, which is excluded."
    assert plan.excluded["web"] == "It comes after cache, which is excluded."


def test_a_machine_that_the_policy_leaves_out_holds_nobody_up(trio: tuple[Machine, ...]) -> None:
    plan = planned(trio, policy(db={"include": False}, web={"after": ("db",)}))
    assert plan.excluded == {"db": "The policy leaves it out."}
    assert [entry.name for entry in plan.entries] == ["web", "cache"]


def test_what_is_accepted_moves(trio: tuple[Machine, ...]) -> None:
    paused = trio[1].model_copy(update={"power": Power.PAUSED})
    plan = planned((paused,), policy(db={"accept": ("machine.paused",)}))
    assert plan.excluded == {}
    assert "accepted by the policy" in next(one.what for one in plan.entry("db").concerns if one.id == "machine.paused")


def problems(machines: tuple[Machine, ...], own: Policy) -> list[str]:
    with pytest.raises(InputInvalid) as caught:
        planned(machines, own)
    assert caught.value.exit_code == 2
    assert all(problem.fix for problem in caught.value.problems)
    return [f"{problem.where}: {problem.what}" for problem in caught.value.problems]


def test_a_policy_that_does_not_fit_is_refused_with_all_its_problems(trio: tuple[Machine, ...]) -> None:
    own = policy(
        wep={},
        web={"after": ("dbb",), "accept": ("no.such", "disk.size-unknown"), "name": "same"},
        db={"name": "same"},
    )
    told = problems(trio, own)
    assert len(told) == 6
    for part in ("machines.wep", "'dbb'", "'no.such'", "'disk.size-unknown' cannot be accepted"):
        assert any(part in one for one in told), part
    assert sum("the name 'same'" in one.lower() for one in told) == 2


def test_two_machines_with_one_mac_are_refused(trio: tuple[Machine, ...]) -> None:
    twin = trio[0].model_copy(update={"name": "twin", "id": "5"})
    assert [one.partition(":")[0] for one in problems((*trio, twin), Policy())] == ["machine web", "machine twin"]
    assert "twin" not in planned((*trio, twin), policy(twin={"include": False})).excluded.get("web", "")


def test_a_manifest_that_the_cluster_would_refuse_stops_the_plan(trio: tuple[Machine, ...]) -> None:
    told = problems(trio, Policy(labels={"team": "my team"}, namespace="a.b"))
    assert any("metadata.labels[team]" in one for one in told)
    assert any("metadata.namespace" in one for one in told)


def test_machines_that_wait_for_each_other_are_refused(trio: tuple[Machine, ...]) -> None:
    assert problems(trio, policy(web={"after": ("db",)}, db={"after": ("web",)}))


def test_one_name_in_two_namespaces_is_fine(trio: tuple[Machine, ...]) -> None:
    own = policy(web={"name": "same", "namespace": "a"}, db={"name": "same", "namespace": "b"})
    assert len(planned(trio, own).entries) == 3


def test_a_network_that_is_not_mapped_excludes_its_machine(trio: tuple[Machine, ...]) -> None:
    own = Policy(networks=(NetworkMap(source_kind="bridge"),))
    assert "[nic.unmapped]" in planned(trio[:1], own).excluded["web"]


def test_an_empty_inventory_gives_an_empty_plan(tmp_path: Path) -> None:
    plan = planned((), Policy())
    assert (plan.entries, plan.waves, plan.excluded) == ((), (), {})


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"labels": {"bad!": "v"}}, "is not a legal label key"),
        ({"patch": {"spec": {"template": {"spec": {"colour": "red"}}}}}, "colour"),
    ],
    ids=["label", "patch"],
)
def test_what_the_cluster_would_refuse_of_one_machine_leaves_out_that_one(
    trio: tuple[Machine, ...], wish: dict[str, Any], told: str
) -> None:
    wishes = policy(db=wish)
    plan = planned(trio, wishes)
    assert "db" not in [entry.name for entry in plan.entries]
    assert len(plan.entries) == len(trio) - 1
    assert plan.excluded["db"].startswith("[manifest.refused] ")
    assert told in plan.excluded["db"]
    verdicts = {one.name: one.verdict for one in assess(inventory(*trio), wishes)}
    assert [name for name, verdict in verdicts.items() if verdict == "blocked"] == ["db"]


def test_a_plan_and_an_assessment_are_of_one_mind_on_the_version_that_the_policy_names(
    trio: tuple[Machine, ...],
) -> None:
    panic = {"spec": {"template": {"spec": {"domain": {"devices": {"panicDevices": [{"model": "isa"}]}}}}}}
    wishes = policy(db={"patch": panic}).model_copy(update={"kubevirt": "1.5"})
    assert "1.5" in planned(trio, wishes).excluded["db"]
    (found,) = [one for one in assess(inventory(*trio), wishes) if one.name == "db"]
    assert found.verdict == "blocked"
    assert "manifest.refused" in {one.id for one in found.concerns}


NIGHTS = Window(start="21:00", end="05:00", time_zone="Europe/Vienna")


def test_a_plan_keeps_the_windows_of_its_machines(trio: tuple[Machine, ...]) -> None:
    own = {"db": MachinePolicy(window="any"), "web": MachinePolicy(window="weekend")}
    windows = {"nights": NIGHTS, "weekend": NIGHTS.model_copy(update={"days": ("sat",)}), "unused": NIGHTS}
    plan = planned(trio, Policy(windows=windows, window="nights", machines=own))
    assert {entry.name: entry.window for entry in plan.entries} == {"web": "weekend", "db": None, "cache": "nights"}
    assert list(plan.windows or {}) == ["nights", "weekend"]
    assert parse(dump(plan), Plan) == plan


def test_a_plan_without_windows_is_as_it_was(trio: tuple[Machine, ...]) -> None:
    plan = planned(trio, Policy(windows={"nights": NIGHTS}))
    assert plan.windows is None
    assert "window" not in dump(plan)


def test_windows_that_nobody_defines_are_told_all_at_once(trio: tuple[Machine, ...]) -> None:
    rule = PolicyRule(match=Match(name="*"), window="sunday")
    with pytest.raises(InputInvalid) as caught:
        planned(
            trio,
            Policy(
                windows={"nights": NIGHTS}, window="night", rules=(rule,), machines={"web": MachinePolicy(window="x")}
            ),
        )
    told = [str(problem) for problem in caught.value.problems]
    assert told == [
        "policy window: 'night' is no window of the policy. Did you mean 'nights'?",
        "policy rule 1.window: 'sunday' is no window of the policy. Write one of nights, any.",
        "policy machines.web.window: 'x' is no window of the policy. Write one of nights, any.",
    ]


def test_a_time_zone_that_does_not_exist_is_told_with_those_that_do(trio: tuple[Machine, ...]) -> None:
    plan = planned(trio, policy(web={"timezone": "Europe/Vena"}))
    assert "'Europe/Vena' is not a time zone. Did you mean 'Europe/Vienna'" in plan.excluded["web"]
