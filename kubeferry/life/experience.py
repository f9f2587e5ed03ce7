"""How long the parts of cutovers took, as the journal has it: what a projection rests on. Pure.

    last answer ─ stop ─ source-stopped ─ copy ─ verify ─ start ─ boot ─ first answer ─ probes ─ observed
    rollback-begun ─ back ─ source-restarted

Only what one run did without a break counts: where another one took over, nobody knows how long nothing was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from kubeferry.documents.hooks import HookPhase
from kubeferry.life.event_kinds import EventKind
from kubeferry.life.events import (
    CopyBegun,
    CutoverBegun,
    DiskCopied,
    DiskVerified,
    Event,
    LastWords,
    Observed,
    RollbackBegun,
    SourceRestarted,
    SourceStopped,
    StopAsked,
)
from kubeferry.life.hook_events import HookRun
from kubeferry.life.hooks import key_of_run
from kubeferry.life.states import Recorded


@dataclass(frozen=True, slots=True)
class Moved:
    """So many bytes in so many seconds."""

    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Experience:
    """What was seen, each time it was seen, the newest last: seconds of the parts, bytes and seconds of copies and of
    read-backs; of hooks that ended well, which one it was, and its seconds. `machines` is of how many machines."""

    stops: tuple[float, ...] = ()
    starts: tuple[float, ...] = ()
    boots: tuple[float, ...] = ()
    probes: tuple[float, ...] = ()
    backs: tuple[float, ...] = ()
    copies: tuple[Moved, ...] = ()
    checks: tuple[Moved, ...] = ()
    hooks: tuple[tuple[str, float], ...] = ()
    machines: int = 0

    def __add__(self, other: Experience) -> Experience:
        return Experience(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def experience_of(records: Sequence[Recorded]) -> Experience:
    """What one machine's events say."""
    copies, checks = _transfers(records)
    found: dict[str, list[float]] = {name: [] for name in ("stops", "starts", "boots", "probes", "backs")}
    for cutover in _cutovers(records):
        for name, seconds in _parts(cutover):
            found[name].append(seconds)
    return Experience(
        **{name: tuple(seconds) for name, seconds in found.items()},
        copies=tuple(copies),
        checks=tuple(checks),
        hooks=tuple(_hooks(records)),
        machines=1 if any(found.values()) or copies else 0,
    )


def experience_of_all(histories: Iterable[Sequence[Recorded]]) -> Experience:
    """The same of several machines together."""
    found = Experience()
    for records in histories:
        found += experience_of(records)
    return found


def instant(at: str) -> datetime | None:
    """A time of the journal, of a source or of a target; None for what is none."""
    try:
        read = datetime.fromisoformat(at)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _transfers(records: Sequence[Recorded]) -> tuple[list[Moved], list[Moved]]:
    """Copies and read-backs of whole rounds: the time that passed, with all that is between the movers' own."""
    copies, checks = list[Moved](), list[Moved]()
    for begun, of_round in _rounds(records):
        copied = [one for one in of_round if isinstance(one.event, DiskCopied)]
        checked = [one for one in of_round if isinstance(one.event, DiskVerified)]
        if copied and {one.fence for one in copied} == {begun.fence}:
            moved = sum(one.event.data_bytes for one in copied if isinstance(one.event, DiskCopied))
            copies += _moved(moved, begun.at, copied[-1].at)
            if checked and {one.fence for one in checked} == {begun.fence}:
                read = sum(one.event.read_bytes for one in checked if isinstance(one.event, DiskVerified))
                checks += _moved(read, copied[-1].at, checked[-1].at)
    return copies, checks


def _moved(count: int, begins: str, ends: str) -> Iterator[Moved]:
    if (seconds := between(begins, ends)) is not None:
        yield Moved(count, seconds)


def _rounds(records: Sequence[Recorded]) -> Iterator[tuple[Recorded, list[Recorded]]]:
    """Each round's beginning, and what was recorded up to the next one's."""
    begun: Recorded | None = None
    inside: list[Recorded] = []
    for record in records:
        if isinstance(record.event, CopyBegun):
            if begun is not None:
                yield begun, inside
            begun, inside = record, []
        else:
            inside.append(record)
    if begun is not None:
        yield begun, inside


def _cutovers(records: Sequence[Recorded]) -> Iterator[list[Recorded]]:
    found: list[Recorded] = []
    for record in records:
        if isinstance(record.event, CutoverBegun):
            yield found
            found = []
        found.append(record)
    yield found


def _parts(cutover: list[Recorded]) -> Iterator[tuple[str, float]]:
    """Each part of a cutover that was seen whole."""
    stopped = _last(cutover, SourceStopped)
    if stopped is not None and isinstance(stopped.event, SourceStopped) and stopped.event.how != "already-off":
        asked = _last_answer(cutover) or next((r.at for r in cutover if isinstance(r.event, StopAsked)), "")
        yield from _part("stops", asked, stopped.at)
    yield from _start(cutover)
    back, restarted = _last(cutover, RollbackBegun), _last(cutover, SourceRestarted)
    if back is not None and restarted is not None and back.fence == restarted.fence:
        yield from _part("backs", back.at, restarted.at)


def _start(cutover: list[Recorded]) -> Iterator[tuple[str, float]]:
    observed, proven = _first(cutover, Observed), _last(cutover, DiskVerified)
    if observed is None or not isinstance(observed.event, Observed):
        return
    seen = observed.event.observation
    began, answered = str(seen.get("startedAt") or ""), str(seen.get("firstAnswerAt") or "")
    if proven is not None and proven.fence == observed.fence:
        yield from _part("starts", proven.at, began)
    if (booted := between(began, answered)) is not None:
        yield "boots", max(booted - _held_up(cutover), 0.0)
    if observed.event.passed:
        yield from _part("probes", answered, observed.at)


def _hooks(records: Iterable[Recorded]) -> Iterator[tuple[str, float]]:
    for run in (record.event for record in records):
        if isinstance(run, HookRun) and run.ok:
            yield key_of_run(run), run.seconds


def _held_up(cutover: list[Recorded]) -> float:
    """For how long hooks kept the started copy from being asked: that is theirs, and no boot."""
    runs = (record.event for record in cutover if isinstance(record.event, HookRun))
    return sum(run.seconds for run in runs if run.phase is HookPhase.AFTER_START)


def _part(name: str, begins: str, ends: str) -> Iterator[tuple[str, float]]:
    seconds = between(begins, ends)
    if seconds is not None:
        yield name, seconds


def between(begins: str, ends: str) -> float | None:
    """Seconds from one time to another; None where one is missing, or they run backwards."""
    first, last = instant(begins), instant(ends)
    if first is None or last is None or last < first:
        return None
    return (last - first).total_seconds()


def _last_answer(cutover: list[Recorded]) -> str:
    heard = [r.event.at for r in cutover if isinstance(r.event, LastWords)]
    heard += [r.event.last_answer_at for r in cutover if isinstance(r.event, SourceStopped) and r.event.last_answer_at]
    return heard[-1] if heard else ""


def _first(cutover: list[Recorded], kind: type[Event]) -> Recorded | None:
    return next((record for record in cutover if isinstance(record.event, kind)), None)


def _last(cutover: list[Recorded], kind: type[Event]) -> Recorded | None:
    return next((record for record in reversed(cutover) if isinstance(record.event, kind)), None)


TELLING = frozenset({EventKind.COMMITTED, EventKind.ROLLED_BACK})
"""Events after which a machine's history says how long cutovers take."""
