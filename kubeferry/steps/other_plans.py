"""The other plans that a journal knows of the same machines.

A plan is never edited, so each change of a policy makes a new one; and what stands at the target under a machine's name
is the same for all of them, whichever made it.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubeferry.documents import Entry, Plan
from kubeferry.journal import Journal, PlanRecord
from kubeferry.ledger import KEPT, External
from kubeferry.life.machine_state import Phase
from kubeferry.steps.precedence import newest_deed
from kubeferry.targets import Target

_HOLDS_NOTHING = frozenset({Phase.ROLLED_BACK, Phase.PLANNED})


@dataclass(frozen=True, slots=True)
class Held:
    """A machine that another plan has moved, or is moving."""

    by: PlanRecord
    phase: Phase

    def __str__(self) -> str:
        return f"{self.phase} by plan {self.by.name} ({self.by.digest[:12]})"


class OtherPlans:
    """Those under which something was done to its machines; what they hold is looked up each time."""

    def __init__(self, plan: Plan, journal: Journal, target: Target) -> None:
        self._plan, self._journal, self._target = plan, journal, target

    def holding(self, entry: Entry) -> Held | None:
        """The plan that holds the same machine: it moves it now, or has moved it and what it made still stands. One of
        which nothing is recorded since this plan did something to the machine has left it to this one."""
        mine = newest_deed(self._journal, self._plan.digest, entry.name)
        for other in self._journal.plans_of(entry.name):
            if other.digest == self._plan.digest:
                continue
            standing = self._journal.standing(other.digest, entry.name)
            phase = standing.state.resumes
            if standing.newest < mine or phase in _HOLDS_NOTHING:
                continue
            known = self._journal.known(other.digest, entry.name)
            # A document that cannot be read may mean this machine.
            if known is not None and (known.source, known.id) != (entry.machine.source, entry.machine.id):
                continue
            if phase is not Phase.COMMITTED or self._stands(entry, other):
                return Held(other, phase)
        return None

    def runs_on(self, entry: Entry) -> bool:
        """Whether the machine has moved, by this plan or another, and its place at the target is where it runs from
        now on."""
        held = self.holding(entry)
        phases = {self._journal.state(self._plan.digest, entry.name).phase, held.phase if held else None}
        return Phase.COMMITTED in phases and self._target.capabilities.keeps_running

    def _stands(self, entry: Entry, other: PlanRecord) -> bool:
        made = [
            thing
            for digest in (self._plan.digest, other.digest)
            for thing in self._journal.ledger_open(digest, entry.name)
        ]
        stays = (External(one.kind, one.name, one.where) for one in made if one.kind in KEPT)
        return any(self._target.exists(thing) for thing in stays)
