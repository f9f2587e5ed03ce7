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

DAYS = {"mon": "MO", "tue": "TU", "wed": "WE", "thu": "TH", "fri": "FR", "sat": "SA", "sun": "SU"}
WEEK = tuple(DAYS)
_FORM = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, slots=True)
class Waking:
    """One schedule. `schedule` is Prefect's form of it, `parameters` what its runs are given besides."""

    slug: str
    schedule: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = self.schedule.get("cron") or self.schedule.get("rrule") or f"every {self.schedule.get('interval')} s"
        return f"{' '.join(str(told).split())}, {self.schedule.get('timezone')}"


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


def _once(moment: datetime) -> str:
    return f"DTSTART:{moment:{_FORM}}\nRRULE:FREQ=DAILY;COUNT=1"


def _each(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _opens(window: Any, day: date) -> bool:
    return not window.days or WEEK[day.weekday()] in window.days


def _day(moment: str) -> date:
    return datetime.fromisoformat(moment).date()
