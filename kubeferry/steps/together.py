"""Drive the machines of a set as one, in one thread and under the leases of all of them: fold each one's journal, ask
whose turn it is, do that, and again (`kubeferry.life.sets`).

What they wait for stands in the journal, so a run that is killed anywhere is gone on with by the next one, which takes
all the leases or none. What stops one of them for good after a stop turns all of them back.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from kubeferry.errors import (
    Fenced,
    Interrupted,
    KubeferryError,
    LateHookFailed,
    LoginLost,
    OutOfTime,
    PermanentError,
    SourceGone,
    TargetRefused,
    TargetUnavailable,
    TransientError,
)
from kubeferry.life.action_kinds import NEVER, REHEARSALS, STOPS, Action, ActionKind, Began, Goal
from kubeferry.life.hook_actions import AT_END
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.rehearsed_together import begun as begun_with
from kubeferry.life.rehearsed_together import next_of_rehearsal
from kubeferry.life.sets import Member, next_of_set
from kubeferry.life.tries import is_past_stop
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.steps import cutover, moved, unrecorded
from kubeferry.steps.approvals import facts_without
from kubeferry.steps.apps import tier_of
from kubeferry.steps.drive import (
    BY_DISK,
    GOES_BACK,
    GOES_DOWN,
    LOOKS_AT_POWER,
    MOVES_ON,
    NO_UNKNOWN_COPY,
    STEPS,
    TURNS,
    UNASKED,
    at_rest,
    facts_of,
    has_moved,
    left_owing,
    nothing_to_roll_back,
    refuse_for,
    until_let_in,
)
from kubeferry.steps.patience import by_journal, look
from kubeferry.steps.power import look_for_unknown_copy, refuse_lost_sources, source_power
from kubeferry.steps.precedence import in_hand, refuse_overtaken
from kubeferry.steps.recording import recorded, without_defects
from kubeferry.steps.work import Work

DoOne = Callable[[Work, Action, Callable[[], None]], None]
"""How a step is carried out: called with the machine whose step it is, the action, and a function that does it."""

_LOOKS = NO_UNKNOWN_COPY | {ActionKind.RESTART_SOURCE}
"""Steps before which somebody looks that no copy of any of them runs of which the journal knows nothing."""
_ASIDE = AT_END | {ActionKind.RESTART_SOURCE}
"""Steps that fail for one of them alone, and keep no other one from its own."""
_SEEN = GOES_BACK | {Phase.COMMITTED}
ANEW = 3
"""So often a cutover begins anew in one call, since its time was over before anybody was asked to stop."""


def drive_set(works: Sequence[Work], goal: Goal, do: DoOne) -> dict[str, MachineState]:
    """Take all machines of a set to the goal, in the order in which they are given. Returns their last states; raises
    what stopped one of them, already recorded, and then none has moved that the others have not.

    Raises ProbeFailed when the move had to be rolled back, PermanentError where a newer plan has one in hand.
    """
    for work in works:
        refuse_overtaken(work, in_hand(work))
    walk = _Walk({work.entry.name: work for work in works}, do)
    try:
        states = _there_or_back(walk, goal)
    except (Fenced, Interrupted, LoginLost):
        raise
    except TransientError:
        if goal is Goal.ROLLBACK or not unrecorded.is_due(works):
            raise
        unrecorded.go_back(works)
        states = walk.back(unrecorded.WHY)
    _tell_gone_back(works, states, goal)
    return states


def _there_or_back(walk: _Walk, goal: Goal) -> dict[str, MachineState]:
    """The way of all to the goal, or back, as `kubeferry.steps.drive` has it for a lone machine."""
    try:
        return walk.to(goal)
    except (Fenced, Interrupted):
        raise
    except LoginLost as error:  # the way back would need what the source does not take
        raise until_let_in(error, walk.states()) from error.__cause__
    except PermanentError as error:
        states = walk.states()
        if goal is Goal.ROLLBACK or not (walk.has_gone_back(error) or walk.leads_back(error)):
            raise
        if walk.has_begun():
            states = walk.back(f"{error.machine}: {error.reason}" if error.machine else error.reason)
            if not any(state.waits_for_window for state in states.values()):
                raise error from error.__cause__
        return states


def _tell_gone_back(works: Sequence[Work], states: Mapping[str, MachineState], goal: Goal) -> None:
    """Raise what a run says that was to move them, and ended in a rollback."""
    for work in works:
        state = states[work.entry.name]
        if (state.went_back or state.phase is Phase.ROLLED_BACK) and goal in MOVES_ON:
            raise cutover.gone_back(work, state)


def refuse_set(works: Sequence[Work], errors: Mapping[str, KubeferryError], do: DoOne) -> None:
    """Record which of them were found out before anything was done to them, and raise the first reason: none moves
    without the others, and what was begun of any goes back."""
    for work in works:
        refuse_overtaken(work, in_hand(work))
    raised: list[KubeferryError] = []
    for work in works:
        if work.entry.name in errors:
            try:
                refuse_for(work, errors[work.entry.name])
            except KubeferryError as error:
                raised.append(error)
    walk = _Walk({work.entry.name: work for work in works}, do)
    stays = any(error.transient or has_moved(work, error) for error in raised for work in works)
    if walk.has_begun() and not stays:
        walk.back(f"{raised[0].machine}: {raised[0].reason}")
    raise raised[0]


@dataclass(slots=True)
class _Walk:
    """One call's way with the machines of a set."""

    works: Mapping[str, Work]
    do: DoOne
    goal: Goal = Goal.MIGRATE
    why: str = ""
    owes: dict[str, str] = field(default_factory=dict)
    began: dict[str, Began] = field(default_factory=dict)
    """How this call began with each."""
    begins: Counter[str] = field(default_factory=Counter)
    """How often the cutover of each has begun in this call."""
    aside: dict[str, KubeferryError] = field(default_factory=dict)
    """Those whose source could not be started again, and why. Nobody waits for them, and they are told in the end."""
    late: dict[str, LateHookFailed] = field(default_factory=dict)
    """Hooks after the end that failed, and are not run again; told in the end, where none began anew."""

    def to(self, goal: Goal, why: str = "") -> dict[str, MachineState]:
        """Take them there; returns their states when there is nothing to do any more. `why` they go back, where nobody
        asked for that."""
        self.goal, self.why, begun, now = goal, why, False, self._first.now()
        self.began = {name: begun_with(work.state(), now) for name, work in self.works.items()}
        asked = goal is Goal.ROLLBACK and not why
        if asked or self._taken_over():  # else they owe what this plan has begun, and no other one
            self.owes = {name: left_owing(work) for name, work in self.works.items()}
        while True:
            if self.goal not in GOES_DOWN:
                stopping.check()
            name, action = look(self._first, lambda: self._next(record=True))
            if action.kind is ActionKind.DONE and goal is Goal.ROLLBACK and not begun:
                for work in self.works.values():
                    nothing_to_roll_back(work)
            work = self.works[name]
            if action.kind in STOPS:
                self._tell_aside()
                at_rest(work, action, work.state())
                return self._states()
            self._look(work, action)
            with self._set_aside(work, action), recorded(work, action.kind):
                self.do(work, action, partial(self._carry_out, work, action))
            begun = begun or action.kind is not ActionKind.RECORD_PLAN
            self.goal = Goal.ROLLBACK if self._ended(action) else self.goal.after(action.kind)
            if action.kind is ActionKind.TAKE_OVER:
                self.owes[name] = ""

    @property
    def _first(self) -> Work:
        """The one that is past its stop, where any is: for its sake the set is patient."""
        return max(self.works.values(), key=lambda work: is_past_stop(work.last_seen()))

    def _taken_over(self) -> bool:
        """Whether one of them is being led back by this plan from where another one had left it."""
        states = (work.last_seen() for work in self.works.values())
        return any(one.to_go_back and one.resumes in {Phase.CUTTING_OVER, Phase.ROLLING_BACK} for one in states)

    def back(self, why: str) -> dict[str, MachineState]:
        """The way back of all. A hook that fails after it is no reason to tell another reason than what led there."""
        try:
            return self.to(Goal.ROLLBACK, why)
        except LateHookFailed:
            return self._states()
        except OutOfTime:
            self.states()  # was it the journal, that is what is told
            raise

    def leads_back(self, error: PermanentError) -> bool:
        """Whether what stopped one of them turns all back."""
        return self.has_begun() and not any(has_moved(work, error) for work in self.works.values())

    def has_gone_back(self, error: PermanentError) -> bool:
        """Whether all are back, and nothing but a hook after that failed."""
        return isinstance(error, LateHookFailed) and all(
            state.phase is Phase.ROLLED_BACK for state in self._states().values()
        )

    def has_begun(self) -> bool:
        """Whether one of them has something to go back from, and not all have moved."""
        return any(work.state().resumes in GOES_BACK for work in self.works.values())

    def _look(self, work: Work, action: Action) -> None:
        """Before a step: that no copy has moved already; and before the first cutover of them, that all may begin."""
        for one in self.works.values() if action.kind in UNASKED and self.goal is not Goal.ROLLBACK else ():
            with recorded(one, action.kind):
                moved.refuse_unseen(one)
        if action.kind is not ActionKind.BEGIN_CUTOVER:
            return
        if not any(one.stop_asked or one.source_off for one in self._states().values()):
            work.gate.admit(list(self.works.values()))

    def _ended(self, action: Action) -> bool:
        """Whether all have gone back on their way on, whatever they may do in a later opening of their window: what is
        left now are their hooks."""
        if action.kind is not ActionKind.END_ROLLBACK or self.goal is Goal.ROLLBACK:
            return False
        return all(state.resumes is Phase.ROLLED_BACK for state in self._states().values())

    def states(self) -> dict[str, MachineState]:
        """Where they stand, with patience for the journal. Raises TransientError where it stays away."""
        return by_journal(self._first, self._states)

    def _states(self) -> dict[str, MachineState]:
        return {name: work.state() for name, work in self.works.items()}

    @contextlib.contextmanager
    def _set_aside(self, work: Work, action: Action) -> Iterator[None]:
        """Whose source cannot be started keeps no other one off, and whose hook fails after the end no other hook. What
        is said of the target is said of all of them."""
        try:
            yield
        except (Fenced, Interrupted, TargetRefused, TargetUnavailable):
            raise
        except KubeferryError as error:
            if action.kind not in _ASIDE:
                raise
            if isinstance(error, LateHookFailed) and not self._owed_still(work, action):
                self.late[work.entry.name] = error
                return  # it is taken up once more, and does not wait for what has failed; or nobody has asked for that
            self.aside[work.entry.name] = error
            if len(self.aside) == len(self.works):
                self._tell_aside()

    def _owed_still(self, work: Work, action: Action) -> bool:
        name, found = self._next(record=False)
        return (name, found.kind) == (work.entry.name, action.kind)

    def _tell_aside(self) -> None:
        """Raise what keeps a source off; that one is gone for good comes behind, since somebody may mend the others. A
        hook that failed comes last."""
        if found := [*self.aside.values(), *self.late.values()]:
            last = (LateHookFailed, SourceGone)
            raise min(found, key=lambda error: [isinstance(error, kind) for kind in last])

    def _next(self, *, record: bool) -> tuple[str, Action]:
        if self.goal in REHEARSALS:
            return next_of_rehearsal(self._members(record=record), self.goal)
        return next_of_set(self._members(record=record), self.goal, self.why, self.aside)

    def _members(self, *, record: bool) -> dict[str, Member]:
        """Where each of them stands, and how the sources of those are seen that are to stay off. Once one of them was
        asked to stop, an approval of another that runs out holds up none."""
        states, now = {name: work.state() for name, work in self.works.items()}, self._first.now()
        begun = any(one.stop_asked and one.resumes in GOES_BACK for one in states.values())
        begun = begun or self.goal in REHEARSALS  # which stop nobody, and need no approval
        return {
            name: Member(
                facts_without(work) if begun else facts_of(work, states[name]),
                states[name],
                self._power(work, states, record),
                self.owes.get(name, ""),
                tier=tier_of(work),
                began=self.began.get(name, NEVER),
                now=now,
            )
            for name, work in self.works.items()
        }

    def _power(self, work: Work, states: Mapping[str, MachineState], record: bool) -> Power | None:
        """Not asked where it changes nothing: all have moved, or they go back already."""
        state, phases = states[work.entry.name], {one.resumes for one in states.values()}
        if self.goal in REHEARSALS:
            return None
        ahead = work.entry.mode == "warm" and state.resumes in LOOKS_AT_POWER and not state.source_off
        if self.goal is Goal.ROLLBACK or Phase.ROLLING_BACK in phases or phases == {Phase.COMMITTED}:
            return None
        if not ahead and (not state.source_off or state.resumes not in _SEEN):
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
            name, chosen = self._next(record=False)
            goes_on = action.kind in BY_DISK and chosen.kind not in TURNS
            if name != work.entry.name or (chosen.kind is not action.kind and not goes_on):
                return
            for one in self.works.values() if action.kind in _LOOKS else ():
                look_for_unknown_copy(one, one.state())
                if action.kind in NO_UNKNOWN_COPY:
                    moved.refuse(one)
            if action.kind is ActionKind.BEGIN_ROLLBACK:
                refuse_lost_sources(list(self.works.values()))
            if action.kind is ActionKind.BEGIN_CUTOVER and self.begins[name]:
                self._begin_anew(work)
            else:
                STEPS[action.kind](work, action, work.state())
            if action.kind is ActionKind.BEGIN_CUTOVER:
                self.begins[name] += 1
                self.late.clear()

    def _begin_anew(self, work: Work) -> None:
        """Looking at all of them took longer than the budget of the first, and none was asked to stop. What was looked
        at is not looked at again, so that is quick; where it is not quick enough, none of them can be in time."""
        if self.begins[work.entry.name] > ANEW and not work.state().stop_asked:
            raise PermanentError(
                "its downtime budget is over before all that it moves with can be asked to stop",
                why=f"its cutover has begun {self.begins[work.entry.name]} times",
                fix="Give it a longer `downtime.budgetSeconds`, and plan again.",
                machine=work.entry.name,
            )
        cutover.look_at_power(work)
