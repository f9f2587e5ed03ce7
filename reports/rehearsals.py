"""Rehearsals: what each copy showed, that it left the disks as they were, and that it is gone; pure."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from kubeferry.documents import Observation
from kubeferry.life.events import CopyBegun, CutoverBegun, DiskVerified
from kubeferry.life.rehearsal import Rehearsal
from kubeferry.life.rehearsal_events import RehearsalBegun, RehearsalEnded, RehearsalObserved, Rehearsed
from kubeferry.life.states import Recorded
from reports.picture import shown
from reports.probes import probe_reports
from reports.shapes import RehearsalReport
from reports.wording import console, count, plain

OPEN = "it is under way, or was left and is ended by the next command"


def rehearsals(records: Sequence[Recorded]) -> tuple[RehearsalReport, ...]:
    """Every rehearsal that was begun, the oldest first. Only the newest has its picture: pages are read, not stored."""
    found: list[_Seen] = []
    for record in records:
        event = record.event
        if isinstance(event, RehearsalBegun):
            found.append(_Seen(event))
        elif found:
            found[-1].take(event)
    return tuple(seen.told(whole=seen is found[-1]) for seen in found)


class _Seen:
    """One rehearsal, and what was read back after it, until something else was done to the disks."""

    def __init__(self, begun: RehearsalBegun) -> None:
        self.begun = begun
        self.observed: RehearsalObserved | None = None
        self.app_observed: RehearsalObserved | None = None
        self.ended: RehearsalEnded | None = None
        self.passed: Rehearsed | None = None
        self.read_back: dict[str, DiskVerified] = {}
        self._over = False

    def take(self, event: object) -> None:
        if isinstance(event, (CopyBegun, CutoverBegun)):
            self._over = True
        elif isinstance(event, RehearsalObserved) and event.app is not None:
            self.app_observed = event
        elif isinstance(event, RehearsalObserved):
            self.observed = event
        elif isinstance(event, RehearsalEnded):
            self.ended = event
        elif isinstance(event, Rehearsed):
            self.passed = event
        elif isinstance(event, DiskVerified) and self.ended is not None and not self._over:
            self.read_back[event.disk] = event

    def told(self, *, whole: bool) -> RehearsalReport:
        seen, of_app = _parsed(self.observed), _parsed(self.app_observed)
        return RehearsalReport(
            number=self.begun.number,
            round=self.begun.round,
            at=plain(self.begun.at, 40),
            synced_at=plain(self.begun.synced_at, 40),
            passed=self.passed is not None,
            why="" if self.passed else plain(self._why()),
            where=plain(seen.where) if seen else "",
            together=tuple(plain(name) for name in self.begun.together or ()),
            app=plain(self.app_observed.app or "") if self.app_observed else "",
            probes=probe_reports(seen),
            app_probes=probe_reports(of_app),
            not_asked=tuple(plain(line) for one in (seen, of_app) if one for line in one.not_asked),
            not_shown=tuple(plain(line) for line in (seen.not_shown[:200] if seen else ())),
            screenshot=shown(seen.screenshot) if seen and whole else None,
            console_tail=console(seen.console_tail) if seen and whole else "",
            disks=self._disks(),
            removed=tuple(plain(line) for line in (self.ended.removed if self.ended else ())),
            ended_at=plain(self.ended.at, 40) if self.ended else None,
        )

    def _why(self) -> str:
        if self.ended is None:
            return OPEN
        newest = Rehearsal(self.begun, observed=self.observed, app_observed=self.app_observed, ended=self.ended)
        if failed := newest.failed:
            return failed
        return "its disks were not read back as they were before it"

    def _disks(self) -> tuple[str, ...]:
        """What became of each disk, in a line."""
        return tuple(f"{plain(disk)}: {self._disk(disk, root)}" for disk, root in self.begun.roots.items())

    def _disk(self, disk: str, root: str) -> str:
        back = self.read_back.get(disk)
        if back is None:
            return f"root {plain(root)} before it, not read back after it"
        if back.differing:
            return f"root {plain(root)} before it, {count(back.differing, 'block')} read back otherwise after it"
        return f"read back after it with the root of before, {plain(back.root)}"


def _parsed(observed: RehearsalObserved | None) -> Observation | None:
    if observed is None or not observed.observation:
        return None
    try:
        return Observation.model_validate(observed.observation)
    except ValidationError:
        return None
