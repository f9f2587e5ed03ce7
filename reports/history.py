"""What happened to a machine beside the straight way, and how often it was taken up again; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from kubeferry.life.events import (
    AppObserved,
    Approved,
    Committed,
    CopyBegun,
    CutoverBegun,
    DiskCopied,
    DiskVerified,
    Failed,
    Located,
    Note,
    NotesRecorded,
    Observed,
    Planned,
    Released,
    RollbackBegun,
    RolledBack,
    SourceMarked,
    SourceRestarted,
    StopNotDone,
    Synced,
    TargetStopped,
    Validated,
)
from kubeferry.life.hook_events import HookRun
from kubeferry.life.hooks import told
from kubeferry.life.machine_state import Phase, way_of
from kubeferry.life.rehearsal_events import RehearsalEnded, Rehearsed
from kubeferry.life.states import Recorded
from reports.shapes import Happening, HappeningKind, JournalLine
from reports.wording import count, duration, instant, plain, size

H = HappeningKind

JOURNAL_LINES = 400

# After these a run may end of its own will: the next one interrupts nothing.
_RESTS = (
    *(Planned, Synced, RehearsalEnded, Rehearsed, Approved, Validated, TargetStopped, Committed),
    *(NotesRecorded, SourceMarked, RolledBack, Released, Located, Note),
)


_WAYS = {
    CutoverBegun: way_of(Phase.CUTTING_OVER),
    RollbackBegun: way_of(Phase.ROLLING_BACK),
    Validated: way_of(Phase.VALIDATED),
    Committed: "",
    RolledBack: "",
}
"""Which way a machine is on from an event on."""


def happenings(records: Sequence[Recorded]) -> tuple[Happening, ...]:
    """In order of time; empty for a machine that went the straight way."""
    found: list[Happening] = []
    differing: dict[str, int] = {}
    cutovers, durable, way, watched = 0, 0, "", _watched(records)
    for number, record in enumerate(records):
        if number and (gap := _gap(records[number - 1], record, watched)):
            found.append(gap)
        event = record.event
        way = _WAYS.get(type(event), way)
        if isinstance(event, CutoverBegun):
            cutovers += 1
            if cutovers > 1:
                found.append(Happening(kind=H.AGAIN, at=record.at, what="the cutover began again, from a fresh look"))
        elif isinstance(event, CopyBegun):
            found.extend(_round(record.at, event, durable, after_cutover=cutovers > 0))
        elif isinstance(event, Synced):
            durable = event.round
        elif isinstance(event, (DiskCopied, DiskVerified)):
            found.extend(_bytes(record.at, event, differing))
        elif isinstance(event, HookRun):
            found.extend(_late_hook(record.at, event))
        else:
            found.extend(_plainly(record, way))
    return tuple(found)


def runs(records: Sequence[Recorded]) -> tuple[int, int]:
    """How many runs worked on the machine, and how many of them took up what another had left unfinished."""
    worked = [record for record in records if not isinstance(record.event, (Released, Note))]
    watched = _watched(records)
    resumed = sum(_left_unfinished(a, b, watched) for a, b in pairwise(worked))
    return len({record.fence for record in worked}), resumed


def journal_lines(records: Sequence[Recorded]) -> tuple[JournalLine, ...]:
    """The newest events, as proof of the order of things."""
    return tuple(
        JournalLine(seq=r.seq, at=plain(r.at, 40), kind=r.event.kind, fence=r.fence, writer=plain(_host(r.writer), 80))
        for r in records[-JOURNAL_LINES:]
    )


def _host(writer: str) -> str:
    """Host and process of an owner; its other marks say nothing to a person."""
    return ":".join(writer.split(":")[:2])


def _watched(records: Sequence[Recorded]) -> frozenset[int]:
    """What was seen of a copy that counts as proven, by number: each look is a run of its own, and interrupts none."""
    found, proven = set(), False
    for record in records:
        if isinstance(record.event, (Validated, CutoverBegun, RollbackBegun)):
            proven = isinstance(record.event, Validated)
        elif proven and isinstance(record.event, (Observed, AppObserved)):
            found.add(record.seq)
    return frozenset(found)


def _left_unfinished(before: Recorded, after: Recorded, watched: frozenset[int]) -> bool:
    late = isinstance(before.event, HookRun) and before.event.phase.at_end
    rests = late or isinstance(before.event, _RESTS) or before.seq in watched
    return before.fence != after.fence and not rests


def _gap(before: Recorded, after: Recorded, watched: frozenset[int]) -> Happening | None:
    if isinstance(after.event, (Released, Note)) or not _left_unfinished(before, after, watched):
        return None
    begins, ends = instant(before.at), instant(after.at)
    pause = duration((ends - begins).total_seconds()) if begins and ends and ends >= begins else "an unknown time"
    kept = _kept(after)
    ended = isinstance(before.event, Failed) and ("stop" if before.event.stopped else "failure")
    return Happening(
        kind=H.TAKEN_UP if ended else H.INTERRUPTED,
        at=after.at,
        what=f"taken up again after the {ended}, {pause} later{kept}"
        if ended
        else f"resumed after an interruption: {pause} lie between '{before.event.kind}' of one run and "
        f"'{after.event.kind}' of the next{kept}",
    )


def _kept(record: Recorded) -> str:
    if isinstance(record.event, DiskCopied) and record.event.resumed_bytes:
        return f"; {size(record.event.resumed_bytes)} were durable already and were not read again"
    return ""


def _bytes(at: str, event: DiskCopied | DiskVerified, differing: dict[str, int]) -> Iterator[Happening]:
    disk = plain(event.disk)
    if isinstance(event, DiskVerified):
        if event.differing:
            differing[event.disk] = event.differing
            yield Happening(kind=H.DIFFERED, at=at, what=f"{disk}: {count(event.differing, 'block')} read back wrong")
        return
    if differing.pop(event.disk, 0):
        written = size(event.written_bytes)
        yield Happening(kind=H.REPAIRED, at=at, what=f"{disk}: repaired from the source, {written} written")


def _round(at: str, event: CopyBegun, durable: int, *, after_cutover: bool) -> Iterator[Happening]:
    """A round that does not simply follow the one before: that one did not end, or was of a cutover that came back."""
    if event.round > durable + 1 and (event.round > 1 or after_cutover):
        yield Happening(kind=H.NOTE, at=at, what=f"copy round {event.round} began in place of one that did not end")


def _late_hook(at: str, event: HookRun) -> Iterator[Happening]:
    """One that failed after the move's end; of any other that failed, its step tells."""
    if event.phase.at_end and not event.ok:
        yield Happening(kind=H.FAILED, at=at, what=plain(told(event)), why=plain(event.said.rpartition("\n")[2]))


def _plainly(record: Recorded, way: str) -> Iterator[Happening]:
    """The happening that one event is by itself; `way` says which one the machine was on."""
    at, event = record.at, record.event
    if isinstance(event, Failed) and event.stopped:
        what = f"{plain(event.at, 40)}: {plain(event.what)}{way and f', {way}'}"
        yield Happening(kind=H.NOTE, at=at, what=what, fix=plain(event.fix))
    elif isinstance(event, Failed):
        kind = "worth retrying" if event.transient else "not to be retried as it is"
        what = f"{plain(event.at, 40)}: {plain(event.what)} ({kind})"
        yield Happening(kind=H.FAILED, at=at, what=what, why=plain(event.why), fix=plain(event.fix))
    elif isinstance(event, RollbackBegun):
        yield Happening(kind=H.ROLLBACK, at=at, what="the way back began", why=plain(event.reason))
    elif isinstance(event, StopNotDone):
        yield Happening(kind=H.NOTE, at=at, what="the source is off by another stop than ours", why=plain(event.why))
    elif isinstance(event, SourceRestarted):
        yield Happening(kind=H.ROLLBACK, at=at, what="the source was started again")
    elif isinstance(event, RolledBack):
        yield Happening(kind=H.ROLLBACK, at=at, what="rolled back: the source is as it was before")
    elif isinstance(event, Approved):
        yield Happening(kind=H.APPROVED, at=at, what=f"approved by {plain(event.by, 80)}", why=plain(event.note))
    elif isinstance(event, Rehearsed):
        yield Happening(kind=H.REHEARSED, at=at, what=f"rehearsed, as of round {event.round}", why=plain(event.note))
    elif isinstance(event, (Located, Note)):
        found = f"it was found at source {event.source} of its estate" if isinstance(event, Located) else event.text
        yield Happening(kind=H.NOTE, at=at, what=plain(found))
