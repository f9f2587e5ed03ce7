"""Which of several plans has a machine in hand: the one that did something to it last, whichever was made first.

Fences rise with each lease of a machine, under whatever plan; so the events of all its plans stand in one order. A plan
that has done nothing yet takes over from an older one what that has left under way: the power before, and what may run
at the target. An older one leaves the machine alone once a newer one has it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from kubeferry.documents import Entry, OutlinedEntry, outline_in
from kubeferry.errors import KubeferryError, PermanentError
from kubeferry.journal import Journal, PlanRecord
from kubeferry.life.event_kinds import EventKind
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import Power
from kubeferry.steps.work import Work

K = EventKind

DEEDS = frozenset(
    {
        *(K.CUTOVER_BEGUN, K.STOP_ASKED, K.STOP_NOT_DONE, K.LAST_WORDS, K.AUTOSTART_RECORDED, K.SOURCE_STOPPED),
        *(K.APPLIED, K.STARTED, K.TARGET_STOPPED, K.COMMITTED, K.ROLLBACK_BEGUN, K.SOURCE_RESTARTED, K.ROLLED_BACK),
    }
)
"""What is done to a machine or meant to be, on the way on or back. Copying ahead leaves it as it is."""


@dataclass(frozen=True, slots=True)
class InHand:
    """Another plan that has the machine in hand. `newer` than the one that asks; `place` is its namespace and name at
    the target, None where the plan's document cannot be read."""

    by: PlanRecord
    state: MachineState
    newer: bool
    place: tuple[str, str] | None

    def __str__(self) -> str:
        return f"plan {self.by.name} ({self.by.digest[:12]})"

    @property
    def phase(self) -> Phase:
        return self.state.resumes

    @property
    def power_owed(self) -> Power | None:
        """What the source was before that plan has stopped it; None where it has not, or has started it again."""
        return self.state.power_before if self.state.owes_restart else None

    def elsewhere(self, work: Work) -> bool:
        """Whether its copy has, or may have, another place than the one where this plan looks and stops."""
        return self.place != (work.entry.namespace, work.entry.target_name)


def in_hand(work: Work) -> InHand | None:
    """The other plan that has the machine in hand, under way or moved; None where there is none."""
    mine, newest = _deeds(work.journal, work.plan.digest, work.entry)
    if newest is None or newest.phase is Phase.ROLLED_BACK:
        return None
    registered = work.journal.plan(work.plan.digest).registered_at
    newer = mine > 0 or newest.by.registered_at > registered
    return InHand(newest.by, newest.state, newer, newest.place)


def newest_state(work: Work) -> MachineState:
    """Where the machine stands by the plan that did something to it last."""
    _, newest = _deeds(work.journal, work.plan.digest, work.entry)
    return work.state() if newest is None else newest.state


def by_another(journal: Journal, plan: str, entry: Entry | OutlinedEntry) -> InHand | None:
    """The other plan than the one with this digest that did something to the machine last, wherever that led."""
    return _deeds(journal, plan, entry)[1]


def _deeds(journal: Journal, plan: str, entry: Entry | OutlinedEntry) -> tuple[int, InHand | None]:
    """The fence of the newest deed of a plan, by its digest, and the other plan that has a newer one."""
    name, machine = entry.name, entry.machine
    others = [other for other in journal.plans_of(name) if other.digest != plan]
    if not others:
        return 0, None
    mine = newest = newest_deed(journal, plan, name)
    found: InHand | None = None
    for other in others:
        known = journal.known(other.digest, name)
        meant = known is None or (known.source, known.id) == (machine.source, machine.id)
        if meant and (fence := newest_deed(journal, other.digest, name)) > newest:
            newest = fence
            state = journal.state(other.digest, name)
            found = InHand(other, state, True, (known.namespace, known.target_name) if known else None)
    return mine, found


def newest_deed(journal: Journal, plan: str, machine: str) -> int:
    """The fence under which a plan did something to a machine last; 0 where it has not."""
    return journal.standing(plan, machine).newest_of(DEEDS)


# --- in words --------------------------------------------------------------------------------------------------------


def refuse_overtaken(work: Work, held: InHand | None) -> None:
    """Raise PermanentError where a newer plan has the machine in hand. Whose sources wait here for it are named."""
    if held is not None and held.newer:
        others = [other.name for other in work.entry.moves_with or ()]
        alone = f"the machine, and {', '.join(others)} with it," if others else "the machine"
        raise PermanentError(
            "another plan has taken it in hand since",
            why=f"it is {held.phase} by {held}, which came after this one{_there(work, held)}{_here(work, others)}",
            fix=f"Use that plan: go on with it, or roll it back; the journal holds it. This one leaves {alone} "
            "alone until then.",
            machine=work.entry.name,
        )


def _there(work: Work, held: InHand) -> str:
    """With whom it moves together in that plan; empty for one that moves alone, and where nobody can read that."""
    with contextlib.suppress(KubeferryError):
        entries = outline_in(work.journal.plan(held.by.digest).document).entries
        others = next((entry.moves_with or () for entry in entries if entry.name == work.entry.name), ())
        return f"; there it moves together with {', '.join(other.name for other in others)}" if others else ""
    return ""


def _here(work: Work, others: Sequence[str]) -> str:
    """With whom it moves together in this plan, and whose sources of those this plan has stopped."""
    if not others:
        return ""
    states = {name: work.journal.state(work.plan.digest, name) for name in others}
    off = [name for name, state in states.items() if state.owes_restart and state.resumes is not Phase.COMMITTED]
    told = f", and the source of {', '.join(off)} is off by this one" if off else ""
    return f"; in this one it moves together with {', '.join(others)}{told}"


def refuse_out_of_reach(work: Work, held: InHand | None) -> None:
    """Raise PermanentError where an older plan's copy may run in a place that this plan neither sees nor stops."""
    if held is not None and held.state.target_may_run and held.elsewhere(work):
        place = "/".join(held.place) if held.place else "a place that cannot be read from its document"
        raise PermanentError(
            "an older plan's copy of it may be running elsewhere at the target",
            why=f"it is {held.phase} by {held}, at {place}{_there(work, held)}",
            fix="Roll that plan back first, or release it; the journal holds it.",
            machine=work.entry.name,
        )


def owed(work: Work, held: InHand | None) -> str:
    """Why the way back of a plan that has done nothing yet begins by taking over from an older one; nothing where there
    is nothing to take over. Raises PermanentError for a machine that an older plan has moved: that is asked of it."""
    if held is None or held.newer:
        return ""
    if held.phase is Phase.COMMITTED:
        raise PermanentError(
            "it was moved by another plan, and by this one nothing was done to it",
            why=f"it is {held.phase} by {held}{_there(work, held)}",
            fix="Roll it back with that plan; the journal holds it.",
            machine=work.entry.name,
        )
    left = f"{held} has left it {held.phase}{_there(work, held)}"
    return f"{left}: what it owes the source is owed by this one from now on"
