"""What was copied ahead of a cutover, while the machine ran on: a line for each durable round; pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubeferry.life.events import CopyBegun, DiskCopied, DiskVerified, Synced
from kubeferry.life.states import Recorded
from reports.shapes import RoundReport
from reports.wording import plain


def copied_ahead(records: Sequence[Recorded]) -> tuple[RoundReport, ...]:
    """The rounds that were completed, the oldest first; empty for a machine that was copied after its stop only."""
    found: list[RoundReport] = []
    begun: tuple[str, CopyBegun] | None = None
    copied: dict[str, DiskCopied] = {}
    checked: dict[str, DiskVerified] = {}
    for record in records:
        event = record.event
        if isinstance(event, CopyBegun):
            begun, copied, checked = (record.at, event), {}, {}
        elif isinstance(event, DiskCopied):
            copied[event.disk] = event
        elif isinstance(event, DiskVerified):
            checked[event.disk] = event
        elif isinstance(event, Synced) and begun is not None:
            found.append(_round(*begun, record.at, list(copied.values()), list(checked.values())))
    return tuple(found)


def _round(at: str, begun: CopyBegun, ended: str, copied: list[DiskCopied], checked: list[DiskVerified]) -> RoundReport:
    return RoundReport(
        round=begun.round,
        begins_at=plain(at, 40),
        ends_at=plain(ended, 40),
        consistency=plain(begun.consistency, 40),
        whole=begun.since is None,
        data_bytes=sum(disk.data_bytes for disk in copied),
        written_bytes=sum(disk.written_bytes for disk in copied),
        seconds=sum(disk.seconds for disk in copied),
        read_back_bytes=sum(disk.read_bytes for disk in checked),
        differing_blocks=sum(disk.differing for disk in checked),
    )
