"""Openings: which moments a window in local time means, on the nights on which clocks are set as on all others."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kubeferry.documents import Window
from kubeferry.schedule.windows import next_to_begin, now_open, openings, opens, told, upcoming

VIENNA = "Europe/Vienna"


def window(start: str = "21:00", end: str = "05:00", zone: str = VIENNA, **more: Any) -> Window:
    return Window(start=start, end=end, time_zone=zone, **more)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spans(one: Window, after: str, most: int = 3) -> list[tuple[str, str]]:
    return [(f"{x.begins:%m-%d %H:%M}", f"{x.ends:%m-%d %H:%M}") for x in upcoming(one, at(after), most)]


def test_a_window_over_midnight_is_one_opening_of_the_day_on_which_it_begins() -> None:
    assert spans(window(days=("sat",)), "2026-12-04T12:00") == [
        ("12-05 20:00", "12-06 04:00"),
        ("12-12 20:00", "12-13 04:00"),
        ("12-19 20:00", "12-20 04:00"),
    ]


def test_the_one_that_is_open_comes_first() -> None:
    one = window(days=("sat",), lockout_seconds=3600)
    opening = now_open(one, at("2026-12-06T03:30"))
    assert opening is not None
    assert opening.seconds_left(at("2026-12-06T03:30")) == 1800
    assert not opening.takes(at("2026-12-06T03:30"))  # its lock-out has begun
    assert opening.takes(at("2026-12-06T02:59"))
    assert now_open(one, at("2026-12-06T04:00")) is None
    following = next_to_begin(one, at("2026-12-06T03:30"))
    assert following is not None
    assert str(following) == "Sat 2026-12-12 21:00 to 05:00 (Europe/Vienna)"


@pytest.mark.parametrize(
    ("start", "end", "night", "expected"),
    [
        ("01:00", "04:00", "2026-03-29", ("00:00", "02:00")),  # an hour shorter
        ("01:00", "04:00", "2026-10-25", ("23:00", "03:00")),  # an hour longer
        ("02:30", "04:00", "2026-03-29", ("01:00", "02:00")),  # from the moment at which clocks skip it
        ("01:00", "02:30", "2026-03-29", ("00:00", "01:00")),
        ("02:30", "04:00", "2026-10-25", ("01:30", "03:00")),  # from the second 02:30 on
        ("01:00", "02:30", "2026-10-25", ("23:00", "00:30")),  # to the first 02:30
        ("02:15", "02:45", "2026-10-25", ("00:15", "00:45")),  # whole in the hour that comes twice: the first time
    ],
)
def test_clocks_that_are_set_are_followed(start: str, end: str, night: str, expected: tuple[str, str]) -> None:
    (only,) = openings(window(start, end, dates=(night,)), at("2026-01-01T00:00"))
    assert (f"{only.begins:%H:%M}", f"{only.ends:%H:%M}") == expected


def test_a_window_that_clocks_skip_does_not_open_that_night() -> None:
    skipped = window("02:15", "02:45", dates=("2026-03-29",))
    assert not opens(skipped)
    assert opens(window("02:15", "02:45", dates=("2026-03-29", "2026-03-30")))
    assert spans(window("02:15", "02:45"), "2026-03-28T12:00", 1) == [("03-30 00:15", "03-30 00:45")]


def test_a_blackout_closes_from_midnight_to_midnight() -> None:
    nights = window(zone="UTC", blackouts=("2026-12-24..2026-12-26",))
    assert spans(nights, "2026-12-23T12:00") == [
        ("12-23 21:00", "12-24 00:00"),
        ("12-27 00:00", "12-27 05:00"),
        ("12-27 21:00", "12-28 05:00"),
    ]
    assert nights.seconds == 8 * 3600


def test_a_piece_before_a_blackout_has_a_lock_out_of_its_own() -> None:
    nights = window(zone="UTC", blackouts=("2026-12-24",), lockout_seconds=3600)
    first = upcoming(nights, at("2026-12-23T12:00"), 1)[0]
    assert first.lockout == at("2026-12-23T23:00")


def test_a_blackout_of_centuries_costs_no_time() -> None:
    assert spans(window(zone="UTC", blackouts=("2026-12-24..2999-12-31",)), "2026-12-25T00:00", 1) == [
        ("01-01 00:00", "01-01 05:00")
    ]


def test_one_opening_and_dates_have_an_end() -> None:
    single = Window(start="2027-03-06T21:00", end="2027-03-08T03:00", time_zone="UTC")
    assert [str(one) for one in openings(single, at("2027-01-01T00:00"))] == [
        "Sat 2027-03-06 21:00 to Mon 2027-03-08 03:00 (UTC)"
    ]
    assert next_to_begin(single, at("2027-03-07T00:00")) is None
    assert spans(window(zone="UTC", dates=("2027-03-09", "2027-03-06", "2027-03-06")), "2027-01-01T00:00") == [
        ("03-06 21:00", "03-07 05:00"),
        ("03-09 21:00", "03-10 05:00"),
    ]


def test_a_window_in_words() -> None:
    assert told(window(days=("sat", "sun"), lockout_seconds=1800, capacity=20, blackouts=("2026-12-24",))) == (
        "sat, sun 21:00 to 05:00 (Europe/Vienna), no cutover begins in its last 30 min, "
        "at most 20 machines an opening, closed on 2026-12-24"
    )


# --- what holds for all of them --------------------------------------------------------------------------------------

ZONES = st.sampled_from(
    [VIENNA, "UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca"]
)
TIMES = st.integers(0, 24 * 60 - 1).map(lambda minutes: f"{minutes // 60:02d}:{minutes % 60:02d}")
MOMENTS = st.integers(0, 20 * 365 * 24 * 60).map(lambda minutes: at("2010-01-01T00:00") + timedelta(minutes=minutes))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    around = draw(st.dates(date(2010, 1, 3), date(2029, 12, 1)))
    off = [around + timedelta(days=n) for n in draw(st.lists(st.integers(-3, 3), max_size=3))]
    lengths = [draw(st.integers(0, 3)) for _ in off]
    try:
        return Window(
            start=draw(TIMES),
            end=draw(TIMES | st.just("24:00")),
            time_zone=draw(ZONES),
            days=draw(st.none() | st.lists(st.sampled_from(["mon", "wed", "sat", "sun"]), min_size=1).map(tuple)),
            lockout_seconds=draw(st.integers(0, 7200)),
            blackouts=tuple(f"{day}..{day + timedelta(days=n)}" for day, n in zip(off, lengths, strict=True)),
        )
    except ValidationError:
        return Window(start="21:00", end="05:00", time_zone=VIENNA)


@given(windows(), MOMENTS)
def test_openings_come_in_order_apart_from_each_other_and_are_not_over(one: Window, now: datetime) -> None:
    found = upcoming(one, now, 5)
    assert len(found) == 5
    for opening in found:
        assert now < opening.ends
        assert opening.begins <= opening.lockout <= opening.ends
        assert opening.begins < opening.ends
    for before, after in pairwise(found):
        assert before.ends <= after.begins


@given(windows(), MOMENTS, st.floats(0, 1))
def test_while_it_is_open_a_clock_on_the_wall_shows_a_time_in_it(one: Window, now: datetime, share: float) -> None:
    opening = upcoming(one, now, 1)[0]
    inside = opening.begins + (opening.ends - opening.begins) * share * 0.999
    wall = inside.astimezone(ZoneInfo(one.time_zone)).replace(tzinfo=None, fold=0)
    around = [one.local_on(wall.date() - timedelta(days=n)) for n in (0, 1)]
    assert any(begins <= wall < ends for begins, ends in around)
    assert not any(first <= wall.date() <= last for first, last in one.days_off())


@given(windows(), MOMENTS)
def test_what_opens_next_is_the_same_whenever_it_is_asked_before(one: Window, now: datetime) -> None:
    first = upcoming(one, now, 2)
    earlier = upcoming(one, now - timedelta(hours=7), 12)
    assert set(first) <= set(earlier)
    assert now_open(one, first[0].begins) == first[0]
    assert now_open(one, first[0].ends) != first[0]
