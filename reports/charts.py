"""Charts as inline SVG; pure. Only numbers and names of our own get into them, so the result is safe markup.

Bars stretch to the width of their place; all text stands beside them in HTML, where it wraps, scales and is read out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.shapes import Downtime, MachineReport, Step, Timeline, TimelinePart
from reports.wording import count, duration, instant, moment

WIDTH = 1000.0
THINNEST = 3.0
HEIGHT = 120.0
BUCKETS = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds at which the columns of downtimes end; the last one has no end."""


def strip(timeline: Timeline, longest_seconds: float) -> Markup:
    """All parts of one cutover in a line, on a scale that several machines share."""
    scale = WIDTH / max(longest_seconds, 0.001)
    bars = Markup("").join(_bar(part, part.offset_seconds * scale, part.seconds * scale) for part in timeline.parts)
    told = ", ".join(f"{part.label} {duration(part.seconds)}" for part in timeline.parts)
    return Markup('<svg class="strip" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img">{}{}</svg>').format(
        Markup("<title>{}</title>").format(told), bars
    )


def step_bar(part: TimelinePart, timeline: Timeline) -> Markup:
    """One part at its place in time."""
    scale = WIDTH / max(timeline.seconds, 0.001)
    bar = _bar(part, part.offset_seconds * scale, part.seconds * scale)
    return Markup(
        '<svg class="step" viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(bar)


def _bar(part: TimelinePart, left: float, width: float) -> Markup:
    wide = max(width, THINNEST)
    left = min(left, WIDTH - wide)
    kind = f"p-{part.name}" + ("" if part.down else " up")
    return Markup('<rect class="{}" x="{:.1f}" y="0" width="{:.1f}" height="12"/>').format(kind, left, wide)


def shared_scale(machines: Iterable[MachineReport]) -> float:
    """The longest cutover's seconds, for `strip`."""
    return max((machine.timeline.seconds for machine in machines if machine.timeline), default=0.0)


# --- the programme ----------------------------------------------------------------------------------------------------


def burn_up(steps: Sequence[Step], machines: int) -> Markup:
    """How many machines had moved by when, up to all of them; a mark for each time that some went back."""
    times = [at.timestamp() for step in steps if (at := instant(step.at))]
    if len(times) != len(steps) or len(times) < 2:
        return Markup("")
    first, width = times[0], max(times[-1] - times[0], 1.0)
    places = [((at - first) / width * WIDTH, step) for at, step in zip(times, steps, strict=True)]
    line = "M0 120" + "".join(f" H{x:.1f} V{HEIGHT - step.moved / machines * HEIGHT:.1f}" for x, step in places)
    marks = Markup("").join(
        Markup('<rect class="went-back" x="{:.1f}" y="0" width="{}" height="120"/>').format(min(x, 997.0), THINNEST)
        for x, step in places
        if step.went_back
    )
    told = f"{steps[-1].moved} of {count(machines, 'machine')} by {moment(steps[-1].at)}, since {moment(steps[0].at)}"
    return Markup(
        '<svg class="chart" viewBox="0 0 1000 120" preserveAspectRatio="none" role="img"><title>{}</title>'
        '{}<path class="area" d="{} V120 Z"/><path class="line" d="{}"/></svg>'
    ).format(told, marks, line, line)


@dataclass(frozen=True, slots=True)
class Column:
    """How many downtimes are of about one length: `label` says which, `share` is of the longest column."""

    label: str
    machines: int
    share: float


def columns(downtimes: Iterable[Downtime]) -> tuple[Column, ...]:
    """How many machines were down for how long, of those that it was measured of; without empty ends."""
    seconds = [one.seconds for one in downtimes if one.seconds is not None]
    numbers = [0] * (len(BUCKETS) + 1)
    for one in seconds:
        numbers[sum(one >= end for end in BUCKETS)] += 1
    filled = [place for place, number in enumerate(numbers) if number]
    if not filled:
        return ()
    most = max(numbers)
    return tuple(Column(_label(at), numbers[at], numbers[at] / most) for at in range(filled[0], filled[-1] + 1))


def _label(place: int) -> str:
    words = ("10 s", "30 s", "1 min", "2 min", "5 min", "10 min", "30 min", "1 h")
    if place == 0:
        return f"under {words[0]}"
    return f"{words[-1]} or more" if place == len(words) else f"{words[place - 1]} to {words[place]}"


def column_bar(column: Column) -> Markup:
    """One column, lying."""
    return Markup(
        '<svg class="step" viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="column" x="0" y="0" width="{:.1f}" height="12"/></svg>'
    ).format(max(column.share * WIDTH, THINNEST if column.machines else 0.0))


def projected(low: float, high: float, actual: float | None, longest_seconds: float) -> Markup:
    """A projected range, and a mark where the downtime lay, on a scale that several machines share; all in seconds."""
    scale = WIDTH / max(longest_seconds, 0.001)
    wide = max((high - low) * scale, THINNEST)
    marks = Markup('<rect class="range" x="{:.1f}" y="3" width="{:.1f}" height="6"/>').format(low * scale, wide)
    if actual is not None:
        kind = "inside" if low <= actual <= high else "outside"
        at = min(actual * scale, WIDTH - 2 * THINNEST)
        marks += Markup('<rect class="{}" x="{:.1f}" y="0" width="6" height="12"/>').format(kind, at)
    return Markup(
        '<svg class="step" viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(marks)
