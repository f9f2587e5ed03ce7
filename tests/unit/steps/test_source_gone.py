"""A source that somebody ends in the midst of a move: what was frozen of it is the last copy, and moves on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubeferry.errors import SourceGone, SourceRefused, SourceUnavailable
from kubeferry.ledger import VIEW, External
from kubeferry.life.actions import Action, ActionKind, Goal
from kubeferry.life.events import Note
from kubeferry.life.evidence import Phase
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
    told = []
    with pytest.raises(Exception, match="still there"):
        told.extend(lines)
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
