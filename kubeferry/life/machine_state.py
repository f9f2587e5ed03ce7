"""Where one machine stands: its phase, and what is known of it. Pure; `kubeferry.life.evidence` says what changes
it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from kubeferry.life.events import (
    WINDOW,
    Applied,
    AppObserved,
    Approved,
    DiskCopied,
    DiskVerified,
    Failed,
    LastWords,
    NotesRecorded,
    Observed,
    SourceStopped,
    Started,
    Synced,
    Validated,
)
from kubeferry.life.hook_events import HookRun
from kubeferry.life.rehearsal import Rehearsal
from kubeferry.life.rehearsal_events import Rehearsed
from kubeferry.model import UP, Autostart, Marker, Power

Fact = TypeVar("Fact")


class Phase(StrEnum):
    PLANNED = "planned"
    COPYING = "copying"
    SYNCED = "synced"
    REHEARSED = "rehearsed"
    APPROVED = "approved"
    CUTTING_OVER = "cutting-over"
    STARTED = "started"
    VALIDATED = "validated"
    COMMITTED = "committed"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"


UNTOUCHED = frozenset({Phase.PLANNED, Phase.COPYING, Phase.SYNCED, Phase.REHEARSED, Phase.APPROVED, Phase.ROLLED_BACK})
"""Phases in which a source is as its owner left it: nobody has begun to stop it, or it was given back."""
_WAYS = {
    Phase.CUTTING_OVER: "on the way to the target",
    Phase.STARTED: "on the way to the target",
    Phase.VALIDATED: "proven at the target, and not committed yet",
    Phase.ROLLING_BACK: "on the way back",
}


def way_of(phase: Phase) -> str:
    """Which way a machine is going that a run has left there, for people; empty where it is on none."""
    return _WAYS.get(phase, "")


@dataclass(frozen=True, slots=True)
class MachineState:
    """What is known of one machine. `phase` and what concerns failure are set by `kubeferry.life.states`.

    `place` is the source of its estate at which it was found, empty for that of its plan.
    `view` and `since` are those of the newest round, which was `left` where its view was given back too early; `marker`
    is the view of the newest one that is `synced`, and `rounds` are all that were. `written_by_target`: since all was
    read, a target may have run on these disks and written to them. `removed`: machine and disks are gone there. `woken`
    counts how often this cutover began anew, because somebody had started the source. `stop_asked`: since it began, a
    stop of the source was asked for, or may have been. `to_go_back`: it was taken over from another plan for that, and
    nothing else. `deadline` and `deadline_of` are those of this cutover. The target was asked its probes last at
    `seen_at`; `validated_at` is when it had passed them first, `committed_by` the person who has said that it moved.
    `failed_at` is when it failed last, or began to go back. `rehearsal` is the newest one, `rehearsed` the newest that
    passed; `doubted`: one has ended, and not every block was read back since. `autostart` and `notes` are what a
    rollback puts back at the source; `marked`: the line for people stands there. `cutovers`
    counts those that were begun; `hooks` are those that were run in the newest one, and for its way back, by what they
    are known by. `undone`: the power before the cutover that the newest rollback took back, None where it took back
    none.
    """

    phase: Phase = Phase.PLANNED
    failed_in: Phase | None = None
    plan_digest: str = ""
    place: str = ""
    disks: tuple[str, ...] = ()
    approved: Approved | None = None
    rehearsal: Rehearsal | None = None
    rehearsed: Rehearsed | None = None
    doubted: bool = False

    round: int = 0
    final: bool = False
    view: Marker | None = None
    since: Marker | None = None
    since_round: int = 0
    left: bool = False
    marker: Marker | None = None
    marker_round: int = 0
    rounds: tuple[Synced, ...] = ()
    copied: Mapping[str, DiskCopied] = field(default_factory=dict)
    verified: Mapping[str, DiskVerified] = field(default_factory=dict)
    differing: Mapping[str, int] = field(default_factory=dict)
    repairs: Mapping[str, int] = field(default_factory=dict)

    power_before: Power | None = None
    deadline: str = ""
    deadline_of: str = ""
    to_go_back: bool = False
    stop_asked: bool = False
    woken: int = 0
    heard: LastWords | None = None
    autostart: Autostart | None = None
    stopped: SourceStopped | None = None
    applied: Applied | None = None
    started: Started | None = None
    target_may_run: bool = False
    written_by_target: bool = False
    observed: Observed | None = None
    seen_at: str = ""
    app_observed: AppObserved | None = None
    validated: Validated | None = None
    validated_at: str = ""
    committed_by: str = ""

    failed: Failed | None = None
    failed_at: str = ""
    attempts: int = 0
    notes: NotesRecorded | None = None
    marked: bool = False
    rollback_reason: str = ""
    rollback_cause: str = ""
    source_restarted: bool = False
    removed: bool = False
    cutovers: int = 0
    hooks: Mapping[str, HookRun] = field(default_factory=dict)
    undone: Power | None = None
    timeline: tuple[tuple[Phase, str], ...] = ()

    @property
    def resumes(self) -> Phase:
        """The phase whose events are taken next: its own, or for a failed machine the one in which it failed."""
        return self.failed_in or self.phase

    @property
    def waits_for_window(self) -> bool:
        """Whether it went back since its window ended, and moves in a later one by itself."""
        return self.resumes in {Phase.ROLLING_BACK, Phase.ROLLED_BACK} and self.rollback_cause == WINDOW

    @property
    def went_back(self) -> bool:
        """Whether it was rolled back, and nobody has asked to try it once more: what was copied ahead of it
        since changes nothing of that. Whom the end of its window led back needs nobody."""
        if self.rollback_cause == WINDOW or self.resumes not in UNTOUCHED:
            return False
        return self.resumes is Phase.ROLLED_BACK or bool(self.rollback_reason)

    def may_begin(self, *, again: bool) -> bool:
        """Whether its cutover may begin as far as it goes by the machine: nobody has stopped its source, and it did not
        go back, or is taken up `again`."""
        return not self.source_off and self.resumes in UNTOUCHED and (again or not self.went_back)

    @property
    def source_off(self) -> bool:
        """Confirmed off, and not started again by us since."""
        return self.stopped is not None

    @property
    def rehearsing(self) -> bool:
        """An isolated copy may run over the disks."""
        return self.rehearsal is not None and self.rehearsal.is_open

    @property
    def owes_restart(self) -> bool:
        """Whether a rollback has to start the source: it ran before, and a stop of ours may have happened, recorded or
        not. Where none was asked for, its owner has shut it down, and starts it when he likes."""
        return self.ran_before and self.stop_asked and not self.source_restarted

    @property
    def ran_before(self) -> bool:
        """Whether it ran when the cutover began."""
        return self.power_before in UP

    @property
    def uncopied(self) -> tuple[str, ...]:
        """Disks that are not durable as of the newest round."""
        return tuple(d for d in self.disks if d not in self.copied or self.copied[d].round != self.round)

    @property
    def unverified(self) -> tuple[str, ...]:
        """Disks without a clean read-back of their newest copy."""
        return tuple(d for d in self.disks if d not in self.verified)

    @property
    def roots(self) -> dict[str, str]:
        """Those of the disks that are verified."""
        return {disk: self.verified[disk].root for disk in self.disks if disk in self.verified}

    @property
    def last_words(self) -> dict[str, str]:
        """File in the guest -> its content just before the stop."""
        early = self.heard.words if self.heard else {}
        return early | (self.stopped.last_words if self.stopped else {})

    @property
    def probes_passed(self) -> int:
        """How many probes the newest observation of the target passed; 0 when any failed or none ran."""
        return self.observed.passed if self.observed else 0

    def came_to(self, phase: Phase) -> str:
        """When it came to this phase last (UTC, ISO 8601); empty where it never did."""
        return next((at for one, at in reversed(self.timeline) if one is phase), "")
