"""Every external thing is accounted for: dropped, proven gone, or named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kubeferry.documents import Inventory, Policy, Probe
from kubeferry.errors import Interrupted, SourceUnavailable, TargetRefused, TargetUnavailable
from kubeferry.life.actions import ActionKind
from kubeferry.life.evidence import Phase
from kubeferry.steps.release import account, release_plan
from kubeferry.targets import External
from mappings.plan import make_plan


def released(scene: Any, *, everything: bool = False, dry_run: bool = False) -> list[str]:
    steps = release_plan(
        scene.plan, scene.journal, scene.target, lambda: scene.source, everything=everything, dry_run=dry_run
    )
    return list(steps)


def still_open(scene: Any) -> Iterator[str]:
    return (thing.kind for thing in scene.journal.ledger_open(scene.plan.digest))


def test_after_a_commit_the_migrated_disks_stay_and_nothing_else(scene: Any) -> None:
    scene.drive()
    lines = released(scene)
    assert set(still_open(scene)) == {"disk"}
    assert len([line for line in lines if "kept: disk" in line]) == 2
    assert scene.equal()
    assert scene.kinds[-1] == "released"


def test_a_second_time_there_is_nothing_left_to_drop(scene: Any) -> None:
    scene.drive()
    released(scene)
    assert all(": kept: " in line for line in released(scene))


def test_a_dry_run_changes_nothing(scene: Any) -> None:
    scene.drive()
    before = (scene.kinds, list(still_open(scene)))
    lines = released(scene, everything=True, dry_run=True)
    assert lines
    assert all("would account for" in line for line in lines)
    assert (scene.kinds, list(still_open(scene))) == before
    assert scene.target.disks


def test_a_machine_under_way_is_left_alone(scene: Any) -> None:
    scene.source.write_faults("open_round", SourceUnavailable)
    with pytest.raises(SourceUnavailable):
        scene.drive()
    assert released(scene) == ["web: is failed: left alone"]
    assert scene.drive().phase is Phase.COMMITTED


def test_everything_removes_the_machine_as_well(scene: Any) -> None:
    scene.drive()
    lines = released(scene, everything=True)
    assert any("removed" in line for line in lines)
    assert not scene.target.disks
    assert not scene.target.applied
    assert not list(still_open(scene))


def test_everything_takes_down_a_target_that_still_runs(scene: Any) -> None:
    scene.stop_before(ActionKind.OBSERVE)
    with pytest.raises(Interrupted):
        scene.drive()
    assert scene.target.running
    released(scene, everything=True)
    assert not scene.target.running


def test_what_is_still_there_is_named(scene: Any) -> None:
    scene.drive()
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        scene.work(lease).ledger(External("lease-object", "left-behind", "memory"))
    exists = scene.target.exists
    scene.target.exists = lambda thing: thing.kind == "lease-object" or exists(thing)
    with pytest.raises(TargetRefused, match="still there") as caught:
        released(scene)
    assert "lease-object left-behind" in caught.value.why
    assert "lease-object" in set(still_open(scene))


def test_account_tells_the_gone_from_the_there(scene: Any) -> None:
    scene.drive()
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        gone, there = account(scene.journal, lease, scene.target, lambda: scene.source)
    assert {thing.kind for thing in there} == {"disk"}
    assert {thing.kind for thing in gone} == {"mover", "process"}
    assert set(still_open(scene)) == {"disk"}


def test_a_plan_that_never_began_has_nothing_to_release(scene: Any) -> None:
    assert released(scene) == []
    assert scene.events == []


def test_a_machine_that_cannot_be_released_does_not_stop_the_others(scene: Any) -> None:
    web = scene.entry.machine
    scene.source.write_machines(web, web.model_copy(update={"id": "id-db", "name": "db"}))
    machines = scene.source.discover().machines
    facts = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01T00:00:00Z", machines=machines)
    scene.plan = make_plan(facts, Policy(probes=(Probe(kind="agent"),)), name="two", created_at="2026-01-01T00:00:00Z")
    scene.journal.register_plan(scene.plan.digest, scene.plan.name, "")
    scene.drive()  # db, the first one; then web has nothing that keeps it
    scene.target.faults["stop"].append(TargetUnavailable("the cluster is away"))
    stopped: list[str] = []
    stop = scene.target.stop
    scene.target.stop = lambda entry: (stopped.append(entry.name), stop(entry))
    lines: list[str] = []
    with pytest.raises(TargetUnavailable, match="away"):
        lines.extend(released(scene))
    assert stopped == ["db", "web"]
    assert list(still_open(scene)).count("disk") == 2
