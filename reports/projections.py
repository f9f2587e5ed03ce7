"""What was projected of a cutover just before the stop, and its score: the downtime that it came to; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from kubeferry.life.events import CutoverBegun
from kubeferry.life.projected import Projected
from kubeferry.life.projection import score
from kubeferry.life.states import Recorded
from reports.shapes import Bound, Downtime, MachineReport, Projection, ProjectionPart, Scores
from reports.timeline import newest_cutover
from reports.wording import NAME_LIMIT, duration, plain


def projection_of(records: Sequence[Recorded], downtime: Downtime) -> Projection | None:
    """Of the newest cutover; None where nothing was projected of it: by an earlier version, or none has begun."""
    cutover = newest_cutover(records)
    begun = cutover[0].event if cutover else None
    if not isinstance(begun, CutoverBegun) or begun.projected is None:
        return None
    projected = begun.projected
    facts = {
        "window": plain(begun.window, NAME_LIMIT),
        "parts": tuple(
            ProjectionPart(name=plain(one.name, 40), seconds=one.seconds, why=plain(one.why)) for one in projected.parts
        ),
        "downtime": projected.downtime,
        "back": projected.back,
    }
    seen = downtime.seconds
    if projected.downtime is None or seen is None or downtime.bound is not Bound.EXACT:
        return Projection(**facts, text=_unscored(projected, downtime))
    found = score(projected.downtime, seen)
    ratio = f", {found.ratio:.2f} of what was likely" if found.ratio is not None else ""
    lay = "inside" if found.inside else "outside"
    text = f"{_told(projected)}; it came to {duration(seen)}: {lay}{ratio}"
    return Projection(**facts, text=text, actual=seen, ratio=found.ratio, inside=found.inside)


def _unscored(projected: Projected, downtime: Downtime) -> str:
    if projected.downtime is None:
        return f"just before the stop not all of it was known: {plain(projected.told())}"
    return f"{_told(projected)}; not scored: {downtime.text}"


def _told(projected: Projected) -> str:
    down = projected.downtime
    if down is None:
        return projected.told()
    return f"{duration(down.low)} to {duration(down.high)}, most likely {duration(down.likely)}, just before the stop"


def scores_of(machines: Iterable[MachineReport]) -> Scores | None:
    """Of all machines that were scored; None where none was."""
    found = [one.projection for one in machines if one.projection is not None and one.projection.inside is not None]
    if not found:
        return None
    ratios = [one.ratio for one in found if one.ratio is not None]
    return Scores(
        machines=len(found), inside=sum(one.inside is True for one in found), ratio=median(ratios) if ratios else None
    )
