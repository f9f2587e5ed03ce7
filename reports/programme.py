"""What a plan came to as a programme: its waves, how it went on over time, what went back, and who decided; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Protocol

from kubeferry.documents import Plan
from kubeferry.life.events import Approved, CutoverBegun, RollbackBegun, RolledBack, SourceRestarted
from kubeferry.life.states import Recorded
from reports.shapes import (
    Bound,
    DecisionReport,
    Downtime,
    MachineReport,
    Projection,
    RollbackReport,
    Step,
    WaveReport,
)
from reports.wording import NAME_LIMIT, instant, plain

Events = Mapping[str, Sequence[Recorded]]


class Decided(Protocol):
    """What a person decided for a plan, as far as a report tells of it."""

    @property
    def at(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def scope(self) -> Any: ...
    @property
    def by(self) -> str: ...
    @property
    def how(self) -> str: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...


def waves_of(plan: Plan, events: Events, machines: Sequence[MachineReport]) -> tuple[WaveReport, ...]:
    """The plan's waves, in their order."""
    by_wave = {wave.name: [one for one in machines if one.wave == wave.name] for wave in plan.waves}
    return tuple(
        _wave(wave.name, by_wave[wave.name], [events.get(name, ()) for name in wave.machines]) for wave in plan.waves
    )


def _wave(name: str, machines: Sequence[MachineReport], lives: Sequence[Sequence[Recorded]]) -> WaveReport:
    begun = [record.at for life in lives for record in life if isinstance(record.event, CutoverBegun)]
    measured = [(one.downtime.seconds, one.name) for one in machines if one.downtime.seconds is not None]
    longest, whose = max(measured, default=(None, None))
    return WaveReport(
        name=name,
        machines=len(machines),
        verdicts=dict(Counter(machine.verdict for machine in machines)),
        begins_at=plain(min(begun), 40) if begun else None,
        ends_at=plain(max(life[-1].at for life in lives if life), 40) if begun else None,
        data_bytes=sum(disk.data_bytes or 0 for machine in machines for disk in machine.disks),
        median_downtime_seconds=median(seconds for seconds, _ in measured) if measured else None,
        longest_downtime_seconds=longest,
        longest_downtime_machine=whose,
    )


def progress_of(events: Events, machines: Sequence[MachineReport]) -> tuple[Step, ...]:
    """How many had moved by when, the oldest first; those that did not stay moved are not counted."""
    changes = [(one.moved_at, 1, _size(one), 0) for one in machines if one.moved_at and instant(one.moved_at)]
    back = [record.at for life in events.values() for record in life if isinstance(record.event, RolledBack)]
    changes += [(plain(at, 40), 0, 0, 1) for at in back if instant(at)]
    moved = size_bytes = 0
    found: list[Step] = []
    for at, more, sized, went_back in sorted(changes):
        moved, size_bytes = moved + more, size_bytes + sized
        found.append(Step(at=at, moved=moved, size_bytes=size_bytes, went_back=went_back))
    return tuple(found)


def _size(machine: MachineReport) -> int:
    return sum(disk.size_bytes for disk in machine.disks)


def rollbacks_of(plan: Plan, events: Events, machines: Sequence[MachineReport]) -> tuple[RollbackReport, ...]:
    """Every way back that was begun, the newest first. `machines` are in the plan's order."""
    found = []
    for entry, machine in zip(plan.entries, machines, strict=True):
        records = events.get(entry.name, ())
        for number, record in enumerate(records):
            if isinstance(record.event, RollbackBegun):
                later = records[number + 1 :]
                found.append(
                    RollbackReport(
                        machine=machine.name,
                        wave=machine.wave,
                        app=machine.app,
                        at=plain(record.at, 40),
                        reason=plain(record.event.reason),
                        source=_source(later),
                        moved_later=machine.moved_at is not None and machine.moved_at > record.at,
                    )
                )
    return tuple(sorted(found, key=lambda one: one.at, reverse=True))


def _source(later: Sequence[Recorded]) -> str:
    """What became of the source since the way back began, up to the next cutover."""
    for record in later:
        if isinstance(record.event, CutoverBegun):
            break
        if isinstance(record.event, SourceRestarted):
            return "started again"
        if isinstance(record.event, RolledBack):
            return "as it was before"
    return "not known to be back"


def decisions_of(events: Events, decisions: Iterable[Decided]) -> tuple[DecisionReport, ...]:
    """What persons decided, for the plan and for single machines, the oldest first."""
    found = [
        DecisionReport(
            at=plain(one.at, 40),
            what=plain(str(one.kind), 80),
            about=plain(str(one.scope)),
            by=plain(one.by, NAME_LIMIT),
            how=plain(str(one.how), 80),
            note=plain(str(one.payload.get("note") or "")),
        )
        for one in decisions
    ]
    for name, records in events.items():
        for record in records:
            if isinstance(record.event, Approved):
                told = {"what": "approved", "about": plain(name, NAME_LIMIT), "how": "claimed"}
                by, note = plain(record.event.by, 80), plain(record.event.note)
                found.append(DecisionReport(at=plain(record.at, 40), by=by, note=note, **told))
    return tuple(sorted(found, key=lambda one: one.at))


def projection_of(records: Sequence[Recorded], downtime: Downtime) -> Projection | None:
    """What was projected before the newest cutover, beside what came of it."""
    begun = next((one.event for one in reversed(records) if isinstance(one.event, CutoverBegun)), None)
    told = getattr(getattr(begun, "projected", None), "downtime", None)
    if told is None:
        return None
    actual = downtime.seconds if downtime.bound is Bound.EXACT else None
    return Projection(low=told.low, likely=told.likely, high=told.high, actual=actual)
