"""Machines that share a disk, as a run and the command line have them: one turn, one fate, and named whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.migrate import Run, run_plan
from flows.progress import Board
from flows.told import Outcome
from kubeferry.config import read_config
from kubeferry.documents import Plan, load
from kubeferry.errors import Fenced, Interrupted, KubeferryError, ProbeFailed, TargetRefused
from kubeferry.journal import Journal
from kubeferry.life import tries
from kubeferry.life.action_kinds import Goal
from kubeferry.model import Concern, Power, Severity
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.beforehand import ask
from kubeferry.targets.memory.target import MemoryTarget, connect
from tests.unit.flows.conftest import a_machine

Command = Callable[..., tuple[int, str, str]]
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
storage: {accessMode: ReadWriteMany}
"""


class Estate:
    """Three machines, of which `a` and `b` share a disk, and one turn for all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source = folder, MemorySource("lab", folder / "source")
        shared = a_machine("", self._file("shared")).disks[0].model_copy(update={"id": "vdb", "shareable": True})
        machines = [a_machine(name, self._file(name)).model_copy(update={"power": Power.RUNNING}) for name in "abc"]
        self.source.write_machines(
            *(one.model_copy(update={"disks": (*one.disks, shared)}) for one in machines[:2]), machines[2]
        )
        (folder / "policy.yaml").write_text(POLICY)
        config = folder / "kubeferry.yaml"
        config.write_text(
            f"{config.read_text()}limits: {{concurrentMachines: 1}}\n".replace("path: target", f"path: {folder}")
        )

    def _file(self, name: str) -> Path:
        path = self.folder / "source" / f"{name}.img"
        path.write_bytes(name.encode() * 4096)
        return path

    @property
    def target(self) -> MemoryTarget:
        return connect(read_config(self.folder / "kubeferry.yaml").target)

    def power(self, name: str) -> Power:
        return self.source.power(self.plan.entry(name).machine)

    @property
    def plan(self) -> Plan:
        return load(self.folder / "plan.yaml", Plan)

    def run(self, goal: Goal = Goal.MIGRATE, refused: dict[str, KubeferryError] | None = None) -> dict[str, Outcome]:
        config, plan = read_config(self.folder / "kubeferry.yaml"), self.plan
        with Journal.open(config.journal) as journal:
            journal.keep_plan(plan)
            names = tuple(entry.name for entry in plan.entries)
            found = run_plan(Run(plan, config, journal, Board(quiet=True), goal, refused=refused or {}), names)
        return {one.machine: one for one in found}


@pytest.fixture
def sets(kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    monkeypatch.setattr(tries, "DELAYS_SECONDS", [])
    made = Estate(estate)
    kubeferry("discover")
    assert kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")[0] == 0
    return made


def test_a_set_takes_one_turn_and_waits_for_none(sets: Estate) -> None:
    outcomes = sets.run()
    assert {name: one.phase for name, one in outcomes.items()} == dict.fromkeys("abc", "committed")
    assert sorted(place for place in sets.target.disks) == ["a/vda", "a/vdb", "b/vda", "c/vda"]


def test_what_stops_one_is_told_of_each_and_the_others_of_the_wave_go_on(sets: Estate) -> None:
    sets.target.faults["prepare"] = [TargetRefused("there is no room", machine="a")]
    outcomes = sets.run()
    assert (outcomes["a"].phase, outcomes["b"].phase, outcomes["c"].phase) == ("failed", "failed", "committed")
    assert str(outcomes["a"].error).startswith("a: there is no room")
    assert str(outcomes["b"].error).startswith("b: it moves together with a, which was stopped")
    assert "there is no room" in str(outcomes["b"].error)
    assert (sets.power("a"), sets.power("b"), sets.power("c")) == (Power.RUNNING, Power.RUNNING, Power.OFF)


def test_a_set_of_which_one_is_refused_is_not_touched(sets: Estate) -> None:
    outcomes = sets.run(refused={"b": TargetRefused("its name is taken", machine="b")})
    assert (outcomes["a"].phase, outcomes["b"].phase) == ("failed", "failed")
    assert "its name is taken" in str(outcomes["a"].error)
    assert (sets.power("a"), sets.power("b")) == (Power.RUNNING, Power.RUNNING)


def test_who_finds_one_of_a_set_held_by_another_runner_touches_none(sets: Estate) -> None:
    config, plan = read_config(sets.folder / "kubeferry.yaml"), sets.plan
    with Journal.open(config.journal) as journal:
        journal.keep_plan(plan)
        with journal.lease(plan.digest, "b"):
            outcomes = sets.run()
        assert isinstance(outcomes["a"].error, Fenced)
        assert journal.events(plan.digest, "a") == []
        assert not {name for name in journal.holders(plan.digest) if name in "ab"}
    assert sets.run()["a"].phase == "committed"


def test_a_set_that_fails_its_proof_goes_back_whole_and_only_again_moves_it(sets: Estate) -> None:
    sets.target.answers["agent"] = False
    outcomes = sets.run()
    assert isinstance(outcomes["b"].error, ProbeFailed)
    assert str(outcomes["b"].error).startswith("b: it was rolled back: the source is as it was before")
    assert (sets.power("a"), sets.power("b")) == (Power.RUNNING, Power.RUNNING)
    sets.target.answers["agent"] = True
    assert sets.run()["a"].phase == "failed"
    assert sets.run(Goal.MIGRATE_AGAIN)["a"].phase == "committed"


@pytest.mark.parametrize("verb", [("migrate", "plan.yaml"), ("rollback", "plan.yaml", "--yes")])
def test_a_part_of_a_set_is_not_named_alone(kubeferry: Command, sets: Estate, verb: tuple[str, ...]) -> None:
    code, _out, err = kubeferry(*verb, "--machine", "b")
    assert code == 2
    assert "it shares a disk with a: they move, and go back, together or not at all" in err
    assert "--machine a" in err
    assert (sets.power("a"), sets.power("b")) == (Power.RUNNING, Power.RUNNING)


def test_a_plan_says_which_machines_it_cannot_part(kubeferry: Command, sets: Estate) -> None:
    (sets.folder / "plan.yaml").unlink()
    _code, out, _err = kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")
    assert out.count("together or not at all, since they share disks: a, b") == 1


def test_what_a_dry_run_tells_of_a_set(kubeferry: Command, sets: Estate) -> None:
    code, out, _err = kubeferry("migrate", "plan.yaml", "--machine", "a", "--machine", "b", "--dry-run")
    assert code == 0
    assert "together with b: none of them takes a step before all have taken the one before it" in out


def test_status_says_who_moves_with_whom_and_who_waits_for_whom(
    kubeferry: Command, sets: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop: Any = MemorySource.stop

    def fails_for_b(self: Any, machine: Any, *given: Any) -> Any:
        if machine.name == "b":
            raise Interrupted("stopped on request", machine="b")
        return stop(self, machine, *given)

    monkeypatch.setattr(MemorySource, "stop", fails_for_b)
    assert sets.run()["b"].phase == "stopped"
    out = kubeferry("status", "plan.yaml", "--json")[1]
    told = {one["machine"]: one for one in json.loads(out.splitlines()[-1])["machines"]}
    assert (told["a"]["movesWith"], "movesWith" in told["c"]) == (["b"], False)
    assert (told["a"]["next"], told["a"]["waitsFor"]) == ("begin-copy", ["b"])
    assert (told["b"]["next"], told["b"]["waitsFor"]) == ("stop-source", [])
    assert "waits for b" in kubeferry("status", "plan.yaml")[1]


def test_doctor_says_that_a_set_stays_whole(kubeferry: Command, sets: Estate) -> None:
    sets.target.refusals["b"] = [Concern(id="trial.refused", severity=Severity.CRITICAL, what="b: no", fix="Look.")]
    asked = ask(read_config(sets.folder / "kubeferry.yaml"), sets.plan, ("a", "b", "c"))
    assert set(asked.refused) == {"a", "b"}
    assert "it shares a disk with b, which cannot be moved as planned" in str(asked.errors()["a"])


def test_everything_of_a_set_is_removed_with_the_disk_last(kubeferry: Command, sets: Estate) -> None:
    sets.run()
    code, out, _err = kubeferry("release", "plan.yaml", "--everything", "--yes")
    assert code == 0, out
    assert out.index("b: removed") < out.index("a: removed")
    assert sets.target.disks == {}
