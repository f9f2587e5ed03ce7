"""Which machines need somebody now: those whose source is off, or whose time to be committed has come, while nobody is
at work on them. Pure; times are UTC in ISO 8601.

After a stop somebody always acts. Who did may have been killed, cut off or stopped; whoever looks, each minute
(`kubeferry caretake`), takes the machine up: it is gone on with while its deadline allows, else led back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kubeferry.documents import CommitPolicy, HookPhase, PlannedHook
from kubeferry.life.action_kinds import Goal
from kubeferry.life.deadline import moment, used_up
from kubeferry.life.hooks import due, named, prepared_for
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.tries import is_past_stop
from kubeferry.life.watch import Turn, turn_of

FIRST_PAUSE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 1800
_HOOKS_AFTER = {Phase.COMMITTED: HookPhase.AFTER_COMMIT, Phase.ROLLED_BACK: HookPhase.AFTER_ROLLBACK}
_ALONE = "nobody is at work on it"


@dataclass(frozen=True, slots=True)
class Alone:
    """A machine on which nobody is at work: where it stands, when it has moved for good, when something was recorded of
    it last, and what its plan runs around its cutover."""

    state: MachineState
    commit: CommitPolicy | None = None
    last_at: str = ""
    hooks: tuple[PlannedHook, ...] = ()


def why_now(unit: Mapping[str, Alone], now: str) -> dict[str, str]:
    """Why machines that move as one, by name, or one that moves alone, are taken up now; empty where they are not. What
    has failed is tried again less and less often, and none of the others without it."""
    if any(one.state.failed and moment(now) < _again_at(one.state, one.last_at) for one in unit.values()):
        return {}
    moved = next(
        (name for name, one in unit.items() if one.state.committed_by and one.state.resumes is Phase.COMMITTED), ""
    )
    found = {name: _why(one.state, one.commit, moved, now) for name, one in unit.items()}
    if all(one.state.resumes in _HOOKS_AFTER for one in unit.values()):  # and none of them before all have come there
        found = {name: _hooks_owed(one.hooks, one.state) for name, one in unit.items()}
    return {name: why for name, why in found.items() if why}


def _why(state: MachineState, commit: CommitPolicy | None, moved: str, now: str) -> str:
    if state.resumes is Phase.VALIDATED and moved:
        return f"it moves together with {moved}, which somebody has committed"
    if state.resumes is Phase.VALIDATED:
        return _validated(state, commit, now)
    if state.resumes is Phase.ROLLING_BACK:
        return f"its way back has begun, and {_ALONE}"
    if is_past_stop(state):
        off = "its source is off" if state.source_off else "its source was asked to stop"
        return f"{off}, and {_ALONE}"
    if prepared_for(state):
        return f"its hooks before the stop were run, and {_ALONE}"
    return ""


def goal_of(states: Collection[MachineState]) -> Goal:
    """What is wanted of machines that move as one, or of a single one, which are taken up. Who was only made ready for
    a stop goes back, whoever has ended that run; and of who is back nothing is wanted but its hooks."""
    only_hooks = all(state.resumes is Phase.ROLLED_BACK for state in states)
    only_ready = any(map(prepared_for, states)) and not any(map(is_past_stop, states))
    return Goal.ROLLBACK if only_hooks or only_ready else Goal.MIGRATE


def is_urgent(states: Collection[MachineState], now: str) -> bool:
    """Whether machines that move as one, or a single one, are taken up before all others: they go back, or the time of
    one is over. A copy of hours keeps no source off that is wanted back."""
    if goal_of(states) is Goal.ROLLBACK:
        return True
    return any(state.resumes is Phase.ROLLING_BACK or used_up(state, now) for state in states)


def _hooks_owed(hooks: Sequence[PlannedHook], state: MachineState) -> str:
    """Why a machine is taken up whose move has come to its end: a hook after that was never run, since whoever was to
    run it was killed. Empty where none is owed. One that failed is for a person, and one of the guest is left to him,
    too: it may not run any more."""
    phase = _HOOKS_AFTER.get(state.resumes)
    if phase is None or state.removed:
        return ""
    outside = tuple(hook for hook in hooks if hook.kind != "guest")
    owed = due(outside, state, phase, again=False)
    return f"its hooks {phase} were not run, and {_ALONE}: {named(owed)}" if owed else ""


def _again_at(state: MachineState, last_at: str) -> datetime:
    pause = min(FIRST_PAUSE_SECONDS * 2 ** min(state.attempts - 1, 10), LONGEST_PAUSE_SECONDS)
    return moment(last_at) + timedelta(seconds=pause)


def _validated(state: MachineState, commit: CommitPolicy | None, now: str) -> str:
    if commit is None:
        return f"every probe passed, it is not committed, and {_ALONE}"
    found = turn_of(commit, state, now, runs=state.target_may_run, asked=False)
    return "" if found.turn is Turn.WAIT else found.why
