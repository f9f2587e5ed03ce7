"""What is next for machines that move as one, for every combination of where two of them can stand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from kubeferry.documents import WarmPolicy
from kubeferry.life import events as ev
from kubeferry.life.action_kinds import STOPS, ActionKind, Began, EntryFacts, Goal
from kubeferry.life.imagined import imagined
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.sets import Member, next_of_set, turn_of
from kubeferry.life.states import step
from kubeferry.model import Power

A = ActionKind
FACTS = EntryFacts("digest", ("vda",))
UNDER_WAY = {Phase.CUTTING_OVER, Phase.STARTED, Phase.VALIDATED, Phase.COMMITTED}


def walk(goals: list[Goal], members: dict[str, Member]) -> tuple[dict[str, Member], list[tuple[str, ActionKind]]]:
    """Each step of the set goes well; `goals` one after the other."""
    done: list[tuple[str, ActionKind]] = []
    for wanted in goals:
        goal = wanted
        while True:
            name, action = next_of_set(members, goal)
            if action.kind in STOPS:
                break
            done.append((name, action.kind))
            members = members | {name: acted(members[name], action)}
            goal = goal.after(action.kind)
    return members, done


def acted(member: Member, action: object) -> Member:
    state = member.state
    for event in imagined(action, member.facts, state, Power.RUNNING):  # type: ignore[arg-type]
        state = step(state, event)
    return replace(member, state=state)


def states_of_a_life() -> list[MachineState]:
    """Where one machine of a set can stand, on the way on and back."""
    seen: dict[str, MachineState] = {}
    lone = {"x": Member(FACTS, MachineState())}
    for goal in (Goal.MIGRATE, Goal.ROLLBACK):
        while True:
            state = lone["x"].state
            seen.setdefault(repr(state), state)
            _, action = next_of_set(lone, goal)
            if action.kind in STOPS:
                break
            lone = {"x": acted(lone["x"], action)}
    failing = ev.Observed(observation={"probes": [{"kind": "agent", "ok": False}]})
    started = next(state for state in seen.values() if state.resumes is Phase.STARTED)
    return [*seen.values(), step(started, failing)]


EVERYWHERE = list(itertools.product(states_of_a_life(), repeat=2))


def test_a_whole_move_takes_each_step_for_all_before_the_next() -> None:
    members, done = walk([Goal.MIGRATE], {name: Member(FACTS, MachineState()) for name in "ab"})
    assert {member.state.phase for member in members.values()} == {Phase.COMMITTED}
    off = max(at for at, (_, kind) in enumerate(done) if kind is A.STOP_SOURCE)
    assert off < min(at for at, (_, kind) in enumerate(done) if kind is A.BEGIN_COPY)
    assert done[-2:] == [("a", A.COMMIT), ("b", A.COMMIT)]


def test_a_whole_way_back_takes_all_down_before_any_source_runs() -> None:
    members, done = walk([Goal.MIGRATE, Goal.ROLLBACK], {name: Member(FACTS, MachineState()) for name in "ab"})
    assert {member.state.phase for member in members.values()} == {Phase.ROLLED_BACK}
    assert [kind for _, kind in done[-8:]] == [
        *(A.BEGIN_ROLLBACK, A.BEGIN_ROLLBACK, A.STOP_TARGET, A.STOP_TARGET),
        *(A.RESTART_SOURCE, A.RESTART_SOURCE, A.END_ROLLBACK, A.END_ROLLBACK),
    ]


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK])
def test_from_wherever_two_of_them_stand_they_end_alike(goal: Goal) -> None:
    """A kill leaves them unlike; so does a journal that was restored, or another version."""
    for states in EVERYWHERE:
        before = [state.phase for state in states]
        members, done = walk([goal], {name: Member(FACTS, state) for name, state in zip("ab", states, strict=True)})
        ends = [member.state.phase for member in members.values()]
        assert len(done) < 60, before
        assert not (Phase.COMMITTED in ends and ends.count(Phase.COMMITTED) == 1), (before, ends)
        assert not any(end in UNDER_WAY - {Phase.COMMITTED} or end is Phase.ROLLING_BACK for end in ends), before
        copied = [at for at, (_, kind) in enumerate(done) if kind is A.BEGIN_COPY]
        stopped = [at for at, (_, kind) in enumerate(done) if kind is A.STOP_SOURCE]
        assert not copied or not stopped or min(copied) > max(stopped), before


def test_nobody_copies_commits_or_starts_while_one_of_them_may_run_at_its_source() -> None:
    late = {A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.APPLY, A.START, A.OBSERVE, A.VALIDATE, A.COMMIT}
    for states in EVERYWHERE:
        members = {name: Member(FACTS, state) for name, state in zip("ab", states, strict=True)}
        for goal in (Goal.MIGRATE, Goal.MIGRATE_AGAIN):
            _, action = next_of_set(members, goal)
            assert action.kind not in late or all(state.source_off for state in states), (members, action)


def test_what_was_copied_of_one_while_another_could_still_write_is_not_gone_on_with() -> None:
    back = {A.BEGIN_ROLLBACK, A.STOP_TARGET, A.RESTART_SOURCE, A.END_ROLLBACK, A.RECORD_PLAN}
    seen = 0
    for states in EVERYWHERE:
        copied = [state.resumes in UNDER_WAY and (state.final or state.applied is not None) for state in states]
        off = [state.resumes in UNDER_WAY and state.source_off for state in states]
        if any(copied) and not all(off):
            seen += 1
            _, action = next_of_set({name: Member(FACTS, state) for name, state in zip("ab", states, strict=True)})
            assert action.kind in back, [state.phase for state in states]
    assert seen > 20


def test_no_source_is_started_while_a_copy_of_any_may_run() -> None:
    for states in EVERYWHERE:
        members = {name: Member(FACTS, state) for name, state in zip("ab", states, strict=True)}
        for goal in Goal.MIGRATE, Goal.ROLLBACK:
            _, action = next_of_set(members, goal)
            assert action.kind is not A.RESTART_SOURCE or not any(state.target_may_run for state in states)


@pytest.mark.parametrize("phase", sorted(UNDER_WAY))
def test_a_source_that_somebody_starts_turns_all_of_them(phase: Phase) -> None:
    off = [state for state in states_of_a_life() if state.resumes is phase and state.source_off]
    other = next(state for state in states_of_a_life() if state.resumes is Phase.VALIDATED)
    for state in off:
        members = {"a": Member(FACTS, other), "b": Member(FACTS, state, Power.RUNNING)}
        _, action = next_of_set(members, Goal.MIGRATE)
        assert (action.kind, "the source of b was started" in action.reason) == (A.BEGIN_ROLLBACK, True)


def test_who_is_ahead_waits_and_says_for_whom() -> None:
    members = {name: Member(FACTS, MachineState()) for name in "ab"}
    _, done = walk([Goal.MIGRATE], members)
    for name, kind in done[: done.index(("b", A.STOP_SOURCE))]:
        _, action = next_of_set(members, Goal.MIGRATE)
        assert action.kind is kind
        members = members | {name: acted(members[name], action)}
    action, behind = turn_of(members, "a")
    assert (action.kind, behind) == (A.BEGIN_COPY, ("b",))
    assert turn_of(members, "b")[1] == ()


def test_one_that_was_rolled_back_keeps_the_others_until_they_are_asked_for_again() -> None:
    back = next(state for state in states_of_a_life() if state.resumes is Phase.ROLLED_BACK)
    planned = next(state for state in states_of_a_life() if state.plan_digest and state.resumes is Phase.PLANNED)
    members = {"a": Member(FACTS, planned), "b": Member(FACTS, back)}
    assert next_of_set(members, Goal.MIGRATE)[1].kind is A.DONE
    assert "together with b, which was rolled back" in turn_of(members, "a")[0].reason
    assert next_of_set(members, Goal.MIGRATE_AGAIN)[1].kind is A.BEGIN_CUTOVER


def tiered() -> dict[str, Member]:
    return {name: Member(FACTS, MachineState(), tier=tier) for name, tier in {"db": 0, "web": 1, "cache": 0}.items()}


def test_what_is_last_in_the_order_of_an_app_is_stopped_first_and_started_last() -> None:
    _, done = walk([Goal.MIGRATE], tiered())
    assert [name for name, kind in done if kind is A.STOP_SOURCE] == ["web", "db", "cache"]
    assert [one for one in done if one[1] in {A.START, A.OBSERVE}] == [
        *(("db", A.START), ("cache", A.START), ("db", A.OBSERVE), ("cache", A.OBSERVE)),
        *(("web", A.START), ("web", A.OBSERVE)),
    ]
    assert [name for name, kind in done if kind is A.COMMIT] == ["db", "cache", "web"]


def test_the_way_back_of_an_app_takes_down_the_last_and_starts_the_first() -> None:
    _, done = walk([Goal.MIGRATE, Goal.ROLLBACK], tiered())
    back = done[next(at for at, (_, kind) in enumerate(done) if kind is A.BEGIN_ROLLBACK) :]
    assert [name for name, kind in back if kind is A.STOP_TARGET] == ["web", "db", "cache"]
    assert [name for name, kind in back if kind is A.RESTART_SOURCE] == ["db", "cache", "web"]


def test_an_app_as_a_whole_is_asked_once_all_have_passed_and_before_any_is_validated() -> None:
    members = tiered()
    members["db"] = Member(EntryFacts("digest", ("vda",), asks_app=True), MachineState())
    _, done = walk([Goal.MIGRATE], members)
    kinds = [kind for _, kind in done]
    assert done[kinds.index(A.OBSERVE_APP)] == ("db", A.OBSERVE_APP)
    assert max(at for at, kind in enumerate(kinds) if kind is A.OBSERVE) < kinds.index(A.OBSERVE_APP)
    assert kinds.index(A.OBSERVE_APP) < kinds.index(A.VALIDATE)


def test_an_app_that_does_not_pass_turns_all_of_its_machines() -> None:
    facts = EntryFacts("digest", ("vda",), asks_app=True)
    started = next(state for state in states_of_a_life() if state.observed and state.probes_passed)
    failing = ev.AppObserved(app="shop", observation={"probes": [{"kind": "http", "ok": False}]})
    members = {"a": Member(FACTS, started), "b": Member(facts, step(started, failing))}
    _, action = next_of_set(members, Goal.MIGRATE)
    assert (action.kind, action.reason) == (A.BEGIN_ROLLBACK, "b: its app did not pass: http")


def test_who_has_the_fewest_rounds_is_copied_ahead_first_and_nobody_is_stopped_meanwhile() -> None:
    facts = EntryFacts("digest", ("vda",), warm=WarmPolicy(rounds=1))
    members = {name: Member(facts, MachineState(), Power.RUNNING) for name in "ab"}
    done = []
    while not done or done[-1][1] is not A.STOP_SOURCE:
        name, action = next_of_set(members, Goal.MIGRATE)
        done.append((name, action.kind))
        members = members | {name: acted(members[name], action)}
        if done[-1] == ("a", A.END_ROUND):  # another one would make its last round smaller
            more = replace(facts, warm=WarmPolicy(rounds=5, enough_bytes=0, gain=1))
            members["a"] = replace(members["a"], facts=more, began=Began(rounds=1))
    kinds = [one for one in done if one[1] in {A.BEGIN_COPY, A.END_ROUND, A.BEGIN_CUTOVER, A.STOP_SOURCE}]
    assert kinds[:5] == [
        *(("a", A.BEGIN_COPY), ("a", A.END_ROUND), ("b", A.BEGIN_COPY), ("b", A.END_ROUND)),
        ("a", A.BEGIN_COPY),
    ]
    begun = [kind for _, kind in done]
    assert max(at for at, kind in enumerate(begun) if kind is A.END_ROUND) < begun.index(A.BEGIN_CUTOVER)
