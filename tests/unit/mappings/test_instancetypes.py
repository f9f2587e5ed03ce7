"""Instance types and preferences: what stands in the manifest, what must not stand beside it, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import (
    Entry,
    Inventory,
    MachinePolicy,
    Match,
    Offer,
    OfferedPreference,
    OfferedType,
    Placement,
    Plan,
    Platform,
    Policy,
    PolicyRule,
    TypeRef,
)
from kubeferry.errors import InputInvalid
from kubeferry.model import Cpu, CpuFeature, Fate, Machine, Memory
from mappings.admission.check import check_all
from mappings.assessment import assess, render_assessment_markdown
from mappings.plan import make_plan

GIB = 1 << 30
Build = Callable[..., Machine]
MEDIUM = OfferedType(name="u1.medium", vcpus=1, memory_bytes=4 * GIB)
DEDICATED = OfferedType(
    name="cx1.large",
    vcpus=2,
    memory_bytes=4 * GIB,
    hugepages="1Gi",
    dedicated_cpus=True,
    node_selector={"pool": "pinned"},
    sets=("cpu.dedicatedCPUPlacement", "cpu.model", "memory.hugepages", "nodeSelector"),
)
OWN = OfferedType(name="small", namespace="shop", vcpus=8, memory_bytes=16 * GIB)
OFFER = Offer(
    types=(MEDIUM, DEDICATED, OWN),
    preferences=(
        OfferedPreference(name="rhel.9", sets=("devices.rng",)),
        OfferedPreference(name="windows.2k22", needs_vcpus=2, needs_memory_bytes=4 * GIB),
    ),
)


def inventory(*machines: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="vmware", observed_at="2026-01-01T00:00:00Z", machines=machines)


def plan(machine: Machine, offer: Offer = OFFER, **own: Any) -> Plan:
    policy = Policy(machines={"web": MachinePolicy(**own)})
    return make_plan(inventory(machine), policy, name="p", created_at="2026-01-01T00:00:00Z", offer=offer)


def entry(machine: Machine, offer: Offer = OFFER, **own: Any) -> Entry:
    (found,) = plan(machine, offer, **own).entries
    return found


def named(machine: Build) -> Machine:
    """Two processors of a named model with a feature, huge pages, and room to grow."""
    return machine(
        cpu=Cpu(
            vcpus=2,
            max_vcpus=4,
            sockets=2,
            cores=1,
            threads=1,
            mode="custom",
            model="EPYC-Rome",
            features=(CpuFeature(name="pcid", policy="require"),),
        ),
        memory=Memory(size_bytes=4 * GIB, max_bytes=8 * GIB, hugepage_bytes=2 << 20),
    )


def template(found: Entry) -> dict[str, Any]:
    spec: dict[str, Any] = found.manifests[-1]["spec"]["template"]["spec"]
    return spec


def test_both_stand_in_the_spec_by_kind_and_name(machine: Build) -> None:
    made = entry(
        machine(),
        namespace="shop",
        instancetype=TypeRef(name="small", kind="namespaced"),
        preference=TypeRef(name="rhel.9"),
    )
    spec = made.manifests[-1]["spec"]
    assert spec["instancetype"] == {"kind": "VirtualMachineInstancetype", "name": "small"}
    assert spec["preference"] == {"kind": "VirtualMachineClusterPreference", "name": "rhel.9"}
    assert made.sized_by is not None
    assert made.sized_by.gives == OWN


def test_what_every_type_gives_does_not_stand_beside_it_and_the_rest_stays(machine: Build) -> None:
    made = template(entry(named(machine), instancetype=TypeRef(name="u1.medium")))
    assert made["domain"]["cpu"] == {"model": "EPYC-Rome", "features": [{"name": "pcid", "policy": "require"}]}
    assert "memory" not in made["domain"]
    assert "resources" not in made["domain"]


def test_what_this_type_sets_as_well_goes_too(machine: Build) -> None:
    made = template(entry(named(machine), instancetype=TypeRef(name="cx1.large")))
    assert made["domain"]["cpu"] == {"features": [{"name": "pcid", "policy": "require"}]}
    assert "memory" not in made["domain"]


def test_of_a_type_that_nobody_knows_all_goes_that_it_may_set_but_not_the_user_s_wishes(machine: Build) -> None:
    place = Placement(node_selector={"zone": "a"}, dedicated_cpus=True)
    found = entry(named(machine), Offer(), instancetype=TypeRef(name="u9.huge"), placement=place)
    made = template(found)
    assert made["domain"]["cpu"] == {
        "dedicatedCpuPlacement": True,
        "features": [{"name": "pcid", "policy": "require"}],
    }
    assert made["nodeSelector"] == {"zone": "a"}
    assert found.sized_by is not None
    assert found.sized_by.gives is None
    told = {concern.id: concern.what for concern in found.concerns}
    assert told["instancetype.unknown"] == (
        "What instance type u9.huge gives is not known; the machine had 2 processors and 4 GiB of memory."
    )


def test_a_type_that_gives_less_is_told_and_what_becomes_of_each_fact(machine: Build) -> None:
    found = entry(named(machine), instancetype=TypeRef(name="u1.medium"))
    told = {concern.id: concern.what for concern in found.concerns}
    assert told["instancetype.smaller"] == "Instance type u1.medium gives the machine 1 processor, and it had 2."
    fates = {line.field: line for line in found.carried}
    assert (fates["cpu.vcpus"].fate, fates["cpu.vcpus"].target) == (Fate.CHANGED, "spec.instancetype")
    assert fates["cpu.vcpus"].reason == "now 1: instance type u1.medium decides"
    assert (fates["memory.size_bytes"].fate, fates["memory.size_bytes"].reason) == (
        Fate.CARRIED,
        "instance type u1.medium gives as much",
    )
    assert fates["cpu.max_vcpus"].reason == "instance type u1.medium decides"
    assert fates["cpu.features[pcid]"].fate == Fate.CARRIED
    assert not {"cpu.topology-changed", "memory.hotplug-lost"} & told.keys()


def test_the_page_says_what_was_decided(machine: Build) -> None:
    rule = PolicyRule(match=Match(), instancetype=TypeRef(name="cx1.large"), preference=TypeRef(name="rhel.9"))
    (found,) = assess(inventory(machine()), Policy(rules=(rule,)), offer=OFFER)
    page = render_assessment_markdown(found)
    assert '- `instancetype`: {"name": "cx1.large"} (rule 1)' in page
    assert "Instance type cx1.large gives it 2 processors and 4 GiB; it also decides cpu.dedicatedCPUPlacement" in page
    assert "Preference rhel.9 fills in what the machine leaves open: it names devices.rng." in page


def test_a_later_rule_can_take_it_away_again(machine: Build) -> None:
    rules = (
        PolicyRule(match=Match(), instancetype=TypeRef(name="u1.medium")),
        PolicyRule(match=Match(name="web"), instancetype=None),
    )
    (found,) = assess(inventory(machine()), Policy(rules=rules), offer=OFFER)
    assert "instancetype" not in found.manifests[-1]["spec"]
    assert found.manifests[-1]["spec"]["template"]["spec"]["domain"]["cpu"]["sockets"] == 2


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"instancetype": TypeRef(name="u1.tiny")}, "[instancetype.missing] There is no cluster instance type u1.tiny"),
        (
            {"instancetype": TypeRef(name="small", kind="namespaced")},
            "[instancetype.missing] There is no namespaced instance type small",
        ),
        ({"preference": TypeRef(name="beos")}, "[preference.missing] There is no cluster preference beos"),
        (
            {"preference": TypeRef(name="windows.2k22")},
            "[preference.unmet] Preference windows.2k22 needs 4 GiB of memory, and there would be 2 GiB",
        ),
        (
            {"preference": TypeRef(name="windows.2k22"), "instancetype": TypeRef(name="u1.medium")},
            "needs 2 processors, and there would be 1: KubeVirt refuses the machine.",
        ),
        (
            {"instancetype": TypeRef(name="u1.medium"), "placement": Placement(limits={"memory": "4Gi"})},
            "The policy's placement says limits.memory, and so does the instance type.",
        ),
        (
            {"instancetype": TypeRef(name="cx1.large"), "placement": Placement(node_selector={"zone": "a"})},
            "The policy's placement says nodeSelector",
        ),
    ],
)
def test_what_would_be_refused_or_never_start_is_out_of_the_plan(machine: Build, own: Any, said: str) -> None:
    assert said in plan(machine(), **own).excluded["web"]


def test_a_preference_whose_needs_are_met_by_the_type_or_by_nobody_knows_what_is_no_hindrance(machine: Build) -> None:
    enough = plan(machine(), preference=TypeRef(name="windows.2k22"), instancetype=TypeRef(name="cx1.large"))
    unknown = OFFER.model_copy(update={"types": None})
    open_to = plan(machine(), unknown, preference=TypeRef(name="windows.2k22"), instancetype=TypeRef(name="u9"))
    assert not enough.excluded
    assert not open_to.excluded


def test_a_kubevirt_that_expands_them_is_refused(machine: Build) -> None:
    offer = OFFER.model_copy(update={"kubevirt": Platform(version="1.9", expands_types=True)})
    assert "[instancetype.expanded]" in plan(machine(), offer, preference=TypeRef(name="rhel.9")).excluded["web"]
    assert not plan(machine(), offer).excluded


def test_a_patch_that_names_a_type_beside_the_machine_s_own_size_is_refused(machine: Build) -> None:
    patch = ({"spec": {"instancetype": {"name": "u1.medium"}}},)
    with pytest.raises(InputInvalid) as refused:
        plan(machine(), patch=patch)
    assert any("conflicts with explicit cpu and memory" in one.what for one in refused.value.problems)
    nameless = ({"spec": {"preference": {"kind": "VirtualMachinePreference"}}},)
    with pytest.raises(InputInvalid) as refused:
        plan(machine(), patch=nameless)
    assert [one.what for one in refused.value.problems] == ["names nothing"]


def test_what_is_reckoned_with_is_what_the_type_gives_else_what_the_machine_had(machine: Build) -> None:
    known = entry(machine(), instancetype=TypeRef(name="u1.medium"))
    sized = known.sized(known.manifests[-1])["spec"]["template"]["spec"]["domain"]
    assert (sized["cpu"]["sockets"], sized["memory"]["guest"]) == (1, str(4 * GIB))
    unknown = entry(machine(), Offer(), instancetype=TypeRef(name="u1.medium"))
    sized = unknown.sized(unknown.manifests[-1])["spec"]["template"]["spec"]["domain"]
    assert (sized["cpu"]["sockets"], sized["memory"]["guest"]) == (2, str(2 * GIB))
    large = entry(machine(), instancetype=TypeRef(name="cx1.large"))
    sized = large.sized(large.manifests[-1])["spec"]["template"]["spec"]
    assert sized["nodeSelector"] == {"pool": "pinned"}
    assert sized["domain"]["cpu"]["dedicatedCpuPlacement"] is True
    assert sized["domain"]["memory"]["hugepages"] == {"pageSize": "1Gi"}
    plain = entry(machine())
    assert plain.sized(plain.manifests[-1]) is plain.manifests[-1]


@pytest.mark.parametrize("version", ["1.5", "1.6", "1.7", "1.8", "1.9"])
def test_every_version_takes_it(machine: Build, version: str) -> None:
    made = entry(named(machine), instancetype=TypeRef(name="u1.medium"), preference=TypeRef(name="rhel.9"))
    assert check_all(made.manifests, Platform(version=version)) == []


def test_before_1_7_a_patch_may_say_nothing_of_memory_beside_a_type(machine: Build) -> None:
    pages = ({"spec": {"template": {"spec": {"domain": {"memory": {"hugepages": {"pageSize": "2Mi"}}}}}}},)
    own: dict[str, Any] = {"instancetype": TypeRef(name="u1.medium"), "patch": pages}
    assert not plan(machine(), OFFER.model_copy(update={"kubevirt": Platform(version="1.7")}), **own).excluded
    with pytest.raises(InputInvalid) as refused:
        plan(machine(), OFFER.model_copy(update={"kubevirt": Platform(version="1.6")}), **own)
    assert [one.what for one in refused.value.problems] == ["KubeVirt 1.6 refuses any memory beside an instance type"]
