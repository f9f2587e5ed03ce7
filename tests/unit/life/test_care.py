"""Deadlines, tries, watching and care: what time makes of a machine, as functions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import CommitPolicy, DowntimePolicy
from kubeferry.life.care import Alone, is_urgent, why_now
from kubeferry.life.deadline import earliest, from_budget, seconds_left, too_slow, used_up
from kubeferry.life.events import Failed, Observed, SourceStopped
from kubeferry.life.states import MachineState, Phase
from kubeferry.life.tries import Tries
from kubeferry.life.watch import Turn, turn_of

BEGAN = "2026-11-30T02:00:00.000Z"
OFF = MachineState(
    phase=Phase.CUTTING_OVER,
    plan_digest="d",
    stop_asked=True,
    stopped=SourceStopped(how="acpi", at=BEGAN),
    deadline="2026-11-30T02:10:00.000Z",
    deadline_of="budget",
)


def at(seconds: float) -> str:
    return (datetime(2026, 11, 30, 2, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()


def why(state: MachineState, now: str, commit: CommitPolicy | None = None, last_at: str = BEGAN) -> str:
    return why_now({"web": Alone(state, commit, last_at)}, now).get("web", "")


def test_a_budget_counts_from_the_beginning_of_the_cutover() -> None:
    assert from_budget(DowntimePolicy(budget_seconds=600), BEGAN) == OFF.deadline
    assert from_budget(DowntimePolicy(), BEGAN) == ""
    assert from_budget(None, BEGAN) == ""


def test_of_several_deadlines_the_first_one_counts() -> None:
    assert earliest([("", "window"), (OFF.deadline, "budget"), ("2026-11-30T02:09:00+00:00", "window")]) == (
        "2026-11-30T02:09:00+00:00",
        "window",
    )
    assert earliest([("", "budget")]) == ("", "")


def test_what_has_passed_its_probes_has_no_deadline() -> None:
    assert seconds_left(OFF, at(0)) == 600
    assert seconds_left(replace(OFF, phase=Phase.VALIDATED), at(0)) is None
    assert used_up(OFF, at(599)) == ""
    assert used_up(OFF, at(600)).startswith("its downtime budget was used up at 2026-11-30T02:10")
    assert used_up(OFF, "") == ""


def test_a_transfer_is_given_up_only_where_its_fastest_pace_is_too_slow() -> None:
    assert too_slow(OFF, at(0), 600) == ""
    assert too_slow(OFF, at(0), 601) == (
        "what is left takes 10 min 01 s or longer, and of its downtime budget 10 min 00 s are left"
    )


@given(st.floats(0, 900), st.integers(0, 200))
def test_after_the_stop_tries_go_on_to_the_deadline_and_never_past_it(start: float, tries: int) -> None:
    now, made = start, Tries(at(start), DowntimePolicy())
    for _ in range(tries):
        pause = made.wait(OFF, at(now))
        if pause is None:
            assert now >= 599 - 1e-6
            assert made.why_no_more(OFF, at(now)).endswith("its downtime budget is used up")
            return
        assert 0 < pause <= 30
        now += pause
        assert now < 600


@pytest.mark.parametrize("state", [MachineState(plan_digest="d"), OFF])
def test_who_comes_again_soon_tries_a_few_times(state: MachineState) -> None:
    made = Tries(at(0), None)
    assert [made.wait(state, at(0)) for _ in range(4)] == [2.0, 10.0, 30.0, None]
    assert made.why_no_more(state, at(0)) == ""


def test_who_passed_its_probes_is_led_back_by_no_deadline() -> None:
    passed = replace(
        OFF, phase=Phase.STARTED, observed=Observed(observation={"probes": [{"kind": "agent", "ok": True}]})
    )
    made = Tries(at(0), DowntimePolicy(patience_seconds=1200))
    assert passed.probes_passed
    assert seconds_left(passed, at(0)) is None
    assert made.wait(passed, at(700)) == 2.0
    assert made.wait(passed, at(1200)) is None
    assert made.why_no_more(passed, at(1200)) == ""


def test_a_machine_that_is_off_and_alone_is_taken_up() -> None:
    assert why(OFF, at(1)) == "its source is off, and nobody is at work on it"
    running = replace(OFF, stop_asked=False, stopped=None)
    assert why(running, at(1)) == ""
    assert why(replace(OFF, phase=Phase.ROLLING_BACK), at(1)).startswith("its way back has begun")


def test_what_has_failed_is_tried_less_and_less_often() -> None:
    failed = replace(OFF, phase=Phase.FAILED, failed_in=Phase.CUTTING_OVER, failed=Failed(at="a", what="w"))
    pauses = []
    for attempts in range(1, 9):
        state = replace(failed, attempts=attempts)
        pauses.append(next(one for one in range(0, 4000, 30) if why(state, at(one), last_at=at(0))))
    assert pauses == [60, 120, 240, 480, 960, 1800, 1800, 1800]


WATCHED = MachineState(phase=Phase.VALIDATED, plan_digest="d", validated_at=BEGAN, seen_at=BEGAN)


@pytest.mark.parametrize(
    ("then", "seconds", "runs", "asked", "turn"),
    [
        ("commit", 10, True, False, Turn.WAIT),
        ("commit", 61, True, False, Turn.ASK),
        ("commit", 61, False, False, Turn.WAIT),
        ("commit", 600, False, False, Turn.COMMIT),
        ("rollback", 600, False, False, Turn.GO_BACK),
        ("rollback", 599, False, False, Turn.WAIT),
        ("wait", 99999, False, False, Turn.WAIT),
        ("wait", 10, True, True, Turn.COMMIT),
        ("rollback", 61, True, True, Turn.ASK),
    ],
)
def test_what_comes_of_a_machine_that_is_watched(then: str, seconds: int, runs: bool, asked: bool, turn: Turn) -> None:
    policy = CommitPolicy.model_validate({"watchSeconds": 600, "then": then})
    found = turn_of(policy, WATCHED, at(seconds), runs=runs, asked=asked)
    assert found.turn is turn
    assert bool(why(WATCHED, at(seconds), policy)) == (
        turn_of(policy, WATCHED, at(seconds), runs=False, asked=False).turn is not Turn.WAIT
    )


def test_who_goes_back_and_whose_time_is_over_is_taken_up_before_all_others() -> None:
    assert not is_urgent([OFF], at(599))
    assert is_urgent([OFF], at(600))
    assert is_urgent([replace(OFF, deadline=""), OFF], at(600))
    assert not is_urgent([replace(OFF, deadline="")], at(6000))
    assert is_urgent([replace(OFF, phase=Phase.ROLLING_BACK)], at(0))
    assert not is_urgent([replace(OFF, phase=Phase.VALIDATED)], at(6000))
    assert is_urgent([replace(OFF, phase=Phase.ROLLED_BACK)], at(0))
