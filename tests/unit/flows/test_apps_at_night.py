"""Machines that move as one, in their windows and budgets, and whoever looks after them: none is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.errors import Deferred, ProbeFailed, SourceRefused, SourceUnavailable
from kubeferry.life.action_kinds import Goal
from kubeferry.life.states import Phase
from kubeferry.model import Machine, Power
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget
from tests.clocks import Clock
from tests.unit.flows.nights import Night, window

RUNNING, OFF = Power.RUNNING, Power.OFF


def phases(shop: Night) -> list[Phase]:
    return [shop.state_of(name).phase for name in shop.names]


def powers(shop: Night) -> list[Power]:
    return [shop.power_of(name) for name in shop.names]


@pytest.mark.parametrize("warm", ["", "mode: warm\nwarm: {rounds: 1}\n"])
def test_no_source_is_stopped_outside_the_window_since_one_of_them_had_begun(
    shop: Night, clock: Clock, warm: str
) -> None:
    shop.planned(f"{warm}{window(clock, -30, 30)}downtime: {{budgetSeconds: 300}}\n")
    shop.killed_after("cutover-begun")
    clock.ahead += 7200
    assert isinstance(shop.run().error, Deferred)
    assert powers(shop) == [RUNNING, RUNNING]
    assert not any("stop-asked" in shop.kinds_of(name) for name in shop.names)


def test_who_is_half_way_back_comes_back_though_the_window_is_closed(shop: Night, clock: Clock) -> None:
    shop.planned(window(clock, -30, 30))
    shop.target.answers["agent"] = False
    shop.killed_after("rolled-back")
    clock.ahead += 3600
    shop.kubeferry("migrate", "plan.yaml")
    assert phases(shop) == [Phase.ROLLED_BACK, Phase.ROLLED_BACK]
    assert powers(shop) == [RUNNING, RUNNING]


def test_whose_source_could_not_be_started_is_tried_again_though_the_window_is_closed(
    shop: Night, clock: Clock
) -> None:
    shop.planned(window(clock, -30, 30))
    shop.target.answers["agent"] = False
    start = MemorySource.start

    def refused(source: MemorySource, machine: Machine) -> None:
        if machine.name == "web":
            raise SourceRefused("no capacity", machine="web")
        start(source, machine)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MemorySource, "start", refused)
        shop.run()
    assert powers(shop) == [RUNNING, OFF]
    clock.ahead += 3600
    shop.kubeferry("migrate", "plan.yaml")
    assert powers(shop) == [RUNNING, RUNNING]


def test_what_a_person_has_committed_of_the_first_is_committed_for_all(
    shop: Night, clock: Clock, stays_up: None
) -> None:
    shop.planned("commit: {watchSeconds: 600, then: rollback, probeSeconds: 60}\n")
    shop.run()
    _commit_killed(shop)
    clock.ahead += 700
    shop.caretake()
    assert phases(shop) == [Phase.COMMITTED, Phase.COMMITTED]
    assert powers(shop) == [OFF, OFF]


def test_who_waits_for_a_commit_is_found_where_one_of_them_was_committed(
    shop: Night, clock: Clock, stays_up: None
) -> None:
    shop.planned("commit: {watchSeconds: 600, then: wait, probeSeconds: 60}\n")
    shop.run()
    _commit_killed(shop)
    found = shop.caretake()
    assert [one["why"] for one in found["taken"] if one["machine"] == "web"] == [
        "it moves together with db, which somebody has committed"
    ]
    assert phases(shop) == [Phase.COMMITTED, Phase.COMMITTED]


def _commit_killed(shop: Night) -> None:
    shop.killed_after("committed", Goal.COMMIT, by="ann")
    assert phases(shop) == [Phase.COMMITTED, Phase.VALIDATED]


def test_probes_that_take_longer_than_they_stay_new_are_asked_once_in_a_look(
    shop: Night, clock: Clock, stays_up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.planned("commit: {watchSeconds: 600, probeSeconds: 30}\n")
    shop.run()
    clock.ahead += 700
    observe, asked = MemoryTarget.observe, []

    def slow(target: MemoryTarget, *given: Any, **named: Any) -> Any:
        asked.append(clock.ahead)
        clock.ahead += 40 if len(asked) < 50 else 0
        return observe(target, *given, **named)

    monkeypatch.setattr(MemoryTarget, "observe", slow)
    shop.caretake()
    assert len(asked) == 2
    assert phases(shop) == [Phase.COMMITTED, Phase.COMMITTED]


def test_a_budget_shorter_than_the_looks_at_all_of_them_counts_from_after_them(
    shop: Night, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.planned("downtime: {budgetSeconds: 60}\n")
    _looks_take(clock, monkeypatch, "concerns", 70)
    assert shop.run().phase == "committed"
    assert [shop.kinds_of(name).count("cutover-begun") for name in shop.names] == [2, 1]


def test_a_budget_that_no_beginning_fits_in_stops_nobody(
    shop: Night, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.planned("downtime: {budgetSeconds: 60}\n")
    _looks_take(clock, monkeypatch, "power", 70)
    outcome = shop.run()
    assert outcome.error is not None
    assert "budget is over before" in str(outcome.error)
    assert powers(shop) == [RUNNING, RUNNING]
    assert not any("stop-asked" in shop.kinds_of(name) for name in shop.names)


def _looks_take(clock: Clock, patched: pytest.MonkeyPatch, look: str, seconds: float) -> None:
    whole, seen = getattr(MemorySource, look), []

    def slow(source: MemorySource, machine: Machine) -> Any:
        seen.append(machine)
        clock.ahead += seconds if len(seen) < 200 else 0
        return whole(source, machine)

    patched.setattr(MemorySource, look, slow)


def test_what_fails_of_them_is_tried_less_and_less_often(
    shop: Night, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.killed_after("source-stopped", nth=2)

    def away(*_given: Any, **_named: Any) -> None:
        raise SourceUnavailable("away", machine="db")

    monkeypatch.setattr(MemorySource, "open_round", away)
    taken = 0
    for _ in range(30):
        clock.ahead += 60
        taken += bool(shop.caretake()["taken"])
    assert taken < 8


def test_who_went_back_stays_back_whatever_was_copied_since(shop: Night) -> None:
    shop.planned("mode: warm\n")
    shop.target.answers["agent"] = False
    shop.run()
    shop.kubeferry("precopy", "plan.yaml")
    assert Phase.SYNCED in phases(shop)
    assert isinstance(shop.run().error, ProbeFailed)
    assert [shop.kinds_of(name).count("stop-asked") for name in shop.names] == [1, 1]


def test_who_was_taken_over_to_go_back_takes_the_others_along(shop: Night) -> None:
    shop.killed_after("source-stopped", nth=2)
    shop.planned("downtime: {budgetSeconds: 3000}\n")
    shop.killed_after("cutover-begun", Goal.ROLLBACK)
    shop.caretake()
    assert phases(shop) == [Phase.ROLLED_BACK, Phase.ROLLED_BACK]
    assert powers(shop) == [RUNNING, RUNNING]
