"""The policy's rules: whom they are for, who has the last word, and that it is told who decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import (
    Inventory,
    MachinePolicy,
    Match,
    NetworkMap,
    Offer,
    Placement,
    Platform,
    Policy,
    PolicyRule,
    StopPolicy,
    StoragePolicy,
)
from kubeferry.errors import InputInvalid
from kubeferry.model import Guest, Machine, Nic
from mappings.admission.check import check_all
from mappings.assessment import assess, render_assessment_markdown
from mappings.choices import choices_for
from mappings.plan import make_plan
from mappings.wishes import fits, settled

Build = Callable[..., Machine]


def inventory(*machines: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="vmware", observed_at="2026-01-01T00:00:00Z", machines=machines)


def planned(policy: Policy, *machines: Machine) -> dict[str, dict[str, Any]]:
    plan = make_plan(inventory(*machines), policy, name="p", created_at="2026-01-01T00:00:00Z")
    return {entry.name: entry.manifests[-1] for entry in plan.entries}


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(), True),
        (Match(name="WEB*"), True),
        (Match(name="db*"), False),
        (Match(source="lab", os="*windows*"), True),
        (Match(os="windows"), True),
        (Match(os="*debian*"), False),
        (Match(folder="/dc/vm/shop*"), True),
        (Match(network="dmz-*"), True),
        (Match(network="lan"), False),
        (Match(tags={"env": "prod"}), True),
        (Match(tags={"env": "test"}), False),
        (Match(tags={"team": "cash"}), True),
        (Match(tags={"owner": "*"}), True),
        (Match(tags={"nobody": "*"}), False),
        (Match(name="web*", tags={"env": "test"}), False),
        (Match(labels={"tier": "f*"}), True),
        (Match(labels={"tier": "back"}), False),
        (Match(labels={"other": "*"}), False),
    ],
)
def test_whom_a_match_fits(machine: Build, match: Match, expected: bool) -> None:
    told = machine(
        name="web01",
        guest=Guest(os_name="Microsoft Windows Server 2019"),
        nics=(Nic(id="a", network="lan0"), Nic(id="b", network="vs0", portgroup="dmz-7")),
        metadata={"folder": "/dc/vm/shop", "tag/env": "gold, prod", "team": "cash", "attribute/owner": "Ada"},
    )
    assert fits(match, told, {"tier": "front"}) is expected


def test_the_last_rule_wins_the_machines_own_choice_is_last_and_lists_add_up(machine: Build) -> None:
    policy = Policy(
        rules=(
            PolicyRule(match=Match(), disk_bus="sata", labels={"a": "1"}, accept=("disk.shared",)),
            PolicyRule(match=Match(name="web*"), disk_bus="scsi", labels={"b": "2"}, namespace="shop"),
            PolicyRule(match=Match(name="db*"), namespace="data"),
        ),
        machines={"web": MachinePolicy(labels={"a": "3"}, accept=("guest.no-agent",))},
    )
    found = settled(policy, [machine()])
    own = found.policy.of("web")
    assert (own.disk_bus, own.namespace, own.labels) == ("scsi", "shop", {"a": "3", "b": "2"})
    assert own.accept == ("disk.shared", "guest.no-agent")
    assert found.decided["web"] == {
        "diskBus": "rule 2",
        "namespace": "rule 2",
        "labels[a]": "its own choice",
        "labels[b]": "rule 2",
        "accept": "rule 1, its own choice",
    }


def test_labels_and_annotations_are_made_of_tags(machine: Build) -> None:
    tags = {"tag/Team": "Blue & Green", "cost": "4711", "folder": "/dc/vm/shop"}
    rule = PolicyRule(
        match=Match(),
        labels={"cost": "said"},
        labels_from={"team": "{tag:Team}", "cost": "{tag:cost}", "app": "{folder}", "stage": "{tag:stage}"},
        annotations_from={"team": "Team {tag:Team}", "of": "{name}@{source}", "stage": "{tag:stage}"},
    )
    own = MachinePolicy(labels={"app": "own"})
    web, db = machine(metadata=tags), machine(name="db")
    found = settled(Policy(rules=(rule,), machines={"web": own}), [web, db])
    assert found.policy.of("web").labels == {"team": "Blue-and-Green", "cost": "said", "app": "own"}
    assert found.policy.of("web").annotations == {"team": "Team Blue & Green", "of": "web@lab"}
    assert found.policy.of("db").labels == {"cost": "said"}
    assert found.decided["web"] == {
        "labels[team]": "rule 1",
        "labels[cost]": "rule 1",
        "labels[app]": "its own choice",
        "annotations[team]": "rule 1",
        "annotations[of]": "rule 1",
    }
    (told,) = (one for one in assess(inventory(web), Policy(rules=(rule,))) if one.name == "web")
    unset = [one.what for one in told.concerns if one.id == "labels.unset"]
    assert unset == [
        "It gets no label stage, which is to be '{tag:stage}', and it has no tag:stage to make it of.",
        "It gets no annotation stage, which is to be '{tag:stage}', and it has no tag:stage to make it of.",
    ]
    made = planned(Policy(rules=(rule,)), web)["web"]["metadata"]
    assert (made["labels"]["team"], made["annotations"]["of"]) == ("Blue-and-Green", "web@lab")


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ("a--b_c.d", "a--b_c.d"),
        ("Köln", "Koeln"),
        ("Österreich (Süd)", "Oesterreich-Sued"),
        ("Café", "Cafe"),
        ("日本", None),
        ("x 日本", None),  # x alone would be another one
        ("-._-", None),
        ("t" * 70, "t" * 63),
    ],
)
def test_what_a_label_holds_of_a_tag(machine: Build, tag: str, label: str | None) -> None:
    told = machine(metadata={"tag/Team": tag})
    policy = Policy(rules=(PolicyRule(match=Match(), labels_from={"team": "{tag:Team}"}),))
    assert settled(policy, [told]).policy.of("web").labels.get("team") == label
    (found,) = assess(inventory(told), policy)
    assert [one.what for one in found.concerns if one.id == "labels.unset"] == (
        [f"It gets no label team, which is to be '{{tag:Team}}', and no letter of {tag!r} can stand there."]
        if label is None
        else []
    )


@pytest.mark.parametrize("template", ["{tag:Nope}", "{folder}-{tag:Nope}", "{tag:Owner}"])
def test_a_template_that_makes_no_name_of_a_machine_leaves_its_own_and_is_told(machine: Build, template: str) -> None:
    told = machine(name="db01", metadata={"folder": "/dc/shop", "tag/Owner": "日本"})
    named = Policy(rules=(PolicyRule(match=Match(), name_template=template),))
    (found,) = assess(inventory(told), named)
    assert found.target_name == "db01"
    assert "name.unsettled" in {one.id for one in found.concerns}
    placed = Policy(rules=(PolicyRule(match=Match(), namespace_template=template),))
    (found,) = assess(inventory(told), placed)
    assert "namespace.unsettled" in {one.id for one in found.concerns}
    assert found.namespace == "default"


def test_keys_that_are_ours_are_refused_once(machine: Build) -> None:
    rule = PolicyRule(
        match=Match(tags={"no": "*"}),
        labels={"kubeferry.io/machine": "x", "tier": "y"},
        annotations_from={"kubeferry.io/machine-id": "{name}", "Good.io/Name": "{name}"},
    )
    policy = Policy(rules=(rule,), labels={"app.kubernetes.io/managed-by": "me"})
    with pytest.raises(InputInvalid) as refused:
        planned(policy, machine())
    assert {one.where: one.what for one in refused.value.problems} == {
        "policy labels[app.kubernetes.io/managed-by]": "is kubeferry's own",
        "policy rule 1": "fits no machine of the inventory (tags: {no: *})",
        "policy rule 1.labels[kubeferry.io/machine]": "is kubeferry's own",
        "policy rule 1.annotationsFrom[kubeferry.io/machine-id]": "is kubeferry's own",
    }


def test_a_word_of_a_label_that_nothing_can_be_put_in_for_is_refused(machine: Build) -> None:
    policy = Policy(rules=(PolicyRule(match=Match(), labels_from={"a": "{owner}", "b": "{tag:}"}),))
    with pytest.raises(InputInvalid) as refused:
        planned(policy, machine())
    assert [one.where for one in refused.value.problems] == [
        "policy rule 1.labelsFrom.a",
        "policy rule 1.labelsFrom.b",
    ]


def test_a_rule_is_for_those_that_rules_before_it_the_policy_or_the_machine_itself_have_labelled(
    machine: Build,
) -> None:
    policy = Policy(
        labels={"estate": "old"},
        rules=(
            PolicyRule(match=Match(labels={"tier": "*"}), grace_seconds=1),  # too early for what the next one says
            PolicyRule(match=Match(name="web"), labels={"tier": "front"}),
            PolicyRule(match=Match(labels={"tier": "front", "estate": "old"}), grace_seconds=2),
        ),
        machines={"db": MachinePolicy(labels={"tier": "back"})},
    )
    found = settled(policy, [machine(), machine(name="db")])
    assert [found.policy.of(name).grace_seconds for name in ("web", "db")] == [2, 1]


def test_what_a_later_rule_does_not_say_of_a_group_stays_as_it_was_said(machine: Build) -> None:
    policy = Policy(
        storage=StoragePolicy(storage_class="fast", filesystem_overhead=0.1),
        stop=StopPolicy(agent_seconds=5),
        rules=(
            PolicyRule(match=Match(), placement=Placement(node_selector={"zone": "a"}, priority_class="low")),
            PolicyRule(match=Match(), placement=Placement(priority_class="high")),
            PolicyRule(match=Match(), storage=StoragePolicy(storage_class=None), stop=StopPolicy(force=True)),
        ),
    )
    found = settled(policy, [machine()])
    chosen = choices_for(machine(), found.policy)
    assert chosen.placement == Placement(node_selector={"zone": "a"}, priority_class="high")
    assert (chosen.stop.agent_seconds, chosen.stop.force) == (5, True)
    assert (chosen.storage.storage_class, chosen.storage.overhead) == (None, 0.1)
    assert found.decided["web"] == {
        "placement.nodeSelector": "rule 1",
        "placement.priorityClass": "rule 2",
        "storage.storageClass": "rule 3",
        "stop.force": "rule 3",
    }
    (page,) = (render_assessment_markdown(one) for one in assess(inventory(machine()), policy))
    assert '- `placement.nodeSelector`: {"zone": "a"} (rule 1)' in page
    assert "- `storage.storageClass`: null (rule 3)" in page


def test_what_is_taken_back_was_decided_by_who_took_it_back(machine: Build) -> None:
    rules = (
        PolicyRule(match=Match(), placement=Placement(priority_class="low"), networks=(NetworkMap(),)),
        PolicyRule(match=Match(), placement=None, networks=()),
    )
    found = settled(Policy(rules=rules), [machine()])
    assert found.decided["web"] == {"placement": "rule 2", "networks": "rule 2"}


def test_networks_of_later_rules_are_looked_at_first_and_those_of_earlier_ones_after_them(machine: Build) -> None:
    lan, dmz, other = (NetworkMap(source_name=name, target="multus", multus_name=f"net/{name}") for name in "abc")
    again = NetworkMap(source_name="a", target="drop")
    rules = (PolicyRule(match=Match(), networks=(lan, dmz)), PolicyRule(match=Match(), networks=(again,)))
    for policy, expected in (
        (Policy(rules=rules), (again, lan, dmz)),  # nobody speaks of other cards: none is on the pod network unasked
        (Policy(rules=rules, networks=(other,)), (again, lan, dmz, other)),
    ):
        assert choices_for(machine(), settled(policy, [machine()]).policy).networks == expected


def test_a_windows_is_one_whatever_its_source_calls_it(machine: Build) -> None:
    by_id, other = Guest(os_id="http://microsoft.com/win/2k22"), Guest(os_id="http://debian.org/debian/12")
    assert fits(Match(os="*windows*"), machine(guest=by_id))
    assert not fits(Match(os="*windows*"), machine(guest=other))


def test_a_machine_whose_name_several_have_is_offered_by_its_whole_names(machine: Build) -> None:
    policy = Policy(machines={"web": MachinePolicy(include=False)})
    with pytest.raises(InputInvalid) as refused:
        planned(policy, machine(name="web-1", nics=()), machine(name="web-2", nics=()))
    assert refused.value.problems[0].fix == "Write one of web-1, web-2."


def test_a_rule_that_turns_a_default_on_again_counts(machine: Build) -> None:
    """What is said counts, also where it is what would hold anyway."""
    policy = Policy(rules=(PolicyRule(match=Match(), include=False), PolicyRule(match=Match(name="web"), include=True)))
    assert settled(policy, [machine(), machine(name="db")]).policy.of("web").include
    assert not settled(policy, [machine(), machine(name="db")]).policy.of("db").include


def test_the_page_says_which_rule_decided_what(machine: Build) -> None:
    policy = Policy(rules=(PolicyRule(match=Match(os="*debian*"), grace_seconds=30),))
    (found,) = assess(inventory(machine()), policy)
    assert found.decided == {"graceSeconds": "rule 1"}
    assert "- `graceSeconds`: 30 (rule 1)" in render_assessment_markdown(found)


def test_the_page_says_what_was_decided_and_cuts_what_is_long(machine: Build) -> None:
    choice = MachinePolicy(
        run_strategy="Halted", placement=Placement(priority_class="high"), annotations={"note": "x" * 400}
    )
    (found,) = assess(inventory(machine()), Policy(machines={"web": choice}))
    page = render_assessment_markdown(found)
    assert "- `runStrategy`: Halted (its own choice)" in page
    assert "- `placement.priorityClass`: high (its own choice)" in page
    assert "x…" in page
    assert "x" * 200 not in page


@pytest.mark.parametrize(
    ("policy", "offer", "said"),
    [
        (Policy(kubevirt="1.6"), Offer(), "Made for KubeVirt 1.6, which the policy names."),
        (
            Policy(kubevirt="1.6"),
            Offer(kubevirt=Platform(version="1.8")),
            "Made for KubeVirt 1.8, which the cluster has.",
        ),
        (Policy(), Offer(), "Made for the newest KubeVirt: neither a cluster nor the policy says another."),
    ],
)
def test_the_page_says_which_kubevirt_it_is_for(machine: Build, policy: Policy, offer: Offer, said: str) -> None:
    (found,) = assess(inventory(machine()), policy, offer=offer)
    assert said in render_assessment_markdown(found)


def test_where_it_may_run_and_what_it_is_guaranteed(machine: Build) -> None:
    place = Placement(
        node_selector={"zone": "a"},
        affinity={"nodeAffinity": {}},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        priority_class="high",
        dedicated_cpus=True,
        requests={"memory": "4Gi"},
        limits={"memory": "4Gi"},
    )
    rule = PolicyRule(
        match=Match(), placement=place, eviction_strategy="LiveMigrate", grace_seconds=30, annotations={"owner": "Ada"}
    )
    made = planned(Policy(rules=(rule,)), machine())["web"]
    spec = made["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"zone": "a"}
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert (spec["priorityClassName"], spec["evictionStrategy"]) == ("high", "LiveMigrate")
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["domain"]["cpu"]["dedicatedCpuPlacement"] is True
    assert spec["domain"]["resources"] == {"requests": {"memory": "4Gi"}, "limits": {"memory": "4Gi"}}
    assert made["metadata"]["annotations"]["owner"] == "Ada"


def test_names_and_namespaces_by_template(machine: Build) -> None:
    rule = PolicyRule(match=Match(), name_template="{name}-moved", namespace_template="app-{folder}")
    web = machine(name="web01.corp", metadata={"folder": "/dc/vm/Shop 2"})
    made = planned(Policy(rules=(rule,)), web)["web01.corp"]
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("web01-corp-moved", "app-shop-2")


@pytest.mark.parametrize("folder", [{}, {"folder": "/"}], ids=["none", "empty"])
@pytest.mark.parametrize("template", ["{folder}", "app-{folder}"])
def test_a_namespace_of_a_word_that_the_machine_has_not_is_refused_and_the_policy_settles_it(
    machine: Build, folder: dict[str, str], template: str
) -> None:
    rule = PolicyRule(match=Match(), namespace_template=template)
    bare, other = (
        machine(metadata=folder),
        machine(name="db", uuid=None, nics=(), disks=(), metadata={"folder": "shop"}),
    )
    facts = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01", machines=(bare, other))
    plan = make_plan(facts, Policy(rules=(rule,)), name="p", created_at="2026-01-01")
    assert [entry.name for entry in plan.entries] == ["db"]
    assert plan.excluded["web"].startswith("[namespace.unsettled] Its namespace is to be ")
    assert "it has no folder" in plan.excluded["web"]
    own = {"web": MachinePolicy(namespace="own")}
    plan = make_plan(facts, Policy(rules=(rule,), machines=own), name="p", created_at="2026-01-01")
    assert plan.entry("web").namespace == "own"


def test_a_template_that_makes_two_names_one_keeps_them_apart(machine: Build) -> None:
    rule = PolicyRule(match=Match(), name_template="{source}")
    other = machine(name="db", id="db", uuid=None, nics=())
    names = {made["metadata"]["name"] for made in planned(Policy(rules=(rule,)), machine(), other).values()}
    assert names == {"lab-web", "lab-db"}


def test_what_is_wrong_with_rules_is_told_at_once(machine: Build) -> None:
    policy = Policy(
        rules=(
            PolicyRule(match=Match(name="nobody"), after=("no-one",)),
            PolicyRule(match=Match(), name_template="{who}", accept=("no.concern",)),
        )
    )
    with pytest.raises(InputInvalid) as refused:
        planned(policy, machine())
    places = {problem.where for problem in refused.value.problems}
    whom = "fits no machine of the inventory (name: nobody)"
    assert {problem.what for problem in refused.value.problems if problem.where == "policy rule 1"} == {whom}
    assert places == {
        "policy rule 1",
        "policy rule 1.after",
        "policy rule 2.nameTemplate",
        "policy rule 2.accept",
    }


def test_a_rule_cannot_give_many_machines_one_name() -> None:
    with pytest.raises(ValueError, match="use nameTemplate"):
        PolicyRule(match=Match(), name="web")


def test_a_single_card_is_mapped_by_its_id_or_address_and_may_get_a_new_one(machine: Build) -> None:
    cards = (
        Nic(id="net0", network="lan", mac="52:54:00:00:00:01", model="virtio"),
        Nic(id="net1", network="lan", mac="52:54:00:00:00:02", model="virtio"),
        Nic(id="net2", network="lan", mac="52:54:00:00:00:03", model="virtio"),
    )
    policy = Policy(
        networks=(
            NetworkMap(source_mac="52:54:00:00:00:02", target="pod", mac="new"),
            NetworkMap(source_card="net2", target="multus", multus_name="lan/fast", binding="sriov"),
            NetworkMap(target="multus", multus_name="lab/lan", binding_plugin="l2bridge"),
        )
    )
    made = planned(policy, machine(nics=cards))["web"]
    assert check_all([made])[0].what.startswith("uses the claim")  # nothing else is wrong
    first, second, third = made["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
    assert first["binding"] == {"name": "l2bridge"}
    assert (second["masquerade"], "macAddress" in second) == ({}, False)
    assert (third["sriov"], "model" in third, third["macAddress"]) == ({}, False, "52:54:00:00:00:03")


@pytest.mark.parametrize(
    "of_the_pod",
    [{"source_mac": "52:54:00:AA:00:02"}, {"source_mac": "52-54-00-aa-00-02"}, {"source_card": "net1"}],
)
@pytest.mark.parametrize("rest", [{"target": "drop"}, {"target": "multus", "multus_name": "lab/lan"}])
def test_of_two_cards_on_one_network_one_is_the_pod_s_by_its_address_or_its_id(
    machine: Build, of_the_pod: dict[str, str], rest: dict[str, Any]
) -> None:
    cards = tuple(Nic(id=f"net{at}", network="lan", mac=f"52:54:00:aa:00:0{at + 1}", model="virtio") for at in (0, 1))
    both = machine(nics=cards)
    refused = make_plan(inventory(both), Policy(), name="p", created_at="2026-01-01T00:00:00Z")
    assert "[nic.second-pod]" in refused.excluded["web"]
    single = NetworkMap(source_kind="*", source_name="lan", target="pod", **of_the_pod)
    policy = Policy(networks=(single, NetworkMap(source_name="lan", **rest)))
    (entry,) = make_plan(inventory(both), policy, name="p", created_at="2026-01-01T00:00:00Z").entries
    spec = entry.manifests[-1]["spec"]["template"]["spec"]
    on_pod = [one["name"] for one in spec["networks"] if "pod" in one]
    addresses = {one["name"]: one["macAddress"] for one in spec["domain"]["devices"]["interfaces"]}
    assert [addresses[name] for name in on_pod] == ["52:54:00:aa:00:02"]
    assert len(spec["networks"]) == (1 if rest["target"] == "drop" else 2)


def test_sriov_is_no_binding_of_the_pod_network() -> None:
    with pytest.raises(ValueError, match="needs target multus"):
        NetworkMap(binding="sriov")


def test_networks_of_one_name_are_told_apart_by_their_switch_tag_or_key(machine: Build) -> None:
    cards = tuple(
        Nic(id=f"net{at}", network="prod", switch=f"dvs-{at}", network_key=f"dvportgroup-{at}", vlans=(tag,))
        for at, tag in enumerate((120, 999))
    )
    both = machine(nics=cards)

    def mapped(*rules: NetworkMap) -> tuple[list[str], set[str]]:
        policy = Policy(networks=(*rules, NetworkMap(target="multus", multus_name="net/rest")))
        (entry,) = make_plan(inventory(both), policy, name="p", created_at="2026-01-01T00:00:00Z").entries
        networks = entry.manifests[-1]["spec"]["template"]["spec"]["networks"]
        told = {one.id for one in entry.concerns if one.id == "nic.network-ambiguous"}
        return [one["multus"]["networkName"] for one in networks], told

    by_name = NetworkMap(source_name="prod", target="multus", multus_name="net/prod")
    assert mapped(by_name) == (["net/prod", "net/prod"], {"nic.network-ambiguous"})
    for facts in ({"source_switch": "dvs-1"}, {"source_vlan": 999}, {"source_key": "dvportgroup-1"}):
        exact = by_name.model_copy(update=facts)
        other = by_name.model_copy(update={"source_switch": "dvs-0", "multus_name": "net/other"})
        assert mapped(exact, other) == (["net/other", "net/prod"], set()), facts


def test_port_groups_of_one_name_on_the_switches_of_single_hosts_are_one_network(machine: Build) -> None:
    cards = tuple(Nic(id=f"net{at}", network="VM Network", switch=f"vSwitch{at}") for at in (0, 1))
    policy = Policy(networks=(NetworkMap(target="multus", multus_name="lab/lan"),))
    (entry,) = make_plan(inventory(machine(nics=cards)), policy, name="p", created_at="2026-01-01T00:00:00Z").entries
    assert "nic.network-ambiguous" not in {one.id for one in entry.concerns}
