"""Whether each disk is proven, from its own events and nobody's summary of them; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubeferry.documents import Entry, PlannedDisk
from kubeferry.life.events import CopyBegun, CutoverBegun, DiskCopied, DiskVerified
from kubeferry.life.states import Recorded
from kubeferry.sources.ec2 import cost as ebs_cost
from reports.shapes import DiskReport, Transfer
from reports.wording import count, plain

EQUAL = "read back: every block is equal"
EQUAL_SINCE = "every block was read back since it was last written, and is equal"


@dataclass(slots=True)
class _Seen:
    """What was seen of one disk, the newest of each kind. `final` is of the round that is open; `data` are the bytes of
    the largest round, which read all of it."""

    round: int = 0
    final: bool = False
    data: int = 0
    copied: tuple[str, DiskCopied] | None = None
    checked: tuple[str, DiskVerified] | None = None
    repairs: int = 0
    calls: Counter[str] = field(default_factory=Counter)


def disk_reports(entry: Entry, records: Sequence[Recorded]) -> tuple[DiskReport, ...]:
    """One report a disk of the plan, in the plan's order."""
    return tuple(_disk_report(planned, _look(planned.disk, records)) for planned in entry.disks)


def _look(disk: str, records: Sequence[Recorded]) -> _Seen:
    """A copy makes every earlier read-back stale; so do a new round, and a cutover that begins again."""
    seen = _Seen()
    for record in records:
        event = record.event
        if isinstance(event, CutoverBegun):
            seen.final, seen.checked = False, None
        elif isinstance(event, CopyBegun):
            seen.round, seen.final, seen.checked = event.round, event.final, None
        elif isinstance(event, DiskCopied) and event.disk == disk:
            seen.repairs += seen.checked is not None and seen.checked[1].differing > 0
            seen.copied, seen.checked = (record.at, event), None
            seen.data = max(seen.data, event.data_bytes)
            seen.calls.update(event.calls)
        elif isinstance(event, DiskVerified) and event.disk == disk:
            seen.checked = (record.at, event)
    return seen


def _disk_report(planned: PlannedDisk, seen: _Seen) -> DiskReport:
    doubt = _doubt(planned, seen)
    facts = (_copy_facts(*seen.copied) if seen.copied else {}) | (_check_facts(*seen.checked) if seen.checked else {})
    return DiskReport.model_validate(
        {
            "disk": plain(planned.disk),
            "claim": planned.claim,
            "volume_mode": planned.volume_mode,
            "size_bytes": planned.size_bytes,
            "claim_bytes": planned.claim_bytes,
            "verified": not doubt,
            "result": doubt or (EQUAL_SINCE if seen.checked and seen.checked[1].same_bytes else EQUAL),
            "data_bytes": seen.data if seen.copied else None,
            "repairs": seen.repairs,
            "paid_calls": seen.calls.total(),
            "paid_dollars": round(ebs_cost.dollars(seen.calls), 4),
            **facts,
        }
    )


def _doubt(planned: PlannedDisk, seen: _Seen) -> str:
    """Why the disk is not proven; empty when it is."""
    if seen.copied is None:
        return "not copied"
    copied, checked = seen.copied[1], seen.checked[1] if seen.checked else None
    if copied.round != seen.round:
        return f"its copy is of round {copied.round}, and round {seen.round} has begun since"
    if not seen.final:
        return "copied while the source could still write to it"
    if copied.size_bytes != planned.size_bytes:
        return f"{copied.size_bytes} bytes were copied, and the plan says {planned.size_bytes}"
    return _difference(copied, checked)


def _difference(copied: DiskCopied, checked: DiskVerified | None) -> str:
    """What the read-back says against the copy."""
    if checked is None:
        return "copied, and not read back"
    if checked.root != copied.root:
        return "read back with another root than was copied"
    if checked.differing:
        return f"read back: {count(checked.differing, 'block')} differ{'s' if checked.differing == 1 else ''}"
    return ""


def _copy_facts(at: str, event: DiskCopied) -> dict[str, object]:
    moved = Transfer(
        at=at,
        where=plain(event.where),
        read_bytes=event.read_bytes,
        written_bytes=event.written_bytes,
        resumed_bytes=event.resumed_bytes,
        seconds=event.seconds,
        bytes_per_second=_rate(event.read_bytes, event.seconds),
    )
    return {
        "root": plain(event.root),
        "algorithm": plain(event.algorithm, 40),
        "copy_round": event.round,
        "copied": moved,
    }


def _check_facts(at: str, event: DiskVerified) -> dict[str, object]:
    read = Transfer(
        at=at,
        where=plain(event.where),
        read_bytes=event.read_bytes,
        seconds=event.seconds,
        bytes_per_second=_rate(event.read_bytes, event.seconds),
    )
    return {"verified_root": plain(event.root), "differing_blocks": event.differing, "read_back": read}


def _rate(size_bytes: int, seconds: float) -> float | None:
    return size_bytes / seconds if seconds > 0 and size_bytes else None
