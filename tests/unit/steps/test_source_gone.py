"""A source that somebody ends in the midst of a move: what was frozen of it is the last copy, and moves on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kubeferry.documents import Policy, Probe
from kubeferry.errors import SourceGone, SourceRefused, SourceUnavailable
from kubeferry.ledger import VIEW, External
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.events import Note
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.accounts import give_back
from kubeferry.steps.drive import drive
from kubeferry.steps.release import losses, release_plan


def end(scene: Any) -> None:
    """From now on nobody finds the machine, but what was frozen of it can be read."""

    def gone(*_given: Any) -> Any:
        raise SourceGone("somebody has ended the machine at its source")

    source, open_round = scene.source, scene.source.open_round
    source.power = source.start = source.last_start = source.stop = source.concerns = gone
    source.open_round = lambda *given, **more: replace(open_round(*given, **more), only_copy=True)


def end_after(scene: Any, kind: ActionKind) -> None:
    def look(action: Action) -> None:
        if action.kind is kind:
            end(scene)

    scene.after = look


def test_a_source_that_is_ended_after_its_stop_moves_all_the_same_and_it_is_said(scene: Any) -> None:
    end_after(scene, ActionKind.BEGIN_COPY)
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.equal()
    notes = [one.event.text for one in scene.events if isinstance(one.event, Note)]
    assert len([text for text in notes if "the only copy of it" in text]) == 1


def test_a_view_that_is_older_than_the_end_is_never_taken_for_the_last_state(scene: Any) -> None:
    end_after(scene, ActionKind.STOP_SOURCE)
    with pytest.raises(SourceGone):
        scene.drive()
    assert "copy-begun" not in scene.kinds
    failed = [one.event for one in scene.events if one.event.kind == "failed"]
    assert "before its last state was frozen" in failed[0].what


def test_a_way_back_to_a_source_that_was_ended_says_so(scene: Any) -> None:
    scene.target.answers["agent"] = False
    end_after(scene, ActionKind.BEGIN_COPY)
    with pytest.raises(SourceGone, match="ended"):
        scene.drive()
    assert scene.state.resumes is Phase.ROLLING_BACK
    assert "source-restarted" not in scene.kinds


def test_a_copy_that_has_moved_is_not_taken_down_for_a_source_that_is_gone(scene: Any) -> None:
    assert scene.drive().phase is Phase.COMMITTED
    end(scene)
    with pytest.raises(SourceRefused, match="its copy at the target runs on"):
        scene.drive(Goal.ROLLBACK)
    assert "rollback-begun" not in scene.kinds


def lose(scene: Any) -> None:
    """From now on nobody finds the machine, and whoever is asked cannot say that it is gone for good."""

    def missing(*_given: Any, **_more: Any) -> Any:
        raise SourceRefused("the source has no such machine any more", fix="Discover and plan again.")

    source = scene.source
    source.power = source.start = source.last_start = source.stop = source.concerns = source.open_round = missing


@pytest.fixture
def warm(build: Callable[..., Any]) -> Any:
    return build(policy=Policy(mode="warm", probes=(Probe(kind="agent"),)))


@pytest.mark.parametrize("goes", [end, lose])
def test_what_the_target_has_of_a_machine_that_ran_when_it_was_ended_is_called_what_it_is(
    warm: Any, goes: Callable[[Any], None]
) -> None:
    warm.drive(Goal.PRECOPY)
    marker = warm.state.marker
    goes(warm)
    with pytest.raises(SourceRefused) as told:
        warm.drive()
    lost = f"the target has its disks as they were at {marker.taken_at}, while it ran, its file systems held still"
    assert f"{lost}; what was written since then is in no copy of ours" in told.value.why
    assert "it is no proven copy" in told.value.fix
    assert warm.state.phase is Phase.FAILED
    assert lost in warm.state.failed.why
    said = losses(warm.plan, warm.journal, warm.target, lambda: warm.source)
    assert any(f"not seen any more, and {lost}" in line and "deleted for good" in line for line in said)
    lines = release_plan(warm.plan, warm.journal, warm.target, lambda: warm.source, everything=True, dry_run=False)
    assert "web: was synced: there is no way back, its source is gone" in list(lines)


def test_a_copy_that_was_made_when_it_was_off_is_told_with_its_time(scene: Any) -> None:
    scene.target.answers["agent"] = False
    end_after(scene, ActionKind.BEGIN_COPY)
    with pytest.raises(SourceGone, match=r"the target has its disks as they were at 20\S+, when it was off"):
        scene.drive()


def test_disks_of_two_moments_are_called_no_state_of_the_machine(warm: Any) -> None:
    """The second round had copied one of them when the machine was ended, and its view went with it."""
    warm.drive(Goal.PRECOPY)
    with warm.losing_mover(2), pytest.raises(SourceUnavailable):
        warm.drive(Goal.PRECOPY)
    lose(warm)
    with pytest.raises(SourceRefused, match="may be as they never were: round 2 was under way"):
        warm.drive(Goal.PRECOPY)


def test_a_live_view_that_is_the_only_copy_is_no_last_state(warm: Any) -> None:
    end_after(warm, ActionKind.BEGIN_COPY)
    with pytest.raises(SourceGone, match="what was written since then is in no copy of ours"):
        warm.drive(Goal.PRECOPY)
    assert len(warm.state.rounds) == 1, "the round goes on to its end"
    (note,) = [one.event.text for one in warm.events if isinstance(one.event, Note)]
    assert f"its disks as they were at {warm.state.marker.taken_at}, while it ran" in note
    assert "what was written since then is lost" in note
    with pytest.raises(SourceGone):
        warm.drive()
    assert not warm.state.final


def left(scene: Any) -> None:
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        scene.journal.intend(lease, VIEW, "view-1", "web")


def test_the_last_copy_goes_only_with_everything_and_is_named_before(scene: Any) -> None:
    dropped: list[str] = []
    scene.source.forget = lambda _machine: dropped.append("view") or ["view"]
    scene.source.exists = lambda _thing: not dropped
    scene.source.write_faults("open_round", SourceUnavailable)
    with pytest.raises(SourceUnavailable):
        scene.drive()
    scene.drive(Goal.ROLLBACK)
    left(scene)
    end(scene)
    lines = release_plan(scene.plan, scene.journal, scene.target, lambda: scene.source, everything=False, dry_run=False)
    told = list(lines)
    assert any("kept at the source" in line and "the last copy of it" in line for line in told)
    assert "web: kept: view web" in told
    assert not dropped
    assert losses(scene.plan, scene.journal, scene.target, lambda: scene.source) == [
        "web: its source is gone, and what is left there is the last copy of it: it is deleted for good"
    ]
    lines = release_plan(scene.plan, scene.journal, scene.target, lambda: scene.source, everything=True, dry_run=False)
    assert any("the last copy of it, and it goes now" in line for line in list(lines))
    assert dropped


def test_a_copy_whose_source_is_gone_is_named_before_it_is_removed(scene: Any) -> None:
    assert scene.drive().phase is Phase.COMMITTED
    assert len(losses(scene.plan, scene.journal, scene.target, lambda: scene.source)) == 1
    end(scene)
    said = losses(scene.plan, scene.journal, scene.target, lambda: scene.source)
    assert "this copy may be the only one" in said[1]


def test_a_view_of_an_ended_machine_is_not_given_back_on_the_way(scene: Any) -> None:
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        work = scene.work(lease)
        scene.source.write_faults("concerns", SourceUnavailable)
        with pytest.raises(SourceUnavailable):
            drive(work, Goal.MIGRATE, lambda _action, step: step())
        work.ledger(External(VIEW, "view-1", "web"))
        end(scene)
        scene.source.forget = lambda _machine: pytest.fail("it is the last copy")
        scene.source.exists = lambda _thing: True
        give_back(work)
    assert VIEW in {thing.kind for thing in scene.journal.ledger_open(scene.plan.digest)}
    assert scene.state.power_before in {None, Power.RUNNING}
