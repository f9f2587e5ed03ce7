"""Several plans of one machine: the one that did something to it last has it in hand, and what an older one owes its
source is owed by the newer one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from flows.cli.showing import done_since
from flows.cli.standing import left_off, standings
from kubeferry.documents import Inventory, Plan, Policy, Probe, StopPolicy, dump
from kubeferry.errors import Fenced, Interrupted, PermanentError, ProbeFailed, TargetRefused
from kubeferry.life.action_kinds import ActionKind, Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.drive import drive
from kubeferry.steps.release import release_plan
from kubeferry.targets import TargetCapabilities
from mappings.plan import make_plan

A = ActionKind
AGENT = (Probe(kind="agent"),)
OTHER = Policy(probes=AGENT, labels={"changed": "yes"}, stop=StopPolicy(last_words=("/data/boots",)))


def made(scene: Any, policy: Policy, name: str) -> Plan:
    machines = scene.source.discover().machines
    facts = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01T00:00:00Z", machines=machines)
    plan = make_plan(facts, policy, name=name, created_at="2026-01-01T00:00:00Z")
    time.sleep(0.002)  # plans are told apart by when they were registered, in milliseconds
    scene.journal.register_plan(plan.digest, plan.name, dump(plan))
    return plan


@pytest.fixture
def two(scene: Any) -> Any:
    """The scene with two plans that are registered, `older` and `newer`, and a target that behaves as a cluster."""
    scene.target.capabilities = TargetCapabilities(keeps_running=True, isolated=False)
    scene.older = made(scene, Policy(probes=AGENT), "older")
    scene.newer = made(scene, OTHER, "newer")
    scene.plan = scene.older
    return scene


def left_at(scene: Any, kind: ActionKind) -> Any:
    """The older plan's run was stopped before this action; from now on runs are the newer plan's."""
    scene.stop_before(kind)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.before = lambda _action: None
    scene.plan = scene.newer
    return scene


def with_older(scene: Any, goal: Goal) -> Any:
    scene.plan = scene.older
    return scene.drive(goal)


# --- an older plan ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [A.BEGIN_CUTOVER, A.COPY_DISKS, A.APPLY, A.START])
@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK, Goal.PRECOPY])
def test_an_older_plan_leaves_alone_what_a_newer_one_has_moved(two: Any, kind: ActionKind, goal: Goal) -> None:
    scene = left_at(two, kind)
    assert scene.drive().phase is Phase.COMMITTED
    with pytest.raises(PermanentError, match="another plan has taken it in hand since") as caught:
        with_older(scene, goal)
    assert f"committed by plan newer ({scene.newer.digest[:12]})" in caught.value.why
    assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])


@pytest.mark.parametrize("kind", [A.OBSERVE, A.COMMIT])
def test_a_copy_that_an_older_plan_runs_is_not_joined_and_the_older_plan_goes_on(two: Any, kind: ActionKind) -> None:
    scene = left_at(two, kind)
    with pytest.raises(TargetRefused, match="knows nothing of it"):
        scene.drive()
    assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])
    assert with_older(scene, Goal.MIGRATE).phase is Phase.COMMITTED


def test_an_older_plan_may_be_taken_up_again_after_the_newer_one_was_rolled_back(two: Any) -> None:
    scene = left_at(two, A.COPY_DISKS)
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive()
    scene.target.answers.clear()
    assert with_older(scene, Goal.MIGRATE).phase is Phase.COMMITTED
    assert (scene.power, scene.equal()) == (Power.OFF, True)


def test_status_of_an_older_plan_tells_what_the_newer_one_has_done(two: Any) -> None:
    scene = left_at(two, A.COPY_DISKS)
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive()
    histories = scene.journal.histories(scene.older.digest)
    (row,) = standings(scene.older, histories, {}, {})
    assert left_off([row]) == ["web"]  # all that its own events tell
    since = done_since(scene.older, scene.journal, ["web"])
    (row,) = standings(scene.older, histories, {}, {}, since=since)
    assert (left_off([row]), row.source.power) == ([], Power.RUNNING)
    assert row.reason.startswith(f"plan newer ({scene.newer.digest[:12]}) has it since: rolled-back; by this plan: ")
    assert not done_since(scene.newer, scene.journal, ["web"])


def test_status_of_an_older_plan_counts_nothing_that_a_newer_one_has_moved(two: Any) -> None:
    scene = left_at(two, A.COPY_DISKS)
    assert scene.drive().phase is Phase.COMMITTED
    histories = scene.journal.histories(scene.older.digest)
    since = done_since(scene.older, scene.journal, ["web"])
    (row,) = standings(scene.older, histories, {}, {}, since=since)
    assert left_off([row]) == []
    assert "has it since: committed" in row.reason


def test_a_source_that_an_older_plan_stopped_and_a_newer_one_took_over_is_off_in_the_older_one_s_status(
    two: Any,
) -> None:
    scene = left_at(two, A.COPY_DISKS)
    scene.stop_before(A.STOP_SOURCE)
    with pytest.raises(Interrupted):
        scene.drive()
    histories = scene.journal.histories(scene.older.digest)
    since = done_since(scene.older, scene.journal, ["web"])
    assert since
    (row,) = standings(scene.older, histories, {}, {}, since=since)
    assert left_off([row]) == ["web"]


def test_a_run_of_an_older_plan_that_slept_is_fenced_by_one_of_a_newer(two: Any) -> None:
    scene = two
    stale = scene.journal.acquire(scene.older.digest, "web", ttl_seconds=0.01)
    work = scene.work(stale)
    time.sleep(0.02)
    scene.plan = scene.newer
    assert scene.drive().phase is Phase.COMMITTED
    with pytest.raises(Fenced):
        scene.journal.heartbeat(stale)
    with pytest.raises((Fenced, PermanentError)):
        drive(work, Goal.MIGRATE, lambda _action, step: step())
    assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])


# --- what an older plan owes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [A.STOP_SOURCE, A.BEGIN_COPY, A.COPY_DISKS, A.APPLY, A.START])
def test_the_power_before_is_what_the_older_plan_has_found(two: Any, kind: ActionKind) -> None:
    scene = left_at(two, kind)
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive()
    assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})


@pytest.mark.parametrize("kind", [A.STOP_SOURCE, A.COPY_DISKS, A.APPLY, A.START, A.OBSERVE, A.COMMIT])
def test_a_newer_plan_that_has_not_begun_rolls_back_what_the_older_one_has_left(two: Any, kind: ActionKind) -> None:
    scene = left_at(two, kind)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert (scene.power, scene.target.running) == (Power.RUNNING, {})
    assert f"plan older ({scene.older.digest[:12]})" in scene.state.rollback_reason or "cutover-begun" in scene.kinds
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK


def test_what_was_taken_over_and_rolled_back_is_released_with_the_newer_plan(two: Any) -> None:
    scene = left_at(two, A.VERIFY_DISKS)
    scene.drive(Goal.ROLLBACK)
    source = scene.source
    lines = list(release_plan(scene.plan, scene.journal, scene.target, lambda: source, everything=True, dry_run=False))
    assert not [line for line in lines if "left alone" in line]
    assert (scene.target.disks, scene.power) == ({}, Power.RUNNING)


def test_what_another_plan_has_copied_ahead_since_is_left_alone(two: Any) -> None:
    scene = two
    scene.drive()
    scene.drive(Goal.ROLLBACK)
    scene.plan = made(scene, Policy(mode="warm", probes=AGENT), "ahead")
    assert scene.drive(Goal.PRECOPY).phase is Phase.SYNCED
    source = scene.source
    lines = list(
        release_plan(scene.older, scene.journal, scene.target, lambda: source, everything=False, dry_run=False)
    )
    assert lines == [f"web: is synced by plan ahead ({scene.plan.digest[:12]}): left alone"]
    assert list(scene.folder.glob("views/*"))


def test_what_an_older_plan_has_moved_is_rolled_back_with_that(two: Any) -> None:
    scene = two
    assert scene.drive().phase is Phase.COMMITTED
    scene.plan = scene.newer
    with pytest.raises(PermanentError, match="moved by another plan") as caught:
        scene.drive(Goal.ROLLBACK)
    assert "Roll it back with that plan" in caught.value.fix
    assert list(scene.target.running) == ["web"]
    assert with_older(scene, Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


def test_a_machine_that_was_off_before_stays_off(two: Any) -> None:
    scene = two
    scene.source.write_power("web", Power.OFF)
    left_at(scene, A.COPY_DISKS)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.ROLLBACK])
def test_a_copy_of_an_older_plan_in_another_place_is_named_not_forgotten(two: Any, goal: Goal) -> None:
    scene = two
    moved = made(scene, Policy(probes=AGENT, namespace="elsewhere"), "moved")
    left_at(scene, A.OBSERVE)
    scene.plan = moved
    scene.target.running, kept = {}, scene.target.running  # the double has one place a name; a cluster looks elsewhere
    with pytest.raises(PermanentError, match="may be running elsewhere") as caught:
        scene.drive(goal)
    scene.target.running = kept
    assert f"{scene.older.entries[0].namespace}/web" in caught.value.why
    assert scene.power is Power.OFF
    assert with_older(scene, Goal.ROLLBACK).phase is Phase.ROLLED_BACK
