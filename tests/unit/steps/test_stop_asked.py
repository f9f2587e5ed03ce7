"""A source that is off, and whether it is by us: told apart by whether a stop was ever asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flows.cli.standing import left_off, source_seen, standings, summary
from flows.cli.stopped import left_off as left_off_by_a_run
from kubeferry.documents import JournalConfig, dump
from kubeferry.errors import Interrupted
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind as A
from kubeferry.life.action_kinds import Goal
from kubeferry.life.events import CutoverBegun, RollbackBegun, StopAsked
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.drive import drive
from kubeferry.targets.gone import GoneTarget
from tests.unit.steps.test_marks import another_plan, left_at, marked


class Killed(BaseException):
    """kill -9 at this point."""


def shut_down(scene: Any) -> None:
    """By its owner."""
    scene.source.write_power("web", Power.OFF)


def killed_at(scene: Any, method: str, *, done: bool = False) -> None:
    """A run that was killed when it called this method of the source, or when that was done."""
    whole = getattr(scene.source, method)

    def kill(*args: Any, **named: Any) -> None:
        if done:
            whole(*args, **named)
        raise Killed

    setattr(scene.source, method, kill)
    with pytest.raises(Killed):
        scene.drive()
    delattr(scene.source, method)


def test_a_source_that_its_owner_shut_down_before_our_stop_is_left_off_by_a_rollback(scene: Any) -> None:
    left_at(scene, A.STOP_SOURCE)
    assert scene.state.power_before is Power.RUNNING
    shut_down(scene)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF
    assert "source-restarted" not in scene.kinds


def test_the_same_where_the_target_is_down_for_good(scene: Any) -> None:
    left_at(scene, A.STOP_SOURCE)
    shut_down(scene)
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        work = replace(scene.work(lease), target=GoneTarget("ann"), target_is_down="ann")
        assert drive(work, Goal.ROLLBACK, lambda _action, step: step()).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF


def test_the_same_where_the_move_went_on_in_between(scene: Any) -> None:
    left_at(scene, A.STOP_SOURCE)
    shut_down(scene)
    left_at(scene, A.APPLY)
    assert (scene.state.power_before, scene.state.woken, marked(scene)) == (Power.OFF, 0, None)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF


def test_one_that_was_stopped_by_a_run_that_was_killed_is_started(scene: Any) -> None:
    killed_at(scene, "stop", done=True)
    assert (scene.kinds[-2:], scene.power) == (["stop-asked", "last-words"], Power.OFF)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


def test_a_mark_that_was_left_by_a_run_that_was_killed_before_its_stop_is_taken_away(build: Any) -> None:
    for goal in (Goal.ROLLBACK, Goal.MIGRATE):
        scene = build()
        killed_at(scene, "mark", done=True)
        assert marked(scene) is not None
        shut_down(scene)
        scene.drive(goal)
        assert (scene.power, marked(scene)) == (Power.OFF, None), goal


def test_a_source_that_was_started_in_the_moment_of_its_stop_counts_as_stopped_by_us(scene: Any) -> None:
    left_at(scene, A.STOP_SOURCE)
    shut_down(scene)
    stop = scene.source.stop

    def woken(*args: Any) -> Any:
        scene.source.write_power("web", Power.RUNNING)
        scene.source.stop = stop
        return stop(*args)

    scene.source.stop = woken
    left_at(scene, A.BEGIN_COPY)
    assert scene.state.stop_asked


def test_another_plan_takes_over_no_power_that_the_older_one_has_not_changed(scene: Any) -> None:
    left_at(scene, A.STOP_SOURCE)
    shut_down(scene)
    scene.plan = another_plan(scene)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF


def test_another_plan_that_goes_on_leaves_it_off_after_its_own_rollback(scene: Any) -> None:
    left_at(scene, A.STOP_SOURCE)
    shut_down(scene)
    scene.plan = another_plan(scene)
    left_at(scene, A.APPLY)
    assert scene.state.power_before is Power.OFF
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF


def test_a_stop_by_another_journal_is_found_by_its_mark(scene: Any, tmp_path: Any) -> None:
    left_at(scene, A.STOP_SOURCE)
    mine = scene.journal
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path / 'theirs.db'}")) as theirs:
        theirs.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
        scene.journal = theirs
        left_at(scene, A.BEGIN_COPY)
    scene.journal = mine
    left_at(scene, A.BEGIN_COPY)
    assert (scene.state.power_before, scene.state.owes_restart) == (Power.RUNNING, True)


def test_a_journal_of_an_earlier_version_starts_what_it_may_have_stopped(scene: Any) -> None:
    scene.stop_before(A.BEGIN_CUTOVER)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.before = lambda _action: None
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        scene.journal.append(lease, CutoverBegun(power_before=Power.RUNNING))
    shut_down(scene)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


def test_status_says_of_a_source_whether_it_is_off_by_us(scene: Any) -> None:
    def rows() -> Any:
        return standings(scene.plan, {"web": scene.events}, {}, {})

    left_at(scene, A.STOP_SOURCE)
    assert left_off_by_a_run({"web": scene.state}, ("test",)) == ("", "")
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        scene.journal.append(lease, StopAsked())
    assert str(source_seen(scene.plan, scene.entry, scene.events)).startswith("asked to stop ")
    assert "it may be off, or go off, of web" in left_off_by_a_run({"web": scene.state}, ("test",))[0]
    left_at(scene, A.BEGIN_COPY)
    assert left_off(rows()) == ["web"]
    assert "1 source is off on the way (web)" in summary(scene.plan, rows())
    why, back = left_off_by_a_run({"web": scene.state}, ("test",))
    assert (why, back) == ("the source is off of web, on the way to the target", "kubeferry rollback test -m web")
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        scene.journal.append(lease, RollbackBegun(reason="asked for"))
    why, back = left_off_by_a_run({"web": scene.state}, ("test",))
    assert (why, back) == ("the source is off of web, on the way back", "")  # the same command goes on with that


def test_status_counts_no_source_that_was_off_before(build: Any) -> None:
    scene = build(power=Power.OFF)
    left_at(scene, A.BEGIN_COPY)
    (row,) = standings(scene.plan, {"web": scene.events}, {}, {})
    assert (str(row.source).startswith("off since"), left_off([row])) == (True, [])


def test_killed_before_the_stop_is_asked_for_nothing_was_done_to_the_source(scene: Any) -> None:
    killed_at(scene, "mark")
    shut_down(scene)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF
