"""A machine that has moved is not copied over by a journal that does not know it, though its copy is off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import JournalConfig, Policy, TargetConfig, dump
from kubeferry.errors import AlreadyMoved, Fenced, Interrupted, SourceRefused, TargetRefused, TargetUnavailable
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind as A
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.marks import MoveMark
from kubeferry.model import Power
from kubeferry.steps.release import losses
from kubeferry.targets import TargetCapabilities
from kubeferry.targets.directory.target import connect
from tests.unit.steps.test_marks import AGENT, another_plan, left_at
from tests.unit.steps.test_precedence import made
from tests.unit.steps.test_release import released

WRITTEN_SINCE = b"written at the target"


@pytest.fixture(params=[True, False], ids=["cluster", "folder"])
def scene(request: pytest.FixtureRequest, scene: Any) -> Any:
    """The target keeps what it starts, or runs it for its proof only."""
    scene.target.capabilities = TargetCapabilities(keeps_running=request.param, isolated=not request.param)
    return scene


@pytest.fixture
def backups(scene: Any) -> Iterator[Any]:
    """Gives a journal as it was when it was copied; the scene's goes on."""
    opened = []

    def copy(name: str) -> Any:
        path = scene.folder / f"{name}.db"
        for part in ("", "-wal", "-shm"):
            if (live := scene.folder / f"journal.db{part}").exists():
                shutil.copy(live, f"{path}{part}")
        return lambda: opened.append(Journal.open(JournalConfig(url=f"sqlite:///{path}"))) or opened[-1]

    yield copy
    for journal in opened:
        journal.close()


def used_and_off(scene: Any) -> dict[str, bytes]:
    """It has moved, was written to, and its owner has shut it down."""
    assert scene.drive().phase is Phase.COMMITTED
    for data in scene.target.disks.values():
        data[: len(WRITTEN_SINCE)] = WRITTEN_SINCE
    scene.target.running.clear()
    return disks(scene)


def disks(scene: Any) -> dict[str, bytes]:
    return {name: bytes(data) for name, data in scene.target.disks.items()}


def refused(scene: Any, goal: Goal = Goal.MIGRATE) -> AlreadyMoved:
    before, power = disks(scene), scene.power
    with pytest.raises(AlreadyMoved) as caught:
        scene.drive(goal)
    assert (disks(scene), scene.power, scene.target.running) == (before, power, {})
    return caught.value


BEFORE = (A.BEGIN_CUTOVER, A.STOP_SOURCE, A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.APPLY, A.START, A.OBSERVE)


@pytest.mark.parametrize("kind", BEFORE)
def test_a_journal_from_before_the_commit_copies_over_nothing(scene: Any, backups: Any, kind: Any) -> None:
    left_at(scene, kind)
    restored = backups("restored")
    used_and_off(scene)
    scene.journal = restored()
    error = refused(scene)
    (mark,) = scene.target.moves.values()
    assert (error.machine, mark.plan) == ("web", scene.plan.digest)
    assert f"moved by kubeferry at {mark.at}, by plan test ({scene.plan.digest[:12]})" in error.why
    assert "kubeferry release --everything" in error.fix
    assert scene.power is Power.OFF
    refused(scene)


def test_an_error_of_another_kind_leads_nothing_back_that_has_moved(scene: Any, backups: Any) -> None:
    left_at(scene, A.BEGIN_COPY)
    restored = backups("restored")
    used_and_off(scene)
    scene.journal = restored()
    scene.source.write_faults("power", SourceRefused)
    with pytest.raises(SourceRefused):
        scene.drive()
    assert (scene.power, scene.state.resumes) == (Power.OFF, Phase.CUTTING_OVER)


def test_what_has_moved_and_runs_is_not_stopped_because_somebody_starts_the_source(scene: Any, backups: Any) -> None:
    left_at(scene, A.OBSERVE)
    restored = backups("restored")
    assert scene.drive().phase is Phase.COMMITTED
    scene.journal = restored()
    running = dict(scene.target.running)
    scene.source.write_power("web", Power.RUNNING)
    with pytest.raises(AlreadyMoved):
        scene.drive()
    assert scene.target.running == running


def test_another_journal_and_another_plan_copy_over_nothing(scene: Any, tmp_path: Path) -> None:
    used_and_off(scene)
    mine, plan = scene.journal, scene.plan
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path / 'theirs.db'}")) as theirs:
        for other in (plan, another_plan(scene), made(scene, Policy(mode="warm", probes=AGENT), "warm")):
            theirs.register_plan(other.digest, other.name, dump(other))
            scene.journal, scene.plan = theirs, other
            refused(scene)
    scene.journal, scene.plan = mine, another_plan(scene)
    refused(scene)
    scene.source.write_power("web", Power.RUNNING)
    scene.plan = made(scene, Policy(mode="warm", probes=AGENT), "warm")
    refused(scene, Goal.PRECOPY)


def test_what_went_back_may_be_copied_over(scene: Any) -> None:
    used_and_off(scene)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.target.moves == {}
    scene.plan = another_plan(scene)
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.equal()


def test_a_mark_that_could_not_be_taken_away_keeps_no_journal_that_knows_better(scene: Any) -> None:
    used_and_off(scene)
    scene.target.faults["unmark"].append(TargetUnavailable("no answer", fix="Try it again."))
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.target.moves
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert scene.equal()


def test_a_rollback_by_a_person_starts_the_source_and_gives_the_copy_up_to_nobody(scene: Any, backups: Any) -> None:
    left_at(scene, A.COPY_DISKS)
    restored = backups("restored")
    before = used_and_off(scene)
    scene.journal = restored()
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert (scene.power, disks(scene)) == (Power.RUNNING, before)
    refused(scene, Goal.MIGRATE_AGAIN)


def test_what_is_not_wanted_is_removed_by_a_person_who_is_told(scene: Any, tmp_path: Path) -> None:
    used_and_off(scene)
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path / 'theirs.db'}")) as theirs:
        theirs.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
        scene.journal = theirs
        (line,) = losses(scene.plan, theirs, scene.target, lambda: scene.source)
        assert line.startswith("web: was moved by kubeferry at ")
        assert "removed for good" in line
        released(scene, everything=True)
        assert (scene.target.disks, scene.target.moves) == ({}, {})
        assert scene.drive().phase is Phase.COMMITTED
        assert scene.equal()


def test_where_no_mark_can_be_left_the_move_goes_on_and_says_so(scene: Any) -> None:
    scene.target.faults["mark"].append(TargetRefused("not allowed", fix="Allow it."))
    assert scene.drive().phase is Phase.COMMITTED
    notes = [record.event.text for record in scene.events if str(record.event.kind) == "note"]
    assert any("no mark could be left at the target" in note for note in notes)


def test_a_mark_that_cannot_be_read_is_one(scene: Any) -> None:
    scene.stop_before(A.COPY_DISKS)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.before = lambda _action: None
    scene.target.moves["web"] = MoveMark()
    assert "cannot read" in refused(scene).why


def test_release_everything_is_refused_where_a_newer_runner_has_the_machine(scene: Any) -> None:
    used_and_off(scene)
    scene.target.mark(scene.entry, scene.target.moves["web"], 2**40)
    with pytest.raises(Fenced, match="newer runner"):
        released(scene, everything=True)
    assert scene.target.disks


def test_the_images_of_a_folder_are_not_written_over(scene: Any, tmp_path: Path) -> None:
    scene.target = connect(TargetConfig(kind="directory", path=str(tmp_path / "target")))
    scene.target.prepare(scene.entry, lambda _thing: None)
    image = tmp_path / "target" / "machines" / "web" / "disks" / f"{scene.entry.disks[0].claim}.img"
    with image.open("r+b") as opened:
        opened.write(WRITTEN_SINCE)
    before = image.read_bytes()
    scene.target.mark(scene.entry, MoveMark("2026-01-01T00:00:00Z", "d1", "2026-01-01T00:00:00Z", "wave 1"))
    with pytest.raises(AlreadyMoved):
        scene.drive()
    assert (image.read_bytes(), scene.power) == (before, Power.RUNNING)
