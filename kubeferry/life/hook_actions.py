"""Which hooks are next, as actions of a machine's life. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubeferry.documents.hooks import HookPhase, PlannedHook
from kubeferry.life.action_kinds import Action, ActionKind, EntryFacts, Goal
from kubeferry.life.hooks import due, failed_at_end, named
from kubeferry.life.machine_state import MachineState, Phase

A = ActionKind
_WAY_ON = frozenset({Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.COMMIT})


@dataclass(frozen=True, slots=True)
class Those:
    """Which hooks an action runs: those of a phase, and of these only the app's or only the machine's own, where that
    is said."""

    phase: HookPhase
    of_app: bool | None = None

    def due(self, entry: EntryFacts, state: MachineState, *, again: bool = True) -> tuple[PlannedHook, ...]:
        """Those that are owed now (`kubeferry.life.hooks.due`)."""
        keeps = entry.keeps_running
        return due(entry.hooks, state, self.phase, of_app=self.of_app, runs_on=keeps, again=again)


THOSE_OF: Mapping[ActionKind, Those] = {
    A.HOOKS_BEFORE_STOP: Those(HookPhase.BEFORE_STOP),
    A.HOOKS_AFTER_STOP: Those(HookPhase.AFTER_STOP),
    A.HOOKS_AFTER_START: Those(HookPhase.AFTER_START, of_app=False),
    A.HOOKS_OF_APP: Those(HookPhase.AFTER_START, of_app=True),
    A.HOOKS_AFTER_COMMIT: Those(HookPhase.AFTER_COMMIT),
    A.HOOKS_AFTER_ROLLBACK: Those(HookPhase.AFTER_ROLLBACK),
}
AT_END = frozenset(kind for kind, those in THOSE_OF.items() if those.phase.at_end)
"""Actions whose failure leads nothing back: the move has come to its end."""


def hooks_first(kind: ActionKind, entry: EntryFacts, state: MachineState, *, again: bool = True) -> Action | None:
    """The action of this kind where any of its hooks is owed; None where none is. With `again` those that have failed
    are owed, too."""
    owed = THOSE_OF[kind].due(entry, state, again=again)
    many = "hooks" if len(owed) > 1 else "hook"
    failed = ", which failed before" if kind in AT_END and failed_at_end(state) else ""
    return Action(kind, f"{many} {THOSE_OF[kind].phase}: {named(owed)}{failed}", hooks=owed) if owed else None


def hooks_at_end(entry: EntryFacts, state: MachineState, goal: Goal) -> Action | None:
    """Hooks of a machine whose move has come to its end. Who is taken up once more does not wait for those that
    failed; nor are they run again where nobody has asked for that."""
    again = entry.hooks_again
    if state.resumes is Phase.COMMITTED and goal in _WAY_ON and not state.removed:
        return hooks_first(A.HOOKS_AFTER_COMMIT, entry, state, again=again)
    if state.resumes is Phase.ROLLED_BACK and (goal in _WAY_ON or goal is Goal.ROLLBACK):
        anew = goal is Goal.MIGRATE_AGAIN or (goal is Goal.MIGRATE and state.waits_for_window)
        return hooks_first(A.HOOKS_AFTER_ROLLBACK, entry, state, again=again and not anew)
    if state.resumes is Phase.ROLLED_BACK and goal is Goal.PRECOPY:  # after a round nobody would know of them
        return hooks_first(A.HOOKS_AFTER_ROLLBACK, entry, state, again=False)
    return None
