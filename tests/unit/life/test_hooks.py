"""Which hooks are owed, by what the journal says: a pure function of events."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kubeferry.documents import HookPhase, PlannedHook
from kubeferry.life.action_kinds import ActionKind, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.events import Event, event_from_json, event_of, event_to_json
from kubeferry.life.hook_events import HookRun
from kubeferry.life.hooks import call_of, due
from kubeferry.life.imagined import plan_actions
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.sets import Member, next_of_set
from kubeferry.life.states import IllegalTransition, step
from kubeferry.model import Power

P = HookPhase
A = ActionKind


def hook(phase: HookPhase, name: str = "one", **more: Any) -> PlannedHook:
    return PlannedHook(name=name, on=phase, **({"kind": "command", "argv": ("true",)} | more))


EACH = tuple(hook(phase) for phase in P)
FACTS = EntryFacts("p", (), hooks=EACH)


def an_event(kind: Any, **fields: object) -> Event:
    return event_of(kind, fields)


def ran(phase: HookPhase, *, ok: bool = True, name: str = "one") -> HookRun:
    return HookRun(hook=name, phase=phase, how="command", ok=ok, why="" if ok else "no")


def after(*events: Event) -> MachineState:
    state = step(MachineState(), an_event("planned", plan_digest="p", disks=()))
    for event in events:
        state = step(state, event)
    return state


BEGUN = an_event("cutover-begun", power_before=Power.RUNNING, stop_is_told=True)
OFF = an_event("source-stopped", how="acpi", at="")
STARTED = (an_event("applied"), an_event("started"))
BACK = (an_event("rollback-begun", reason="it was asked for"), an_event("rolled-back"))


def test_each_comes_at_its_place_on_the_way_on() -> None:
    kinds = [action.kind for action in plan_actions(FACTS, MachineState())]
    assert kinds == [
        *(A.RECORD_PLAN, A.BEGIN_CUTOVER, A.HOOKS_BEFORE_STOP, A.STOP_SOURCE, A.HOOKS_AFTER_STOP),
        *(A.APPLY, A.START, A.HOOKS_AFTER_START, A.OBSERVE, A.VALIDATE, A.COMMIT, A.HOOKS_AFTER_COMMIT, A.DONE),
    ]


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (P.BEFORE_STOP, after(BEGUN, an_event("stop-asked"))),
        (P.AFTER_STOP, after(BEGUN)),
        (P.AFTER_START, after(BEGUN, OFF)),
        (P.AFTER_COMMIT, after(BEGUN, OFF, *STARTED)),
        (P.AFTER_ROLLBACK, after(BEGUN)),
    ],
)
def test_none_is_recorded_outside_its_phase(phase: HookPhase, state: MachineState) -> None:
    with pytest.raises(IllegalTransition):
        step(state, ran(phase))


def test_what_ended_well_is_owed_no_more_what_failed_is_and_another_cutover_owes_all() -> None:
    state = after(BEGUN, ran(P.BEFORE_STOP))
    assert due(EACH, state, P.BEFORE_STOP) == ()
    state = after(BEGUN, ran(P.BEFORE_STOP, ok=False))
    assert due(EACH, state, P.BEFORE_STOP)
    assert due(EACH, state, P.BEFORE_STOP, again=False) == ()
    state = after(BEGUN, ran(P.BEFORE_STOP), *BACK, ran(P.AFTER_ROLLBACK), BEGUN)
    assert due(EACH, state, P.BEFORE_STOP)
    assert state.cutovers == 2


def test_a_rollback_of_what_was_only_copied_owes_none() -> None:
    copied = (an_event("copy-begun", round=1, final=False), an_event("synced", round=1))
    assert next_action(FACTS, after(*copied, *BACK), Goal.ROLLBACK).kind is A.DONE
    assert next_action(FACTS, after(BEGUN, *BACK), Goal.ROLLBACK).kind is A.HOOKS_AFTER_ROLLBACK
    assert next_action(FACTS, after(BEGUN, *BACK)).kind is A.HOOKS_AFTER_ROLLBACK


def test_one_that_failed_after_a_rollback_holds_up_no_other_attempt() -> None:
    state = after(BEGUN, *BACK, ran(P.AFTER_ROLLBACK, ok=False))
    assert next_action(FACTS, state).kind is A.HOOKS_AFTER_ROLLBACK
    assert next_action(FACTS, state, Goal.MIGRATE_AGAIN).kind is A.BEGIN_CUTOVER


def test_a_hook_of_the_guest_needs_one_that_runs() -> None:
    inside = tuple(hook(phase, kind="guest") for phase in P if phase is not P.AFTER_STOP)
    off = after(an_event("cutover-begun", power_before=Power.OFF, stop_is_told=True))
    assert due(inside, off, P.BEFORE_STOP) == ()
    assert due(inside, after(BEGUN), P.BEFORE_STOP)
    assert due(inside, after(BEGUN, OFF, *STARTED), P.AFTER_START)
    state = after(BEGUN)
    assert due(inside, state, P.AFTER_COMMIT, runs_on=False) == ()
    assert due(inside, state, P.AFTER_COMMIT, runs_on=True)


def test_in_a_set_all_hooks_before_the_stop_come_before_the_first_stop() -> None:
    members = {
        name: Member(dataclasses.replace(FACTS, hooks=(hook(P.BEFORE_STOP),)), after(BEGUN), tier=tier)
        for name, tier in (("db", 0), ("web", 1))
    }
    assert next_of_set(members)[0] == "web"
    members["web"] = dataclasses.replace(members["web"], state=after(BEGUN, ran(P.BEFORE_STOP)))
    name, action = next_of_set(members)
    assert (name, action.kind) == ("db", A.HOOKS_BEFORE_STOP)


def test_a_call_is_the_same_for_the_same_hook_of_the_same_cutover_alone() -> None:
    one = call_of("j", "p", "web", 1, EACH[0])
    assert one == call_of("j", "p", "web", 1, EACH[0])
    others = (call_of("j", "p", "web", 2, EACH[0]), call_of("j", "p", "db", 1, EACH[0]))
    assert one not in {*others, call_of("j", "p", "web", 1, EACH[1]), call_of("k", "p", "web", 1, EACH[0])}


def test_an_event_is_read_as_it_was_written() -> None:
    event = HookRun(
        hook="one", phase=P.AFTER_COMMIT, how="http", ok=False, code=503, seconds=1.5, said="busy", why="no"
    )
    assert event_from_json(event_to_json(event)) == event
    assert after(BEGUN, OFF, *STARTED).resumes is Phase.STARTED
