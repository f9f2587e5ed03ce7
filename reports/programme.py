"""What a plan came to as a programme: its waves, how it went on over time, and what went back; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from kubeferry.documents import Plan
from kubeferry.life.events import CutoverBegun, RollbackBegun, RolledBack, SourceRestarted
from kubeferry.life.states import Recorded
from reports.shapes import (
    MachineReport,
    RollbackReport,
    Step,
    WaveReport,
)
from reports.wording import instant, plain

Events = Mapping[str, Sequence[Recorded]]


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
