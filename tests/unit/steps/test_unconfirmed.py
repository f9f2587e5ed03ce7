"""A stop that was asked for and never seen done: by whom the source is off, as far as that tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.life.action_kinds import ActionKind as A
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.sources import WentOff
from kubeferry.steps import unconfirmed
from kubeferry.steps.unconfirmed import by_another
from tests.unit.steps.test_marks import left_at, marked
from tests.unit.steps.test_stop_asked import Killed, killed_at, shut_down


def killed_before_its_stop(scene: Any) -> None:
    """The stop is recorded as asked for, and nothing was done."""
    killed_at(scene, "stop")
    assert (scene.kinds[-1], scene.power) == ("stop-asked", Power.RUNNING)


def later(**past: float) -> str:
    return (datetime.now(UTC) + timedelta(**past)).isoformat()


BY_ANOTHER = [
    {"by": "its own system"},
    {"at": later(hours=2), "asked": True},
    {"at": later(days=1)},
]


@pytest.mark.parametrize("told", BY_ANOTHER)
def test_what_somebody_else_has_stopped_is_left_off_by_a_rollback(scene: Any, told: dict[str, Any]) -> None:
    killed_before_its_stop(scene)
    shut_down(scene)
    scene.source.write_went_off("web", WentOff(**told))
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert (scene.power, marked(scene)) == (Power.OFF, None)
    assert "stop-not-done" in scene.kinds
    assert "source-restarted" not in scene.kinds


@pytest.mark.parametrize("told", BY_ANOTHER)
def test_a_move_that_goes_on_goes_back_to_off_then(scene: Any, told: dict[str, Any]) -> None:
    killed_before_its_stop(scene)
    shut_down(scene)
    scene.source.write_went_off("web", WentOff(**told))
    left_at(scene, A.APPLY)
    assert (scene.state.power_before, scene.state.owes_restart) == (Power.OFF, False)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF


@pytest.mark.parametrize(
    "told", [{}, {"at": later(minutes=2), "asked": True}, {"at": later(hours=2)}, {"at": later(days=-1)}]
)
def test_what_may_have_been_our_stop_is_started(scene: Any, told: dict[str, Any]) -> None:
    killed_before_its_stop(scene)
    shut_down(scene)
    scene.source.write_went_off("web", WentOff(**told))
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


@pytest.mark.parametrize("error", [SourceUnavailable, SourceRefused])
def test_a_source_that_does_not_say_by_whom_it_is_off_is_started(scene: Any, error: Any) -> None:
    killed_before_its_stop(scene)
    shut_down(scene)
    scene.source.write_faults("went_off", error)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


def test_a_stop_that_was_seen_done_is_ours_whatever_the_source_tells(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the machine was off, and the mark said so, before that was recorded."""
    leave = scene.source.mark

    def killed(machine: Any, mark: Any, ledger: Any) -> None:
        leave(machine, mark, ledger)
        if mark.off:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(scene.source, "mark", killed, raising=False)
        with pytest.raises(Killed):
            scene.drive()
    assert scene.power is Power.OFF
    assert "source-stopped" not in scene.kinds
    scene.source.write_went_off("web", WentOff(by="its own system"))
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


def test_a_stop_that_is_asked_for_again_after_a_while_counts_from_then(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_before_its_stop(scene)
    killed_before_its_stop(scene)
    assert scene.kinds.count("stop-asked") == 1
    monkeypatch.setattr(unconfirmed, "TOLD_ANEW", timedelta(0))
    killed_before_its_stop(scene)
    assert scene.kinds.count("stop-asked") == 2


def test_when_a_machine_went_off_is_measured_from_when_its_stop_was_asked_for() -> None:
    asked_at = "2026-11-29T10:00:00.000+00:00"
    assert by_another(WentOff(), asked_at) == ""
    assert by_another(WentOff(at="2026-11-29T10:09:00+00:00", asked=True), asked_at) == ""
    assert "its stop was asked for at 2026-11-29T10:11" in by_another(
        WentOff(at="2026-11-29T10:11:00+00:00", asked=True), asked_at
    )
    assert by_another(WentOff(at="2026-11-29T13:59:00+00:00"), asked_at) == ""
    assert "it went off at 2026-11-29T14:01" in by_another(WentOff(at="2026-11-29T14:01:00+00:00"), asked_at)
    assert by_another(WentOff(by="user bob"), asked_at) == "it was stopped by user bob"
