"""What is ahead of the machines of a plan: the downtime that is projected now, when their windows open, what fits in.

By plan and journal: neither source nor target is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kubeferry.documents import Entry, Outline, OutlinedEntry, Plan, Window
from kubeferry.journal import Journal
from kubeferry.life.experience import Experience
from kubeferry.life.gate import Entered, Shut, ask
from kubeferry.life.projected import Projected
from kubeferry.life.projection import going_back, over_budget, project
from kubeferry.life.states import UNTOUCHED, MachineState, Recorded
from kubeferry.schedule.windows import Opening, now_open, upcoming
from kubeferry.steps.gate import begun_in, prior_of
from kubeferry.words import counted, first_of

NAMED = 6
SHOWN = 4  # openings of a window

_NOTHING = MachineState()


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of one machine that may still begin: what is projected, its window, and whether that lets it begin now;
    `too_long` says that its downtime budget cannot hold, empty where it may."""

    projected: Projected
    window: str = ""
    answer: Entered | Shut | None = None
    too_long: str = ""

    def __str__(self) -> str:
        """Its window, for people."""
        if self.answer is None:
            return ""
        if isinstance(self.answer, Entered):
            return f"{self.window}: open, {self.answer.opening}"
        following = f"opens next {self.answer.next}" if self.answer.next else "does not open any more"
        why = f"{self.answer.why}; " if self.answer.is_open else ""
        return f"{self.window}: {why}{following}"

    def facts(self) -> dict[str, Any]:
        """For a program."""
        too_long = {"tooLong": self.too_long} if self.too_long else {}
        return {"projected": told(self.projected), **too_long, **({"window": self._window()} if self.answer else {})}

    def _window(self) -> dict[str, Any]:
        if isinstance(self.answer, Entered):
            return {"name": self.window, "open": True, "closes": _iso(self.answer.opening.ends)}
        shut = self.answer
        following = shut.next.begins if shut and shut.next else None
        return {"name": self.window, "open": False, "why": shut.why if shut else "", "nextOpening": _iso(following)}


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def told(projected: Projected) -> dict[str, Any]:
    """A projection for a program."""
    return projected.model_dump(mode="json", by_alias=True) | {"missing": list(projected.missing)}


@dataclass(frozen=True, slots=True)
class Ahead:
    """What an outlook rests on: the plan's machines as they stand now, and what was seen of others."""

    histories: Mapping[str, Sequence[Recorded]]
    states: Mapping[str, MachineState]
    prior: Experience
    now: datetime
    begun: Mapping[str, frozenset[str]]


def outlooks(
    plan: Plan | Outline,
    journal: Journal,
    histories: Mapping[str, Sequence[Recorded]],
    states: Mapping[str, MachineState],
) -> dict[str, Outlook]:
    """Of each machine whose source nobody has begun to stop."""
    now, windows = journal.now(), plan.windows or {}
    begun = {name: begun_in(plan, journal, name, now_open(window, now)) for name, window in windows.items()}
    ahead = Ahead(histories, states, prior_of(plan, journal), now, begun)
    waiting = [entry for entry in plan.entries if _may_begin(states.get(entry.name, _NOTHING))]
    return {entry.name: _outlook(entry, windows, ahead) for entry in waiting}


def _may_begin(state: MachineState) -> bool:
    return state.resumes in UNTOUCHED and not state.source_off


def _outlook(entry: Entry | OutlinedEntry, windows: Mapping[str, Window], ahead: Ahead) -> Outlook:
    seen = project(entry, ahead.histories.get(entry.name, ()), ahead.prior, ahead.now)
    window, too_long = windows.get(entry.window or ""), over_budget(entry.downtime, seen)
    if window is None or entry.window is None:
        return Outlook(seen, too_long=too_long)
    answer = ask(entry.window, window, [seen], ahead.begun[entry.window], ahead.now)
    return Outlook(seen, entry.window, answer, too_long)


# --- windows of a plan -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fit:
    """One opening, the machines that fit in by what is projected, one after the other, and the time that they may need.
    `unknown` are those of them of which nothing is known yet."""

    window: str
    opening: Opening
    machines: tuple[str, ...]
    seconds: float
    unknown: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """For a program."""
        return {
            "window": self.window,
            "begins": _iso(self.opening.begins),
            "ends": _iso(self.opening.ends),
            "lockout": _iso(self.opening.lockout),
            "machines": list(self.machines),
            "seconds": round(self.seconds),
            "unknown": list(self.unknown),
        }

    def __str__(self) -> str:
        if not self.machines:
            return "none is left"
        known = f"{counted(len(self.machines), 'machine')}: {first_of(self.machines, NAMED)}"
        return f"{known}; not all is known yet of {first_of(self.unknown, NAMED)}" if self.unknown else known


def fits(plan: Plan | Outline, seen: Mapping[str, Outlook], now: datetime, at_once: int) -> list[Fit]:
    """The next openings of all windows, the first one first, with what fits in, in the order of the waves, so many
    machines at once: a forecast, and no promise. Machines that wait for others count as if those had moved."""
    waiting: dict[str, list[str]] = defaultdict(list)
    for wave in plan.waves:
        for name in wave.machines:
            if name in seen and seen[name].window:
                waiting[seen[name].window].append(name)
    found = []
    for name, window in (plan.windows or {}).items():
        left = waiting[name]
        for opening in upcoming(window, now, SHOWN):
            found.append(_fit(name, window, opening, left, seen, now, at_once))
            left = left[len(found[-1].machines) :]
            if not left:
                break
    return sorted(found, key=lambda one: one.opening.begins)


def _fit(
    name: str,
    window: Window,
    opening: Opening,
    left: Sequence[str],
    seen: Mapping[str, Outlook],
    now: datetime,
    at_once: int,
) -> Fit:
    begins = max(opening.begins, now)
    lanes = [0.0] * at_once
    taken: list[str] = []
    for machine in left[: window.capacity]:
        projected, first = seen[machine].projected, min(lanes)
        ends = first + projected.known_high + going_back(projected, window.lockout_seconds)
        starts_late = first >= (opening.lockout - begins).total_seconds()
        if starts_late or ends > opening.seconds_left(begins):
            break
        lanes[lanes.index(first)] = first + projected.known_high
        taken.append(machine)
    unknown = tuple(machine for machine in taken if seen[machine].projected.downtime is None)
    return Fit(name, opening, tuple(taken), max(lanes), unknown)


def waves_of(plan: Plan | Outline) -> Iterable[tuple[str, ...]]:
    """Each wave, and the windows that its machines are stopped in."""
    windows = {entry.name: entry.window or "any time" for entry in plan.entries}
    for wave in plan.waves:
        yield wave.name, ", ".join(dict.fromkeys(windows[name] for name in wave.machines))
