"""No source is stopped outside its window, in the lock-out, over the capacity, or where what is left is too short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubeferry.documents import Policy, Probe, WarmPolicy, Window, freeze
from kubeferry.errors import Deferred, Interrupted, ProbeFailed
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.events import WINDOW, CutoverBegun, Failed, Note, RollbackBegun
from kubeferry.life.machine_state import Phase
from kubeferry.life.projected import Projected, Range
from kubeferry.model import Power
from kubeferry.outside import clock
from kubeferry.steps import cutover, drive
from kubeferry.steps.gate import Gate

A = ActionKind


def a_window(begins: float, ends: float, **more: Any) -> Window:
    """Open from so many hours from now to so many."""
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(hours=hours):%Y-%m-%dT%H:%M}" for hours in (begins, ends))
    return Window(start=start, end=end, time_zone="UTC", **more)


@pytest.fixture
def scene_in(build: Callable[..., Any]) -> Callable[..., Any]:
    """A scene whose machine is stopped in this window only."""

    def make(window: Window, **policy: Any) -> Any:
        choices = {"probes": (Probe(kind="agent"),), "windows": {"nights": window}, "window": "nights"} | policy
        return build(policy=Policy(**choices))

    return make


def begun(scene: Any) -> CutoverBegun:
    return next(one.event for one in scene.events if isinstance(one.event, CutoverBegun))


def notes(scene: Any) -> list[str]:
    return [one.event.text for one in scene.events if isinstance(one.event, Note)]


def deferred(scene: Any, goal: Goal = Goal.MIGRATE) -> Deferred:
    with pytest.raises(Deferred) as caught:
        scene.drive(goal)
    return caught.value


def test_in_its_window_a_machine_moves_and_what_was_projected_is_recorded(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(-1, 2))
    assert scene.drive().phase is Phase.COMMITTED
    assert begun(scene).window == "nights"
    projected = begun(scene).projected
    assert projected is not None
    assert projected.told() == "not known: no machine has moved yet"


def test_outside_of_it_its_source_is_left_alone_and_that_is_no_failure(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(2, 4))
    error = deferred(scene)
    assert error.what.startswith("it is deferred: its window nights is closed; it opens next ")
    assert error.until
    assert error.exit_code == 1
    assert scene.power is Power.RUNNING
    assert scene.kinds == ["planned"]
    assert scene.state.failed is None


def test_a_window_that_is_over_is_told_to_open_no_more(scene_in: Callable[..., Any]) -> None:
    error = deferred(scene_in(a_window(-3, -1)))
    assert error.what == "it is deferred: its window nights is closed"
    assert error.until == ""
    assert "does not open any more" in error.fix


def test_a_warm_machine_is_copied_ahead_while_its_window_is_closed(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(2, 4), mode="warm", warm=WarmPolicy(rounds=2, enough_bytes=0))
    deferred(scene)
    assert scene.power is Power.RUNNING
    assert scene.state.phase is Phase.SYNCED
    assert "cutover-begun" not in scene.kinds
    assert scene.equal()
    rounds = len(scene.state.rounds)
    deferred(scene)
    assert len(scene.state.rounds) > rounds  # the same command copies on


def test_no_cutover_begins_in_the_lock_out(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(-1, 1, lockout_seconds=7000))
    error = deferred(scene)
    assert "the lock-out of its window nights has begun" in error.what
    assert scene.power is Power.RUNNING
    assert notes(scene) == [f"deferred: {error.why_held}"]  # it was open: who looks later wants to know why


def test_what_does_not_fit_waits(scene_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_in(a_window(-1, 1))
    hour = Range(low=0, likely=1800, high=3000)
    seen = Projected(at="", parts=({"name": "copy", "seconds": hour},), back=Range(low=0, likely=60, high=1200))
    monkeypatch.setattr(Gate, "project", lambda *_: seen)
    error = deferred(scene)
    assert "it may take 50 min 00 s, and 20 min 00 s more to go back, and its window nights ends in" in error.what
    assert scene.power is Power.RUNNING
    fits = seen.model_copy(update={"back": Range(low=0, likely=0, high=60)})
    monkeypatch.setattr(Gate, "project", lambda *_: fits)
    assert scene.drive().phase is Phase.COMMITTED
    assert begun(scene).projected == fits


def test_an_opening_takes_so_many_machines(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(-1, 2, capacity=1))
    another = scene.entry.model_copy(update={"name": "db", "target_name": "db"})
    waves = (scene.plan.waves[0].model_copy(update={"machines": ("web", "db")}),)
    scene.plan = freeze(scene.plan.model_copy(update={"entries": (scene.entry, another), "waves": waves}))
    scene.journal.register_plan(scene.plan.digest, scene.plan.name, "")
    with scene.journal.lease(scene.plan.digest, "db") as lease:
        other = replace(scene.work(lease), entry=another)
        cutover.stand_in_plan(other)
        other.record(CutoverBegun(power_before=Power.OFF, stop_is_told=True, window="nights"))
    assert "this opening of its window nights takes 1 machine, and they have begun" in deferred(scene).what
    assert scene.power is Power.RUNNING


def test_threads_that_ask_at_once_are_counted_before_anything_is_recorded(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(-1, 2, capacity=1))
    another = scene.entry.model_copy(update={"name": "db", "target_name": "db"})
    waves = (scene.plan.waves[0].model_copy(update={"machines": ("web", "db")}),)
    scene.plan = freeze(scene.plan.model_copy(update={"entries": (scene.entry, another), "waves": waves}))
    scene.journal.register_plan(scene.plan.digest, scene.plan.name, "")
    gate = Gate(scene.plan, scene.journal)
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        work = replace(scene.work(lease), run_gate=gate)
        gate.admit([work])
        with pytest.raises(Deferred, match="takes 1 machine"):
            gate.admit([replace(work, entry=another)])
        gate.admit([work])  # who was let in is let in again


def test_runners_elsewhere_that_ask_at_once_are_counted_one_after_the_other(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(-1, 2, capacity=1))
    another = scene.entry.model_copy(update={"name": "db", "target_name": "db"})
    waves = (scene.plan.waves[0].model_copy(update={"machines": ("web", "db")}),)
    scene.plan = freeze(scene.plan.model_copy(update={"entries": (scene.entry, another), "waves": waves}))
    scene.journal.register_plan(scene.plan.digest, scene.plan.name, "")

    def overtaken(action: Action) -> None:
        if action.kind is A.BEGIN_CUTOVER:  # web was let in, and db begins first
            with scene.journal.lease(scene.plan.digest, "db") as lease:
                other = replace(scene.work(lease), entry=another)
                cutover.stand_in_plan(other)
                other.record(CutoverBegun(power_before=Power.OFF, stop_is_told=True, window="nights"))

    scene.before = overtaken
    assert "takes 1 machine, and they have begun" in deferred(scene).what
    assert scene.power is Power.RUNNING
    assert scene.kinds == ["planned"]


def test_a_person_may_overrule_a_window_and_is_recorded(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(2, 4))
    gate = Gate(scene.plan, scene.journal, overruled="anna: the disk array is dying")
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        work = replace(scene.work(lease), run_gate=gate)
        assert drive.drive(work, Goal.MIGRATE, lambda _action, step: step()).phase is Phase.COMMITTED
    assert notes(scene) == ["anna: the disk array is dying; its window is nights"]
    assert begun(scene).window == ""


def later(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """From now on it is so many hours later, as far as kubeferry asks."""
    monkeypatch.setattr(clock, "moment", lambda: datetime.now(UTC) + timedelta(hours=hours))


def test_a_window_that_ends_during_a_cutover_leads_back_and_a_later_run_takes_it_up(
    scene_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_in(a_window(-1, 2))

    def ends(action: Action) -> None:
        if action.kind is A.VERIFY_DISKS:
            later(monkeypatch, 2.5)

    scene.after = ends
    error = deferred(scene)
    assert error.what.startswith("it is deferred: its window nights ended during its cutover")
    assert (begun(scene).deadline_of, scene.state.phase) == ("window nights", Phase.ROLLED_BACK)
    assert scene.power is Power.RUNNING
    assert not scene.target.running
    back = next(one.event for one in scene.events if isinstance(one.event, RollbackBegun))
    assert back.cause == WINDOW
    assert back.reason.startswith("its window nights was used up at ")
    assert not any(isinstance(one.event, Failed) for one in scene.events)
    scene.after = lambda _action: None
    assert "its window nights is closed" in deferred(scene).what  # there is no opening any more
    monkeypatch.undo()
    assert scene.drive().phase is Phase.COMMITTED  # without --again
    assert scene.power is Power.OFF


def test_who_was_let_in_and_killed_before_the_stop_does_not_stop_it_after_its_window(
    scene_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_in(a_window(-1, 2))
    scene.stop_before(A.STOP_SOURCE)
    with pytest.raises(Interrupted):
        scene.drive()
    later(monkeypatch, 2.5)
    scene.before = lambda _action: None
    deferred(scene)
    assert "stop-asked" not in scene.kinds
    assert scene.state.phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


def test_a_way_back_that_a_person_asks_for_after_the_end_of_the_window_stays(
    scene_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_in(a_window(-1, 2))
    scene.stop_before(A.APPLY)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.before = lambda _action: None
    later(monkeypatch, 2.5)
    scene.drive(Goal.ROLLBACK)
    assert not scene.state.waits_for_window
    with pytest.raises(ProbeFailed):
        scene.drive()


def test_any_other_rollback_is_not_taken_up_by_itself(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(-1, 2))
    scene.stop_before(A.APPLY)
    with pytest.raises(Exception, match="stopped"):
        scene.drive()
    scene.before = lambda _action: None
    scene.drive(Goal.ROLLBACK)
    with pytest.raises(ProbeFailed):
        scene.drive()


def test_who_was_let_in_and_killed_before_the_stop_is_not_asked_again(scene_in: Callable[..., Any]) -> None:
    scene = scene_in(a_window(-1, 2))
    asked: list[Action] = []

    def note(action: Action) -> None:
        asked.append(action)
        if action.kind is A.STOP_SOURCE and len(asked) < 4:
            raise KeyboardInterrupt

    scene.before = note
    with pytest.raises(KeyboardInterrupt):
        scene.drive()
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.kinds.count("cutover-begun") == 1
