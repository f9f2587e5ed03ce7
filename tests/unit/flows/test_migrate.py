"""Which waves a run comes to, what is tried again, and how a machine's run ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kubeferry.errors import SourceUnavailable
from kubeferry.life.actions import Goal
from kubeferry.outside import stopping


@pytest.fixture
def waves_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Run a goal over two waves, of which the first one fails; the waves that were driven."""
    from flows import migrate

    driven: list[str] = []

    def drive_wave(_run: Any, wave: Any, _machines: Any) -> bool:
        driven.append(wave.name)
        return False

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


def test_a_connection_that_does_not_close_hides_no_outcome_and_keeps_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import migrate

    closed: list[str] = []

    def refusing(name: str) -> Any:
        def close() -> None:
            closed.append(name)
            raise SourceUnavailable("it does not answer")

        return SimpleNamespace(close=close)

    @contextlib.contextmanager
    def lease(_plan: str, _machine: str) -> Iterator[None]:
        yield

    monkeypatch.setattr(migrate, "open_source", lambda *_given, journal: refusing(f"source of {journal}"))
    monkeypatch.setattr(migrate, "open_target", lambda *_given: refusing("target"))
    monkeypatch.setattr(migrate, "drive", lambda *_given: SimpleNamespace(phase="committed"))
    monkeypatch.setattr(migrate, "settle", lambda _work: "a view")
    plan, journal = SimpleNamespace(digest="d", source="lab"), SimpleNamespace(lease=lease, identity="j")
    config = SimpleNamespace(sources={"lab": None}, target=None, limits=None)
    more = {"goal": Goal.MIGRATE, "refused": {}, "standing": {}}
    run: Any = SimpleNamespace(target_is_down="", plan=plan, journal=journal, config=config, **more)
    entry: Any = SimpleNamespace(name="web")
    assert migrate._drive_machine(run, entry) == migrate.Outcome("web", "committed", left="a view")
    assert closed == ["source of j", "target"]
