"""When sources may be stopped: windows with a name, in local time, as the policy defines them and the plan keeps them.

A window says when; which moments that are, with summer time and blackouts, is the schedule's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from kubeferry.shapes import Value
from kubeferry.words import meant

ANY = "any"
"""In place of a window's name: at any time, whatever the policy's own window is."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WHOLE_DAY = "24:00"

_CLOCK = re.compile(r"(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def zone_problem(name: str) -> str:
    """Why this is no time zone that this host knows, with names that are alike; empty for one that it knows."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: ZoneInfoNotFoundError; OSError: `Europe` is a folder of them
        return f"{name[:60]!r} is not a time zone. {_alike(name)}".rstrip()
    return ""


def _alike(name: str) -> str:
    zones = available_timezones()
    return meant(name, zones) or meant(name.rpartition("/")[2].title(), zones) or "Write one as Europe/Vienna."


def _zone(name: str) -> str:
    if problem := zone_problem(name):
        raise ValueError(problem)
    return name


def _time(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        if not _MOMENT.fullmatch(text):
            raise ValueError("write a time of day (`21:00`), or a day and its time (`2027-03-06T21:00`)")
        _in_reach(datetime.fromisoformat(text))
    return text


def _day(text: str) -> str:
    if not _DAY.fullmatch(text):
        raise ValueError("write a day as `2027-03-06`")
    _in_reach(date.fromisoformat(text))
    return text


def _in_reach(day: date) -> None:
    if not 2000 <= day.year < 3000:
        raise ValueError("write a year from 2000 to 2999")


def _days_off(text: str) -> str:
    days = text.split("..")
    if len(days) > 2 or not all(map(_DAY.fullmatch, days)):
        raise ValueError("write a day (`2026-12-24`), or the first and the last of them (`2026-12-24..2027-01-06`)")
    for day in days:
        _in_reach(date.fromisoformat(day))
    if date.fromisoformat(days[-1]) < date.fromisoformat(days[0]):
        raise ValueError("its last day comes before its first")
    return text


ZoneName = Annotated[str, AfterValidator(_zone)]
Time = Annotated[str, AfterValidator(_time)]
Day = Annotated[str, AfterValidator(_day)]
DaysOff = Annotated[str, AfterValidator(_days_off)]


class Window(Value):
    """When cutovers may begin and end; copying ahead may go on at any time.

    `start` and `end` are times of day in `time_zone`, an IANA name: every day, on `days` of the week, or on `dates`;
    where the end is not later than the start it is the next day's, and `24:00` is the end of the day. Or both are a day
    with its time (`2027-03-06T21:00`), which is one opening.

    No cutover begins in the last `lockout_seconds` of an opening, nor once `capacity` machines were begun in it. On
    days of `blackouts`, single ones or `first..last`, it is closed from midnight to midnight.
    """

    start: Time
    end: Time
    time_zone: ZoneName
    days: (
        Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(min_length=1)] | None
    ) = None
    dates: Annotated[tuple[Day, ...], Field(min_length=1)] | None = None
    lockout_seconds: Annotated[int, Field(ge=0)] = 0
    capacity: Annotated[int, Field(ge=1)] | None = None
    blackouts: tuple[DaysOff, ...] = ()

    @model_validator(mode="after")
    def _coherent(self) -> Window:
        if problems := tuple(self._problems()):
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        if self.single != ("T" in self.end):
            yield "start and end are both times of day, or both a day with its time"
            return
        if self.single and (self.days or self.dates):
            yield "its start and end name their days: leave out days and dates"
        if self.days and self.dates:
            yield "it is open on days of the week or on dates: leave out one of them"
        if self.start == WHOLE_DAY:
            yield "it starts at 24:00: write 00:00, of the next day"
        elif self.single and self.end <= self.start:
            yield "it ends before it starts"
        elif self.start == self.end:
            yield f"it ends when it starts: write {WHOLE_DAY} as its end for a day from 00:00 on"
        elif self.lockout_seconds >= self.seconds:
            yield f"its lock-out of {self.lockout_seconds} s leaves nothing of its {self.seconds} s: no cutover begins"
        elif (self.single or self.dates) and not any(self._left(one) for one in self.local()):
            yield "it never opens: blackouts cover all of it"

    @property
    def single(self) -> bool:
        """Whether it is one opening, named by its days."""
        return "T" in self.start

    @property
    def seconds(self) -> int:
        """How long an opening is by the clock on the wall, between midnights that no clock is set at."""
        begins, ends = (
            (datetime.fromisoformat(self.start), datetime.fromisoformat(self.end))
            if self.single
            else self.local_on(date(2000, 1, 1))
        )
        return int((ends - begins).total_seconds())

    def local_on(self, day: date) -> tuple[datetime, datetime]:
        """Start and end of the opening that begins on this day, by the clock on the wall; of times of day only."""
        begins = datetime.combine(day, _clock(self.start))
        if self.end == WHOLE_DAY:
            return begins, datetime.combine(day + timedelta(days=1), datetime.min.time())
        ends = datetime.combine(day, _clock(self.end))
        return begins, ends if ends > begins else ends + timedelta(days=1)

    def local(self) -> Iterator[tuple[datetime, datetime]]:
        """All its openings by the clock on the wall, of one that has an end: in order, blackouts and all."""
        if self.single:
            yield datetime.fromisoformat(self.start), datetime.fromisoformat(self.end)
        for day in sorted(set(self.dates or ())):
            yield self.local_on(date.fromisoformat(day))

    def days_off(self) -> Iterator[tuple[date, date]]:
        """The blackouts: the first and the last day of each."""
        for text in self.blackouts:
            first, _, last = text.partition("..")
            yield date.fromisoformat(first), date.fromisoformat(last or first)

    def _left(self, opening: tuple[datetime, datetime]) -> list[tuple[datetime, datetime]]:
        midnight = datetime.min.time()
        off = (
            (datetime.combine(first, midnight), datetime.combine(last + timedelta(days=1), midnight))
            for first, last in self.days_off()
        )
        return without([opening], off)


def without(
    openings: Iterable[tuple[datetime, datetime]], closed: Iterable[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """What is left of stretches of time, in order, without those in which it is closed."""
    left = [one for one in openings if one[0] < one[1]]
    for begins, ends in closed:
        left = [
            piece
            for start, end in left
            for piece in ((start, min(end, begins)), (max(start, ends), end))
            if piece[0] < piece[1]
        ]
    return left


def _clock(text: str) -> time:
    return time.fromisoformat(text)
