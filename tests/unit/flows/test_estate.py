"""Several sources in one plan: a machine that wanders between two of them, a name that two have, one that is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubeferry.config import read_config
from kubeferry.documents import Inventory, Plan, load
from kubeferry.journal import Journal
from kubeferry.life.events import DiskCopied, Located
from kubeferry.model import Machine, Power
from kubeferry.sources.memory.source import MemorySource
from tests.clocks import Clock
from tests.unit.flows.conftest import a_machine

CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources:
  hv1: {{kind: memory, uri: 'memory://{folder}/hv1'}}
  hv2: {{kind: memory, uri: 'memory://{folder}/hv2'}}
estates:
  berlin: [hv1, hv2]
target: {{kind: memory, path: target}}
journal: {{url: 'sqlite:///journal.db'}}
"""
WARM = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
mode: warm
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
"""


@dataclass
class Hypervisors:
    """Two of them, whose disks lie on storage that both have, and the command line."""

    folder: Path
    command: Callable[..., tuple[int, str, str]]

    def source(self, name: str) -> MemorySource:
        return MemorySource(name, self.folder / name)

    def machine(self, name: str, at: str, number: int | None = None) -> Machine:
        disk = self.folder / f"{name}-{number or 0}.img"
        disk.write_bytes(name.encode() * 4096)
        made = a_machine(name, disk).model_copy(update={"source": at, "power": Power.RUNNING})
        return made if number is None else made.model_copy(update={"id": f"id-{number}"})

    def have(self, at: str, *machines: Machine) -> None:
        self.source(at).write_machines(*machines)

    def migrate_live(self, name: str, start: str, end: str, *, leaves: bool = False) -> None:
        """The machine runs at another hypervisor; `leaves` a definition behind, which is off."""
        one, other = self.source(start), self.source(end)
        machine = next(each for each in one.discover().machines if each.name == name)
        there = machine.model_copy(update={"source": end, "power": Power.RUNNING})
        other.write_machines(*other.discover().machines, there)
        other.write_power(name, Power.RUNNING)
        if not leaves:
            one.write_machines(*(each for each in one.discover().machines if each.name != name))
        one.write_power(name, Power.OFF)

    def ok(self, *arguments: str) -> str:
        code, out, err = self.command(*arguments)
        assert code == 0, f"{out}\n{err}"
        return out + err

    def planned(self) -> None:
        (self.folder / "policy.yaml").write_text(WARM)
        self.ok("discover")
        self.ok("plan", "inventory.yaml", "--policy", "policy.yaml")

    def events(self, machine: str) -> list[Any]:
        with Journal.open(read_config(self.folder / "kubeferry.yaml").journal) as journal:
            return [one.event for one in journal.events(load(self.folder / "plan.yaml", Plan).digest, machine)]

    def power(self, name: str, at: str) -> Power:
        source = self.source(at)
        return source.power(next(one for one in source.discover().machines if one.name == name))


@pytest.fixture
def two(estate: Path, kubeferry: Callable[..., tuple[int, str, str]], no_server: None) -> Hypervisors:
    """`db` runs at hv1, `web` at hv2."""
    (estate / "kubeferry.yaml").write_text(CONFIG.format(folder=estate))
    made = Hypervisors(estate, kubeferry)
    for name, machine in (("hv1", "db"), ("hv2", "web")):
        (estate / name).mkdir()
        made.have(name, made.machine(machine, name))
    return made


def test_machines_of_two_hypervisors_move_in_one_plan(two: Hypervisors) -> None:
    two.planned()
    found = load(two.folder / "inventory.yaml", Inventory)
    assert [(one.name, one.source) for one in found.machines] == [("db", "hv1"), ("web", "hv2")]
    assert [(one.name, one.kind) for one in found.members or ()] == [("hv1", "memory"), ("hv2", "memory")]
    two.ok("precopy", "plan.yaml")
    two.ok("migrate", "plan.yaml")
    assert (two.power("db", "hv1"), two.power("web", "hv2")) == (Power.OFF, Power.OFF)
    assert "committed" in two.ok("status", "plan.yaml")
    two.ok("release", "plan.yaml")


def test_a_machine_that_wanders_is_found_again_and_compared_whole(two: Hypervisors) -> None:
    two.planned()
    two.ok("precopy", "plan.yaml")
    two.migrate_live("db", "hv1", "hv2")
    said = two.ok("migrate", "plan.yaml")
    assert "it is at source hv2 of berlin, and was discovered at hv1" in said
    assert "found at hv2" not in said
    assert two.power("db", "hv2") is Power.OFF
    events = two.events("db")
    assert [one.source for one in events if isinstance(one, Located)] == ["hv2"]
    copied = [one for one in events if isinstance(one, DiskCopied)]
    assert copied[1].read_bytes == copied[1].size_bytes  # nobody knows what changed since hv1
    assert copied[1].written_bytes == 0  # and what is equal is kept
    assert "off at hv2 since" in two.ok("status", "plan.yaml")
    two.ok("release", "plan.yaml")


def test_where_it_was_found_is_known_when_it_goes_back_after_the_commit(two: Hypervisors) -> None:
    """Both hypervisors have a definition of it then, and both are off: only the journal knows which one it is."""
    two.planned()
    two.migrate_live("db", "hv1", "hv2", leaves=True)
    two.ok("migrate", "plan.yaml")
    two.ok("rollback", "plan.yaml", "-m", "db", "--yes", "--lose-writes")
    assert (two.power("db", "hv1"), two.power("db", "hv2")) == (Power.OFF, Power.RUNNING)


def test_a_machine_that_runs_twice_is_refused_and_the_others_move(two: Hypervisors) -> None:
    two.planned()
    two.migrate_live("db", "hv1", "hv2", leaves=True)
    two.source("hv1").write_power("db", Power.RUNNING)
    code, _out, err = two.command("migrate", "plan.yaml")
    assert code == 2
    assert "it runs at hv1, hv2 at once" in err
    assert (two.power("db", "hv1"), two.power("db", "hv2")) == (Power.RUNNING, Power.RUNNING)
    assert two.power("web", "hv2") is Power.OFF


def test_a_definition_that_starts_by_itself_where_the_machine_was_refuses_it(two: Hypervisors) -> None:
    two.planned()
    two.source("hv1").write_autostart("db", order="1")
    two.migrate_live("db", "hv1", "hv2", leaves=True)
    code, _out, err = two.command("migrate", "plan.yaml", "-m", "db")
    assert code == 2
    assert "hv1 still has a definition of it, off, which starts with its folder" in err
    assert two.power("db", "hv2") is Power.RUNNING


def test_a_machine_that_is_nowhere_is_said_so(two: Hypervisors) -> None:
    two.planned()
    two.have("hv1")
    code, _out, err = two.command("migrate", "plan.yaml", "-m", "db")
    assert (code, "the source has no such machine any more" in err) == (2, True)


def test_a_hypervisor_that_is_away_costs_its_own_machines(two: Hypervisors) -> None:
    (two.folder / "hv2" / "machines.json").rename(two.folder / "away")
    said = two.ok("discover")
    assert "source hv2 was not asked, and its machines are missing" in said
    found = load(two.folder / "inventory.yaml", Inventory)
    assert [(one.name, bool(one.away)) for one in found.members or ()] == [("hv1", False), ("hv2", True)]
    assert "hv2 was not asked" in two.ok("plan", "inventory.yaml")
    (two.folder / "away").rename(two.folder / "hv2" / "machines.json")
    two.planned()
    (two.folder / "hv2" / "machines.json").rename(two.folder / "away")
    code, out, err = two.command("migrate", "plan.yaml")
    assert code
    assert two.power("db", "hv1") is Power.OFF
    assert "machines.json is not there" in out + err


def test_a_defect_in_one_source_costs_its_own_machines(two: Hypervisors, monkeypatch: pytest.MonkeyPatch) -> None:
    discover = MemorySource.discover

    def broken(source: MemorySource) -> Inventory:
        if source.folder.name == "hv2":
            raise ZeroDivisionError("by nothing")
        return discover(source)

    monkeypatch.setattr(MemorySource, "discover", broken)
    said = two.ok("discover")
    assert "source hv2 was not asked, and its machines are missing: a defect: ZeroDivisionError" in said
    assert [one.name for one in load(two.folder / "inventory.yaml", Inventory).machines] == ["db"]


def test_a_machine_that_may_be_where_nobody_answers_is_left_alone(two: Hypervisors, clock: Clock) -> None:
    two.planned()
    two.migrate_live("db", "hv1", "hv2", leaves=True)
    (two.folder / "hv2" / "machines.json").rename(two.folder / "away")
    code, out, err = two.command("migrate", "plan.yaml", "-m", "db")
    assert code == 1
    assert "it is off at hv1, and may run elsewhere" in out + err


def test_an_old_machine_that_is_started_at_the_other_hypervisor_is_an_alarm(two: Hypervisors) -> None:
    two.planned()
    two.ok("migrate", "plan.yaml")
    two.migrate_live("db", "hv1", "hv2", leaves=True)
    code, out, err = two.command("caretake")
    assert (code, "is running at a source of berlin (it was left at hv1)" in out + err) == (1, True)
    two.source("hv2").write_power("db", Power.OFF)
    (two.folder / "hv2" / "machines.json").rename(two.folder / "away")
    _code, out, err = two.command("caretake")
    assert "berlin does not tell whether db, web is off" in out + err


def test_machines_of_one_name_are_told_apart_and_move(two: Hypervisors) -> None:
    two.have("hv2", two.machine("db", "hv2", 2))
    two.planned()
    found = load(two.folder / "inventory.yaml", Inventory)
    assert [(one.name, one.source) for one in found.machines] == [("db-hv1", "hv1"), ("db-hv2", "hv2")]
    two.ok("migrate", "plan.yaml")
    assert (two.power("db", "hv1"), two.power("db", "hv2")) == (Power.OFF, Power.OFF)
    two.ok("rollback", "plan.yaml", "-m", "db-hv2", "--yes", "--lose-writes")
    assert (two.power("db", "hv1"), two.power("db", "hv2")) == (Power.OFF, Power.RUNNING)


def test_inventories_of_several_sources_make_one_plan(two: Hypervisors) -> None:
    for name in ("hv1", "hv2"):
        two.ok("discover", "--source", name, "--out", f"{name}.yaml")
    said = two.ok("plan", "hv1.yaml", "hv2.yaml", "--out", "unnamed.yaml")
    assert "needs `estates: {estate: [hv1, hv2]}`" in said
    two.ok("plan", "hv1.yaml", "hv2.yaml", "--config", "kubeferry.yaml")
    assert load(two.folder / "plan.yaml", Plan).source == "berlin"
    two.ok("migrate", "plan.yaml")
    code, _out, err = two.command("migrate", "unnamed.yaml")
    assert (code, "estates: {estate: [hv1, hv2]}" in err) == (2, True)
    two.ok("assess", "hv1.yaml", "hv2.yaml")


def test_what_stands_in_two_inventories_is_refused_all_at_once(two: Hypervisors) -> None:
    db = two.machine("db", "hv1")
    two.have("hv2", *(one.model_copy(update={"source": "hv2"}) for one in (db, two.machine("web", "hv2"))))
    two.have("hv1", db, two.machine("web", "hv1"))
    for name in ("hv1", "hv2"):
        two.ok("discover", "--source", name, "--out", f"{name}.yaml")
    code, _out, err = two.command("plan", "hv1.yaml", "hv2.yaml")
    assert code == 2
    assert "one identity (id-db)" in err
    assert "one identity (id-web)" in err


SHOP = WARM + "apps: {shop: {members: [db, web], together: true}}\n"


def test_half_an_app_is_not_planned_as_a_whole_one_while_a_hypervisor_is_away(two: Hypervisors) -> None:
    (two.folder / "hv2" / "machines.json").rename(two.folder / "away")
    two.ok("discover")
    (two.folder / "policy.yaml").write_text(SHOP)
    code, out, err = two.command("plan", "inventory.yaml", "--policy", "policy.yaml")
    assert code == 2, out + err
    assert "policy apps.shop.members: 'web' is no machine of the inventory" in err
    assert "Discover again when hv2 answers" in err


def test_a_member_of_an_app_is_not_lost_since_another_hypervisor_has_its_name(two: Hypervisors) -> None:
    two.have("hv2", two.machine("web", "hv2"), two.machine("db", "hv2", 5))
    two.ok("discover")
    (two.folder / "policy.yaml").write_text(SHOP)
    code, out, err = two.command("plan", "inventory.yaml", "--policy", "policy.yaml")
    assert code == 2, out + err
    assert "policy apps.shop.members: 'db' is no machine of the inventory" in err
    assert "Write one of db-hv1, db-hv2." in err
