"""What of one machine's events is counted. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kubeferry.documents import Observation
from kubeferry.life.events import (
    CopyBegun,
    CutoverBegun,
    DiskCopied,
    Failed,
    Observed,
    RolledBack,
    SourceStopped,
    StopAsked,
    Synced,
)
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.states import ENDS, Recorded, fold
from reports.projections import projection_of
from reports.timeline import chronicle

SERVES = frozenset({Phase.VALIDATED})
"""A copy that has passed its probes is the machine, although it is not committed yet."""

AHEAD = frozenset({Phase.COPYING, Phase.SYNCED, Phase.REHEARSED, Phase.APPROVED})
REASONS: Mapping[str, str] = {
    "ProbeFailed": "probe",
    "OutOfTime": "deadline",
    "IntegrityFailed": "integrity",
    "SourceUnavailable": "source",
    "SourceRefused": "source",
    "SourceGone": "source",
    "LoginLost": "source",
    "TargetUnavailable": "target",
    "TargetRefused": "target",
    "TargetBusy": "target",
    "AlreadyMoved": "target",
    "Interrupted": "asked",
    "": "asked",
}
"""Why a machine went back, in one of a few words, by the class of the error before; others are `other`. Where no error
came before, somebody asked for it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One machine. `synced_of` is when the newest durable round began, whose view is what the target holds; `off_since`
    when its source was asked to stop, where it is off by us and nothing serves in its place (seconds since 1970).
    `projection_ratio` is the downtime that was measured, by the one that had been projected as most likely."""

    phase: Phase = Phase.PLANNED
    touched: bool = False
    synced_of: float | None = None
    delta_bytes: int | None = None
    copied_bytes: int = 0
    off_since: float | None = None
    rollbacks: Mapping[str, int] = field(default_factory=dict)
    downtime: Mapping[str, float] = field(default_factory=dict)
    projection_ratio: float | None = None


def tally(records: Sequence[Recorded]) -> Tally:
    """What these events of a machine come to; they are all of its."""
    state = fold(records)
    ahead = state.resumes in AHEAD and bool(state.rounds)
    return Tally(
        phase=state.phase,
        touched=len(records) > 1,
        synced_of=_synced_of(records) if ahead else None,
        delta_bytes=state.rounds[-1].data_bytes if ahead else None,
        copied_bytes=sum(one.event.written_bytes for one in records if isinstance(one.event, DiskCopied)),
        off_since=_off_since(records, state),
        rollbacks=_rollbacks(records),
        downtime=_downtime(records) if state.phase is Phase.COMMITTED else {},
        projection_ratio=_projection_ratio(records) if state.phase is Phase.COMMITTED else None,
    )


def _synced_of(records: Sequence[Recorded]) -> float | None:
    begun = found = None
    for record in records:
        if isinstance(record.event, CopyBegun):
            begun = seconds(record.at)
        elif isinstance(record.event, Synced):
            found = begun
    return found


def _off_since(records: Sequence[Recorded], state: MachineState) -> float | None:
    if state.phase in ENDS or state.resumes in SERVES or not state.owes_restart:
        return None
    found = None
    for record in records:
        if isinstance(record.event, CutoverBegun):
            found = None
        elif isinstance(record.event, (StopAsked, SourceStopped)) and found is None:
            found = seconds(record.at)
    return found


def _rollbacks(records: Sequence[Recorded]) -> Mapping[str, int]:
    counted: Counter[str] = Counter()
    error = ""
    for record in records:
        if isinstance(record.event, CutoverBegun):
            error = ""
        elif isinstance(record.event, Failed):
            error = record.event.error_type
        elif isinstance(record.event, RolledBack):
            counted[REASONS.get(error, "other")] += 1
    return counted


def _projection_ratio(records: Sequence[Recorded]) -> float | None:
    found = projection_of(records, chronicle(records, _observation(records))[1])
    return found.ratio if found else None


def _downtime(records: Sequence[Recorded]) -> Mapping[str, float]:
    """The parts of the newest cutover's downtime, and all of it as `total`; empty where it was not measured."""
    timeline, downtime = chronicle(records, _observation(records))
    if timeline is None or downtime.seconds is None:
        return {}
    parts: Counter[str] = Counter()
    for part in timeline.parts:
        if part.down:
            parts[part.name] += part.seconds  # type: ignore[assignment]
    return {**parts, "total": downtime.seconds}


def _observation(records: Sequence[Recorded]) -> Observation | None:
    """What was seen last; None of one that this version cannot read."""
    newest = next((one.event.observation for one in reversed(records) if isinstance(one.event, Observed)), None)
    try:
        return Observation.model_validate(newest) if newest else None
    except ValueError:
        return None


def seconds(at: str) -> float | None:
    """An ISO 8601 time as seconds since 1970; None for what is none."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
