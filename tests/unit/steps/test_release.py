"""Every external thing is accounted for: dropped, proven gone, or named."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeferry.documents import Inventory, Policy, Probe, WarmPolicy
from kubeferry.errors import (
    Fenced,
    Interrupted,
    PermanentError,
    SourceRefused,
    SourceUnavailable,
    TargetRefused,
    TargetUnavailable,
)
from kubeferry.life.action_kinds import ActionKind, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.release import account, release_plan, settle
from kubeferry.targets import External, TargetCapabilities
from mappings.plan import make_plan
from reports.facts import build_report


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
    assert {thing.kind for thing in there} == {"disk", "stop-mark"}
    assert {thing.kind for thing in gone} == {"mover", "process"}
    scene.source.forget(scene.entry.machine)
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        account(scene.journal, lease, scene.target, lambda: scene.source)
    assert set(still_open(scene)) == {"disk"}


def test_a_copy_that_a_newer_runner_starts_after_the_look_is_not_stopped(scene: Any) -> None:
    scene.drive()
    runs, newer = scene.target.runs, scene.journal.newest_fence("web") + 1000

    def meanwhile(entry: Any) -> bool:
        seen: bool = runs(entry)
        scene.target.start(entry, lambda _thing: None, newer)
        return seen

    scene.target.runs = meanwhile
    with pytest.raises(Fenced, match="a newer runner has this machine at the target"):
        released(scene)
    assert list(scene.target.running) == ["web"]


def test_a_plan_that_never_began_has_nothing_to_release(scene: Any) -> None:
    assert released(scene) == []
    assert scene.events == []


def test_a_machine_that_cannot_be_released_does_not_stop_the_others(scene: Any) -> None:
    web = scene.entry.machine
    for disk in web.disks:
        shutil.copyfile(disk.uri.removeprefix("file://"), scene.folder / f"db-{disk.id}")
    own = tuple(disk.model_copy(update={"uri": f"file://{scene.folder}/db-{disk.id}"}) for disk in web.disks)
    scene.source.write_machines(web, web.model_copy(update={"id": "id-db", "name": "db", "disks": own}))
    machines = scene.source.discover().machines
    facts = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01T00:00:00Z", machines=machines)
    scene.plan = make_plan(facts, Policy(probes=(Probe(kind="agent"),)), name="two", created_at="2026-01-01T00:00:00Z")
    scene.journal.register_plan(scene.plan.digest, scene.plan.name, "")
    scene.drive()  # db, the first one; then web has nothing that keeps it
    scene.target.faults["stop"].append(TargetUnavailable("the cluster is away"))
    stopped: list[str] = []
    stop = scene.target.stop
    scene.target.stop = lambda entry, fence: (stopped.append(entry.name), stop(entry, fence))
    lines: list[str] = []
    with pytest.raises(TargetUnavailable, match="away"):
        lines.extend(released(scene))
    assert stopped == ["db", "web"]
    assert list(still_open(scene)).count("disk") == 2


# --- what was never recorded, and what is removed --------------------------------------------------------------------


WARM = Policy(mode="warm", probes=(Probe(kind="agent"),), warm=WarmPolicy(rounds=3, enough_bytes=0))


@pytest.fixture(params=[Interrupted, SourceUnavailable, SystemExit])
def unrecorded(request: pytest.FixtureRequest, build: Callable[..., Any]) -> Any:
    """A warm machine whose first view was opened, and whose round was not recorded any more."""
    scene = build(policy=WARM)
    open_round = scene.source.open_round

    def opened(*given: Any, **named: Any) -> Any:
        open_round(*given, **named)
        raise request.param("told to fail")

    scene.source.open_round = opened
    with pytest.raises(request.param):
        scene.drive(Goal.PRECOPY)
    scene.source.open_round = open_round
    assert list(scene.folder.glob("views/*"))
    return scene


def test_a_view_whose_round_was_not_recorded_is_given_back_by_the_way_back(unrecorded: Any) -> None:
    assert unrecorded.drive(Goal.ROLLBACK).phase is Phase.PLANNED
    assert not list(unrecorded.folder.glob("views/*"))
    assert not list(still_open(unrecorded))
    assert unrecorded.power is Power.RUNNING


def test_the_way_back_of_a_machine_that_failed_before_anything_was_done_ends_as_planned(scene: Any) -> None:
    scene.disk("vdb").unlink()
    with pytest.raises(SourceRefused):
        scene.drive()
    assert scene.state.phase is Phase.FAILED
    assert scene.drive(Goal.ROLLBACK).phase is Phase.PLANNED
    assert scene.drive(Goal.ROLLBACK).phase is Phase.PLANNED
    assert scene.power is Power.RUNNING


def test_a_view_whose_round_was_not_recorded_is_given_back_by_release(unrecorded: Any) -> None:
    assert any("dropped at the source" in line for line in released(unrecorded))
    assert not list(unrecorded.folder.glob("views/*"))
    assert not list(still_open(unrecorded))


def test_a_view_whose_round_was_not_recorded_is_taken_up_by_the_next_one(unrecorded: Any) -> None:
    assert unrecorded.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert unrecorded.drive().phase is Phase.COMMITTED
    assert unrecorded.equal()


@pytest.mark.parametrize(
    "kind", [ActionKind.STOP_SOURCE, ActionKind.COPY_DISKS, ActionKind.APPLY, ActionKind.OBSERVE, ActionKind.COMMIT]
)
def test_everything_of_a_machine_under_way_goes_the_way_back_first(scene: Any, kind: ActionKind) -> None:
    scene.target.capabilities = TargetCapabilities(keeps_running=True)
    scene.stop_before(kind)
    with pytest.raises(Interrupted):
        scene.drive()
    lines = released(scene, everything=True)
    assert any("rolled back first, its source is as it was before" in line for line in lines)
    assert (scene.state.phase, scene.power) == (Phase.ROLLED_BACK, Power.RUNNING)
    assert (scene.target.running, scene.target.disks) == ({}, {})
    scene.before = lambda _action: None
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert scene.equal()


def test_everything_of_a_machine_whose_way_back_fails_is_left_and_told(scene: Any) -> None:
    scene.stop_before(ActionKind.VERIFY_DISKS)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.source.write_faults("start", SourceUnavailable)
    lines: list[str] = []
    with pytest.raises(SourceUnavailable):
        lines.extend(released(scene, everything=True))
    assert scene.target.disks
    assert scene.state.resumes is Phase.ROLLING_BACK


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("begun", [False, True])
def test_a_copy_that_the_journal_knows_nothing_of_is_not_stopped(scene: Any, everything: bool, begun: bool) -> None:
    if begun:
        scene.drive()
        scene.drive(Goal.ROLLBACK)
    scene.target.running["web"] = "by somebody"
    with pytest.raises(TargetRefused, match="knows nothing of it"):
        released(scene, everything=everything)
    assert scene.target.running
    scene.target.running.clear()
    released(scene, everything=everything)


def test_what_was_removed_is_said_to_be_removed_not_proven(scene: Any) -> None:
    scene.drive()
    assert any("its copy goes, disks and all" in line for line in released(scene, everything=True))
    facts = EntryFacts.of(scene.plan, scene.entry, keeps_running=True)
    assert "was removed from the target since" in next_action(facts, scene.state).reason
    report = build_report(scene.plan, {"web": scene.events}, generated_at="2026-01-01T00:00:00Z")
    assert (report.verdict, report.machines[0].verdict) == ("not proven", "removed")
    assert "web was removed" in report.sentence
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.power is Power.OFF
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    report = build_report(scene.plan, {"web": scene.events}, generated_at="2026-01-01T00:00:00Z")
    assert report.verdict == "proven"


def test_a_defect_of_a_source_does_not_end_a_release_or_a_run(scene: Any) -> None:
    def slip(*_given: Any) -> Any:
        raise ValueError("a slip")

    scene.drive()
    scene.source.forget = slip
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        settle(scene.work(lease))
    scene.target.tidy = slip
    lines: list[str] = []
    with pytest.raises(PermanentError, match="a defect: ValueError: a slip"):
        lines.extend(released(scene))
