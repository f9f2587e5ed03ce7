"""Drive the machines of a set as one, in one thread and under the leases of all of them: fold each one's journal, ask
whose turn it is, do that, and again (`kubeferry.life.sets`).

What they wait for stands in the journal, so a run that is killed anywhere is gone on with by the next one, which takes
all the leases or none. What stops one of them for good after a stop turns all of them back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from kubeferry.errors import Fenced, Interrupted, KubeferryError, LoginLost, PermanentError
from kubeferry.life.actions import STOPS, Action, ActionKind, Goal
from kubeferry.life.evidence import MachineState, Phase
from kubeferry.life.sets import Member, next_of_set
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.steps import cutover, moved
from kubeferry.steps.drive import (
    BY_DISK,
    GOES_BACK,
    NO_UNKNOWN_COPY,
    STEPS,
    TURNS,
    UNASKED,
    at_rest,
    facts_of,
    has_moved,
    left_owing,
    nothing_to_roll_back,
    refuse,
    until_let_in,
)
from kubeferry.steps.power import look_for_unknown_copy, source_power
from kubeferry.steps.precedence import in_hand, refuse_overtaken
from kubeferry.steps.recording import recorded, without_defects
from kubeferry.steps.work import Work

DoOne = Callable[[Work, Action, Callable[[], None]], None]
"""How a step is carried out: called with the machine whose step it is, the action, and a function that does it."""

_LOOKS = NO_UNKNOWN_COPY | {ActionKind.RESTART_SOURCE}
"""Steps before which somebody looks that no copy of any of them runs of which the journal knows nothing."""
_SEEN = GOES_BACK | {Phase.COMMITTED}


def drive_set(works: Sequence[Work], goal: Goal, do: DoOne) -> dict[str, MachineState]:
    """Take all machines of a set to the goal, in the order in which they are given. Returns their last states; raises
    what stopped one of them, already recorded, and then none has moved that the others have not.

    Raises ProbeFailed when the move had to be rolled back, PermanentError where a newer plan has one in hand.
    """
    for work in works:
        refuse_overtaken(work, in_hand(work))
    walk = _Walk({work.entry.name: work for work in works}, do)
    try:
        states = walk.to(goal)
    except (Fenced, Interrupted):
        raise
    except LoginLost as error:  # as for a lone machine, here and below
        states = {work.entry.name: work.state() for work in works}
        raise until_let_in(error, states[error.machine or works[0].entry.name]) from error.__cause__
    except PermanentError as error:
        if goal is Goal.ROLLBACK or not walk.has_begun() or any(has_moved(work, error) for work in works):
            raise
        walk.to(Goal.ROLLBACK, f"{error.machine}: {error.reason}" if error.machine else error.reason)
        raise error from error.__cause__
    for work in works:
        state = states[work.entry.name]
        if state.phase is Phase.ROLLED_BACK and goal in {Goal.MIGRATE, Goal.MIGRATE_AGAIN}:
            raise cutover.rolled_back(work, state.rollback_reason)
    return states


def refuse_set(works: Sequence[Work], errors: Mapping[str, KubeferryError], do: DoOne) -> None:
    """Record which of them were found out before anything was done to them, and raise the first reason: none moves
    without the others, and what was begun of any goes back."""
    raised: list[KubeferryError] = []
    for work in works:
        if work.entry.name in errors:
            try:
                refuse(work, errors[work.entry.name])
            except KubeferryError as error:
                raised.append(error)
    walk = _Walk({work.entry.name: work for work in works}, do)
    if walk.has_begun() and not any(error.transient for error in raised):
        walk.to(Goal.ROLLBACK, f"{raised[0].machine}: {raised[0].reason}")
    raise raised[0]


@dataclass(slots=True)
class _Walk:
    """One call's way with the machines of a set."""

    works: Mapping[str, Work]
    do: DoOne
    goal: Goal = Goal.MIGRATE
    why: str = ""
    owes: dict[str, str] = field(default_factory=dict)

    def to(self, goal: Goal, why: str = "") -> dict[str, MachineState]:
        """Take them there; returns their states when there is nothing to do any more. `why` they go back, where nobody
        asked for that."""
        self.goal, self.why, begun = goal, why, False
        if goal is Goal.ROLLBACK and not why:  # who goes back because of another one owes what this plan has begun
            self.owes = {name: left_owing(work) for name, work in self.works.items()}
        while True:
            if self.goal is not Goal.ROLLBACK:
                stopping.check()
            name, action = next_of_set(self._members(record=True), self.goal, self.why)
            if action.kind is ActionKind.DONE and goal is Goal.ROLLBACK and not begun:
                for work in self.works.values():
                    nothing_to_roll_back(work)
            work = self.works[name]
            if action.kind in STOPS:
                at_rest(work, action, work.state())
                return {one: work.state() for one, work in self.works.items()}
            for one in self.works.values() if action.kind in UNASKED and self.goal is not Goal.ROLLBACK else ():
                with recorded(one, action.kind):
                    moved.refuse_unseen(one)
            with recorded(work, action.kind):
                self.do(work, action, partial(self._carry_out, work, action))
            begun = begun or action.kind is not ActionKind.RECORD_PLAN
            self.goal = self.goal.after(action.kind)
            if action.kind is ActionKind.TAKE_OVER:
                self.owes[name] = ""

    def has_begun(self) -> bool:
        """Whether one of them has something to go back from, and not all have moved."""
        return any(work.state().resumes in GOES_BACK for work in self.works.values())

    def _members(self, *, record: bool) -> dict[str, Member]:
        """Where each of them stands, and how the sources of those are seen that are to stay off."""
        states = {name: work.state() for name, work in self.works.items()}
        return {
            name: Member(facts_of(work), states[name], self._power(work, states, record), self.owes.get(name, ""))
            for name, work in self.works.items()
        }

    def _power(self, work: Work, states: Mapping[str, MachineState], record: bool) -> Power | None:
        """Not asked where it changes nothing: all have moved, or they go back already."""
        state, phases = states[work.entry.name], {one.resumes for one in states.values()}
        if self.goal is Goal.ROLLBACK or Phase.ROLLING_BACK in phases or phases == {Phase.COMMITTED}:
            return None
        if not state.source_off or state.resumes not in _SEEN:
            return None
        if not record:
            return source_power(work, state)
        with recorded(work, "look"):
            return source_power(work, state)

    def _carry_out(self, work: Work, action: Action) -> None:
        """One step of one of them, by nobody but the owner of all, and only while it is still what is next. See
        `kubeferry.steps.drive`; raises Fenced."""
        for one in self.works.values():
            one.journal.heartbeat(one.lease)
        with without_defects(work, f"was to {action.kind}"):
            name, chosen = next_of_set(self._members(record=False), self.goal, self.why)
            goes_on = action.kind in BY_DISK and chosen.kind not in TURNS
            if name != work.entry.name or (chosen.kind is not action.kind and not goes_on):
                return
            for one in self.works.values() if action.kind in _LOOKS else ():
                look_for_unknown_copy(one, one.state())
                if action.kind in NO_UNKNOWN_COPY:
                    moved.refuse(one)
            STEPS[action.kind](work, action, work.state())
