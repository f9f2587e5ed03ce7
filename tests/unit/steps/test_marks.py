"""What is left at a source that we stop: found by another journal, which then knows the power before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubeferry import marks
from kubeferry.documents import JournalConfig, Plan, Policy, Probe, dump
from kubeferry.errors import (
    Interrupted,
    PermanentError,
    ProbeFailed,
    SourceRefused,
    SourceUnavailable,
    TargetRefused,
    TargetUnavailable,
)
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind as A
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.targets import TargetCapabilities
from tests.unit.steps.test_precedence import made
from tests.unit.steps.test_release import released, still_open

AGENT = (Probe(kind="agent"),)
WHEN = "2026-01-01T00:00:00Z"


def left_at(scene: Any, kind: A) -> marks.StopMark:
    """A run was stopped before this action; the mark that it has left."""
    scene.stop_before(kind)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.before = lambda _action: None
    mark: marks.StopMark = scene.source.marked(scene.entry.machine)
    return mark


def marked(scene: Any) -> Any:
    return scene.source.marked(scene.entry.machine)


def another_plan(scene: Any) -> Plan:
    return made(scene, Policy(probes=AGENT, labels={"changed": "yes"}), "another")


@pytest.fixture
def theirs(scene: Any, tmp_path: Path) -> Iterator[Any]:
    """The scene, and a second journal that knows its plan and nothing that was done."""
    scene.target.capabilities = TargetCapabilities(keeps_running=True, isolated=False)
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path / 'theirs.db'}")) as journal:
        journal.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
        yield journal


def test_a_source_is_marked_before_its_stop_until_it_runs_again(scene: Any) -> None:
    mark = left_at(scene, A.BEGIN_COPY)
    assert (mark.before, mark.plan, mark.name) == (Power.RUNNING, scene.plan.digest, scene.plan.name)
    assert (Phase.CUTTING_OVER, mark.move) in scene.state.timeline
    assert "stop-mark" in still_open(scene)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert (scene.power, marked(scene)) == (Power.RUNNING, None)


def test_a_source_that_could_not_be_stopped_is_not_left_marked(scene: Any) -> None:
    scene.source.write_deaf("web")
    with pytest.raises(SourceRefused, match="does not stop"):
        scene.drive()
    assert (scene.state.phase, scene.power, marked(scene)) == (Phase.ROLLED_BACK, Power.RUNNING, None)


def test_a_machine_that_was_off_before_is_not_marked(build: Any) -> None:
    scene = build(power=Power.OFF)
    assert left_at(scene, A.APPLY) is None


def test_release_takes_away_the_mark_that_a_committed_move_could_not(scene: Any) -> None:
    left_at(scene, A.COMMIT)
    scene.drive()  # without the settling that a run ends with
    assert marked(scene) is not None
    assert any("stop-mark" in line for line in released(scene))
    assert marked(scene) is None


def test_where_no_mark_can_be_left_the_move_goes_on_and_says_so(scene: Any) -> None:
    scene.source.write_faults("mark", SourceRefused)
    assert scene.drive().phase is Phase.COMMITTED
    notes = [record.event.text for record in scene.events if str(record.event.kind) == "note"]
    assert any("no mark could be left at the source" in note for note in notes)


def test_a_mark_that_cannot_be_taken_away_keeps_no_source_off(scene: Any) -> None:
    left_at(scene, A.BEGIN_COPY)
    scene.source.write_faults("unmark", SourceRefused)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert (scene.power, marked(scene).before) == (Power.RUNNING, Power.RUNNING)
    scene.source.write_power("web", Power.OFF)  # by its owner, who has used it since
    scene.plan = another_plan(scene)
    with Journal.open(JournalConfig(url=f"sqlite:///{scene.folder / 'third.db'}")) as third:
        third.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
        scene.journal = third
        assert scene.drive().phase is Phase.COMMITTED
        assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF, "a mark of an earlier start says nothing"


# --- another journal -------------------------------------------------------------------------------------------------


def test_another_plan_of_another_journal_does_not_go_on_from_there_and_says_why(scene: Any, theirs: Any) -> None:
    mark = left_at(scene, A.VERIFY_DISKS)
    scene.plan = another_plan(scene)
    scene.journal = theirs
    theirs.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
    with pytest.raises(PermanentError, match="of which this plan knows nothing") as caught:
        scene.drive()
    assert str(mark) in caught.value.why
    assert "kubeferry rollback" in caught.value.fix
    assert (scene.state.phase, scene.power, marked(scene)) == (Phase.FAILED, Power.OFF, mark)


@pytest.mark.parametrize("same", [True, False])
def test_a_rollback_by_another_journal_starts_what_the_mark_says_was_on(scene: Any, theirs: Any, same: bool) -> None:
    mark = left_at(scene, A.VERIFY_DISKS)
    scene.plan = scene.plan if same else another_plan(scene)
    scene.journal = theirs
    theirs.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert (scene.power, marked(scene)) == (Power.RUNNING, None)
    assert str(mark) in scene.state.rollback_reason or "taken" in " ".join(scene.kinds) or scene.state.attempts == 0
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED


def test_a_rollback_by_another_journal_does_not_join_a_copy_that_runs(scene: Any, theirs: Any) -> None:
    left_at(scene, A.OBSERVE)
    scene.journal = theirs
    with pytest.raises(TargetRefused, match="knows nothing of it"):
        scene.drive(Goal.ROLLBACK)
    assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])


@pytest.mark.parametrize("again", [False, True])
def test_a_rollback_by_a_journal_from_before_the_move_says_that_the_copy_runs(
    scene: Any, theirs: Any, again: bool
) -> None:
    """The mark went with the commit. Nothing is recorded that could be rolled back; but that is not all there is."""
    ours = scene.journal
    if again:  # and a move was rolled back before
        scene.journal = theirs
        left_at(scene, A.APPLY)
        scene.drive(Goal.ROLLBACK)
        scene.journal = ours
    assert scene.drive().phase is Phase.COMMITTED
    scene.source.forget(scene.entry.machine)
    scene.journal = theirs
    with pytest.raises(TargetRefused, match="knows nothing of it"):
        scene.drive(Goal.ROLLBACK)
    assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])
    scene.target.faults["runs"] = [TargetUnavailable("no answer")]
    assert scene.drive(Goal.ROLLBACK).phase in {Phase.PLANNED, Phase.ROLLED_BACK}


def test_a_rollback_that_was_left_half_done_is_not_ended_over_a_copy_that_another_journal_has_started_since(
    scene: Any, theirs: Any
) -> None:
    ours = scene.journal
    left_at(scene, A.APPLY)
    scene.stop_before(A.END_ROLLBACK)
    with pytest.raises(Interrupted):
        scene.drive(Goal.ROLLBACK)
    scene.before, scene.journal = (lambda _action: None), theirs
    assert scene.drive().phase is Phase.COMMITTED
    scene.journal = ours
    with pytest.raises(TargetRefused, match="knows nothing of it"):
        scene.drive(Goal.ROLLBACK)
    assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])


def test_the_same_plan_with_another_journal_goes_on_says_so_and_leads_back_to_on(scene: Any, theirs: Any) -> None:
    mark = left_at(scene, A.VERIFY_DISKS)
    scene.journal = theirs
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive()
    assert (scene.power, marked(scene)) == (Power.RUNNING, None)
    notes = [record.event.text for record in scene.events if str(record.event.kind) == "note"]
    assert any(str(mark) in note for note in notes)


def test_a_rollback_of_what_never_began_is_done_where_the_source_cannot_be_asked(scene: Any) -> None:
    scene.source.write_faults("marked", SourceUnavailable)
    scene.source.write_power("web", Power.OFF)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.PLANNED


def test_a_defect_that_escapes_from_a_source_asked_for_its_mark_is_recorded(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_at(scene, A.BEGIN_CUTOVER)
    scene.source.write_power("web", Power.OFF)
    monkeypatch.setattr(scene.source, "marked", lambda machine: int(machine.id))
    with pytest.raises(PermanentError, match="a defect: ValueError"):
        scene.drive(Goal.ROLLBACK)
    assert (scene.state.phase, scene.state.failed.at) == (Phase.FAILED, "look")
    monkeypatch.undo()
    assert scene.drive(Goal.ROLLBACK).phase is Phase.PLANNED


def test_a_mark_is_not_asked_for_where_the_journal_knows_the_move(scene: Any) -> None:
    left_at(scene, A.VERIFY_DISKS)
    scene.plan = another_plan(scene)
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.ROLLBACK])
def test_a_plan_that_calls_the_source_by_another_name_does_not_take_off_for_its_state_before(
    scene: Any, goal: Goal
) -> None:
    """The source was renamed in the configuration: for the journal it is another machine, and the mark says which."""
    scene.plan = made(scene, Policy(probes=AGENT), "first")
    mark = left_at(scene, A.BEGIN_COPY)
    machine = scene.source.discover().machines[0]
    scene.source.write_machines(machine.model_copy(update={"source": "renamed", "metadata": {}}))
    scene.plan = another_plan(scene)
    if goal is Goal.ROLLBACK:
        assert scene.drive(goal).phase is Phase.ROLLED_BACK
        assert (scene.power, marked(scene)) == (Power.RUNNING, None)
        return
    with pytest.raises(PermanentError, match="of which this plan knows nothing") as caught:
        scene.drive(goal)
    assert str(mark) in caught.value.why
    assert scene.power is Power.OFF


def test_a_mark_that_is_written_wrong_or_is_of_another_machine_is_none(scene: Any) -> None:
    mark = marks.StopMark("0" * 12, Power.RUNNING, WHEN, "0" * 64, WHEN, "", "x")
    with contextlib.suppress(FileNotFoundError):
        scene.source.unmark(scene.entry.machine)
    scene.source.mark(scene.entry.machine, replace(mark, move="yesterday"), lambda _thing: None)
    assert marked(scene) is None
    scene.source.mark(scene.entry.machine, mark, lambda _thing: None)  # as a clone has it, of the machine it is made of
    scene.source.write_power("web", Power.OFF)
    assert scene.drive().phase is Phase.COMMITTED
