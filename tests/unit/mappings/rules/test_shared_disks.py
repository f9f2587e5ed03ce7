"""One disk of several machines is never copied for each of them in silence: what one writes no other would see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Inventory, MachinePolicy, Policy
from kubeferry.model import Disk, Machine
from kubeferry.sources.libvirt.domain.machine import parse_domain
from mappings.assessment import assess
from mappings.plan import make_plan
from mappings.rules.between import sharers

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
