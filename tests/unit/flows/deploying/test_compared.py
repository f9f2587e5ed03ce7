"""What is on a server against what a plan needs."""

from __future__ import annotations

from dataclasses import replace

from flows.deploying.compared import AutomationThere, Found, There, changes, fields, foreign, removals
from flows.deploying.wanted import OURS, Choices, Wanted, wanted
from kubeferry.documents import Entry, Plan, Wave
from lab.machines import a_machine

CHOICES = Choices("j1", config="/etc/kubeferry.yaml")


def a_plan(*, mode: str = "warm") -> Plan:
    entry = Entry.model_validate(
        {
            "name": "web",
            "targetName": "web",
            "namespace": "apps",
            "machine": a_machine("web"),
            "disks": (),
            "manifests": (),
            "mode": mode,
        }
    )
    waves = (Wave(name="w1", machines=("web",)),)
    moment = "2026-12-01T00:00:00Z"
    digest = "0123456789abcdef"
    return Plan(
        name="shop", created_at=moment, source="lab", inventory_digest="", waves=waves, entries=(entry,), digest=digest
    )


def all_there(asked: Wanted) -> Found:
    deployments = tuple(
        There(str(number), one.name, one.tags, fields(one, asked.pool, "process"))
        for number, one in enumerate(asked.deployments)
    )
    automations = tuple(AutomationThere(one.name, one.name, (*one.tags, one.spec)) for one in asked.automations)
    return Found("process", True, len(deployments), deployments, automations)


def test_nothing_is_there_and_all_is_made() -> None:
    asked = wanted(a_plan(), CHOICES)
    done = changes(asked, Found(None))
    assert {one.deed for one in done} == {"make"}
    assert done[0].kind == "work pool"
    assert {"precopy/shop", "cutover/shop", "rollback/shop", "discover/shop"} <= {one.name for one in done}
    assert "plan/shop" not in {one.name for one in done}, "no policy is kept"
    assert "plan/shop" in {one.name for one in wanted(a_plan(), replace(CHOICES, policy="shop")).deployments}
    caretake = next(one for one in done if one.name == "caretake/shop")
    assert caretake.told(done=False) == "would make deployment caretake/shop: runs every 1 min 00 s"
    assert caretake.facts()["schedules"][0]["interval"] == 60  # as Prefect has it: for programs
    cutover = next(one for one in asked.deployments if one.verb == "cutover")
    assert cutover.parameters == {"plan": "shop", "digest": "0123456789abcdef", "config": "/etc/kubeferry.yaml"}
    assert cutover.limit == 1


def test_where_machines_are_handed_out_there_is_a_deployment_of_which_there_may_be_many_runs() -> None:
    assert "machine/shop" not in {one.name for one in wanted(a_plan(), CHOICES).deployments}
    spread = wanted(a_plan(), replace(CHOICES, spread=True))
    (machine,) = (one for one in spread.deployments if one.verb == "machine")
    assert (machine.entrypoint, machine.limit, machine.wakings) == ("flows.programme.taking.machine", None, ())
    done = changes(wanted(a_plan(), CHOICES), all_there(spread))
    assert [(one.deed, one.name) for one in done] == [("remove", "machine/shop")]


def test_all_is_there_and_nothing_changes() -> None:
    asked = wanted(a_plan(), CHOICES)
    assert changes(asked, all_there(asked)) == []
    assert foreign(asked, all_there(asked)) == []


def test_a_plan_that_needs_less_takes_its_own_away_and_nothing_else() -> None:
    asked, there = wanted(a_plan(mode="cold"), CHOICES), all_there(wanted(a_plan(), CHOICES))
    other = There("x", "precopy/other", (OURS, "plan:other", "journal:j1"), {})
    theirs = There("y", "precopy/theirs", (OURS, "plan:shop", "journal:j2"), {})
    done = changes(asked, replace(there, deployments=(*there.deployments, other, theirs)))
    assert [(one.deed, one.name) for one in done if one.deed == "remove"] == [("remove", "precopy/shop")]


def test_what_others_have_made_is_in_the_way() -> None:
    asked = wanted(a_plan(), CHOICES)
    theirs = (There("1", "cutover/shop", ("team",), {}), There("2", "report/shop", (OURS, "journal:j2"), {}))
    found = Found("process", deployments=theirs, automations=(AutomationThere("a", "kubeferry: runs that died", ()),))
    told = [f"{one.where}: {one.what}" for one in foreign(asked, found)]
    assert told == [
        "deployment cutover/shop: kubeferry did not make it",
        "deployment report/shop: another journal's plan has it",
        "automation kubeferry: runs that died: kubeferry did not make it",
    ]


def test_what_plans_share_goes_with_the_last_of_them() -> None:
    asked = wanted(a_plan(), CHOICES)
    there = all_there(asked)
    other = There("x", "cutover/other", (OURS, "plan:other", "journal:j1"), {})
    kinds = {one.kind for one in removals(asked, replace(there, deployments=(*there.deployments, other)))}
    assert kinds == {"deployment"}
    assert {one.kind for one in removals(asked, there)} == {"deployment", "automation", "work pool"}
    assert "work pool" not in {one.kind for one in removals(asked, replace(there, pool_used=99))}
