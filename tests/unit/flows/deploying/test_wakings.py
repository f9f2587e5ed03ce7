"""Windows and intervals in the words of Prefect, read back by Prefect's own schedules."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import date, datetime

import pytest

from flows.deploying.wakings import Waking, of_caretake, rules


@dataclass
class Window:
    """As much of a window as its wakings are made of."""

    start: str
    end: str
    days: tuple[str, ...] | None = None
    dates: tuple[str, ...] | None = None
    blackouts: tuple[tuple[date, date], ...] = ()

    @property
    def single(self) -> bool:
        return "T" in self.start

    def days_off(self) -> tuple[tuple[date, date], ...]:
        return self.blackouts


SINCE = date(2026, 12, 1)  # a Tuesday


@pytest.mark.parametrize(
    ("window", "told"),
    [
        (Window("21:00", "23:00"), ["every day at 21:00"]),
        (Window("21:00", "02:00", days=("sat", "sun")), ["sat, sun at 21:00"]),
        (Window("2026-12-24T20:00", "2026-12-25T06:00"), ["on 2026-12-24 at 20:00"]),
        (
            Window("21:00", "03:00", blackouts=((date(2026, 12, 2), date(2026, 12, 2)),)),
            ["every day at 21:00, but not on 2026-12-02", "on 2026-12-03 at 00:00"],
        ),
    ],
)
def test_a_schedule_is_told_in_words(window: Window, told: list[str]) -> None:
    made = [Waking("nights", {"rrule": rule, "timezone": "Europe/Vienna"}) for rule in rules(window, SINCE)]
    assert [str(one) for one in made] == [f"{one} (Europe/Vienna)" for one in told]


def test_machines_are_looked_after_each_minute_unless_a_timer_of_the_host_does_it() -> None:
    assert [str(one) for one in of_caretake(60)] == ["every 1 min 00 s"]
    assert of_caretake(0) == ()


@pytest.mark.parametrize(
    ("window", "openings"),
    [
        (Window("21:00", "23:00"), ["2026-12-01T21:00", "2026-12-02T21:00", "2026-12-03T21:00"]),
        (Window("21:00", "02:00", days=("sat", "sun")), ["2026-12-05T21:00", "2026-12-06T21:00", "2026-12-12T21:00"]),
        (Window("2026-12-24T20:00", "2026-12-25T06:00"), ["2026-12-24T20:00"]),
        (Window("08:00", "09:00", dates=("2027-01-02", "2026-12-31")), ["2026-12-31T08:00", "2027-01-02T08:00"]),
        (
            Window("21:00", "23:00", blackouts=((date(2026, 12, 2), date(2026, 12, 3)),)),
            ["2026-12-01T21:00", "2026-12-04T21:00", "2026-12-05T21:00"],
        ),
        (  # the evening of the blackout is closed, and the morning after it is not
            Window("21:00", "03:00", blackouts=((date(2026, 12, 2), date(2026, 12, 2)),)),
            ["2026-12-01T21:00", "2026-12-03T00:00", "2026-12-03T21:00"],
        ),
    ],
)
def test_a_window_wakes_its_run_when_it_opens(window: Window, openings: list[str]) -> None:
    from prefect.client.schemas.schedules import RRuleSchedule

    made = [RRuleSchedule(rrule=rule, timezone="Europe/Vienna").to_rrule() for rule in rules(window, SINCE)]
    found: set[datetime] = {moment for one in made for moment in itertools.islice(iter(one), 5)}
    told = [moment.strftime("%Y-%m-%dT%H:%M") for moment in sorted(found)]
    assert told[: len(openings)] == openings
    assert all(moment.tzinfo is not None for moment in found)
    if window.single or window.dates:
        assert len(told) == len(openings)
