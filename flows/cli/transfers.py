"""What movers on this host tell of their transfers at this moment, to whoever looks (`kubeferry status`).

The ledger names their state folders. A mover in a cluster tells the run that watches it, and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kubeferry.documents import MoverJob, MoverProgress, Outline
from kubeferry.journal import LedgerEntry
from kubeferry.targets.local_movers import is_locked, told


def transfers(plan: Outline, things: Iterable[LedgerEntry]) -> dict[str, dict[str, MoverProgress]]:
    """By machine and disk, how far each mover is that is at work on one of this plan's disks here."""
    known = {entry.name for entry in plan.entries}
    found: dict[str, dict[str, MoverProgress]] = {}
    for thing in things:
        if thing.kind != "mover" or thing.machine not in known:
            continue
        state = Path(thing.where)
        job, progress = _at_work(state)
        if job is not None and progress is not None:
            found.setdefault(thing.machine, {})[job.disk] = progress
    return found


def _at_work(state: Path) -> tuple[MoverJob | None, MoverProgress | None]:
    """Nothing where nobody is, or where the folder cannot be looked at: another host's, or not for this user."""
    try:
        return told(state) if state.is_absolute() and is_locked(state) else (None, None)
    except OSError:
        return None, None
