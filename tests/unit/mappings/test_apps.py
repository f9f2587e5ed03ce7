"""Which machines belong to which app, and what follows for the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Inventory, Offer, Plan, Policy, dump, load_outline, parse, save
from kubeferry.errors import InputInvalid
from kubeferry.model import Machine, Nic
from mappings.assessment import assess, render_assessment_markdown, render_summary_markdown
from mappings.plan import make_plan

Build = Callable[..., Machine]
WHEN = "2026-11-24T02:00:00Z"
NAMES = ("db1", "db2", "web1", "web2", "crm", "wiki")


@pytest.fixture
def inventory(machine: Build) -> Inventory:
    """Six machines in folders, with tags: the shop's, a crm, a wiki."""

    def one(number: int, name: str) -> Machine:
        mac = f"52:54:00:00:00:0{number}"
        nic = Nic(id="net0", network_kind="network", network="default", model="virtio", mac=mac)
        told = {"folder": "Prod/Shop" if name[-1].isdigit() else "Prod/Office", "app": f"The {name.rstrip('12')}"}
        return machine(name=name, nics=(nic,), uuid=f"6f1d2b3c-1111-4222-8333-44445555666{number}", metadata=told)

    machines = tuple(one(number, name) for number, name in enumerate(NAMES))
    return Inventory(source="lab", source_kind="libvirt", observed_at=WHEN, machines=machines)


def policy(**said: Any) -> Policy:
    return Policy.model_validate({"apiVersion": "kubeferry.io/v1alpha1", "kind": "Policy"} | said)


def planned(inventory: Inventory, own: Policy, **given: Any) -> Plan:
    return make_plan(inventory, own, name="first", created_at=WHEN, **given)


def refused(inventory: Inventory, own: Policy) -> list[str]:
    with pytest.raises(InputInvalid) as caught:
        planned(inventory, own)
    assert all(problem.fix for problem in caught.value.problems)
    return [f"{problem.where}: {problem.what}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    "said",
    [
        {"apps": {"shop": {"members": ["db*", "WEB1", "web2"]}}},
        {"apps": {"shop": {"folder": "*/shop"}}},
        {"apps": {"shop": {"tags": {"app": "the [dw]*"}, "members": ["web1"]}}, "machines": {"wiki": {"app": ""}}},
        {
            "apps": {"shop": {"labels": {"tier": "x"}}},
            "rules": [{"match": {"folder": "*shop"}, "labels": {"tier": "x"}}],
        },
        {"rules": [{"match": {"folder": "*shop"}, "app": "shop"}]},
        {"machines": {name: {"app": "shop"} for name in ("db1", "db2", "web1", "web2")}},
    ],
    ids=["members", "folder", "tags", "labels", "rule", "machines"],
)
def test_an_app_comes_of_names_folders_tags_labels_rules_and_single_choices(
    inventory: Inventory, said: dict[str, Any]
) -> None:
    plan = planned(inventory, policy(**said))
    (app,) = plan.apps or ()
    assert set(app.members) == {"db1", "db2", "web1", "web2"}
    assert plan.entry("db1").app == "shop"
    assert plan.entry("crm").app is None


def test_app_from_makes_names_of_tags_and_leaves_out_who_has_none(inventory: Inventory) -> None:
    bare = inventory.machines[5].model_copy(update={"metadata": {}})
    inventory = inventory.model_copy(update={"machines": (*inventory.machines[:5], bare)})
    plan = planned(inventory, policy(rules=[{"match": {}, "appFrom": "{tag:app}"}]))
    assert {app.name: app.members for app in plan.apps or ()} == {
        "the-crm": ("crm",),
        "the-db": ("db1", "db2"),
        "the-web": ("web1", "web2"),
    }
    assert plan.entry("wiki").app is None


SHOP = {
    "owner": "Anna",
    "members": ["db*", "web*"],
    "order": [["db*"], ["web*"]],
    "wave": "w1",
    "probes": [{"kind": "http", "port": 80, "machine": "web2"}],
}


def test_order_and_what_comes_after_an_app_become_what_machines_wait_for(inventory: Inventory) -> None:
    own = policy(
        apps={"shop": SHOP, "crm": {"members": ["crm"], "after": ["shop"]}}, machines={"wiki": {"after": ["app:crm"]}}
    )
    plan = planned(inventory, own)
    assert {entry.name: set(entry.after or ()) for entry in plan.entries} == {
        "db1": set(),
        "db2": set(),
        "web1": {"db1", "db2"},
        "web2": {"db1", "db2", "web1"},  # it answers for the app, and moves last
        "crm": {"db1", "db2", "web1", "web2"},
        "wiki": {"crm"},
    }
    assert [(wave.name, wave.machines) for wave in plan.waves] == [
        ("w1", ("db1", "db2", "web1", "web2")),
        ("wave-1", ("crm",)),
        ("wave-2", ("wiki",)),
    ]
    crm, shop = plan.apps or ()
    assert (crm.after, shop.tiers) == (("shop",), (("db1", "db2"), ("web1", "web2")))
    assert (shop.owner, plan.entry("web1").owner, plan.entry("crm").owner) == ("Anna", "Anna", None)
    assert shop.asked_of("web2")
    assert not shop.asked_of("web1")
    assert parse(dump(plan), Plan) == plan


def test_an_app_that_moves_as_one_is_a_set_and_stays_warm(inventory: Inventory, tmp_path: Any) -> None:
    plan = planned(inventory, policy(apps={"shop": SHOP | {"together": True}}, mode="warm"))
    assert plan.set_of("web1") == ("db1", "db2", "web1", "web2")
    assert {plan.entry(name).mode for name in NAMES} == {"warm"}
    assert plan.entry("web1").after is None
    assert plan.entry("web1").bond == "app shop moves as one"
    save(plan, tmp_path / "plan.yaml")
    outline = load_outline(tmp_path / "plan.yaml")
    assert [app.name for app in outline.apps or ()] == ["shop"]


def test_what_blocks_one_of_an_app_that_moves_as_one_leaves_out_all(inventory: Inventory) -> None:
    broken = {"wiki": {"labels": {"bad!": "v"}}, "db2": {"labels": {"bad!": "v"}}}
    plan = planned(inventory, policy(apps={"shop": SHOP | {"together": True}}, machines=broken))
    assert "It moves together with db2, which is excluded: app shop moves as one" in plan.excluded["web1"]
    assert plan.apps is None
    plan = planned(inventory, policy(apps={"shop": {"members": ["db*"]}}, machines=broken))
    assert [(app.name, app.members) for app in plan.apps or ()] == [("shop", ("db1",))]


def test_everything_that_is_wrong_with_apps_is_told_at_once(inventory: Inventory) -> None:
    own = policy(
        apps={
            "shop": SHOP | {"order": [["db1", "ghost"], ["db1"]], "after": ["nobody"]},
            "data": {"members": ["db1"], "after": ["crm"]},
            "crm": {"members": ["crm"], "after": ["data"], "probes": [{"kind": "agent", "machine": "wiki"}]},
            "empty": {"members": ["zz*"]},
        },
        machines={"wiki": {"after": ["app:shp", "app:shop"]}},
        waves={"apart": [["db1", "nope"]], "atMost": [{"tags": {"role": "dc"}, "count": 1}]},
    )
    told = refused(inventory, own)
    for part in (
        "policy apps, db1: is of shop and of data",
        "policy apps.shop.order: 'ghost' is no machine of the app",
        "policy apps.shop.order: db1 stands in two tiers",
        "policy apps.shop.after: 'nobody' is no app",
        "policy machines.wiki.after: 'shp' is no app",
        "policy apps.data.after: data after crm after data: they wait for each other",
        "policy apps.crm.probes: 'wiki' is no machine of the app",
        "policy apps.empty: fits no machine of the inventory",
        "policy waves.apart, group 1: nope fits no machine of the inventory",
        "policy waves.atMost: role: dc fits no machine of the inventory",
    ):
        assert part in told, (part, told)
    assert len(told) == 10, told


def test_a_machine_s_own_choice_settles_who_has_it(inventory: Inventory) -> None:
    apps = {"shop": {"members": ["db*"]}, "data": {"members": ["db1"]}}
    plan = planned(inventory, policy(apps=apps, machines={"db1": {"app": "data"}}))
    assert {app.name: app.members for app in plan.apps or ()} == {"data": ("db1",), "shop": ("db2",)}
    told = refused(inventory, policy(apps=apps, rules=[{"match": {"name": "db2"}, "app": "data"}]))
    assert told == ["policy apps, db1: is of shop and of data", "policy apps, db2: is of shop and of data"]


def test_two_probes_of_an_app_are_asked_of_two_machines_only_where_it_moves_as_one(inventory: Inventory) -> None:
    probes = [{"kind": "agent", "machine": "db1"}, {"kind": "agent", "machine": "web1"}]
    told = refused(inventory, policy(apps={"shop": SHOP | {"probes": probes}}))
    assert "they are asked of db1 and web1, of which only one can be the last to move" in told[0]
    assert planned(inventory, policy(apps={"shop": SHOP | {"probes": probes, "together": True}})).apps


def test_waves_hold_no_more_than_the_policy_says(inventory: Inventory) -> None:
    own = policy(
        apps={"shop": {"members": ["db*"]}},
        waves={
            "capacity": {"machines": 3},
            "atMost": [{"tags": {"app": "the web"}, "count": 1}],
            "apart": [["crm", "wiki"]],
        },
    )
    waves = [wave.machines for wave in planned(inventory, own).waves]
    assert waves == [("crm", "db1", "db2"), ("web1", "wiki"), ("web2",)]
    own = policy(machines={name: {"wave": "w1"} for name in NAMES}, waves={"capacity": {"machines": 3, "cpus": 1}})
    told = refused(inventory, own)
    assert [one.partition(":")[0] for one in told[:1]] == ["waves.capacity.cpus"]
    assert any("wave w1 comes to 6 machines, and 3 machines is the most of one wave" in one for one in told)


def test_a_plan_without_apps_is_as_it_was(inventory: Inventory) -> None:
    text = dump(planned(inventory, policy()))
    for word in ("apps:", "  owner:", "apart:", "atMost:", "capacity:", "window:"):
        assert word not in text


def test_an_assessment_names_the_app_of_a_machine(inventory: Inventory) -> None:
    found = assess(inventory, policy(apps={"shop": SHOP}))
    web = next(one for one in found if one.name == "web1")
    assert (web.app, web.owner, web.wave, set(web.after)) == ("shop", "Anna", "w1", {"db1", "db2"})
    page = render_assessment_markdown(web)
    assert "- App: shop\n- Owner: Anna\n- Wave: w1\n- Comes after: db1, db2\n" in page
    assert "| Machine | App | Verdict |" in render_summary_markdown(found)
    assert "| App |" not in render_summary_markdown(assess(inventory, policy()))


def test_the_probes_of_an_app_are_held_against_the_machine_that_answers_for_it(inventory: Inventory) -> None:
    last = inventory.machines[3].model_copy(update={"nics": ()})
    inventory = inventory.model_copy(update={"machines": (*inventory.machines[:3], last, *inventory.machines[4:])})
    plan = planned(inventory, policy(apps={"shop": SHOP}))
    assert "[probe.no-card]" in plan.excluded["web2"]
    assert plan.entry("web1").app_probes is None
    entry = planned(inventory, policy(apps={"shop": SHOP | {"probes": [{"kind": "agent"}]}})).entry("web2")
    assert [probe.kind for probe in entry.all_probes] == ["agent", "agent"]


TOGETHER = {"rehearsal": {"together": True}}


@pytest.mark.parametrize("as_one", [False, True])
def test_an_app_that_is_rehearsed_together_is_known_by_each_of_its_machines(inventory: Inventory, as_one: bool) -> None:
    own = policy(apps={"shop": SHOP | TOGETHER | {"together": as_one}}, rehearsal={"required": True}, mode="warm")
    plan = planned(inventory, own, offer=Offer(together=True))
    assert plan.rehearsed_with("db1") == plan.rehearsed_with("web2") == ("db1", "db2", "web1", "web2")
    assert plan.rehearsed_with("crm") == ()
    without = planned(inventory, policy(apps={"shop": SHOP}, mode="warm"))
    assert "rehearsal" not in dump(without).split("apps:")[1].split("entries:")[0]


def test_where_each_is_rehearsed_by_itself_the_plan_says_so_before_anything_is_done(inventory: Inventory) -> None:
    alone = Offer(together=False, packets=False)
    own = policy(apps={"shop": SHOP | TOGETHER}, mode="warm")
    plan = planned(inventory, own, offer=alone)
    assert "[rehearsal.alone]" in plan.excluded["web1"]
    accepted = {name: {"accept": ["rehearsal.alone"]} for name in NAMES}
    plan = planned(inventory, policy(apps={"shop": SHOP | TOGETHER}, mode="warm", machines=accepted), offer=alone)
    assert plan.rehearsed_with("web1") == ()
    told = next(one for one in plan.entry("web1").concerns if one.id == "rehearsal.alone")
    assert "nothing is asked of the app as a whole" in told.what
    assert "`rehearsal: {together: false}`" in told.fix
    everywhere = policy(
        apps={"shop": SHOP | TOGETHER | {"together": True}},
        mode="warm",
        rehearsal={"required": True},
        machines=accepted,
    )
    with pytest.raises(InputInvalid, match="the policy does not fit"):
        planned(inventory, everywhere, offer=alone)


def test_an_app_of_which_one_is_copied_after_its_stop_is_not_rehearsed_together(inventory: Inventory) -> None:
    own = policy(apps={"shop": SHOP | TOGETHER}, mode="warm", machines={"db1": {"mode": "cold"}})
    assert "[rehearsal.never]" in planned(inventory, own).excluded["db1"]


@pytest.mark.parametrize("asked", ["required", "eachRound"])
def test_a_rehearsal_and_an_app_that_moves_as_one_do_not_go_together(inventory: Inventory, asked: str) -> None:
    own = policy(apps={"shop": {"members": ["web1", "db1"], "together": True}}, rehearsal={asked: True}, mode="warm")
    problems = refused(inventory, own)
    assert len(problems) == 2
    assert "app shop moves as one: its machines are not rehearsed" in problems[0]


def test_machines_that_an_app_names_and_that_are_none_are_told_and_those_left_out_are_some(
    inventory: Inventory,
) -> None:
    apps = {"shop": {"members": ["DB1", "web*", "nope*", "ghost", "gone"]}}
    assert refused(inventory, policy(apps=apps)) == [
        "policy apps.shop.members: 'ghost' is no machine of the inventory",
        "policy apps.shop.members: 'gone' is no machine of the inventory",
    ]
    own = policy(apps={"shop": {"members": ["db1", "db2"]}}, machines={"db2": {"include": False}})
    assert [app.members for app in planned(inventory, own).apps or ()] == [("db1",)]
