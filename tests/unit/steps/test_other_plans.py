"""A policy that changes makes another plan of the same machine: neither gets in the other's way, nor undoes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Inventory, JournalConfig, Plan, Policy, Probe, WarmPolicy, dump
from kubeferry.errors import Fenced, Interrupted, ProbeFailed
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind, Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.release import release_plan
from kubeferry.targets import TargetCapabilities
from kubeferry.targets.directory.target import DirectoryTarget
from mappings.plan import make_plan

AGENT = (Probe(kind="agent"),)


def replan(scene: Any, policy: Policy) -> Plan:
    """From now on the scene's machine is moved by a second plan. Returns the first."""
    first: Plan = scene.plan
    machines = scene.source.discover().machines
    facts = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01T00:00:00Z", machines=machines)
    scene.plan = make_plan(facts, policy, name="second", created_at="2026-01-02T00:00:00Z")
    scene.journal.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
    return first


def released(scene: Any, plan: Plan, *, everything: bool = False) -> list[str]:
    source = scene.source
    return list(release_plan(plan, scene.journal, scene.target, lambda: source, everything=everything, dry_run=False))


@pytest.fixture
def replanned(scene: Any) -> tuple[Any, Plan]:
    """A machine that was rolled back by its first plan and moved by the second, to a target where it runs on."""
    scene.target.capabilities = TargetCapabilities(keeps_running=True)
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive()
    scene.target.answers.clear()
    first = replan(scene, Policy(probes=AGENT))
    assert scene.drive().phase is Phase.COMMITTED
    return scene, first


@pytest.mark.parametrize("everything", [False, True])
def test_releasing_the_first_plan_leaves_what_the_second_has_moved(
    replanned: tuple[Any, Plan], everything: bool
) -> None:
    scene, first = replanned
    lines = released(scene, first, everything=everything)
    assert scene.target.running
    assert scene.target.applied
    assert scene.equal()
    assert any("left alone" in line for line in lines) == everything
    released(scene, scene.plan, everything=True)
    assert (scene.target.running, scene.target.disks) == ({}, {})
    released(scene, first)
    assert not scene.journal.ledger_open()


def test_what_another_plan_is_moving_is_left_alone(scene: Any) -> None:
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive()
    scene.target.answers.clear()
    first = replan(scene, Policy(probes=AGENT))
    scene.stop_before(ActionKind.OBSERVE)
    with pytest.raises(Interrupted):
        scene.drive()
    assert released(scene, first) == [f"web: is started by plan second ({scene.plan.digest[:12]}): left alone"]
    assert scene.target.running


def test_a_new_plan_s_movers_take_over_from_an_old_one_s(build: Callable[..., Any], tmp_path: Path) -> None:
    """The state folder has seen the fences of the first plan's runs."""
    policy = Policy(mode="warm", probes=AGENT, warm=WarmPolicy(rounds=4, enough_bytes=0))
    scene = build(policy=policy)
    scene.target = DirectoryTarget(tmp_path / "target")
    for _ in range(2):
        scene.drive(Goal.PRECOPY)
    replan(scene, policy)
    assert scene.drive(Goal.PRECOPY).phase is Phase.SYNCED


def test_a_new_journal_believes_no_copy_of_an_old_one(scene: Any, tmp_path: Path) -> None:
    """The same plan with a new journal is what a damaged one is told to be followed by; its rounds have the same
    numbers, and the source has run since."""
    scene.target = DirectoryTarget(tmp_path / "target")
    scene.stop_before(ActionKind.VERIFY_DISKS)
    for _ in range(3):
        with pytest.raises(Interrupted):
            scene.drive()
    scene.source.write_power("web", Power.RUNNING)
    scene.disk("vda").write_bytes(b"\x5a" * scene.disk("vda").stat().st_size)
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path / 'new.db'}")) as journal:
        journal.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
        scene.journal = journal
        for _ in range(3):  # the old journal's fences were given in these very seconds
            with journal.lease(scene.plan.digest, "web"):
                pass
        with pytest.raises(Interrupted):
            scene.drive()
    images = {path.stem.rpartition("-")[2]: path.read_bytes() for path in tmp_path.glob("target/machines/*/disks/*")}
    assert images == {name: scene.disk(name).read_bytes() for name in ("vda", "vdb")}


def test_runs_of_two_plans_do_not_move_one_machine_at_once(scene: Any) -> None:
    first = replan(scene, Policy(probes=AGENT))
    with scene.journal.lease(first.digest, "web"), pytest.raises(Fenced, match="another runner is at work"):
        scene.drive()
    assert scene.events == []
    assert scene.drive().phase is Phase.COMMITTED


def test_machines_of_one_name_from_two_sources_are_two_machines(scene: Any) -> None:
    facts = Inventory(
        source="elsewhere",
        source_kind="memory",
        observed_at="2026-01-01T00:00:00Z",
        machines=(scene.entry.machine.model_copy(update={"source": "elsewhere"}),),
    )
    other = make_plan(facts, Policy(probes=AGENT), name="other", created_at="2026-01-02T00:00:00Z")
    scene.journal.register_plan(other.digest, other.name, dump(other))
    scene.journal.register_plan("documented", "first", dump(scene.plan))
    with scene.journal.lease(other.digest, "web"), scene.journal.lease("documented", "web"):
        pass
