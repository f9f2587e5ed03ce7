"""Filters become NetworkPolicies that let nothing through that the source did not. Both are asked about the same
connections, each by a reader of its own: the policy as Kubernetes documents it, the filter as its source does."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.documents import Inventory, MachinePolicy, NetworkMap, Policy, Probe, StoragePolicy, TrafficPolicy
from kubeferry.model import Concern, Machine, Nic, TrafficFilter, TrafficRule
from mappings.admission.check import check_all
from mappings.admission.schema import check_manifest
from mappings.assessment import assess
from mappings.choices import choices_for
from mappings.names import machine_names
from mappings.neighbours import NOBODY, TRAFFIC, group_label
from mappings.plan import make_plan
from mappings.traffic import traffic_of
from tests.unit.mappings.conftest import build

FROM_SOURCE = Policy(
    network=TrafficPolicy(policies="from-source"),
    storage=StoragePolicy(storage_class="fast"),
    probes=(Probe(kind="tcp", port=22),),
)
INSIDE = ("10.0.0.7", "10.0.1.9", "10.1.0.1", "192.168.0.4", "203.0.113.5", "2001:db8::7", "2001:db8:1::1")
CIDRS = ("0.0.0.0/0", "::/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.7/32", "10.0.1.5/24", "2001:db8::/64", "nonsense")
PORTS = (0, 1, 21, 22, 23, 53, 80, 443, 8080, 65534, 65535)
PROTOCOLS = ("tcp", "udp", "sctp", "icmp")


def rule(inward: bool = True, **said: Any) -> TrafficRule:
    return TrafficRule(inward=inward, line=said.pop("line", "a line"), **said)


def group(name: str, *rules: TrafficRule, members: int | None = None) -> TrafficFilter:
    return TrafficFilter(name=name, kind="security-group", rules=rules, members=members)


def guarded(*filters: TrafficFilter, name: str = "web", mac: str = "52:54:00:00:00:01", **card: Any) -> Machine:
    nic = Nic(id="eni-1", network_kind="subnet", network="subnet-1", mac=mac, filters=filters or None, **card)
    uuid = f"6f1d2b3c-1111-4222-8333-4444555566{ord(name[0]):02d}"[:36]
    return build(name=name, id=name, uuid=uuid, nics=(nic,))


def planned(*machines: Machine, policy: Policy = FROM_SOURCE) -> dict[str, dict[str, Any]]:
    """The NetworkPolicies of a plan by machine, and its VirtualMachines."""
    plan = make_plan(inventory(*machines), policy, name="p", created_at="2026-01-01T00:00:00Z")
    found: dict[str, dict[str, Any]] = {"policies": {}, "templates": {}}
    for entry in plan.entries:
        assert check_all(entry.manifests) == []
        for one in entry.manifests:
            if one["kind"] == "NetworkPolicy":
                found["policies"][entry.name] = one
            if one["kind"] == "VirtualMachine":
                found["templates"][entry.name] = one["spec"]["template"]["metadata"]["labels"]
    return found


def policy_of(machine: Machine) -> dict[str, Any] | None:
    """The NetworkPolicy of a machine alone, one that a cluster takes."""
    names = machine_names([machine], FROM_SOURCE)[machine.name]
    found = traffic_of(machine, choices_for(machine, FROM_SOURCE), names).policy
    assert found is None or check_manifest(found) == []
    return found


def inventory(*machines: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="aws", observed_at="2026-01-01T00:00:00Z", machines=machines)


def spec_of(*filters: TrafficFilter, policy: Policy = FROM_SOURCE) -> dict[str, Any]:
    found: dict[str, Any] = planned(guarded(*filters), policy=policy)["policies"]["web"]["spec"]
    return found


def concerns(*machines: Machine, policy: Policy = FROM_SOURCE) -> dict[str, str]:
    told: Iterable[Concern] = assess(inventory(*machines), policy)[0].concerns
    return {one.id: one.what for one in told if one.id.startswith(("traffic.", "nic.filtered"))}


# --- two readers ----------------------------------------------------------------------------------------------------

Flow = tuple[bool, str, int, str]
"""Towards the machine or not, its protocol, the port that is called, the address of the other end."""


def policy_lets(policy: dict[str, Any] | None, flow: Flow) -> bool:
    """As networking.k8s.io/v1 documents it; pods have no addresses here, so what selects pods lets no address in."""
    inward, protocol, port, peer = flow
    kind, key, end = ("Ingress", "ingress", "from") if inward else ("Egress", "egress", "to")
    if policy is None or kind not in policy["spec"]["policyTypes"]:
        return True
    for one in policy["spec"].get(key, []):
        ends = one.get(end)
        ports = one.get("ports")
        there = not ends or any("ipBlock" in to and _in(peer, to["ipBlock"]["cidr"]) for to in ends)
        opened = not ports or any(
            to["protocol"].lower() == protocol
            and ("port" not in to or to["port"] <= port <= to.get("endPort", to["port"]))
            for to in ports
        )
        if there and opened:
            return True
    return False


def groups_let(filters: Iterable[TrafficFilter], flow: Flow) -> bool:
    """As AWS documents security groups: any line that fits lets through."""
    return any(_fits(one, flow) for each in filters for one in each.rules or ())


def first_lets(only: TrafficFilter, flow: Flow) -> bool:
    """As libvirt documents nwfilter, whatever a line says beyond: it fits, at the worst, where it refuses."""
    for one in only.rules or ():
        unclear = one.beyond is not None
        whole = one.model_copy(update={"cidr": None, "beyond": None}) if unclear and not one.accepts else one
        if _fits(whole, flow):
            return one.accepts
    return True


def _fits(one: TrafficRule, flow: Flow) -> bool:
    inward, protocol, port, peer = flow
    if one.inward != inward or one.protocol not in {"all", protocol} or one.beyond is not None or one.group is not None:
        return False
    first, last = one.first_port, one.last_port
    if protocol != "icmp" and not (0 if first is None else first) <= port <= (65535 if last is None else last):
        return False
    return one.cidr is None or _in(peer, one.cidr)


def _in(address: str, cidr: str) -> bool:
    try:
        network = ip_network(cidr, strict=False)
    except ValueError:
        return False
    return ip_address(address) in network


@st.composite
def lines(draw: st.DrawFn, *, accepts: st.SearchStrategy[bool]) -> TrafficRule:
    protocol = draw(st.sampled_from(("all", "tcp", "udp", "sctp", "icmp", "gre")))
    first = last = None
    if protocol in {"tcp", "udp", "sctp"} and draw(st.booleans()):
        first, last = sorted((draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))))
    peer = draw(st.sampled_from((*CIDRS, "sg-other", None)))
    return rule(
        draw(st.booleans()),
        accepts=draw(accepts),
        protocol=protocol,
        first_port=first,
        last_port=last,
        cidr=None if peer == "sg-other" else peer,
        group="sg-other" if peer == "sg-other" else None,
        beyond=draw(st.sampled_from((None, None, None, "the prefix list pl-1"))),
    )


FLOWS: list[Flow] = [
    (inward, protocol, port, peer)
    for inward in (True, False)
    for protocol in PROTOCOLS
    for port in ((1,) if protocol == "icmp" else PORTS[1:])
    for peer in INSIDE
]


@settings(max_examples=60)
@given(st.lists(st.lists(lines(accepts=st.just(True)), max_size=4), min_size=1, max_size=3))
def test_a_policy_of_security_groups_lets_nothing_through_that_they_did_not(groups: list[list[TrafficRule]]) -> None:
    filters = [group(f"sg-{number}", *rules) for number, rules in enumerate(groups)]
    policy = policy_of(guarded(*filters))
    for flow in FLOWS:
        if policy_lets(policy, flow):
            assert groups_let(filters, flow), flow
        elif groups_let(filters, flow):  # what is closed beside is what no policy says
            assert flow[1] == "icmp" or not groups_let([_sayable(one) for one in filters], flow), flow


def _sayable(one: TrafficFilter) -> TrafficFilter:
    rules = [each for each in one.rules or () if each.protocol in {"all", "tcp", "udp", "sctp"}]
    return one.model_copy(update={"rules": tuple(rules)})


@settings(max_examples=60)
@given(st.lists(lines(accepts=st.booleans()), max_size=5))
def test_a_policy_of_a_filter_of_libvirts_lets_nothing_through_that_it_did_not(rules: list[TrafficRule]) -> None:
    rules = [one.model_copy(update={"group": None}) for one in rules]
    only = TrafficFilter(name="guard", kind="nwfilter", rules=tuple(rules))
    policy = policy_of(guarded(only))
    for flow in FLOWS:
        if policy_lets(policy, flow):
            assert first_lets(only, flow), flow


# --- examples -------------------------------------------------------------------------------------------------------


def test_nothing_is_written_where_nobody_asks() -> None:
    quiet = FROM_SOURCE.model_copy(update={"network": None})
    found = planned(guarded(group("sg-1", rule())), policy=quiet)
    assert found["policies"] == {}
    assert set(found["templates"]["web"]) == {
        "app.kubernetes.io/managed-by",
        "kubeferry.io/machine",
        "kubeferry.io/source",
    }


def test_lines_with_the_same_ports_are_one_rule_and_the_policy_selects_the_machines_pod_alone() -> None:
    web = group(
        "sg-1",
        rule(protocol="tcp", first_port=443, last_port=443, cidr="0.0.0.0/0"),
        rule(protocol="tcp", first_port=443, last_port=443, cidr="::/0"),
        rule(protocol="tcp", first_port=8000, last_port=8010, cidr="10.0.0.0/8"),
        rule(inward=False, cidr="0.0.0.0/0"),
    )
    found = planned(guarded(web))
    assert found["templates"]["web"][TRAFFIC] == "web"
    assert found["policies"]["web"]["spec"] == {
        "podSelector": {"matchLabels": {TRAFFIC: "web"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}],
                "ports": [{"protocol": "TCP", "port": 443}],
            },
            {
                "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                "ports": [{"protocol": "TCP", "port": 8000, "endPort": 8010}],
            },
        ],
        "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}],
    }


def test_what_became_of_filters_says_the_policy_that_they_became() -> None:
    (told,) = assess(inventory(guarded(group("sg-1"), filtered=True)), FROM_SOURCE)
    fates = {one.field: (one.fate.value, one.target) for one in told.carried if "filter" in one.field}
    assert fates == {
        "nics[eni-1].filtered": ("changed", "NetworkPolicy web-traffic"),
        "nics[eni-1].filters[sg-1]": ("changed", "NetworkPolicy web-traffic"),
    }


def test_a_group_without_a_line_lets_nothing_in_or_out() -> None:
    spec = spec_of(group("sg-1"))
    assert (spec["ingress"], spec["egress"]) == ([], [])


def test_a_line_to_port_0_alone_opens_nothing() -> None:
    spec = spec_of(group("sg-1", rule(protocol="tcp", first_port=0, last_port=0, group="sg-1"), members=1))
    assert spec["ingress"] == []


def test_ports_that_are_none_are_not_written() -> None:
    spec = spec_of(group("sg-1", rule(protocol="tcp", first_port=65000, last_port=70000, cidr="10.0.0.0/8")))
    assert spec["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 65000, "endPort": 65535}]


def tiers(members: int | None) -> tuple[Machine, Machine]:
    front = guarded(group("sg-web", members=1), name="web")
    to_front = rule(protocol="tcp", first_port=5432, last_port=5432, group="sg-web", line="tcp 5432 from sg-web")
    database = guarded(group("sg-db", to_front, members=members), name="db", mac="52:54:00:00:00:02")
    return front, database


def test_a_group_of_which_all_move_is_known_by_a_label_also_in_another_namespace() -> None:
    front, database = tiers(1)
    policy = FROM_SOURCE.model_copy(update={"machines": {"web": MachinePolicy(namespace="front")}})
    found = planned(front, database, policy=policy)
    assert found["templates"]["web"][group_label("sg-web")] == "member"
    assert group_label("sg-db") not in found["templates"]["db"], "nobody names it"
    assert found["policies"]["db"]["spec"]["ingress"] == [
        {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "front"}},
                    "podSelector": {"matchLabels": {"kubeferry.io/group-sg-web": "member"}},
                }
            ],
            "ports": [{"protocol": "TCP", "port": 5432}],
        }
    ]


@pytest.mark.parametrize(
    ("members", "policy", "why"),
    [
        (2, FROM_SOURCE, "1 of the 2 cards in it do not move with the plan"),
        (None, FROM_SOURCE, "how many are in it was not told: 1 card of it moves"),
        (
            1,
            FROM_SOURCE.model_copy(update={"machines": {"web": MachinePolicy(include=False)}}),
            "none of its members is known to move with the plan",
        ),
        (
            1,
            FROM_SOURCE.model_copy(
                update={"machines": {"web": MachinePolicy(networks=(NetworkMap(target="multus", multus_name="a/b"),))}}
            ),
            "none of its members is known to move with the plan",
        ),
    ],
)
def test_a_group_of_which_not_all_move_is_no_selector_and_that_is_said(
    members: int | None, policy: Policy, why: str
) -> None:
    _, database = tiers(1)
    front = guarded(group("sg-web", members=members), name="web")
    assert planned(database, front, policy=policy)["policies"]["db"]["spec"]["ingress"] == []
    assert why in concerns(database, front, policy=policy)["traffic.left"]


def test_a_machine_that_stays_for_a_reason_of_its_own_is_nobodys_neighbour() -> None:
    front, database = tiers(1)
    blocked = front.model_copy(update={"disks": (front.disks[0].model_copy(update={"encrypted": True}),)})
    found = planned(database, blocked)
    assert "web" not in found["templates"]
    assert found["policies"]["db"]["spec"]["ingress"] == []


def test_lines_that_no_policy_says_are_listed_each_with_its_reason() -> None:
    told = concerns(
        guarded(
            group(
                "sg-1",
                rule(protocol="icmp", beyond="the protocol icmp", line="icmp from 0.0.0.0/0"),
                rule(protocol="tcp", beyond="the prefix list pl-1", line="tcp 443 from pl-1"),
                rule(inward=False, cidr="0.0.0.0/0"),
            )
        )
    )
    left = "sg-1: icmp from 0.0.0.0/0 (no NetworkPolicy says the protocol icmp)"
    other = "sg-1: tcp 443 from pl-1 (no NetworkPolicy says the prefix list pl-1)"
    assert told == {"traffic.left": f"No NetworkPolicy carries: {left}; {other}."}


def test_a_card_on_another_network_is_not_reached_and_that_is_said() -> None:
    policy = FROM_SOURCE.model_copy(update={"networks": (NetworkMap(target="multus", multus_name="lab/lan"),)})
    machine = guarded(group("sg-1", rule()))
    assert planned(machine, policy=policy)["policies"] == {}
    assert concerns(machine, policy=policy) == {
        "traffic.unreached": "NetworkPolicies do not reach card eni-1, which is on lab/lan: sg-1."
    }


def test_filters_that_were_not_told_make_no_policy() -> None:
    unknown = TrafficFilter(name="sg-2", title="db", kind="security-group")
    machine = guarded(group("sg-1", rule(cidr="0.0.0.0/0")), unknown)
    assert planned(machine)["policies"] == {}
    assert "db (sg-2)" in concerns(machine)["traffic.unknown"]


def test_dns_is_let_out_where_the_policy_says_so() -> None:
    only_web = group("sg-1", rule(inward=False, protocol="tcp", first_port=443, last_port=443, cidr="0.0.0.0/0"))
    asking = FROM_SOURCE.model_copy(update={"network": TrafficPolicy(policies="from-source", resolver=True)})
    assert "traffic.resolver" in concerns(guarded(only_web))
    assert "traffic.resolver" not in concerns(guarded(only_web), policy=asking)
    (_, names) = spec_of(only_web, policy=asking)["egress"]
    assert [one["port"] for one in names["ports"]] == [53, 53]


def test_a_segment_of_a_distributed_switch_becomes_a_group_where_the_policy_asks() -> None:
    closed = FROM_SOURCE.model_copy(update={"network": TrafficPolicy(segments=True)})
    of = {"switch": "dvs", "network_key": "dvportgroup-31", "vlans": (30,)}
    one, other = guarded(name="web", **of), guarded(name="db", mac="52:54:00:00:00:02", **of)
    far = guarded(name="far", mac="52:54:00:00:00:03", **(of | {"vlans": (31,)}))
    found = planned(one, other, far, policy=closed)
    labels = {name: {key for key in told if "group-" in key} for name, told in found["templates"].items()}
    assert labels["web"] == labels["db"] != labels["far"]
    (peer,) = found["policies"]["web"]["spec"]["ingress"][0]["from"]
    assert set(peer["podSelector"]["matchLabels"]) == labels["web"]
    standard = guarded(name="web", **(of | {"network_key": None}))
    assert planned(standard, policy=closed)["policies"] == {}, "its name may be another switch's on another host"


def test_no_patch_takes_the_label_away() -> None:
    taken = [{"op": "remove", "path": "/spec/template/metadata/labels/kubeferry.io~1traffic"}]
    policy = FROM_SOURCE.model_copy(update={"machines": {"web": MachinePolicy(patch=tuple(taken))}})
    (told,) = assess(inventory(guarded(group("sg-1"))), policy)
    assert told.verdict == "blocked"


def test_nobody_is_around_a_machine_that_is_mapped_alone() -> None:
    assert (NOBODY.places, NOBODY.missing) == ({}, {})
