"""A source that lets nobody in any more, in the midst of a move: the move waits, and takes nothing back meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.errors import LoginLost
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power


def lost_after(scene: Any, kind: ActionKind, method: str) -> None:
    def lose(action: Action) -> None:
        if action.kind is kind:
            scene.source.write_faults(method, LoginLost)
            scene.after = lambda _action: None

    scene.after = lose


def test_a_move_whose_login_is_lost_after_the_stop_stays_where_it_is_and_goes_on(scene: Any) -> None:
    lost_after(scene, ActionKind.BEGIN_COPY, "open_round")
    with pytest.raises(LoginLost) as told:
        scene.drive()
    assert (scene.state.phase, scene.state.resumes) == (Phase.FAILED, Phase.CUTTING_OVER)
    assert scene.power is Power.OFF
    assert "rollback-begun" not in scene.kinds
    assert "its source is off since" in told.value.why
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.kinds.count("copy-begun") == 1, "the round that was begun goes on"
    assert scene.equal()


def test_before_the_stop_nothing_is_said_of_a_source_that_is_off(scene: Any) -> None:
    lost_after(scene, ActionKind.RECORD_PLAN, "concerns")
    with pytest.raises(LoginLost) as told:
        scene.drive()
    assert scene.power is Power.RUNNING
    assert "is off" not in told.value.why
    assert scene.drive().phase is Phase.COMMITTED


def test_a_rollback_whose_login_is_lost_goes_on_later(scene: Any) -> None:
    scene.target.answers["agent"] = False
    lost_after(scene, ActionKind.STOP_TARGET, "start")
    with pytest.raises(LoginLost) as told:
        scene.drive()
    assert "its source is off since" in told.value.why
    assert scene.state.resumes is Phase.ROLLING_BACK
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING
