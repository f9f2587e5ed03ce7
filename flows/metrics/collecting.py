"""The journal as tallies: all of it the first time, then the machines that have moved on. Threads may share one."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flows.metrics.exposition import Family
from flows.metrics.series import PlanTallies, families
from flows.metrics.tallies import Tally, tally
from kubeferry.documents import Outline, outline_in
from kubeferry.errors import InputInvalid, IntegrityFailed, KubeferryError
from kubeferry.journal import Journal, PlanRecord

logger = logging.getLogger(__name__)

MOST_PLANS = 50  # by name; the series of older ones end


@dataclass(slots=True)
class _Kept:
    """One registered plan, as it was read last."""

    outline: Outline | None
    ends: dict[str, tuple[int, str]] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)


class Collector:
    """What was read of a journal, kept for the next time."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def collect(self, now: float | None = None) -> list[Family]:
        """Every series now. Raises KubeferryError where the journal does not answer. A machine whose events are
        damaged is in no series but that of such."""
        with self._lock:
            plans = [self._merged(name, found) for name, found in self._by_name().items()]
            queues = self._journal.outbox.queues()
        return families(plans, queues, time.time() if now is None else now)

    def _by_name(self) -> dict[str, list[PlanRecord]]:
        """The registered plans by name, each name's in the order in which they were made; the newest names alone."""
        found: dict[str, list[PlanRecord]] = {}
        for plan in self._journal.plans():
            found[plan.name] = [*found.pop(plan.name, []), plan]
        return dict(list(found.items())[-MOST_PLANS:])

    def _merged(self, name: str, plans: Sequence[PlanRecord]) -> PlanTallies:
        """The plans of one name as one: a machine is where the newest of them that has touched it left it."""
        waves: dict[str, str] = {}
        budgets: dict[str, float] = {}
        tallies: dict[str, Tally] = {}
        expired = unreadable = 0
        for plan in plans:
            kept = self._read(plan.digest)
            waves |= dict(_waves(kept.outline))
            budgets |= dict(_budgets(kept.outline))
            tallies |= {
                machine: told for machine, told in kept.tallies.items() if told.touched or machine not in tallies
            }
            expired += sum(holder.expired for holder in self._journal.holders(plan.digest).values())
            unreadable += len(kept.unreadable)
        return PlanTallies(name, waves, tallies, expired, unreadable, budgets)

    def _read(self, digest: str) -> _Kept:
        kept = self._kept.get(digest)
        if kept is None:
            kept = self._kept[digest] = _Kept(_outline(self._journal.plan(digest).document))
        ends = self._journal.ends(digest)
        changed = [machine for machine, end in ends.items() if kept.ends.get(machine) != end]
        if len(changed) > len(ends) // 2:
            with contextlib.suppress(IntegrityFailed, InputInvalid):  # which one it is, is found below
                kept.tallies |= {one: tally(records) for one, records in self._journal.histories(digest).items()}
                changed = []
        for machine in changed:
            try:
                kept.tallies[machine] = tally(self._journal.events(digest, machine))
            except (IntegrityFailed, InputInvalid) as error:
                logger.warning("%s is not counted: %s", machine, error.reason)
                kept.tallies.pop(machine, None)
                kept.unreadable.add(machine)
            else:
                kept.unreadable.discard(machine)
        kept.ends = ends
        return kept


def _outline(document: str) -> Outline | None:
    try:
        return outline_in(document)
    except KubeferryError:
        return None


def _budgets(outline: Outline | None) -> Iterator[tuple[str, float]]:
    for entry in outline.entries if outline else ():
        if entry.downtime and entry.downtime.budget_seconds:
            yield entry.name, entry.downtime.budget_seconds


def _waves(outline: Outline | None) -> Iterator[tuple[str, str]]:
    for wave in outline.waves if outline else ():
        for machine in wave.machines:
            yield machine, wave.name
