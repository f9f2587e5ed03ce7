"""Which moments a window means: its openings in UTC, with summer time, blackouts and lock-out. Pure.

A window is in local time, and clocks are set twice a year. It is open only while a clock on the wall, however it is
read, shows a time in it: where a start comes twice that night the later one counts, where an end does the earlier one;
a window that lies whole in the hour that comes twice is open the first time. A time that a clock skips is the moment at
which it skips it; a window that lies whole in there does not open that night. So an opening may be an hour shorter or
longer than on other nights.

A blackout closes from midnight to midnight: an opening that reaches into it ends there, one that begins in it opens
after it. Each piece that is left is an opening, with a lock-out before its own end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from kubeferry.documents import Window
from kubeferry.documents.windows import DAYS, without

_DAY = timedelta(days=1)
_LAST_YEAR = 3001  # no window names a later day


@dataclass(frozen=True, slots=True)
class Opening:
    """One stretch of a window, in UTC. From `lockout` on no cutover begins any more. `zone` is the window's."""

    begins: datetime
    ends: datetime
    lockout: datetime
    zone: str = "UTC"

    def is_open(self, now: datetime) -> bool:
        """Whether cutovers may be under way."""
        return self.begins <= now < self.ends

    def takes(self, now: datetime) -> bool:
        """Whether one may begin."""
        return self.begins <= now < self.lockout

    def seconds_left(self, now: datetime) -> float:
        """Until its end; none once it is over."""
        return max(0.0, (self.ends - now).total_seconds())

    def __str__(self) -> str:
        """For people, in the window's own time: `Sat 2026-12-05 21:00 to 05:00 (Europe/Vienna)`."""
        begins, ends = (at.astimezone(ZoneInfo(self.zone)) for at in (self.begins, self.ends))
        last = f"{ends:%H:%M}" if self.ends - self.begins < _DAY else f"{ends:%a %Y-%m-%d %H:%M}"
        return f"{begins:%a %Y-%m-%d %H:%M} to {last} ({self.zone})"


def openings(window: Window, after: datetime) -> Iterator[Opening]:
    """Those that are not over at this moment, the one that is open first; without end where it has none."""
    zone = ZoneInfo(window.time_zone)
    for opening in _stretches(window, zone, after):
        for begins, ends in without([opening], _closed(window, zone, opening)):
            if ends > after:
                lockout = max(begins, ends - timedelta(seconds=window.lockout_seconds))
                yield Opening(begins, ends, lockout, window.time_zone)


def now_open(window: Window, now: datetime) -> Opening | None:
    """The opening of this moment; None while it is closed."""
    first = next(openings(window, now), None)
    return first if first and first.is_open(now) else None


def next_to_begin(window: Window, now: datetime) -> Opening | None:
    """The first that begins later than now; None where there is none any more."""
    return next((one for one in openings(window, now) if one.begins > now), None)


def opens(window: Window) -> bool:
    """Whether it ever does: one of a night on which clocks skip all of it does not."""
    return next(openings(window, datetime.min.replace(year=2000, tzinfo=UTC)), None) is not None


def told(window: Window) -> str:
    """When it is open, in words."""
    if window.single:
        when = f"{window.start.replace('T', ' ')} to {window.end.replace('T', ' ')}"
    else:
        days = ", ".join(window.days or window.dates or ("every day",))
        when = f"{days} {window.start} to {window.end}"
    parts = [f"{when} ({window.time_zone})"]
    if window.lockout_seconds:
        parts.append(f"no cutover begins in its last {window.lockout_seconds // 60} min")
    if window.capacity:
        parts.append(f"at most {window.capacity} machines an opening")
    if window.blackouts:
        parts.append(f"closed on {', '.join(window.blackouts)}")
    return ", ".join(parts)


# --- by the clock ------------------------------------------------------------------------------------------------


def _stretches(window: Window, zone: ZoneInfo, after: datetime) -> Iterator[tuple[datetime, datetime]]:
    """All openings that may not be over, blackouts and all."""
    local = window.local() if window.single or window.dates else _recurring(window, zone, after)
    for begins, ends in local:
        first, last = moment(begins, zone, late=True), moment(ends, zone, late=False)
        if first >= last:  # whole in the hour that comes twice, or in the one that is skipped
            first = moment(begins, zone, late=False)
        if last > max(after, first):
            yield first, last


def _recurring(window: Window, zone: ZoneInfo, after: datetime) -> Iterator[tuple[datetime, datetime]]:
    day = after.astimezone(zone).date() - 2 * _DAY
    while day.year < _LAST_YEAR:
        if window.days is None or DAYS[day.weekday()] in window.days:
            yield window.local_on(day)
        day = _behind_blackouts(window, day + _DAY)


def _behind_blackouts(window: Window, day: date) -> date:
    """The day, or the last one of a blackout that holds this one and the next: nothing of what begins before opens."""
    return max((last for first, last in window.days_off() if first <= day < last), default=day)


def _closed(window: Window, zone: ZoneInfo, opening: tuple[datetime, datetime]) -> Iterator[tuple[datetime, datetime]]:
    """The blackouts near an opening: from the first midnight that may be meant to the last."""
    begins, ends = (at.astimezone(zone).date() for at in opening)
    midnight = datetime.min.time()
    for first, last in window.days_off():
        if first <= ends and last >= begins:
            yield (
                moment(datetime.combine(first, midnight), zone, late=False),
                moment(datetime.combine(last + _DAY, midnight), zone, late=True),
            )


def moment(wall: datetime, zone: ZoneInfo, *, late: bool) -> datetime:
    """When a clock in this zone shows a time, in UTC: of two times the `late` one or the first, of none the moment at
    which clocks skip it."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return second if late else first
    after = first.astimezone(zone).utcoffset()
    low, high = second, first  # before the change, and after it
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        low, high = (low, middle) if middle.astimezone(zone).utcoffset() == after else (middle, high)
    return high


def upcoming(window: Window, now: datetime, most: int) -> list[Opening]:
    """The next ones, the one that is open among them."""
    return list(itertools.islice(openings(window, now), most))
