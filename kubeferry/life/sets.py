"""What is next for machines that move as one, since they write one disk: a pure function of what is next for each.

    all: record-plan -> begin-cutover -> stop-source
    each that has disks: copy and verify          (no disk of all is read while one of them may still write it)
    all: apply -> start -> observe -> validate [-> stop-target] -> commit
    back, all: begin-rollback -> stop-target -> restart-source -> end-rollback

Nobody takes a step before all have taken the ones before it: the least is next, in the plan's order. What turns one of
them back turns all, also those that were committed already: before the last commit the set has not moved. A source that
somebody started is no reason to stop it once more: what all of them share was copied while it was off. One that cannot
be started again stands aside: the sources of the others come back all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from kubeferry.life.actions import Action, ActionKind, EntryFacts, Goal, next_action
from kubeferry.life.evidence import MachineState, Phase
from kubeferry.model import UP, Power

A = ActionKind

_STAGES = (
    (A.RECORD_PLAN,),
    (A.WAIT_FOR_APPROVAL, A.WAIT_FOR_REHEARSAL),
    (A.BEGIN_CUTOVER,),
    (A.STOP_SOURCE,),
    (A.WAIT_FOR_OPERATOR,),
    (A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.REPAIR_DISKS),
    (A.APPLY,),
    (A.START,),
    (A.OBSERVE,),
    (A.VALIDATE,),
    (A.STOP_TARGET,),
    (A.COMMIT,),
    (A.DONE,),
)
_STAGES_BACK = (
    (A.RECORD_PLAN,),
    (A.TAKE_OVER,),
    (A.BEGIN_ROLLBACK,),
    (A.STOP_TARGET,),
    (A.RESTART_SOURCE,),
    (A.END_ROLLBACK,),
    (A.DONE,),
)
_ON = {kind: stage for stage, kinds in enumerate(_STAGES) for kind in kinds}
_BACK = {kind: stage for stage, kinds in enumerate(_STAGES_BACK) for kind in kinds}

_UNDER_WAY = frozenset({Phase.CUTTING_OVER, Phase.STARTED, Phase.VALIDATED, Phase.COMMITTED})


@dataclass(frozen=True, slots=True)
class Member:
    """One machine of a set. `power` is how its source is seen at this moment, None where nobody looked; `owed` what an
    older plan has left to be rolled back."""

    facts: EntryFacts
    state: MachineState
    power: Power | None = None
    owed: str = ""

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


Members = Mapping[str, Member]
"""By name, in the plan's order."""


def next_of_set(
    members: Members, goal: Goal = Goal.MIGRATE, why: str = "", aside: Collection[str] = ()
) -> tuple[str, Action]:
    """Whose turn it is, and what to do now. `DONE` where there is nothing for any of them. `why` all of them are to go
    back, where that is the goal. Nobody waits for those who stand `aside`, which are never all of them."""
    actions, stages = _actions(members, goal, why)
    return min(((name, actions[name]) for name in actions if name not in aside), key=lambda one: stages[one[1].kind])


def turn_of(members: Members, name: str) -> tuple[Action, tuple[str, ...]]:
    """What is next for one of them on the way on, and which of the others it waits for: they have to come as far."""
    actions, stages = _actions(members, Goal.MIGRATE, "")
    own = actions[name]
    return own, tuple(other for other, action in actions.items() if stages[action.kind] < stages[own.kind])


def _actions(members: Members, goal: Goal, why: str) -> tuple[dict[str, Action], Mapping[ActionKind, int]]:
    """What is next for each of them, and in which order such things are done."""
    if goal is Goal.ROLLBACK or (why := _turns_back(members)):
        return {name: _way_back(member, why) for name, member in members.items()}, _BACK
    begun = any(member.under_way for member in members.values())
    back = [name for name, member in members.items() if member.state.resumes is Phase.ROLLED_BACK]
    if back and not begun and goal is not Goal.MIGRATE_AGAIN:  # then none of them moves
        why = f"it moves together with {back[0]}, which was rolled back: {members[back[0]].state.rollback_reason}"
        return {
            name: next_action(member.facts, member.state) if name in back else Action(A.DONE, why)
            for name, member in members.items()
        }, _ON
    again = Goal.MIGRATE_AGAIN if begun else goal
    return {name: next_action(one.facts, one.state, again, one.power) for name, one in members.items()}, _ON


def _turns_back(members: Members) -> str:
    """Why all of them go back; empty where nothing turns them."""
    if all(member.committed for member in members.values()):
        return ""
    for name, member in members.items():
        if member.state.resumes is Phase.ROLLING_BACK:
            return member.state.rollback_reason
        if member.under_way and member.state.source_off and member.power in UP:
            return f"the source of {name} was started again by somebody: what was copied of the set is stale"
        action = next_action(member.facts, member.state, Goal.MIGRATE, member.power)
        if action.kind is A.BEGIN_ROLLBACK:
            return f"{name}: {action.reason}"
    ahead = [name for name, member in members.items() if member.copied_off]
    behind = [name for name, member in members.items() if not (member.under_way and member.state.source_off)]
    if ahead and behind:
        return f"{ahead[0]} was copied, and {behind[0]} is not confirmed off since: what was copied of the set is stale"
    return ""


def _way_back(member: Member, why: str) -> Action:
    action = next_action(member.facts, member.state, Goal.ROLLBACK, owed=member.owed)
    return replace(action, reason=why) if why and action.kind is A.BEGIN_ROLLBACK else action
