"""A disk that several machines name, and that nobody calls shared, is never copied for each of them in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import DiskChoice, DiskMatch, Inventory, MachinePolicy, Policy
from kubeferry.model import Concern, Disk, Machine
from mappings.assessment import assess
from mappings.plan import make_plan

Build = Callable[..., Machine]
BuildDisk = Callable[..., Disk]
AT = "2026-01-01T00:00:00Z"
ONE = "file:///images/one.img"


@pytest.fixture
def several(machine: Build, disk: BuildDisk) -> Callable[..., Inventory]:
    """Machines of these states, whose disk `vda` is one file; what is said of disks goes for all but the first."""

    def make(*powers: str, **said: Any) -> Inventory:
        machines = [
            machine(
                id=f"id-{at}",
                name=f"m{at}",
                uuid=f"6f1d2b3c-1111-4222-8333-00000000000{at}",
                power=power,
                disks=(disk("vda", uri=ONE, **(said if at else {})),),
                nics=(),
            )
            for at, power in enumerate(powers)
        ]
        return Inventory(source="lab", source_kind="libvirt", observed_at=AT, machines=tuple(machines))

    return make


def told(inventory: Inventory, **machines: MachinePolicy) -> dict[str, list[Concern]]:
    """What is told of files that several have, by machine."""
    found = assess(inventory, Policy(machines=machines))
    return {one.name: [each for each in one.concerns if each.id.startswith("disk.same-file")] for one in found}


@pytest.mark.parametrize("powers", [("off", "off"), ("running", "off"), ("off", "running"), ("unknown", "running")])
def test_a_file_of_two_machines_of_which_one_runs_at_most_is_a_warning_that_names_the_other(
    several: Callable[..., Inventory], powers: tuple[str, str]
) -> None:
    inventory = several(*powers)
    for name, other in (("m0", "m1"), ("m1", "m0")):
        (found,) = told(inventory)[name]
        assert (found.id, found.severity) == ("disk.same-file", "warning")
        assert f"Disk vda is also that of {other}, and none of them calls it shared" in found.what
        assert "include: false" in found.fix
        assert "moves once, for all" in found.fix
    plan = make_plan(inventory, Policy(), name="p", created_at=AT)
    assert [entry.name for entry in plan.entries] == ["m0", "m1"]


def test_seven_machines_with_one_file_each_name_the_six_others(several: Callable[..., Inventory]) -> None:
    found = told(several(*["off"] * 7))
    assert all(len(one) == 1 for one in found.values())
    assert "that of m0, m1, m2, m4, m5, m6," in found["m3"][0].what


def test_two_that_run_with_one_file_are_out_of_the_plan_and_the_others_go_on(
    several: Callable[..., Inventory], machine: Build
) -> None:
    inventory = several("running", "running")
    alone = machine(id="id-9", name="alone", uuid="6f1d2b3c-1111-4222-8333-000000000009", nics=())
    inventory = inventory.model_copy(update={"machines": (*inventory.machines, alone)})
    (found,) = told(inventory)["m1"]
    assert (found.id, found.severity) == ("disk.same-file-runs", "critical")
    assert "m1, m0 run with it" in found.what
    plan = make_plan(inventory, Policy(), name="p", created_at=AT)
    assert [entry.name for entry in plan.entries] == ["alone"]
    assert "disk.same-file-runs" in plan.excluded["m0"]


def test_one_that_is_left_out_is_named_all_the_same_and_a_disk_that_is_left_out_is_not(
    several: Callable[..., Inventory],
) -> None:
    found = told(several("off", "off"), m1=MachinePolicy(include=False))
    assert "that of m1" in found["m0"][0].what
    assert found["m1"] == []
    without = MachinePolicy(disks=(DiskChoice(match=DiskMatch(id="vda"), include=False),))
    assert told(several("off", "off"), m1=without) == {"m0": [], "m1": []}


def test_a_file_that_all_only_read_or_one_that_is_called_shared_is_not_told_so(
    several: Callable[..., Inventory],
) -> None:
    inventory = several("running", "running", readonly=True)
    reader = inventory.machines[1].disks[0].model_copy(update={"uri": ONE})
    first = inventory.machines[0].model_copy(update={"disks": (reader,)})
    assert told(inventory.model_copy(update={"machines": (first, inventory.machines[1])})) == {"m0": [], "m1": []}
    assert told(several("running", "running", shareable=True)) == {"m0": [], "m1": []}


def test_a_machine_that_names_one_file_twice_is_refused(machine: Build, disk: BuildDisk) -> None:
    twice = machine(disks=(disk("vda", uri=ONE), disk("vdb", uri=ONE)))
    inventory = Inventory(source="lab", source_kind="libvirt", observed_at=AT, machines=(twice,))
    plan = make_plan(inventory, Policy(), name="p", created_at=AT)
    assert "[disk.twice] Disk vdb is the same as vda" in plan.excluded["web"]
