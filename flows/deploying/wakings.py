"""When a deployment runs by itself, in the words of Prefect: a cron line, an interval, or a rule of RFC 5545; pure.

A schedule only wakes a run: Prefect starts late runs whenever a worker comes back. Whether a source may be stopped is
asked by the run itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from kubeferry.documents import Plan
from kubeferry.words import duration, first_of

DAYS = {"mon": "MO", "tue": "TU", "wed": "WE", "thu": "TH", "fri": "FR", "sat": "SA", "sun": "SU"}
WEEK = tuple(DAYS)
_FORM = "%Y%m%dT%H%M%S"
SHOWN = 6  # days that are closed
ANCHOR = "2026-01-01T00:00:00Z"
"""From when intervals count that are no plan's: a new plan changes nothing of them."""


@dataclass(frozen=True, slots=True)
class Waking:
    """One schedule. `schedule` is Prefect's form of it, `parameters` what its runs are given besides."""

    slug: str
    schedule: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """For people; a cron line is their own word for it."""
        zone = f"({self.schedule.get('timezone')})"
        if cron := self.schedule.get("cron"):
            return f"at the times of the cron line `{cron}` {zone}"
        if rule := self.schedule.get("rrule"):
            return f"{_spoken(str(rule))} {zone}"
        return f"every {duration(float(self.schedule.get('interval') or 0))}"


def of_precopy(plan: Plan) -> tuple[Waking, ...]:
    """When machines are copied ahead, as the policy has it; none where it says nothing."""
    repeated = plan.precopy
    if repeated is None:
        return ()
    if repeated.cron:
        form: dict[str, Any] = {"cron": repeated.cron, "timezone": repeated.time_zone}
    else:
        form = {"interval": float(repeated.every_seconds or 0), "timezone": repeated.time_zone}
        form["anchor_date"] = plan.created_at
    return (Waking("precopy", form),)


def of_caretake(seconds: int) -> tuple[Waking, ...]:
    """Again and again after so many seconds, whatever the plan; none for 0."""
    form = {"interval": float(seconds), "timezone": "UTC", "anchor_date": ANCHOR}
    return (Waking("caretake", form),) if seconds else ()


def of_cutover(plan: Plan) -> tuple[Waking, ...]:
    """The openings of the plan's windows, each for its own machines. A machine without a window is moved by nobody but
    who says so."""
    windows: Mapping[str, Any] = getattr(plan, "windows", None) or {}
    found = []
    for name, window in windows.items():
        machines = [entry.name for entry in plan.entries if getattr(entry, "window", None) == name]
        if machines:
            for number, rule in enumerate(rules(window, _day(plan.created_at))):
                form = {"rrule": rule, "timezone": window.time_zone}
                found.append(Waking(f"{name}-{number}" if number else name, form, {"machines": machines}))
    return tuple(found)


def rules(window: Any, since: date) -> Iterator[str]:
    """The rules whose moments are the openings of a window, by the clock on the wall of its time zone."""
    if window.single:
        yield _once(datetime.fromisoformat(window.start))
        return
    start = time.fromisoformat(window.start)
    if window.dates:
        yield from (_once(datetime.combine(date.fromisoformat(day), start)) for day in sorted(set(window.dates)))
        return
    begins = datetime.combine(since, start)
    rule = f"FREQ=WEEKLY;BYDAY={','.join(DAYS[day] for day in window.days)}" if window.days else "FREQ=DAILY"
    closed = [day for first, last in window.days_off() for day in _each(first, last) if _opens(window, day)]
    without = [f"EXDATE:{','.join(f'{datetime.combine(day, start):{_FORM}}' for day in closed)}"] if closed else []
    yield "\n".join([f"DTSTART:{begins:{_FORM}}", f"RRULE:{rule}", *without])
    if window.end <= window.start:  # the evening before is closed, and the morning after is not
        for _, last in window.days_off():
            if _opens(window, last):
                yield _once(datetime.combine(last + timedelta(days=1), time.min))


def _spoken(rule: str) -> str:
    """A rule of ours in words: `sat, sun at 21:00, but not on 2026-12-26`."""
    lines = dict(line.split(":", 1) for line in rule.split("\n"))
    parts = dict(part.split("=", 1) for part in lines["RRULE"].split(";"))
    begins = datetime.fromisoformat(lines["DTSTART"])
    names = {theirs: ours for ours, theirs in DAYS.items()}
    if "COUNT" in parts:
        days = f"on {begins:%Y-%m-%d}"
    else:
        days = ", ".join(names[one] for one in parts["BYDAY"].split(",")) if "BYDAY" in parts else "every day"
    closed = [f"{datetime.fromisoformat(one):%Y-%m-%d}" for one in lines.get("EXDATE", "").split(",") if one]
    return f"{days} at {begins:%H:%M}{f', but not on {first_of(closed, SHOWN)}' if closed else ''}"


def _once(moment: datetime) -> str:
    return f"DTSTART:{moment:{_FORM}}\nRRULE:FREQ=DAILY;COUNT=1"


def _each(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _opens(window: Any, day: date) -> bool:
    return not window.days or WEEK[day.weekday()] in window.days


def _day(moment: str) -> date:
    return datetime.fromisoformat(moment).date()
