"""How long a cutover would take if it began now, as ranges, and what that rests on; its score after the fact. Pure.

    rounds of the machine ──> churn, rate ──> what is left at that moment ──> copy, verify
    cutovers of others ─────> stop, start, boot, probes, back, hooks

A range goes from the shortest to the longest that was seen, each widened by its own n-th part where it rests on n: one
alone says little of the next one. Bytes take what small copies took, whatever their size, and besides as long as larger
ones took for a byte. What nobody has seen yet is not known, and no figure stands in for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from kubeferry.documents import DowntimePolicy, Entry, OutlinedEntry
from kubeferry.documents.hooks import HookPhase
from kubeferry.life.events import CopyBegun, CutoverBegun, Synced
from kubeferry.life.experience import Experience, Moved, experience_of, instant
from kubeferry.life.hooks import key_of_hook
from kubeferry.life.projected import NOTHING, Part, Projected, Range, total
from kubeferry.life.states import Recorded
from kubeferry.model import Power
from kubeferry.schedule.windows import Opening
from kubeferry.words import counted, duration

SMALL_BYTES = 16 << 20
"""Copies below this say how long one takes whatever its size, those above it how fast bytes are copied."""
NEWEST = 6
BOOT = 4
"""Which of the parts it is."""
P = HookPhase
NO_ROUND = "no round was copied yet"


@dataclass(frozen=True, slots=True)
class Round:
    """A durable round of a machine that ran: when its view was taken, how much it copied; `whole`: all was read, not
    only what had changed."""

    taken: datetime
    data_bytes: int
    whole: bool


def project(
    entry: Entry | OutlinedEntry, records: Sequence[Recorded], prior: Experience, at: datetime, *, deltas: bool = True
) -> Projected:
    """What is known of a cutover of this machine that would begin `at` this moment. `records` are its own events,
    `prior` is what was seen of others; `deltas`: its source can tell while it runs what changed."""
    own = experience_of(records)
    rounds = rounds_of(records) if entry.mode == "warm" else ()
    churn = _churn(rounds) if deltas else None
    delta, why = _left(entry, rounds, churn, at)
    read = delta if rounds and entry.verify == "written" else _all(entry)
    copies, whose = (own.copies, "its own rounds") if own.copies else (prior.copies, _others(prior))
    checks, by = (own.checks, "its own rounds") if own.checks else (prior.checks, _others(prior))
    parts = (
        _stop(entry, own, prior),
        _transferred("copy", entry, delta, copies, why or whose),
        _transferred("read-back", entry, read, checks, why or by),
        _seen("start", own.starts + prior.starts, prior),
        _seen("boot", own.boots + prior.boots, prior),
        *_hooked("hooks", entry, (P.AFTER_STOP, P.AFTER_START), own + prior),
    )
    ahead = _hooked("hooks before the stop", entry, (P.BEFORE_STOP,), own + prior)
    proofs = _seen("probes", own.probes + prior.probes, prior)
    downtime = total(part.seconds for part in parts)
    back, back_why = _back(own, prior, parts[BOOT])
    return Projected(
        at=at.isoformat(timespec="milliseconds"),
        parts=(*parts, proofs, *ahead),
        churn=churn,
        rate=_rate(copies),
        delta_bytes=delta,
        downtime=downtime,
        proven=total((downtime, proofs.seconds, *(part.seconds for part in ahead))),
        back=back,
        back_why=back_why,
        machines=prior.machines,
    )


def _others(prior: Experience) -> str:
    return f"copies of {counted(prior.machines, 'other machine')}" if prior.copies else "nothing was copied yet"


def _back(own: Experience, prior: Experience, boot: Part) -> tuple[Range | None, str]:
    """The way back: the copy goes down, the source is started, and boots as the copies did."""
    restarts = own.backs + prior.backs
    if not restarts:
        return None, "no machine has gone back yet"
    if boot.seconds is None:
        return None, boot.why
    told = f"{counted(len(restarts), 'rollback')}, and {boot.why} for the boot of the source"
    return total((spread(restarts), boot.seconds)), told


def _stop(entry: Entry | OutlinedEntry, own: Experience, prior: Experience) -> Part:
    if entry.machine.power is Power.OFF:
        return Part(name="stop", seconds=NOTHING, why="it was off when it was discovered")
    return _seen("stop", own.stops + prior.stops, prior)


def _seen(name: str, seconds: Sequence[float], prior: Experience) -> Part:
    if not seconds:
        why = "no machine has moved yet" if not prior.machines else "it was not seen of any machine yet"
        return Part(name=name, why=why)
    return Part(name=name, seconds=spread(seconds), why=counted(len(seconds), "cutover"))


def _hooked(
    name: str, entry: Entry | OutlinedEntry, phases: Collection[HookPhase], seen: Experience
) -> tuple[Part, ...]:
    """What hooks of these phases take: each as long as it was seen to, one that was not up to its time. None where the
    machine has none of them."""
    found: list[Range] = []
    unseen: list[str] = []
    for hook in (one for one in entry.hooks or () if one.on in phases):
        key = key_of_hook(hook)
        took = [seconds for which, seconds in seen.hooks if which == key][-NEWEST:]
        most = hook.timeout_seconds
        found.append(spread(took) if took else Range(low=0, likely=most / 2, high=most))
        unseen += [] if took else [hook.name]
    why = f"up to their time: {', '.join(unseen)}" if unseen else "as long as they took before"
    return (Part(name=name, seconds=total(found), why=why),) if found else ()


def spread(seen: Sequence[float]) -> Range:
    """The range of what was seen so many times, wider where that was seldom."""
    wider = 1 + 1 / len(seen)
    return Range(low=min(seen) / wider, likely=median(seen), high=max(seen) * wider)


# --- bytes -----------------------------------------------------------------------------------------------------------


def rounds_of(records: Sequence[Recorded]) -> tuple[Round, ...]:
    """The durable rounds since the machine was last given back, the oldest first."""
    found: list[Round] = []
    begun: Recorded | None = None
    for record in records:
        event = record.event
        if isinstance(event, CopyBegun):
            begun = record
        elif isinstance(event, CutoverBegun):
            found = []
        elif isinstance(event, Synced) and begun is not None and isinstance(begun.event, CopyBegun):
            view = begun.event.view
            taken = instant(view.taken_at if view else "") or instant(begun.at)
            if taken is not None:
                found.append(Round(taken, event.data_bytes, whole=begun.event.since is None))
    return tuple(found)


def _churn(rounds: Sequence[Round]) -> Range | None:
    """Bytes per second that change, of the newest rounds: what each copied, by the time since the one before it."""
    rates = [
        after.data_bytes / passed
        for before, after in pairwise(rounds[-NEWEST:])
        if not after.whole and (passed := (after.taken - before.taken).total_seconds()) > 0
    ]
    return spread(rates) if rates else None


def _left(
    entry: Entry | OutlinedEntry, rounds: Sequence[Round], churn: Range | None, at: datetime
) -> tuple[Range | None, str]:
    """The bytes that are left to be copied after a stop at this moment, or why nobody knows."""
    if entry.mode != "warm":
        return _all(entry), ""
    if not rounds:
        return None, NO_ROUND
    if churn is None:
        return None, "what it writes is known from its second round on"
    age = max(0.0, (at - rounds[-1].taken).total_seconds())
    most = _all(entry).high
    return Range(
        low=min(churn.low * age, most), likely=min(churn.likely * age, most), high=min(churn.high * age, most)
    ), ""


def _all(entry: Entry | OutlinedEntry) -> Range:
    """All bytes of its disks: those that hold data as far as the source tells, at most the size of the disks."""
    high = sum(disk.size_bytes for disk in entry.disks)
    told = {disk.id: disk.allocated_bytes for disk in entry.machine.disks}
    low = sum(min(told.get(disk.disk) or 0, disk.size_bytes) for disk in entry.disks)
    likely = sum(min(told.get(disk.disk) or disk.size_bytes, disk.size_bytes) for disk in entry.disks)
    return Range(low=low, likely=likely, high=high)


def _rate(copies: Sequence[Moved]) -> Range | None:
    rates = [one.bytes / one.seconds for one in copies if one.bytes >= SMALL_BYTES and one.seconds > 0]
    return spread(rates[-NEWEST:]) if rates else None


def _transferred(
    name: str, entry: Entry | OutlinedEntry, amount: Range | None, seen: Sequence[Moved], why: str
) -> Part:
    if not entry.disks:
        return Part(name=name, seconds=NOTHING, why="it has no disks of its own")
    if amount is None or not seen:
        return Part(name=name, why=why)
    return Part(name=name, seconds=takes(amount, seen), why=why)


def takes(amount: Range, seen: Sequence[Moved]) -> Range:
    """How long so many bytes take, by transfers that were seen, at least one."""
    small = [one.seconds for one in seen if one.bytes < SMALL_BYTES][-NEWEST:]
    large = [one.seconds / one.bytes for one in seen if one.bytes >= SMALL_BYTES][-NEWEST:]
    if not large:  # the largest of the small ones says more of many bytes than nothing does
        most = max(seen, key=lambda one: one.bytes)
        large = [most.seconds / max(most.bytes, 1)] if amount.high > SMALL_BYTES else [0.0]
    fixed, each = spread(small) if small else spread([0.0]), spread(large)
    return Range(
        low=fixed.low + amount.low * each.low,
        likely=fixed.likely + amount.likely * each.likely,
        high=fixed.high + amount.high * each.high,
    )


# --- until when, and how good it was ---------------------------------------------------------------------------------


def going_back(projected: Projected, lockout_seconds: float) -> float:
    """The seconds to keep free for the way back: the longest that it may take; where nobody knows that, the lock-out of
    the window, which its people have chosen."""
    return projected.back.high if projected.back else float(lockout_seconds)


def window_ends(opening: Opening, projected: Projected) -> datetime:
    """When a cutover in this opening has to lead back, for the source to serve again at its end."""
    lockout = (opening.ends - opening.lockout).total_seconds()
    return opening.ends - timedelta(seconds=going_back(projected, lockout))


def deadline_of(
    budget_seconds: float | None, opening: Opening | None, projected: Projected, began: datetime
) -> datetime | None:
    """By when a cutover that began then has to be over: its downtime budget, or the end of the opening without the time
    to go back, whichever comes first; None where nothing bounds it."""
    ends = [window_ends(opening, projected)] if opening else []
    if budget_seconds is not None:
        ends.append(began + timedelta(seconds=budget_seconds))
    return min(ends, default=None)


def over_budget(policy: DowntimePolicy | None, projected: Projected) -> str:
    """That a cutover would go back since its downtime budget cannot hold, by the least that is projected of it; empty
    where it may hold."""
    budget = policy.budget_seconds if policy else None
    known = sum(part.seconds.low for part in projected.parts if part.seconds)
    least = max(known, projected.proven.low if projected.proven else 0.0)
    if budget is None or least <= budget:
        return ""
    return f"it takes {duration(least)} or longer, and its downtime budget is {duration(budget)}: it would go back"


@dataclass(frozen=True, slots=True)
class Score:
    """What was projected just before a stop against what it came to. `ratio`: actual by likely; None where nothing was
    likely. `inside`: whether it lay in the range."""

    projected: Range
    actual: float
    ratio: float | None
    inside: bool


def score(projected: Range, actual: float) -> Score:
    """The score of a range of seconds."""
    ratio = actual / projected.likely if projected.likely > 0 else None
    return Score(projected, actual, ratio, actual in projected)
