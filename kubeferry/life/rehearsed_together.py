"""What is next for machines that are rehearsed together: a pure function of what is next for each.

    all: [end-rehearsal of one that was left ->] [verify-disks ->] begin-rehearsal
    tier by tier: start-rehearsal of all of it -> rehearse, each asked its own probes
    rehearse-app, of whom the probes of the app are asked
    all, the last tier first: end-rehearsal
    all: verify-disks -> record-rehearsal, where every one of them passed, and their app

None is started before each may be, nor behind one that did not pass; once one of them has ended, none is started any
more. One that was begun by an earlier command is never gone on with: it ends, and all begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kubeferry.life import rehearsal
from kubeferry.life.action_kinds import Action, ActionKind, Began, Goal
from kubeferry.life.foretold import foretold
from kubeferry.life.imagined import imagined
from kubeferry.life.machine_state import MachineState
from kubeferry.life.rehearsal_actions import of_rehearsal
from kubeferry.life.sets import Member, Members
from kubeferry.life.states import step
from kubeferry.model import Power

A = ActionKind

_LEFT, _PROVEN, _BEGIN, _RUN, _APP, _END, _READ_BACK, _RECORD, _DONE = range(9)
"""The stages, in their order."""
_WITHIN = {A.START_REHEARSAL: 0, A.REHEARSE: 1}
"""In one tier all are started before any is asked."""

_Place = tuple[int, int, int, int]


def next_of_rehearsal(members: Members, goal: Goal = Goal.REHEARSE) -> tuple[str, Action]:
    """Whose turn it is, and what to do now. `DONE`, with the reason, where there is nothing for any of them: all
    passed, or one of them did not, or cannot be rehearsed."""
    places = {name: _choice(members, name, goal) for name in members}
    order = {name: number for number, name in enumerate(members)}

    def place(name: str) -> _Place:
        stage, action = places[name]
        tier = members[name].tier
        if stage in {_LEFT, _END}:
            return stage, -tier, 0, -order[name]
        return stage, tier if stage == _RUN else 0, _WITHIN.get(action.kind, 0), order[name]

    first = min(members, key=place)
    return first, places[first][1]


def begun(state: MachineState, at: str = "") -> Began:
    """How a call begins with a machine that stands so."""
    return Began(at, len(state.rounds), state.rehearsal.begun.number if state.rehearsal else 0)


def not_passed(states: Mapping[str, MachineState]) -> str:
    """Whose probe did not pass of those that are rehearsed together, and which; empty where none failed so far."""
    for name, state in states.items():
        newest = state.rehearsal
        if newest is not None and (why := newest.own_failing or newest.app_failing):
            return f"{name}: {why}"
    return ""


def why_ended(states: Mapping[str, MachineState], asked: frozenset[str] = frozenset()) -> str:
    """What is to be recorded at the end of each of them: why none of them passed; empty where all did. `asked` are
    those that the probes of the app are asked of."""
    if why := not_passed(states):
        return why
    for name, state in states.items():
        newest = state.rehearsal
        if newest is None or newest.observed is None:
            return f"{name}: nobody looked at its copy"
        if name in asked and newest.app_observed is None:
            return f"{name}: nobody asked it the probes of its app"
        if newest.ended is not None and newest.ended.why:
            return newest.ended.why
    return ""


def plan_rehearsal(members: Members) -> dict[str, list[Action]]:
    """Every action of each of them, if all go well; as `kubeferry.life.imagined.plan_actions` tells it of one."""
    listed: dict[str, list[Action]] = {name: [] for name in members}
    members = {name: replace(member, began=begun(member.state)) for name, member in members.items()}
    while True:
        name, action = next_of_rehearsal(members)
        member = members[name]
        if action.kind is A.DONE:
            return {one: [*actions, action] for one, actions in listed.items()}
        told = foretold(action, member.facts, member.state, Goal.REHEARSE, Power.RUNNING)
        listed[name].append(told if listed[name] else action)
        state = member.state
        for event in imagined(action, member.facts, state, Power.RUNNING):
            state = step(state, event)
        members = {**members, name: member.at(state)}


# --- what is next for one of them ------------------------------------------------------------------------------------


def _is_own(member: Member) -> bool:
    """Whether its newest rehearsal was begun by this call."""
    newest = member.state.rehearsal
    return newest is not None and newest.begun.number > member.began.rehearsals


def _choice(members: Members, name: str, goal: Goal) -> tuple[int, Action]:
    member = members[name]
    state = member.state
    if state.rehearsing and (goal is Goal.END_REHEARSAL or not _is_own(member)):
        return _LEFT, of_rehearsal(state, Goal.END_REHEARSAL)
    if goal is Goal.END_REHEARSAL:
        return _DONE, of_rehearsal(state, goal)
    if not _is_own(member):
        return _before(members, name)
    return _under_way(members, name) if state.rehearsing else _after(members, name)


def _before(members: Members, name: str) -> tuple[int, Action]:
    """One that has not begun. None begins where another cannot, and one that can is read back first all the same."""
    action = of_rehearsal(members[name].state, Goal.REHEARSE)
    if action.kind is A.VERIFY_DISKS:
        return _PROVEN, action
    ended = [one for one, member in members.items() if _is_own(member) and not member.state.rehearsing]
    if cannot := _cannot_begin(members) or (f"the rehearsal of {ended[0]} has ended" if ended else ""):
        return _DONE, Action(A.DONE, cannot)
    return _BEGIN, action


def _cannot_begin(members: Members) -> str:
    """Why one of them is not rehearsed, and so none; empty where each may be, or is to be read back first."""
    for name, member in members.items():
        if not _is_own(member) and not member.state.rehearsing:
            action = of_rehearsal(member.state, Goal.REHEARSE)
            if action.kind is A.DONE:
                changed = ", ".join(member.state.differing)
                return f"{name}: {changed + ' did not read back as it was written' if changed else action.reason}"
    return ""


def _under_way(members: Members, name: str) -> tuple[int, Action]:
    state = members[name].state
    states = {one: member.state for one, member in members.items()}
    newest = state.rehearsal
    if newest is None:  # it is under way: there is one
        raise ValueError(f"no rehearsal of {name} is under way")
    ended = [one for one, member in members.items() if _is_own(member) and not member.state.rehearsing]
    if why := not_passed(states) or _cannot_begin(members) or (f"{ended[0]} has ended" if ended else ""):
        return _END, Action(A.END_REHEARSAL, why)
    if newest.started is None:
        return _RUN, Action(A.START_REHEARSAL, "all of them have begun, and those before it have passed")
    if newest.observed is None:
        return _RUN, Action(A.REHEARSE, "its copy runs, and nobody has looked at it")
    if members[name].facts.asks_app and newest.app_observed is None:
        return _APP, Action(
            A.REHEARSE_APP, "all of them passed their own probes, and those of their app were not asked"
        )
    return _END, Action(A.END_REHEARSAL, "all of them were looked at")


def _after(members: Members, name: str) -> tuple[int, Action]:
    """One that has ended. Its disks are read back whatever it showed."""
    action = of_rehearsal(members[name].state, Goal.REHEARSING)
    if action.kind is A.VERIFY_DISKS:
        return _READ_BACK, action
    for other, member in members.items():
        state = member.state
        if why := rehearsal.why_not(state, read_back=not state.unverified):
            return _DONE, Action(A.DONE, why if why.startswith(f"{other}: ") else f"{other}: {why}")
    return (_RECORD, action) if action.kind is A.RECORD_REHEARSAL else (_DONE, action)
