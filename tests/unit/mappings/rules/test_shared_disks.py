"""One disk of several machines is never copied for each of them in silence: what one writes no other would see. It is
moved once, for all of them together, where that can be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import ClaimSet, Inventory, MachinePolicy, Offer, Plan, Policy, StorageClass, StoragePolicy
from kubeferry.errors import InputInvalid
from kubeferry.model import Disk, DiskBus, DiskDevice, Machine, SourceFact
from kubeferry.sources.libvirt.domain.machine import parse_domain
from mappings.admission.check import check_together
from mappings.assessment import assess, render_assessment_markdown
from mappings.names import machine_names
from mappings.plan import make_plan
from mappings.sharing import sharings
from mappings.storage import UNASKED

Build = Callable[..., Machine]
BuildDisk = Callable[..., Disk]
QUORUM = "block:///dev/vg0/quorum"
AT = "2026-01-01T00:00:00Z"


@pytest.fixture
def pair(machine: Build, disk: BuildDisk) -> Callable[..., Inventory]:
    """Machines `a` and `b` with a disk each, and one that is both's; `c` has nothing to do with them."""

    def make(**shared: Any) -> Inventory:
        shared = {"uri": QUORUM, "shareable": True} | shared
        machines = [
            machine(
                id=f"id-{name}",
                name=name,
                uuid=f"6f1d2b3c-1111-4222-8333-00000000000{at}",
                disks=(disk("vda", uri=f"block:///dev/vg0/{name}"), *([disk("vdb", **shared)] if name != "c" else [])),
                nics=(),
            )
            for at, name in enumerate(("a", "b", "c"))
        ]
        return Inventory(source="lab", source_kind="libvirt", observed_at=AT, machines=tuple(machines))

    return make


def sharers(machines: list[Machine]) -> dict[str, dict[str, tuple[str, ...]]]:
    """By machine and disk: the other machines that have the very same disk."""
    found = sharings(machines, Policy(), machine_names(machines, Policy()))
    return {name: {disk: one.others for disk, one in sharing.disks.items()} for name, sharing in found.items()}


def planned(inventory: Inventory, **machines: MachinePolicy) -> Any:
    return make_plan(inventory, Policy(machines=machines), name="p", created_at=AT)


def test_a_set_of_machines_with_one_disk_is_refused_and_each_names_the_others(pair: Callable[..., Inventory]) -> None:
    plan = planned(pair())
    assert [entry.name for entry in plan.entries] == ["c"]
    assert "[disk.shared] Disk vdb is also that of b" in plan.excluded["a"]
    assert "[disk.shared] Disk vdb is also that of a" in plan.excluded["b"]
    assert "leave all of them out" in plan.excluded["a"]
    told = {one.name: one.verdict for one in assess(pair(), Policy())}
    assert told["a"] == told["b"] == "blocked" != told["c"]


def test_one_that_is_left_out_is_named_all_the_same(pair: Callable[..., Inventory]) -> None:
    plan = planned(pair(), b=MachinePolicy(include=False))
    assert "is also that of b" in plan.excluded["a"]


def test_who_accepts_it_gets_a_copy_of_its_own_and_reads_what_that_means(pair: Callable[..., Inventory]) -> None:
    plan = planned(pair(), a=MachinePolicy(accept=("disk.shared",)))
    assert [entry.name for entry in plan.entries] == ["a", "c"]
    (told,) = [one for one in plan.entries[0].concerns if one.id == "disk.shared"]
    assert "what one writes no other would see" in told.what
    assert "as after a loss of power at best: shut all of them down before the last one" in told.what
    assert "(accepted by the policy)" in told.what
    vm = plan.entries[0].manifests[-1]
    assert "shareable" not in str(vm)


def test_it_is_enough_that_one_of_them_says_so(pair: Callable[..., Inventory]) -> None:
    inventory = pair()
    a, b, c = inventory.machines
    silent = b.model_copy(update={"disks": (b.disks[0], b.disks[1].model_copy(update={"shareable": False}))})
    plan = planned(inventory.model_copy(update={"machines": (a, silent, c)}))
    assert [entry.name for entry in plan.entries] == ["c"]


def test_a_lun_is_known_by_its_own_number_and_other_disks_by_their_place_only(machine: Build, disk: BuildDisk) -> None:
    def two(**same: Any) -> list[Machine]:
        return [machine(name=name, disks=(disk("1", uri=f"vmfs:{name}", serial="6000c2", **same),)) for name in "ab"]

    assert sharers(two(source_kind="rdm", shareable=True)) == {"a": {"1": ("b",)}, "b": {"1": ("a",)}}
    assert sharers(two(source_kind="datastore", shareable=True)) == {}
    assert sharers(two(source_kind="rdm")) == {}  # seen twice, and by nobody's word shared


def test_machines_of_two_sources_have_no_disk_in_common(machine: Build, disk: BuildDisk) -> None:
    machines = [machine(name=name, source=name, disks=(disk("vda", uri=QUORUM, shareable=True),)) for name in "ab"]
    assert sharers(machines) == {}


def test_libvirt_s_own_words_make_a_set() -> None:
    machines = [parse_domain(domain(name), source="lab") for name in ("cluster-a", "cluster-b", "alone")]
    assert sharers(machines) == {"cluster-a": {"vdb": ("cluster-b",)}, "cluster-b": {"vdb": ("cluster-a",)}}


def domain(name: str) -> str:
    device = f"/dev/vg0/{'other' if name == 'alone' else 'quorum'}"
    disks = (
        f"<disk type='file' device='disk'><source file='/srv/vm/{name}.img'/><target dev='vda'/></disk>"
        f"<disk type='block' device='disk'><source dev='{device}'/><target dev='vdb'/><shareable/></disk>"
    )
    return (
        f"<domain type='kvm'><name>{name}</name><uuid>5b6f0000-0000-4000-8000-00000000000a</uuid>"
        f"<memory unit='GiB'>2</memory><vcpu>2</vcpu><os><type>hvm</type></os><devices>{disks}</devices></domain>"
    )


# --- one disk for all of a set ---------------------------------------------------------------------------------------

MANY = StoragePolicy(access_mode="ReadWriteMany")


def as_set(inventory: Inventory, policy: Policy | None = None, offer: Offer = UNASKED) -> Any:
    return make_plan(inventory, policy or Policy(storage=MANY), name="p", created_at=AT, offer=offer)


def claims_of(entry: Any) -> dict[str, Any]:
    return {one["metadata"]["name"]: one["spec"] for one in entry.manifests if one["kind"] == "PersistentVolumeClaim"}


def disks_of(entry: Any) -> dict[str, Any]:
    spec = entry.manifests[-1]["spec"]["template"]["spec"]
    claims = {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"]}
    return {claims[one["name"]]: one for one in spec["domain"]["devices"]["disks"]}


def test_a_set_has_one_claim_that_all_of_it_attach(pair: Callable[..., Inventory]) -> None:
    plan = as_set(pair())
    a, b, c = plan.entries
    assert [disk.claim for disk in a.disks] == ["a-vda", "a-vdb"]
    assert [disk.claim for disk in b.disks] == ["b-vda"]
    assert [(disk.claim, disk.carrier, disk.carrier_target) for disk in b.attached] == [("a-vdb", "a", "a")]
    assert claims_of(a).keys() == {"a-vda", "a-vdb"}
    assert claims_of(b).keys() == {"b-vda"}
    assert claims_of(a)["a-vdb"]["accessModes"] == ["ReadWriteMany"]
    for entry in (a, b):
        assert disks_of(entry)["a-vdb"]["shareable"] is True
        assert disks_of(entry)["a-vdb"]["cache"] == "none"
        assert "shareable" not in disks_of(entry)[f"{entry.name}-vda"]
    assert (a.moves_with[0].name, b.moves_with[0].name, c.moves_with) == ("b", "a", None)
    assert a.disks[1].shared_with == ("b",)
    assert any("one with that of a: a carries it" in one.what for one in b.concerns if one.id == "disk.shared-set")


def test_assess_says_the_same_as_the_plan(pair: Callable[..., Inventory]) -> None:
    told = {one.name: one for one in assess(pair(), Policy(storage=MANY))}
    assert {told["a"].verdict, told["b"].verdict} == {"ready-with-warnings"}
    assert "| carried by a |" in render_assessment_markdown(told["b"])


def test_who_shares_with_one_of_a_set_is_of_the_set(machine: Build, disk: BuildDisk) -> None:
    def of(name: str, *places: str) -> Machine:
        disks = [
            disk(f"vd{at}", uri=f"block:///dev/vg0/{place}", shareable="own" not in place)
            for at, place in enumerate(places)
        ]
        return machine(id=f"id-{name}", name=name, uuid=None, nics=(), disks=tuple(disks))

    machines = (of("a", "own-a", "one"), of("b", "one", "two"), of("c", "two", "own-c"))
    inventory = Inventory(source="lab", source_kind="libvirt", observed_at=AT, machines=machines)
    plan = as_set(inventory)
    assert {entry.name: {other.name for other in entry.moves_with} for entry in plan.entries} == {
        "a": {"b", "c"},
        "b": {"a", "c"},
        "c": {"a", "b"},
    }
    assert [(disk.carrier, disk.claim) for disk in plan.entry("c").attached] == [("b", "b-vd1")]
    assert len(plan.waves) == 1


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(), "say `storage: {accessMode: ReadWriteMany}` in the policy"),
        (Policy(storage=MANY, machines={"b": MachinePolicy(include=False)}), "needs b to move, too"),
        (Policy(storage=MANY, machines={"b": MachinePolicy(namespace="other")}), "all of them in one namespace"),
    ],
)
def test_what_one_disk_for_all_lacks_is_said(pair: Callable[..., Inventory], policy: Policy, said: str) -> None:
    plan = as_set(pair(), policy)
    assert "a" not in {entry.name for entry in plan.entries}
    assert "[disk.shared] Disk vdb is also that of b" in plan.excluded["a"]
    assert said in plan.excluded["a"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shareable": False}, "b to call it shared at the source, too"),
        ({"capacity_bytes": 1 << 20}, "one size and format"),
        ({"device": DiskDevice.LUN, "bus": DiskBus.SCSI}, "no SCSI reservations"),
    ],
)
def test_disks_that_are_not_alike_are_no_one_disk(
    pair: Callable[..., Inventory], changes: dict[str, Any], said: str
) -> None:
    inventory = pair()
    a, b, c = inventory.machines
    other = b.model_copy(update={"disks": (b.disks[0], b.disks[1].model_copy(update=changes))})
    plan = as_set(inventory.model_copy(update={"machines": (a, other, c)}))
    assert [entry.name for entry in plan.entries] == ["c"]
    assert said in plan.excluded["a"]


def test_a_disk_that_another_one_carries_is_copied_once_in_what_the_pages_count(pair: Callable[..., Inventory]) -> None:
    a, b, c = assess(pair(), Policy(storage=MANY))
    assert (a.estimate.high_bytes, b.estimate.high_bytes) == (2 * c.estimate.high_bytes, c.estimate.high_bytes)


@pytest.mark.parametrize(("access", "moves"), [("ReadWriteMany", True), ("ReadWriteOnce", False)])
def test_the_class_says_whether_several_nodes_may_write(
    pair: Callable[..., Inventory], access: str, moves: bool
) -> None:
    made = (ClaimSet(access_modes=(access,), volume_mode="Block"),)
    offer = Offer(classes=(StorageClass(name="ceph", default=True, sets=made),))
    plan = as_set(pair(), Policy(), offer)
    assert ({"a", "b"} <= {entry.name for entry in plan.entries}) == moves
    if not moves:
        assert "a storage class with Block volumes of ReadWriteMany, and ceph has none" in plan.excluded["a"]


def test_only_what_is_shared_is_asked_for_as_such_where_the_class_has_both(pair: Callable[..., Inventory]) -> None:
    both = ClaimSet(access_modes=("ReadWriteOnce", "ReadWriteMany"), volume_mode="Block")
    offer = Offer(classes=(StorageClass(name="ceph", default=True, sets=(both,)),))
    entry = as_set(pair(), Policy(), offer).entry("a")
    modes = {name: spec["accessModes"] for name, spec in claims_of(entry).items()}
    assert modes == {"a-vda": ["ReadWriteOnce"], "a-vdb": ["ReadWriteMany"]}


def test_one_that_is_excluded_keeps_its_set(pair: Callable[..., Inventory]) -> None:
    inventory = pair()
    a, b, c = inventory.machines
    broken = b.model_copy(update={"disks": (b.disks[0].model_copy(update={"encrypted": True}), b.disks[1])})
    plan = as_set(inventory.model_copy(update={"machines": (a, broken, c)}))
    assert [entry.name for entry in plan.entries] == ["c"]
    assert "It shares a disk with b, which is excluded" in plan.excluded["a"]


def test_a_set_is_moved_cold_and_says_so(pair: Callable[..., Inventory]) -> None:
    plan = as_set(pair(), Policy(storage=MANY, mode="warm"))
    assert {entry.name: entry.mode for entry in plan.entries} == {"a": "cold", "b": "cold", "c": "warm"}
    assert any(one.id == "disk.shared-cold" for one in plan.entry("a").concerns)


def test_a_set_stands_in_one_wave(pair: Callable[..., Inventory]) -> None:
    own = {"b": MachinePolicy(wave="late"), "c": MachinePolicy(wave="early")}
    plan = as_set(pair(), Policy(storage=MANY, machines=own))
    assert {wave.name: wave.machines for wave in plan.waves} == {"early": ("c",), "late": ("a", "b")}


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"a": MachinePolicy(wave="one"), "b": MachinePolicy(wave="two")}, "they share a disk"),
        ({"b": MachinePolicy(after=("a",))}, "it comes after a, and they share a disk"),
        ({"c": MachinePolicy(after=("a",)), "b": MachinePolicy(after=("c",))}, "they wait for each other"),
    ],
)
def test_a_set_that_is_told_to_part_is_refused(
    pair: Callable[..., Inventory], own: dict[str, MachinePolicy], said: str
) -> None:
    with pytest.raises(InputInvalid) as refused:
        as_set(pair(), Policy(storage=MANY, machines=own))
    assert said in str(refused.value)


@pytest.mark.parametrize("break_it", ["one is gone", "two waves", "no carrier", "not for it"])
def test_a_plan_whose_set_does_not_hold_together_is_none(pair: Callable[..., Inventory], break_it: str) -> None:
    whole = as_set(pair())
    content = whole.model_dump(mode="json", by_alias=True)
    if break_it == "one is gone":
        content["entries"] = [entry for entry in content["entries"] if entry["name"] != "b"]
        content["waves"] = [{"name": "wave-1", "machines": ["a", "c"]}]
    elif break_it == "two waves":
        content["waves"] = [{"name": "one", "machines": ["a", "c"]}, {"name": "two", "machines": ["b"]}]
    elif break_it == "no carrier":
        content["entries"][0]["disks"] = content["entries"][0]["disks"][:1]
    else:
        content["entries"][0]["disks"][1]["sharedWith"] = None
    with pytest.raises(ValueError, match=r"move together|moves together|does not carry it"):
        Plan.model_validate(content)


def test_no_other_machine_s_claim_is_attached_unless_all_of_them_share_it(pair: Callable[..., Inventory]) -> None:
    plan = as_set(pair())
    manifests = [manifest for entry in plan.entries for manifest in entry.manifests]
    assert check_together(manifests) == []
    shared = disks_of(plan.entry("b"))["a-vdb"]
    shared.pop("shareable")
    (problem,) = check_together(manifests)
    assert "uses the claim default/a-vdb" in problem.what


@pytest.mark.parametrize("told", [True, False])
def test_a_disk_of_vsphere_is_one_for_all_where_it_is_multi_writer_and_not_by_its_bus(
    pair: Callable[..., Inventory], told: bool
) -> None:
    inventory = pair(uri="datastore:///one/quorum.vmdk", format="vmdk", source_kind="datastore")
    fact = SourceFact(path="disk[vdb]/sharing", value="sharingMultiWriter")
    machines = tuple(one.model_copy(update={"unmodelled": (fact,) if told else ()}) for one in inventory.machines)
    plan = as_set(inventory.model_copy(update={"machines": machines}))
    assert ({"a", "b"} <= {entry.name for entry in plan.entries}) == told, plan.excluded
    assert told or "no SCSI reservations: its bus is shared" in plan.excluded["a"]
