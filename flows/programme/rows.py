"""The table of a wave, a row a machine: where it stands, how old its copy is, how long it still takes; pure.

Prefect shows a cell as Markdown: text of others is made plain, so that a machine's name is no link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flows.programme.texts import linked, plain
from flows.progress import Glimpse
from flows.told import Outcome
from kubeferry.life.machine_state import MachineState, Phase
from reports.shapes import Bound, Downtime
from reports.wording import duration

MIB = 1 << 20
UNKNOWN = "—"
NOT_KNOWN = "not known"
AFTER_THE_COPY = frozenset({Phase.STARTED, Phase.VALIDATED, Phase.COMMITTED, Phase.ROLLING_BACK, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the machines of a wave. `actual` downtime as measured; `links` of each
    with what they lead to."""

    apps: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, MachineState] = field(default_factory=dict)
    glimpses: Mapping[str, Glimpse] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    actual: Mapping[str, Downtime] = field(default_factory=dict)
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def rows(machines: Sequence[str], seen: Seen, now: datetime) -> list[dict[str, str]]:
    """A row for each of these machines, in their order."""
    return [_row(name, seen, now) for name in machines]


def headline(machines: Sequence[str], seen: Seen) -> str:
    """The wave in one line: how many of its machines have moved, and whether anything is wrong."""
    moved = sum(_state(name, seen).phase is Phase.COMMITTED for name in machines)
    failed = [name for name in machines if (told := seen.outcomes.get(name)) and told.error]
    health = "ERROR" if failed else "LAGGING" if any(name in seen.held for name in machines) else "OK"
    return f"{health}, {moved} of {len(machines)} moved"


def _row(name: str, seen: Seen, now: datetime) -> dict[str, str]:
    state, glimpse = _state(name, seen), seen.glimpses.get(name, Glimpse("waiting"))
    outcome = seen.outcomes.get(name)
    copying = outcome is None and glimpse.bytes_per_second > 0
    does = f"{glimpse.action}; {glimpse.detail}" if glimpse.detail and outcome is None else glimpse.action
    return {
        "machine": plain(name),
        "app": plain(seen.apps.get(name, UNKNOWN)),
        "state": "held back" if name in seen.held else str(state.phase),
        "sync age": _age(state, now),
        "delta MiB": _delta(state),
        "MiB/s": f"{glimpse.bytes_per_second / MIB:.0f}" if copying else UNKNOWN,
        "left": _range(glimpse.seconds_left) if copying and glimpse.seconds_left else UNKNOWN,
        "downtime": _downtime(name, seen),
        "last error": plain(_error(state, outcome)),
        "links": ", ".join(linked(what, where) for what, where in seen.links.get(name, {}).items()) or UNKNOWN,
        "now": plain(f"it is held back: {seen.held[name]}" if name in seen.held else does),
    }


def _state(name: str, seen: Seen) -> MachineState:
    return seen.states.get(name, MachineState())


def _age(state: MachineState, now: datetime) -> str:
    """How old the newest copy is that is durable; of one that has moved nobody asks any more."""
    if state.marker is None or state.phase in AFTER_THE_COPY:
        return UNKNOWN
    try:
        taken = datetime.fromisoformat(state.marker.taken_at)
    except ValueError:
        return UNKNOWN
    return _seconds(max(0.0, (now - taken).total_seconds()))


def _delta(state: MachineState) -> str:
    """What the newest round that is durable has copied."""
    return f"{state.rounds[-1].data_bytes / MIB:.0f}" if state.rounds else UNKNOWN


def _downtime(name: str, seen: Seen) -> str:
    if down := seen.actual.get(name):
        return f"{'' if down.bound is Bound.EXACT else f'{down.bound} '}{duration(down.seconds)}"
    glimpse = seen.glimpses.get(name)
    if glimpse is None or not glimpse.projected:
        return UNKNOWN
    known = not glimpse.projected.startswith(NOT_KNOWN)
    return f"projected: {glimpse.projected}" if known else NOT_KNOWN  # why it is not is too long for a cell


def _error(state: MachineState, outcome: Outcome | None) -> str:
    if outcome and outcome.error:
        return outcome.error.what
    return state.failed.what if state.failed else UNKNOWN


def _range(seconds: tuple[float, float]) -> str:
    least, most = map(_seconds, seconds)
    return least if least == most else f"{least} to {most}"


def _seconds(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h" if whole < 172800 else f"{whole // 86400} d"
