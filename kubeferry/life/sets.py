"""What is next for machines that move as one, since they write one disk or their app does: a pure function of what is
next for each.

    all: record-plan [-> copied ahead, each while it runs] -> begin-cutover -> stop-source
    each that has disks: copy and verify          (no disk of all is read while one of them may still write it)
    all: apply -> start and observe, tier by tier -> observe-app -> validate [-> stop-target] [-> watch] -> commit
    back, all: begin-rollback -> stop-target -> restart-source -> end-rollback

Nobody takes a step before all have taken the ones before it (`stages`): the least is next, in the plan's order. What
turns one of them back turns all, also those that were committed already: before the last commit the set has not moved.
A source that somebody started is no reason to stop it once more: what all of them share was copied while it was off.
One that cannot be started again stands aside: the sources of the others come back all the same, and what their app
runs after that waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from kubeferry.documents import HookPhase, Outline, Plan
from kubeferry.life.action_kinds import NEVER, Action, ActionKind, Began, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.stages import Place, back, on
from kubeferry.model import UP, Power

A = ActionKind

_UNDER_WAY = frozenset({Phase.CUTTING_OVER, Phase.STARTED, Phase.VALIDATED, Phase.COMMITTED})
_TO_COME_BACK = _UNDER_WAY | {Phase.ROLLING_BACK}


@dataclass(frozen=True, slots=True)
class Member:
    """One machine of a set. `power` is how its source is seen at this moment, None where nobody looked; `owed` what an
    older plan has left to be rolled back; `tier` its place in the order of its app; `began` how this run began with it;
    `now` the time (UTC, ISO 8601), empty where nothing is due."""

    facts: EntryFacts
    state: MachineState
    power: Power | None = None
    owed: str = ""
    tier: int = 0
    began: Began = NEVER
    now: str = ""

    def at(self, state: MachineState) -> Member:
        """The same one in this state."""
        return replace(self, state=state)

    @property
    def under_way(self) -> bool:
        """Its cutover has begun, and neither failed for good nor gone back."""
        return self.state.resumes in _UNDER_WAY

    @property
    def committed(self) -> bool:
        return self.state.resumes is Phase.COMMITTED

    @property
    def copied_off(self) -> bool:
        """Something of it was copied since the stop, or follows from that."""
        return self.under_way and (self.state.final or self.state.applied is not None or self.committed)


_Place = Callable[[ActionKind, int, int | None], Place]

Members = Mapping[str, Member]
"""By name, in the plan's order."""


def next_of_set(
    members: Members, goal: Goal = Goal.MIGRATE, why: str = "", aside: Collection[str] = ()
) -> tuple[str, Action]:
    """Whose turn it is, and what to do now. `DONE` where there is nothing for any of them. `why` all of them are to go
    back, where that is the goal. Nobody waits for those who stand `aside`, which are never all of them."""
    actions, place = _actions(members, goal, why)
    name = min(
        (name for name in actions if name not in aside), key=lambda one: _place(members[one], actions[one], place)
    )
    return name, actions[name]


def turn_of(members: Members, name: str) -> tuple[Action, tuple[str, ...]]:
    """What is next for one of them on the way on, and which of the others it waits for: they have to come as far."""
    actions, place = _actions(members, Goal.MIGRATE, "")
    places = {one: _place(members[one], action, place) for one, action in actions.items()}
    return actions[name], tuple(other for other in actions if places[other] < places[name])


def tiers_of(plan: Plan | Outline) -> dict[str, int]:
    """For each machine its place in the order of its app."""
    found = {entry.name: 0 for entry in plan.entries}
    for app in plan.apps or ():
        found.update({name: number for number, tier in enumerate(app.tiers or ()) for name in tier})
    return found


def _place(member: Member, action: Action, place: _Place) -> Place:
    ahead = not member.state.source_off and not member.under_way
    return place(action.kind, member.tier, len(member.state.rounds) if ahead else None)


def _actions(members: Members, goal: Goal, why: str) -> tuple[dict[str, Action], _Place]:
    """What is next for each of them, and in which order such things are done."""
    goal = _said(members, goal)
    if goal is Goal.ROLLBACK or (why := _turns_back(members, goal)):
        whole = not any(member.state.resumes in _TO_COME_BACK for member in members.values())
        return {
            name: _way_back(member if whole else _for_itself(member), why) for name, member in members.items()
        }, back
    begun = any(member.under_way for member in members.values())
    gone = [name for name, member in members.items() if member.state.went_back]
    if gone and not begun and goal is not Goal.MIGRATE_AGAIN:  # then none of them moves
        why = f"it moves together with {gone[0]}, which was rolled back: {members[gone[0]].state.rollback_reason}"
        return {
            name: next_action(member.facts, member.state) if name in gone else Action(A.DONE, why)
            for name, member in members.items()
        }, on
    if goal is Goal.COMMIT:
        return _committing(members), on
    return _onwards(members, Goal.MIGRATE_AGAIN if begun else goal, begun=begun), on


def _said(members: Members, goal: Goal) -> Goal:
    """What a person has said of the first of them counts for all: a kill in between takes nothing back."""
    said = any(member.committed and member.state.committed_by for member in members.values())
    whole = all(member.committed for member in members.values())
    return Goal.COMMIT if said and not whole and goal is not Goal.ROLLBACK else goal


def _committing(members: Members) -> dict[str, Action]:
    """What a person has said is committed counts where all of them have come so far."""
    behind = [name for name, one in members.items() if one.state.resumes not in {Phase.VALIDATED, Phase.COMMITTED}]
    if behind:
        why = f"it moves together with {behind[0]}, which is {members[behind[0]].state.phase}: nothing can be committed"
        return dict.fromkeys(members, Action(A.DONE, why))
    return _onwards(members, Goal.COMMIT, begun=True)


def _onwards(members: Members, goal: Goal, *, begun: bool) -> dict[str, Action]:
    return {name: _next_alone(one, goal, begun=begun) for name, one in members.items()}


def _next_alone(member: Member, goal: Goal, *, begun: bool) -> Action:
    """What is next for one of them. None begins another round once one of them is being stopped."""
    power = member.power if member.under_way or not begun else None
    return next_action(member.facts, member.state, goal, power, began=member.began, now=member.now)


def _turns_back(members: Members, goal: Goal) -> str:
    """Why all of them go back; empty where nothing turns them."""
    if all(member.committed for member in members.values()):
        return ""
    for name, member in members.items():
        if member.state.resumes is Phase.ROLLING_BACK:
            return member.state.rollback_reason
        if member.under_way and member.state.source_off and member.power in UP:
            return f"the source of {name} was started again by somebody: what was copied of the set is stale"
        wanted = goal if goal is Goal.COMMIT and member.state.resumes is Phase.VALIDATED else Goal.MIGRATE
        action = next_action(member.facts, member.state, wanted, member.power, began=member.began, now=member.now)
        if action.kind is A.BEGIN_ROLLBACK:
            return f"{name}: {action.reason}"
    ahead = [name for name, member in members.items() if member.copied_off]
    behind = [name for name, member in members.items() if not (member.under_way and member.state.source_off)]
    if ahead and behind:
        return f"{ahead[0]} was copied, and {behind[0]} is not confirmed off since: what was copied of the set is stale"
    return ""


def _for_itself(member: Member) -> Member:
    """Without the hooks of its app after a rollback: not all are back."""
    own = tuple(hook for hook in member.facts.hooks if not (hook.of_app and hook.on is HookPhase.AFTER_ROLLBACK))
    return replace(member, facts=replace(member.facts, hooks=own))


def _way_back(member: Member, why: str) -> Action:
    action = next_action(member.facts, member.state, Goal.ROLLBACK, owed=member.owed)
    return replace(action, reason=why) if why and action.kind is A.BEGIN_ROLLBACK else action
