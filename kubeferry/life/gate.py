"""Whether a cutover may begin now: only in its window, before the lock-out, while there is room in the opening, and
where it can come to its end or go back before that ends. Pure.

What nobody knows yet of a machine's downtime keeps it from nothing: the lock-out is what its people keep free.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from kubeferry.documents import Window
from kubeferry.life.projected import Projected
from kubeferry.life.projection import going_back, window_ends
from kubeferry.schedule.windows import Opening, openings
from kubeferry.words import counted, duration

LOOKED_AHEAD = 50  # openings: about a year of weekly ones


@dataclass(frozen=True, slots=True)
class Entered:
    """They may begin, in this opening: it is over by `deadline`, or leads back."""

    opening: Opening
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Shut:
    """They may not, and why, for the middle of a sentence. `next` is the first opening that may take them, None where
    none does. `is_open`: the window is open, and what is left of it does not do."""

    why: str
    next: Opening | None
    is_open: bool


def ask(
    name: str,
    window: Window,
    projected: Sequence[Projected],
    begun: Collection[str],
    now: datetime,
) -> Entered | Shut:
    """Whether machines that move as one, each with what is projected of it, may begin now in the window of this name.
    `begun` are others that have begun in the opening of this moment."""
    first = next(openings(window, now), None)
    if first is None or not first.is_open(now):
        return Shut(f"its window {name} is closed", _later(window, projected, now), is_open=False)
    if not first.takes(now):
        why = f"the lock-out of its window {name} has begun, which ends in {_left(first, now)}"
        return Shut(why, _later(window, projected, now), is_open=True)
    if window.capacity is not None and len(begun) + len(projected) > window.capacity:
        return Shut(crowded(name, window.capacity), _later(window, projected, now), is_open=True)
    if _needed(projected, window) > first.seconds_left(now):
        why = f"{_why(projected, window)}, and its window {name} ends in {_left(first, now)}"
        return Shut(why, _later(window, projected, now), is_open=True)
    return Entered(first, min(window_ends(first, one) for one in projected))


def crowded(name: str, capacity: int) -> str:
    """Why an opening takes nobody any more."""
    return f"this opening of its window {name} takes {counted(capacity, 'machine')}, and they have begun"


def _needed(projected: Sequence[Projected], window: Window) -> float:
    """The longest that they may take, one after the other, and all of them to go back."""
    return sum(one.known_high + going_back(one, window.lockout_seconds) for one in projected)


def _why(projected: Sequence[Projected], window: Window) -> str:
    high = sum(one.known_high for one in projected)
    back = sum(going_back(one, window.lockout_seconds) for one in projected)
    return f"it may take {duration(high)}, and {duration(back)} more to go back"


def _left(opening: Opening, now: datetime) -> str:
    return duration(opening.seconds_left(now))


def _later(window: Window, projected: Sequence[Projected], now: datetime) -> Opening | None:
    """The first opening that begins later and is long enough; where none of the next ones is, the next one: less may be
    left to do by then."""
    later = [one for one in itertools.islice(openings(window, now), LOOKED_AHEAD) if one.begins > now]
    needed = _needed(projected, window)
    return next((one for one in later if one.seconds_left(one.begins) >= needed), next(iter(later), None))
