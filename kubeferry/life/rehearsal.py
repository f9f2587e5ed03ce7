"""A rehearsal: the synced copy of a machine runs for itself, over a throw-away layer, while its source goes on. Pure.

    rehearsal-begun -> rehearsal-observed -> rehearsal-ended -> every disk read back -> rehearsed, where that passed
    together: rehearsal-begun -> rehearsal-started -> rehearsal-observed [-> that of the app] -> rehearsal-ended -> ...

It belongs to the round whose disks it ran from. A later round makes it older, and not void; what a policy asks of it
is how old that round may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kubeferry.documents import RehearsalPolicy
from kubeferry.life.rehearsal_events import (
    RehearsalBegun,
    RehearsalEnded,
    RehearsalObserved,
    RehearsalStarted,
    Rehearsed,
)

Fields = dict[str, object]

UNDER_WAY = "it is under way, or was left"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One rehearsal as far as it has come. `app_observed` is what its app showed, where that was asked of it."""

    begun: RehearsalBegun
    started: RehearsalStarted | None = None
    observed: RehearsalObserved | None = None
    app_observed: RehearsalObserved | None = None
    ended: RehearsalEnded | None = None

    @property
    def together(self) -> tuple[str, ...]:
        """Those that are rehearsed at the same time, itself among them; none where it is rehearsed by itself."""
        return self.begun.together or ()

    @property
    def is_open(self) -> bool:
        """Its copy may run still."""
        return self.ended is None

    @property
    def failed(self) -> str:
        """Why its copy did not pass, by what was seen of it and of those with it; empty where it did."""
        if self.own_failing or self.app_failing:
            return self.own_failing or self.app_failing
        if self.ended and self.ended.why:
            return self.ended.why
        return "it was ended before anybody looked at it" if self.observed is None else ""

    @property
    def own_failing(self) -> str:
        """What of its own did not pass, by what was seen of it so far."""
        if self.observed is None:
            return ""
        if self.observed.why:
            return self.observed.why
        if self.observed.failing:
            return f"the copy did not pass: {', '.join(self.observed.failing)}"
        return "" if self.observed.passed else "none of its probes can be asked in a rehearsal"

    @property
    def app_failing(self) -> str:
        """What of its app did not pass, where that was asked of it."""
        seen = self.app_observed
        if seen is None or (seen.passed and not seen.why):
            return ""
        failing = ", ".join(seen.failing) or "none of its probes can be asked in a rehearsal"
        return seen.why or f"app {seen.app} did not pass: {failing}"


class Rehearsing(Protocol):
    """What is known of a machine's rehearsals, and of its disks."""

    @property
    def rehearsal(self) -> Rehearsal | None: ...
    @property
    def rehearsed(self) -> Rehearsed | None: ...
    @property
    def doubted(self) -> bool: ...
    @property
    def differing(self) -> Mapping[str, int]: ...


def has_passed(state: Rehearsing) -> bool:
    """Whether the newest rehearsal passed, and left the copy as it was."""
    newest, passed = state.rehearsal, state.rehearsed
    return newest is not None and passed is not None and newest.begun.number == passed.number


def why_not(state: Rehearsing, *, read_back: bool = False) -> str:
    """Why the newest rehearsal did not pass; empty where it did, or there was none, or nothing speaks against it and
    every disk was `read_back` since."""
    newest = state.rehearsal
    if newest is None or has_passed(state):
        return ""
    if newest.is_open:
        return UNDER_WAY
    if newest.failed:
        return newest.failed
    changed = ", ".join(state.differing)
    if changed:
        return f"the copy has changed under it: {changed}"
    others = ", or one of those that were rehearsed with it," if newest.together else ""
    return "" if read_back else f"its copy{others} was not read back after it"


def intent(newest: Rehearsal | None, number: int, roots: Mapping[str, str], at: str = "", since: str = "") -> Fields:
    """The fields of `rehearsal-begun` for one of round `number`, durable `since`, after the newest one so far."""
    count = newest.begun.number + 1 if newest else 1
    return {"number": count, "round": number, "at": at, "synced_at": since, "roots": dict(roots)}


def claim(newest: Rehearsal | None, roots: Mapping[str, str], at: str = "") -> Fields:
    """The fields of `rehearsed` for the newest one, whose disks were read back with these `roots`."""
    if newest is None or newest.observed is None:
        return {}
    begun, seen = newest.begun, newest.observed
    return {
        "number": begun.number,
        "round": begun.round,
        "at": at,
        "synced_at": begun.synced_at,
        "probes_passed": seen.passed,
        "roots": dict(roots),
        "where": str(seen.observation.get("where") or ""),
    }


def owed(policy: RehearsalPolicy | None, state: Rehearsing, now: str) -> str:
    """Why a machine may not be cut over yet at the time `now` (UTC, ISO 8601; empty where nobody asks for ages), as its
    policy asks for a rehearsal first; empty where it may."""
    if policy is None or not policy.required:
        return ""
    if state.rehearsal is None or state.rehearsed is None or not has_passed(state):
        failed = why_not(state)
        told = f"its newest rehearsal did not pass ({failed})" if failed else "it was not rehearsed"
        return f"{told}, and its policy asks for that before its source may be stopped"
    limit, age = policy.max_age_seconds, _seconds(state.rehearsed.synced_at, now)
    if limit is None or age is None or age <= limit:
        return ""
    return (
        f"what was rehearsed is of {state.rehearsed.synced_at}, {age:.0f} s ago, and its policy takes no more than "
        f"{limit:g} s"
    )


def _seconds(since: str, now: str) -> float | None:
    try:
        return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):  # nobody knows when, or nobody asks
        return None
