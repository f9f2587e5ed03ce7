"""The dry run: what `next_action` says, asked again and again, with every answer imagined to be good. Pure.

Nothing of this is ever recorded. The first step is told by what the journal holds, those behind it by what would be
done (`foretold`).
"""

from __future__ import annotations

from dataclasses import replace

from kubeferry.documents import PlannedHook
from kubeferry.life import events as ev
from kubeferry.life import rehearsal
from kubeferry.life.action_kinds import EVENT_OF, STOPS, Action, ActionKind, Began, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.foretold import foretold
from kubeferry.life.hook_actions import THOSE_OF
from kubeferry.life.hook_events import HookRun
from kubeferry.life.machine_state import MachineState
from kubeferry.life.states import step
from kubeferry.model import Power

A = ActionKind


def plan_actions(
    entry: EntryFacts,
    state: MachineState,
    goal: Goal = Goal.MIGRATE,
    power_now: Power = Power.RUNNING,
    now: str = "",
) -> list[Action]:
    """Every action from here to the end, if each goes well, what is waited for too: a rehearsal, an approval.
    `power_now` is the source's, as last seen; by `now` (UTC, ISO 8601) its deadline may have passed."""
    listed: list[Action] = []
    began, recorded = Began(rounds=len(state.rounds)), state
    while True:
        power = None if state.source_off else power_now
        action = next_action(entry, state, goal, power, began=began, now=now)
        listed.append(action if state is recorded else foretold(action, entry, state, goal, power_now))
        now = ""  # nobody knows when the next step would come
        if action.kind is A.WAIT_FOR_REHEARSAL:
            entry = replace(entry, rehearsal=None)
            continue
        if action.kind is A.WAIT_FOR_APPROVAL:
            entry = replace(entry, unapproved="")
            continue
        if action.kind in STOPS:
            return listed
        for event in imagined(action, entry, state, power_now):
            state = step(state, event)
        goal = goal.after(action.kind)


def imagined(action: Action, entry: EntryFacts, state: MachineState, power: Power) -> list[ev.Event]:
    """The events of an action that goes well."""
    if action.kind in THOSE_OF:
        return [_run_well(hook) for hook in THOSE_OF[action.kind].due(entry, state)]
    probes = {"probes": [{"kind": "imagined", "ok": True}]}
    match action.kind:
        case A.COPY_DISKS | A.REPAIR_DISKS:
            return [ev.DiskCopied(disk=d, round=state.round, root="imagined", algorithm="") for d in action.disks]
        case A.VERIFY_DISKS:
            return [ev.DiskVerified(disk=d, root=state.copied[d].root) for d in action.disks]
    payload: dict[ActionKind, dict[str, object]] = {
        A.RECORD_PLAN: {"plan_digest": entry.plan_digest, "disks": entry.disks},
        A.BEGIN_CUTOVER: {"power_before": power, "stop_is_told": True},
        A.BEGIN_COPY: {"round": action.round, "final": state.source_off},
        A.END_ROUND: {"round": action.round},
        A.BEGIN_REHEARSAL: rehearsal.intent(state.rehearsal, state.round, state.roots),
        A.END_REHEARSAL: {"at": ""},
        A.RECORD_REHEARSAL: rehearsal.claim(state.rehearsal, state.roots),
        A.OBSERVE: {"observation": probes},
        A.OBSERVE_APP: {"app": "", "observation": probes},
        A.REHEARSE: {"observation": probes},
        A.REHEARSE_APP: {"app": "imagined", "observation": probes},
        A.STOP_SOURCE: {"how": "imagined", "at": ""},
        A.VALIDATE: {"probes_passed": state.probes_passed},
        A.BEGIN_ROLLBACK: {"reason": action.reason},
    }
    asked = [ev.StopAsked()] if action.kind is A.STOP_SOURCE and not state.stop_asked else []
    return [*asked, ev.event_of(EVENT_OF[action.kind], payload.get(action.kind, {}))]


def _run_well(hook: PlannedHook) -> HookRun:
    return HookRun(hook=hook.name, phase=hook.on, how=hook.kind, of_app="imagined" if hook.of_app else "", ok=True)
