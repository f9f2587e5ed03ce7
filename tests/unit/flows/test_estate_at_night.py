# ruff: noqa: F811
"""Estates on nights that go wrong: a machine that wandered, a member that is away, a name or a UUID that two have."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import Inventory, load
from kubeferry.model import Power
from kubeferry.targets.memory.target import MemoryTarget
from tests.clocks import Clock
from tests.unit.flows.test_estate import WARM, Hypervisors, two  # noqa: F401  (a fixture)

COLD = WARM.replace("warm", "cold")
RENAMED = "machines: {db: {name: db2}}\n"


def planned_anew(hypervisors: Hypervisors, policy: str) -> None:
    """`b.yaml`, of what is discovered now."""
    hypervisors.ok("discover")
    (hypervisors.folder / "policy.yaml").write_text(policy)
    hypervisors.ok("plan", "inventory.yaml", "--policy", "policy.yaml", "--out", "b.yaml")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Which copies ran, each time one was started."""
    seen: list[set[str]] = []
    start = MemoryTarget.start

    def told(target: MemoryTarget, *given: Any) -> None:
        start(target, *given)
        seen.append(set(target.running))

    monkeypatch.setattr(MemoryTarget, "start", told)
    return seen


def test_one_machine_does_not_run_twice_since_it_was_discovered_again_where_it_went(
    two: Hypervisors, stays_up: None, at_once: list[set[str]]
) -> None:
    two.planned()
    two.migrate_live("db", "hv1", "hv2")
    two.ok("migrate", "plan.yaml", "-m", "db")
    planned_anew(two, COLD + RENAMED)
    code, out, err = two.command("migrate", "b.yaml", "-m", "db")
    assert all(len(ran) == 1 for ran in at_once), at_once
    assert (code, "an older plan's copy of it may be running elsewhere" in err) == (2, True), out + err


def test_one_machine_does_not_run_twice_since_its_name_is_another_in_an_estate(
    two: Hypervisors, stays_up: None, at_once: list[set[str]]
) -> None:
    two.ok("discover", "--source", "hv1", "--out", "hv1.yaml")
    (two.folder / "policy.yaml").write_text(WARM)
    two.ok("plan", "hv1.yaml", "--policy", "policy.yaml", "--out", "a.yaml")
    two.ok("migrate", "a.yaml")
    two.have("hv2", two.machine("db", "hv2", 2))  # from now on the first one is called db-hv1
    planned_anew(two, WARM)
    code, _out, _err = two.command("migrate", "b.yaml", "-m", "db-hv1")
    assert all(len(ran) == 1 for ran in at_once), at_once
    assert code == 2


def test_a_source_is_not_started_beside_one_that_runs_where_nobody_answers(two: Hypervisors, clock: Clock) -> None:
    """The way that the alarm of caretake names, while its hypervisor is away."""
    two.planned()
    two.ok("migrate", "plan.yaml", "-m", "db")
    two.migrate_live("db", "hv1", "hv2", leaves=True)
    (two.folder / "hv2" / "machines.json").rename(two.folder / "away")
    two.command("rollback", "plan.yaml", "-m", "db", "--yes", "--lose-writes")
    (two.folder / "away").rename(two.folder / "hv2" / "machines.json")
    assert [two.power("db", "hv1"), two.power("db", "hv2")].count(Power.RUNNING) == 1


def test_a_clone_with_its_uuid_is_not_what_a_rollback_leads_back_to(two: Hypervisors) -> None:
    """Of disks of its own; its owner starts it, and that is his right."""
    two.planned()
    two.ok("migrate", "plan.yaml", "-m", "db")
    clone = two.machine("db", "hv2", 7).model_copy(update={"id": "id-db", "power": Power.RUNNING})
    two.have("hv2", *two.source("hv2").discover().machines, clone)
    assert two.command("caretake")[0] == 0, "it is no old machine that was started"
    two.ok("rollback", "plan.yaml", "-m", "db", "--yes", "--lose-writes")
    assert two.power("db", "hv1") is Power.RUNNING


def test_machines_of_one_uuid_with_disks_of_their_own_are_left_out_and_told(two: Hypervisors) -> None:
    clone = two.machine("db", "hv2", 7).model_copy(update={"id": "id-db", "power": Power.OFF})
    two.have("hv2", clone)
    two.source("hv2").write_power("db", Power.OFF)
    _code, out, err = two.command("discover")
    assert "one identity (id-db) is that of db at hv1 (running), db at hv2 (off)" in out + err
    assert all(one.id != "id-db" for one in load(two.folder / "inventory.yaml", Inventory).machines)


def test_a_machine_goes_back_to_where_it_was_stopped_whoever_defines_it_elsewhere_since(two: Hypervisors) -> None:
    two.planned()
    two.ok("migrate", "plan.yaml", "-m", "db")
    machine = next(one for one in two.source("hv1").discover().machines if one.name == "db")
    there = machine.model_copy(update={"source": "hv2", "power": Power.OFF})
    two.have("hv2", *two.source("hv2").discover().machines, there)
    two.source("hv2").write_power("db", Power.OFF)
    two.ok("rollback", "plan.yaml", "-m", "db", "--yes", "--lose-writes")
    assert (two.power("db", "hv1"), two.power("db", "hv2")) == (Power.RUNNING, Power.OFF)


def test_caretake_says_that_a_machine_may_run_at_a_hypervisor_that_is_away(two: Hypervisors) -> None:
    two.planned()
    two.ok("migrate", "plan.yaml", "-m", "db")
    (two.folder / "hv2" / "machines.json").rename(two.folder / "away")
    _code, out, err = two.command("caretake")
    assert "berlin does not tell whether db is off" in out + err
