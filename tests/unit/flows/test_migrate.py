"""Which waves a run comes to, what is tried again, and how a machine's run ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.progress import Board
from flows.told import Outcome
from kubeferry.config import read_config
from kubeferry.documents import Limits, MachinePolicy, Policy, freeze
from kubeferry.errors import SourceUnavailable
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from mappings.plan import make_plan
from tests.unit.flows.conftest import a_machine


@pytest.fixture
def waves_of(estate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Run a goal over two waves, of which the first one fails; the waves that were driven. They are in order, as those
    of every plan of earlier versions are."""
    from flows import migrate

    source = MemorySource("lab", estate / "source")
    source.write_machines(*(a_machine(name, estate / "source" / "web.img") for name in "ab"))
    policy = Policy(machines={"a": MachinePolicy(wave="one"), "b": MachinePolicy(wave="two")})
    plan = make_plan(source.discover(), policy, name="plan", created_at="2026-11-24T02:00:00Z")
    plan = freeze(plan.model_copy(update={"order": None}))
    driven: list[str] = []

    def drive_machine(_run: Any, entry: Any) -> Any:
        driven.append(next(wave.name for wave in plan.waves if entry.name in wave.machines))
        return Outcome(entry.name, "failed", SourceUnavailable("it does not answer"))

    monkeypatch.setattr(migrate, "_drive_machine", drive_machine)

    def run(goal: Goal) -> list[str]:
        config = read_config(estate / "kubeferry.yaml")
        with Journal.open(config.journal) as journal:
            migrate.run_plan(migrate.Run(plan, config, journal, Board(quiet=True), goal), ("a", "b"))
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


def test_who_asks_to_stop_gets_no_further_wave(
    waves_of: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import migrate

    drive_machine: Callable[..., Any] = migrate._drive_machine

    def asked_to_stop(run: Any, entry: Any) -> Any:
        stopping.request()
        return drive_machine(run, entry)

    monkeypatch.setattr(migrate, "_drive_machine", asked_to_stop)
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

    def source_for(_plan: object, _entry: object, _config: object, journal: Any, *_given: object) -> Any:
        return refusing(f"source of {journal.identity}")

    monkeypatch.setattr(migrate, "source_for", source_for)
    monkeypatch.setattr(migrate, "open_target", lambda *_given: refusing("target"))
    monkeypatch.setattr(migrate, "reached", lambda *_given: SimpleNamespace(phase="committed"))
    monkeypatch.setattr(migrate, "settle", lambda _work: "a view")
    plan, journal = SimpleNamespace(digest="d", source="lab"), SimpleNamespace(lease=lease, identity="j")
    config = SimpleNamespace(sources={"lab": None}, target=None, limits=Limits())
    more: dict[str, Any] = {
        "goal": Goal.MIGRATE,
        "refused": {},
        "standing": {},
        "turns": None,
        "board": Board(quiet=True),
        "gate": None,
        "rehearse": False,
    }
    run: Any = SimpleNamespace(
        target_is_down="", by="", patient=True, plan=plan, journal=journal, config=config, **more
    )
    entry: Any = SimpleNamespace(name="web")
    assert migrate._drive_machine(run, entry) == Outcome("web", "committed", left="a view")
    assert closed == ["source of j", "target"]
