"""The words of the ledger: a thing outside the journal is written down before it is made. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

EXPORT = "export"
VIEW = "view"
"""A frozen view of a running machine, with what serves it."""
CHECKPOINT = "checkpoint"
"""What a later round needs to tell what changed since."""
SCRATCH = "scratch-file"
"""What a running machine overwrites while a view is open."""
SNAPSHOT, LEASE, CHANGE_TRACKING = "snapshot", "lease", "change-tracking"
"""What vSphere needs for a view: what holds it, what streams it, and what makes it tell later what changed."""
STOP_MARK = "stop-mark"
"""What says at a machine that we have stopped it: `kubeferry.marks`."""
AT_SOURCE = frozenset({EXPORT, VIEW, CHECKPOINT, SCRATCH, SNAPSHOT, LEASE, CHANGE_TRACKING, STOP_MARK})
"""Kinds of things that exist at a source; it, not the target, is asked whether they are gone."""

KEPT = frozenset({"disk", "machine-folder", "virtual-machine", "data-volume"})
"""Kinds that a move leaves on purpose: the migrated machine itself."""
REHEARSAL = "rehearsal"
"""An isolated copy of a machine, over a throw-away layer of its disks; it never outlives its command for long."""
PROCESS = "process"
"""A machine that runs at the target: kept, too, where it is to go on running after the commit."""


@dataclass(frozen=True, slots=True)
class External:
    """One thing outside the journal that a target or source is about to make: for the ledger, before it exists."""

    kind: str
    name: str
    where: str


Ledger = Callable[[External], None]
"""Called with each external thing before it is made; returns only when it is written down durably."""
