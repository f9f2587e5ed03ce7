"""The steps of a dry run in words: what would be done, since none of it has happened. Pure.

The reason that `next_action` gives of a step says what the journal holds. Of a step that only an imagined journal leads
to, the same words would claim what nobody has done; so each has words of its own here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kubeferry.documents import CommitPolicy
from kubeferry.life.action_kinds import Action, ActionKind, EntryFacts, Goal
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import UP, Power
from kubeferry.words import duration

A = ActionKind

_ALWAYS: Mapping[ActionKind, str] = {
    A.BEGIN_CUTOVER: "its power state would be recorded: from here on it is moved, or goes back",
    A.BEGIN_REHEARSAL: "its copy would be rehearsed, isolated and over a throw-away layer",
    A.START_REHEARSAL: "its copy would be started, isolated but for those that are rehearsed with it",
    A.REHEARSE: "its copy would be started, and the plan's probes asked",
    A.REHEARSE_APP: "the probes of its app would be asked, with all of its machines running",
    A.END_REHEARSAL: "the rehearsed copy would be stopped, and all that was made for it removed",
    A.RECORD_REHEARSAL: "it would count as rehearsed, if its probes pass and no disk has changed",
    A.APPLY: "the manifests would be put in place, once every disk is verified",
    A.START: "the copy would be started, with the source confirmed off",
    A.OBSERVE: "the plan's probes would be asked of the copy; one that fails would lead back",
    A.OBSERVE_APP: "the probes of its app would be asked; one that fails would lead back",
    A.VALIDATE: "the move would count as proven, if every probe has passed",
    A.COMMIT: "it would have moved for good, if every disk is verified and every probe has passed",
    A.BEGIN_ROLLBACK: "it would be led back",
    A.END_ROLLBACK: "its copy would be down, and the source as it was before the cutover",
}
"""What is said of a step wherever it stands."""
_ENDS = {Phase.COMMITTED: "it would be committed", Phase.ROLLED_BACK: "it would be rolled back"}
_THEN = {
    "commit": "it would be committed then",
    "rollback": "it would go back then, unless somebody has said `kubeferry commit`",
    "wait": "it would wait for `kubeferry commit`, or `kubeferry rollback`",
}


def foretold(action: Action, entry: EntryFacts, state: MachineState, goal: Goal, power: Power) -> Action:
    """The action with what would be done in the place of its reason. `state` is the imagined one in which it is next,
    `power` the source's as last seen."""
    if action.kind is A.WATCH and entry.commit:
        words = _watched(entry.commit)
    elif action.kind is A.DONE:
        words = _done(state, goal)
    else:
        words = _ALWAYS.get(action.kind) or _of_disks(action, state) or _of_power(action, state, power)
    return replace(action, reason=words or action.reason)


def _of_disks(action: Action, state: MachineState) -> str:
    disks = f"{'disk' if len(action.disks) == 1 else 'disks'} {', '.join(action.disks)}"
    begins = f"round {action.round} would copy its disks while it runs"
    return {
        A.BEGIN_COPY: "its disks would be copied as they are once it is off" if state.source_off else begins,
        A.COPY_DISKS: f"{disks} would be copied",
        A.VERIFY_DISKS: f"{disks} would be read back and compared; blocks that differ would be copied again",
        A.END_ROUND: f"every disk would be durable as of round {action.round}",
    }.get(action.kind, "")


def _of_power(action: Action, state: MachineState, power: Power) -> str:
    back = state.resumes is Phase.ROLLING_BACK
    proof = "the copy would be stopped again: it runs for the proof only"
    return {
        A.STOP_SOURCE: "the source would be stopped, and confirmed off" if power in UP else "it would be confirmed off",
        A.STOP_TARGET: "the copy would be stopped before the source comes back" if back else proof,
        A.RESTART_SOURCE: f"the source would be started again: it was {state.power_before} before the cutover",
    }.get(action.kind, "")


def _done(state: MachineState, goal: Goal) -> str:
    if goal in {Goal.PRECOPY, Goal.END_ROUND}:
        return f"round {state.round} would be durable, and it would run on"
    return _ENDS.get(state.resumes, "nothing would be left to do")


def _watched(commit: CommitPolicy) -> str:
    how_often = f"its probes asked again every {duration(commit.probe_seconds)}"
    return f"it would be watched for {duration(commit.watch_seconds)}, {how_often}; {_THEN[commit.then]}"
