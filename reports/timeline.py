"""From a machine's events to the parts of its newest cutover, and to its downtime; pure.

    cutover-begun ─ last answer ─ source-stopped ─ … ─ started ─ first answer ─ observed ─ committed
           before       └── stop ──┴── copy, verify, start, boot ───┘    probes     commit
                        └────────────────── down ───────────────────┘

A copy that stays up serves from its proof on: while it is watched, and after its commit. That is no downtime, and of a
cutover that came to its end it is no part. Where the way back began then, it stands between the two.

The stretch between two events belongs to what the second one reports. Where another run wrote the second one, nobody
knows when the first run ended: all but the seconds that the second one accounts for is `interrupted`. Times are
counted in whole milliseconds, so that the parts add up exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise, takewhile

from kubeferry.documents import Observation
from kubeferry.life.event_kinds import EventKind
from kubeferry.life.events import (
    Committed,
    CutoverBegun,
    DiskCopied,
    DiskVerified,
    Event,
    Failed,
    LastWords,
    Note,
    Observed,
    Released,
    RollbackBegun,
    SourceRestarted,
    SourceStopped,
    TargetStopped,
    Validated,
)
from kubeferry.life.hook_events import HookRun
from kubeferry.life.states import Recorded
from kubeferry.model import Power
from reports.shapes import Bound, Downtime, PartName, Timeline, TimelinePart
from reports.wording import instant

P, K = PartName, EventKind

LABELS = {
    P.BEFORE: "Source still answering",
    P.STOP: "Source stopping",
    P.COPY: "Copy",
    P.VERIFY: "Read-back",
    P.REPAIR: "Repair",
    P.START: "Manifests and start",
    P.BOOT: "Boot of the copy",
    P.PROBES: "Probes",
    P.HOOKS: "Hooks",
    P.COMMIT: "End of the proof, commit",
    P.ROLLBACK: "Rollback",
    P.WATCH: "The copy serves",
    P.INTERRUPTED: "Nobody at work on it",
}
_PART_OF_EVENT = {
    **dict.fromkeys((K.CUTOVER_BEGUN, K.STOP_ASKED, K.LAST_WORDS), P.BEFORE),
    K.SOURCE_STOPPED: P.STOP,
    **dict.fromkeys((K.COPY_BEGUN, K.DISK_COPIED), P.COPY),
    K.DISK_VERIFIED: P.VERIFY,
    **dict.fromkeys((K.VARIABLES_CARRIED, K.APPLIED, K.STARTED), P.START),
    K.OBSERVED: P.PROBES,
    K.APP_OBSERVED: P.PROBES,
    K.HOOK_RUN: P.HOOKS,
    **dict.fromkeys((K.VALIDATED, K.TARGET_STOPPED, K.COMMITTED), P.COMMIT),
    **dict.fromkeys((K.ROLLBACK_BEGUN, K.STOP_NOT_DONE, K.SOURCE_RESTARTED, K.ROLLED_BACK), P.ROLLBACK),
}
_PART_OF_ACTION = {
    "begin-cutover": P.BEFORE,
    "stop-source": P.STOP,
    "begin-copy": P.COPY,
    "copy-disks": P.COPY,
    "verify-disks": P.VERIFY,
    "repair-disks": P.REPAIR,
    "end-round": P.COPY,
    "apply": P.START,
    "start": P.START,
    "observe": P.PROBES,
    "observe-app": P.PROBES,
    "hooks-before-stop": P.HOOKS,
    "hooks-after-stop": P.HOOKS,
    "hooks-after-start": P.HOOKS,
    "hooks-of-app": P.HOOKS,
    "validate": P.COMMIT,
    "stop-target": P.COMMIT,
    "commit": P.COMMIT,
    "begin-rollback": P.ROLLBACK,
    "restart-source": P.ROLLBACK,
    "end-rollback": P.ROLLBACK,
}
_RESTS = (Validated, TargetStopped)
_SERVES_NOBODY = frozenset({Power.OFF, Power.CRASHED, Power.PAUSED})


@dataclass(frozen=True, slots=True)
class Window:
    """The time without service, in milliseconds since the epoch: all but that in which the copy `served`, between its
    proof and the way back."""

    begins: int
    ends: int
    bound: Bound
    served: tuple[int, int] | None = None

    @property
    def milliseconds(self) -> int:
        return self.ends - self.begins - (self.served[1] - self.served[0] if self.served else 0)

    def holds(self, begins: int, ends: int) -> bool:
        """Whether nobody answered in all of this time."""
        inside = self.begins <= begins and ends <= self.ends
        return inside and not (self.served and self.served[0] <= begins and ends <= self.served[1])


@dataclass(frozen=True, slots=True)
class _Stretch:
    begins: int
    ends: int
    name: PartName


def newest_cutover(records: Sequence[Recorded]) -> list[Recorded]:
    """From the last `cutover-begun` on, without what is no part of it; empty where there was none. What is run after
    its end takes none of its time."""
    return [r for r in whole_cutover(records) if not (isinstance(r.event, HookRun) and r.event.phase.at_end)]


def whole_cutover(records: Sequence[Recorded]) -> list[Recorded]:
    """The same with the hooks after its end."""
    begun = [number for number, record in enumerate(records) if isinstance(record.event, CutoverBegun)]
    return [r for r in records[begun[-1] :] if not isinstance(r.event, (Note, Released))] if begun else []


def chronicle(
    records: Sequence[Recorded], seen: Observation | None, *, watched: bool = False
) -> tuple[Timeline | None, Downtime]:
    """The newest cutover's timeline and downtime. `seen` is what was observed of the copy before it counted as proven;
    `watched`: its policy has it watched after that."""
    cutover = newest_cutover(records)
    if not cutover:
        return None, Downtime(text="no cutover has begun")
    window, text = _window(cutover, seen)
    stretches = list(_stretches(cutover, seen, watched=watched))
    if _newest(cutover, RollbackBegun) is None:  # what is done after the watch is no part of it either
        stretches = list(takewhile(lambda one: one.name is not P.WATCH, stretches))
    if window and stretches and window.begins < stretches[0].begins:
        stretches.insert(0, _Stretch(window.begins, stretches[0].begins, P.STOP))
    if not stretches:
        return None, Downtime(text=text)
    timeline = _timeline(stretches, window, clocks_agree=_in_order(cutover))
    if window is None:
        return timeline, Downtime(text=text)
    return timeline, Downtime(
        seconds=window.milliseconds / 1000,
        bound=window.bound,
        begins_at=_iso(window.begins),
        ends_at=_iso(window.ends),
        text=text,
    )


# --- downtime --------------------------------------------------------------------------------------------------------


def _window(cutover: list[Recorded], seen: Observation | None) -> tuple[Window | None, str]:
    """When nobody answered, and what that rests on in words; None with the reason where it cannot be said."""
    begun, stopped = cutover[0].event, _newest(cutover, SourceStopped)
    if isinstance(begun, CutoverBegun) and begun.power_before in _SERVES_NOBODY:
        return None, f"none caused: the source was {begun.power_before} before"
    if stopped is None:
        return None, "the source is not confirmed off"
    answered, ended = _last_answer(cutover), _end(cutover, seen)
    begins = _ms(cutover[0].at) if answered is None else answered
    if begins is None or ended is None or ended[0] < begins:
        return None, "not measured: the recorded times contradict each other"
    ends, bound, words = ended
    if answered is None and bound is Bound.AT_LEAST:
        return None, f"not measured: neither the source's last answer nor the copy's first was seen; {words}"
    served = _served(cutover, seen)
    served = served if served and begins <= served[0] and served[1] <= ends else None
    less = ", without the time in which the copy served" if served else ""
    if answered is None:
        unseen = "the source's last answer was not seen, so the beginning of the cutover stands in for it"
        return Window(begins, ends, Bound.AT_MOST, served), f"{unseen}, to {words}{less}"
    return Window(begins, ends, bound, served), f"from the last answer of the source to {words}{less}"


def _served(cutover: list[Recorded], seen: Observation | None) -> tuple[int, int] | None:
    """From the first answer of a copy that was proven to the way back that began later; None where there was no such
    time, or the copy was stopped after its proof."""
    proven = next((n for n, record in enumerate(cutover) if isinstance(record.event, Validated)), len(cutover))
    for record in cutover[proven:]:
        if isinstance(record.event, TargetStopped):
            return None
        if isinstance(record.event, RollbackBegun):
            first, back = _boot(seen)[1], _ms(record.at)
            return None if first is None or back is None or back < first else (first, back)
    return None


def _last_answer(cutover: list[Recorded]) -> int | None:
    heard = [r.event.at for r in cutover if isinstance(r.event, LastWords)]
    heard += [r.event.last_answer_at for r in cutover if isinstance(r.event, SourceStopped) and r.event.last_answer_at]
    return max((at for at in map(_ms, heard) if at is not None), default=None)


def _end(cutover: list[Recorded], seen: Observation | None) -> tuple[int, Bound, str] | None:
    restarted = _newest(cutover, SourceRestarted)
    if restarted is not None:
        at = _ms(restarted.at)
        return None if at is None else (at, Bound.AT_LEAST, "its own restart, after which nobody asked it")
    first = _boot(seen)[1]
    goes_back = _newest(cutover, RollbackBegun) is not None
    if first is not None and not goes_back:
        proof = ", which was started for the proof and is stopped again" if _newest(cutover, TargetStopped) else ""
        return first, Bound.EXACT, f"the first answer of the copy{proof}"
    at = _ms(cutover[-1].at)
    missing = "the source is not back yet" if goes_back else "no answer of the copy was seen"
    return None if at is None else (at, Bound.AT_LEAST, f"the newest event: {missing}")


def _newest(cutover: list[Recorded], kind: type[Event]) -> Recorded | None:
    return next((record for record in reversed(cutover) if isinstance(record.event, kind)), None)


# --- parts -----------------------------------------------------------------------------------------------------------


def _stretches(cutover: list[Recorded], seen: Observation | None, *, watched: bool) -> Iterator[_Stretch]:
    """The stretches between events, end to end; a time that runs backwards makes an empty one."""
    answer, boot = _last_answer(cutover), _boot(seen)
    cursor = _ms(cutover[0].at) or 0
    differing: set[str] = set()
    back, serving = False, set(_serving(cutover, watched=watched))
    for before, after in pairwise(cutover):
        end = max(cursor, _ms(after.at) or cursor)
        back = back or isinstance(after.event, RollbackBegun)
        if after.seq in serving:
            yield _Stretch(cursor, end, P.WATCH)
            cursor = end
            continue
        name = P.ROLLBACK if back else _part(after.event, differing)
        working = end - round(_accounted(after, boot) * 1000)
        if before.fence != after.fence and not isinstance(before.event, _RESTS) and working > cursor:
            yield _Stretch(cursor, working, P.INTERRUPTED)
            cursor = working
        cuts = [at for at in (answer, *boot) if at is not None and cursor < at < end]
        for begins, ends in pairwise([cursor, *sorted(cuts), end]):
            yield _Stretch(begins, ends, _refined(name, begins, answer, boot))
        cursor = end


def _serving(cutover: list[Recorded], *, watched: bool) -> Iterator[int]:
    """The events up to which the copy served since the one before, by their numbers: those of its watch, and a way back
    that began when it was proven."""
    proven = moved = False
    for before, after in pairwise(cutover):
        proven = (proven or isinstance(before.event, Validated)) and not isinstance(before.event, RollbackBegun)
        moved = moved or isinstance(before.event, Committed)
        if isinstance(after.event, TargetStopped):
            return
        if proven and (isinstance(after.event, RollbackBegun) or (watched and not moved)):
            yield after.seq


def _part(event: Event, differing: set[str]) -> PartName:
    """What an event reports. `differing` remembers the disks that a read-back found wrong: their next copy is a
    repair."""
    if isinstance(event, DiskVerified):
        (differing.add if event.differing else differing.discard)(event.disk)
    elif isinstance(event, DiskCopied) and event.disk in differing:
        return P.REPAIR
    elif isinstance(event, Failed):
        return _PART_OF_ACTION.get(event.at, P.COMMIT)
    return _PART_OF_EVENT.get(event.kind, P.COMMIT)


def _accounted(record: Recorded, boot: tuple[int | None, int | None]) -> float:
    """The seconds before an event that its own evidence speaks for."""
    if isinstance(record.event, (DiskCopied, DiskVerified, HookRun)):
        return record.event.seconds
    at = _ms(record.at)
    if isinstance(record.event, Observed) and boot[0] is not None and at is not None:
        return max(0.0, (at - boot[0]) / 1000)
    return 0.0


def _refined(name: PartName, begins: int, answer: int | None, boot: tuple[int | None, int | None]) -> PartName:
    """A part as what was heard tells it: a source that answers is not stopping yet, a copy that answers has booted."""
    started, first = boot
    if name in {P.BEFORE, P.STOP} and answer is not None:
        return P.BEFORE if begins < answer else P.STOP
    if name in {P.START, P.PROBES} and started is not None:
        if begins < started:
            return P.START
        return P.BOOT if first is None or begins < first else P.PROBES
    return name


def _boot(seen: Observation | None) -> tuple[int | None, int | None]:
    """When the copy was started and when it first answered."""
    if seen is None:
        return None, None
    return _ms(seen.started_at), _ms(seen.first_answer_at) if seen.first_answer_at else None


def _timeline(stretches: list[_Stretch], window: Window | None, *, clocks_agree: bool) -> Timeline:
    parts: list[tuple[_Stretch, bool]] = []
    cuts = {window.begins, window.ends, *(window.served or ())} if window else set()
    for stretch in stretches:
        inner = sorted(at for at in cuts if stretch.begins < at < stretch.ends)
        for begins, ends in pairwise([stretch.begins, *inner, stretch.ends]):
            down = window is not None and window.holds(begins, ends)
            previous = parts[-1] if parts else None
            if previous and (previous[0].name, previous[1]) == (stretch.name, down):
                parts[-1] = (_Stretch(previous[0].begins, ends, stretch.name), down)
            elif ends > begins:
                parts.append((_Stretch(begins, ends, stretch.name), down))
    origin = stretches[0].begins
    return Timeline(
        begins_at=_iso(origin),
        seconds=(stretches[-1].ends - origin) / 1000,
        parts=tuple(_shown(part, origin, down=down) for part, down in parts),
        clocks_agree=clocks_agree,
    )


def _shown(part: _Stretch, origin: int, *, down: bool) -> TimelinePart:
    return TimelinePart(
        name=part.name,
        label=LABELS[part.name],
        begins_at=_iso(part.begins),
        offset_seconds=(part.begins - origin) / 1000,
        seconds=(part.ends - part.begins) / 1000,
        down=down,
    )


def _in_order(cutover: list[Recorded]) -> bool:
    times = [_ms(record.at) for record in cutover]
    return all(a is not None and b is not None and a <= b for a, b in pairwise(times))


def _ms(at: str | None) -> int | None:
    moment = instant(at) if at else None
    return None if moment is None else round(moment.timestamp() * 1000)


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
