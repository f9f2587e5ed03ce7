"""Which waves a run comes to. Prefect is not asked: its flow is the plain function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kubeferry import stopping
from kubeferry.actions import Goal


@pytest.fixture
def waves_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Run a goal over two waves, of which the first one fails; the waves that were driven."""
    from flows import migrate

    def plain(**_options: object) -> Callable[[Any], Any]:
        def decorated(function: Any) -> Callable[..., None]:
            def called(*given: Any, return_state: bool) -> None:
                assert return_state
                function(*given)

            return called

        return decorated

    driven: list[str] = []

    def drive_wave(_run: Any, wave: Any, _machines: Any) -> bool:
        driven.append(wave.name)
        return False

    monkeypatch.setattr(migrate, "flow", plain)
    monkeypatch.setattr(migrate, "_drive_wave", drive_wave)

    def run(goal: Goal) -> list[str]:
        waves = (SimpleNamespace(name="one", machines=("a",)), SimpleNamespace(name="two", machines=("b",)))
        plan: Any = SimpleNamespace(name="plan", digest="d", waves=waves)
        nothing: Any = None
        migrate.run_plan(migrate.Run(plan, nothing, nothing, nothing, goal), ("a", "b"))
        return driven

    stopping.reset()
    yield run
    stopping.reset()


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.MIGRATE_AGAIN])
def test_a_wave_that_did_not_arrive_holds_up_what_builds_on_it(waves_of: Callable[..., list[str]], goal: Goal) -> None:
    assert waves_of(goal) == ["one"]


@pytest.mark.parametrize("goal", [Goal.ROLLBACK, Goal.PRECOPY])
def test_the_way_back_and_what_is_copied_ahead_wait_for_no_other_wave(
    waves_of: Callable[..., list[str]], goal: Goal
) -> None:
    assert waves_of(goal) == ["one", "two"]


def test_who_asks_to_stop_gets_no_further_wave(waves_of: Callable[..., list[str]]) -> None:
    stopping.request()
    assert waves_of(Goal.ROLLBACK) == ["one"]
