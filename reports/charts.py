"""Bars as inline SVG; pure. Only numbers and names of our own get into them, so the result is safe markup.

Bars stretch to the width of their place; all text stands beside them in HTML, where it wraps, scales and is read out.
"""

from __future__ import annotations

from markupsafe import Markup

from reports.shapes import MachineReport, Timeline, TimelinePart
from reports.wording import duration

WIDTH = 1000.0
THINNEST = 3.0


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


def shared_scale(machines: tuple[MachineReport, ...]) -> float:
    """The longest cutover's seconds, for `strip`."""
    return max((machine.timeline.seconds for machine in machines if machine.timeline), default=0.0)
