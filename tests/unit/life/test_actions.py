"""What comes next, and that a runner which is killed anywhere is told to go on, not to start over.

The world here is a double: it has power switches and disks as plain fields, moves no bytes, and boots nothing.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.documents import CommitPolicy, WarmPolicy
from kubeferry.life import events as ev
from kubeferry.life.action_kinds import EVENT_OF, STOPS, Action, ActionKind, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.imagined import plan_actions
from kubeferry.life.states import MachineState, Phase, Recorded, fold, step
from kubeferry.model import Power

A = ActionKind
PLANNED = ev.Planned(plan_digest="d", disks=("vda", "vdb"))
PROOF = EntryFacts(plan_digest="d", disks=("vda", "vdb"), keeps_running=False)


class Killed(Exception):
    """kill -9 at this point."""


@dataclass
class World:
    """The double, and the runner in it. `fuse` counts down at every durable change; at zero the runner is killed."""

    entry: EntryFacts = PROOF
    power: Power = Power.RUNNING
    probes_pass: bool = True
    damaged: int = 0
    fuse: int = -1
    target_runs: bool = False
    copies: dict[str, int] = field(default_factory=dict)
    events: list[ev.Event] = field(default_factory=list)
    state: MachineState = field(default_factory=MachineState)

    def burn(self) -> None:
        self.fuse -= 1
        if self.fuse == 0:
            raise Killed

    def record(self, event: ev.Event) -> None:
        self.burn()
        self.state = step(self.state, event)
        self.events.append(event)
        assert not (self.power is Power.RUNNING and self.target_runs)
        self.burn()

    def run(self, goal: Goal = Goal.MIGRATE) -> Action:
        for _ in range(60):
            action = next_action(self.entry, self.state, goal)
            if action.kind in STOPS:
                return action
            assert action.reason
            self.act(action)
            goal = Goal.MIGRATE if goal is Goal.MIGRATE_AGAIN else goal
        raise AssertionError("it does not end")

    def run_through_kills(self, goal: Goal = Goal.MIGRATE) -> Action:
        try:
            return self.run(goal)
        except Killed:
            return self.run(goal)

    def act(self, action: Action) -> None:
        steps: dict[ActionKind, Callable[[Action], None]] = {
            A.RECORD_PLAN: lambda _: self.record(ev.Planned(plan_digest="d", disks=self.entry.disks)),
            A.BEGIN_CUTOVER: lambda _: self.record(ev.CutoverBegun(power_before=self.power)),
            A.STOP_SOURCE: self.stop_source,
            A.BEGIN_COPY: lambda a: self.record(ev.CopyBegun(round=a.round, final=True)),
            A.COPY_DISKS: self.copy,
            A.REPAIR_DISKS: self.copy,
            A.VERIFY_DISKS: self.verify,
            A.APPLY: lambda _: self.record(ev.Applied()),
            A.START: self.start,
            A.OBSERVE: self.observe,
            A.VALIDATE: lambda _: self.record(ev.Validated(probes_passed=self.state.probes_passed)),
            A.STOP_TARGET: self.stop_target,
            A.COMMIT: lambda _: self.record(ev.Committed()),
            A.BEGIN_ROLLBACK: lambda a: self.record(ev.RollbackBegun(reason=a.reason)),
            A.RESTART_SOURCE: self.restart,
            A.END_ROLLBACK: lambda _: self.record(ev.RolledBack()),
        }
        before = len(self.events)
        steps[action.kind](action)
        assert {event.kind for event in self.events[before:]} == {EVENT_OF[action.kind]}

    def stop_source(self, _action: Action) -> None:
        how = "already-off" if self.power is Power.OFF else "agent"
        self.power = Power.OFF
        self.record(ev.SourceStopped(how=how, at=""))

    def copy(self, action: Action) -> None:
        assert self.power is Power.OFF
        for disk in action.disks:
            self.burn()
            self.copies[disk] = self.copies.get(disk, 0) + 1
            self.record(ev.DiskCopied(disk=disk, round=self.state.round, root="r", algorithm="blake3"))

    def verify(self, action: Action) -> None:
        for disk in action.disks:
            bad = self.damaged > 0
            self.damaged -= bad
            self.record(ev.DiskVerified(disk=disk, root="r", differing=int(bad)))

    def start(self, _action: Action) -> None:
        assert self.power is Power.OFF
        self.target_runs = True
        self.record(ev.Started())

    def observe(self, _action: Action) -> None:
        self.target_runs = True
        probe = {"kind": "http", "what": "the page answers", "ok": self.probes_pass}
        self.record(ev.Observed(observation={"probes": [probe]}))

    def stop_target(self, _action: Action) -> None:
        self.target_runs = False
        self.record(ev.TargetStopped())

    def restart(self, _action: Action) -> None:
        assert not self.target_runs
        self.power = Power.RUNNING
        self.record(ev.SourceRestarted())


def test_a_machine_is_moved_in_the_order_of_the_drawing() -> None:
    world = World()
    assert world.run().kind is A.DONE
    assert world.state.phase is Phase.COMMITTED
    assert (world.power, world.target_runs) == (Power.OFF, False)
    assert [event.kind.value for event in world.events] == [
        *("planned", "cutover-begun", "source-stopped", "copy-begun", "disk-copied", "disk-copied"),
        *("disk-verified", "disk-verified", "applied", "started", "observed", "validated", "target-stopped"),
        "committed",
    ]


def test_a_target_that_keeps_running_is_not_stopped() -> None:
    world = World(entry=replace(PROOF, keeps_running=True))
    world.run()
    assert world.target_runs
    assert world.state.phase is Phase.COMMITTED


POWERS = st.sampled_from([Power.RUNNING, Power.OFF])
DISK_SETS = st.sampled_from([(), ("vda",), ("vda", "vdb", "vdc")])


@given(fuse=st.integers(1, 60), power=POWERS, disks=DISK_SETS, keeps=st.booleans())
@settings(max_examples=300)
def test_killed_at_any_moment_the_next_run_ends_committed(
    fuse: int, power: Power, disks: tuple[str, ...], keeps: bool
) -> None:
    """The kill falls before or after an event, or between a change in the world and its event."""
    world = World(entry=EntryFacts("d", disks, keeps_running=keeps), power=power, fuse=fuse)
    assert world.run_through_kills().kind is A.DONE
    assert world.state.phase is Phase.COMMITTED
    assert world.state.power_before is power
    recorded = [event.disk for event in world.events if isinstance(event, ev.DiskCopied)]
    assert sorted(recorded) == sorted(disks), "a finished copy was made again"
    assert sum(world.copies.values()) <= len(disks) + 1


@given(fuse=st.integers(1, 70), power=POWERS)
@settings(max_examples=300)
def test_killed_at_any_moment_a_failing_machine_ends_rolled_back_as_it_was(fuse: int, power: Power) -> None:
    world = World(power=power, probes_pass=False, fuse=fuse)
    action = world.run_through_kills()
    assert world.state.phase is Phase.ROLLED_BACK
    assert "the page answers" in action.reason
    assert (world.power, world.target_runs) == (power, False)


@given(moved=st.integers(1, 40), fuse=st.integers(1, 20), power=POWERS)
@settings(max_examples=300)
def test_a_rollback_asked_for_at_any_moment_brings_the_source_back(moved: int, fuse: int, power: Power) -> None:
    world = World(power=power, fuse=moved)
    with contextlib.suppress(Killed):
        world.run()
    world.fuse = fuse
    world.run_through_kills(Goal.ROLLBACK)
    assert world.state.phase in {Phase.ROLLED_BACK, Phase.PLANNED}
    assert (world.power, world.target_runs) == (power, False)


def test_a_rolled_back_machine_is_left_alone_unless_asked() -> None:
    world = World(probes_pass=False)
    world.run()
    events = len(world.events)
    assert world.run().kind is A.DONE
    assert len(world.events) == events
    world.probes_pass = True
    world.run(Goal.MIGRATE_AGAIN)
    assert world.state.phase is Phase.COMMITTED
    assert world.copies == {"vda": 2, "vdb": 2}


def test_damage_is_repaired_a_few_times_and_then_handed_to_a_person() -> None:
    assert World(damaged=1).run().kind is A.DONE
    stuck = World(damaged=100).run()
    assert stuck.kind is A.WAIT_FOR_OPERATOR
    assert "after 2 repairs" in stuck.reason


def advanced(kind: ActionKind) -> World:
    """A world in which `kind` is next."""
    world = World()
    while (action := next_action(world.entry, world.state)).kind is not kind:
        world.act(action)
    return world


def test_a_source_that_somebody_started_is_copied_again_or_the_move_is_undone() -> None:
    world = advanced(A.VERIFY_DISKS)
    world.power = Power.RUNNING
    again = next_action(PROOF, world.state, source_power=Power.RUNNING)
    assert (again.kind, "by somebody" in again.reason) == (A.BEGIN_CUTOVER, True)
    world.act(again)
    world.run()
    assert world.state.phase is Phase.COMMITTED
    assert world.copies == {"vda": 2, "vdb": 2}
    for kind in (A.START, A.OBSERVE, A.VALIDATE, A.STOP_TARGET):
        state = advanced(kind).state
        assert next_action(PROOF, state, source_power=Power.RUNNING).kind is A.BEGIN_ROLLBACK
        assert next_action(PROOF, state, source_power=Power.OFF).kind is kind


def test_a_failed_machine_goes_on_where_it_failed() -> None:
    world = advanced(A.VERIFY_DISKS)
    before = next_action(PROOF, world.state)
    world.record(ev.Failed(at="verify-disks", what="the mover died", transient=True))
    assert next_action(PROOF, world.state) == before
    assert next_action(PROOF, world.state, Goal.ROLLBACK).reason == "after a failure: the mover died"


def test_reasons_name_what_is_missing() -> None:
    world = advanced(A.COPY_DISKS)
    assert next_action(PROOF, world.state).reason == "disks vda, vdb were not copied since the stop"
    world.record(ev.DiskCopied(disk="vda", round=1, root="r", algorithm="blake3"))
    action = next_action(PROOF, world.state)
    assert (action.disks, action.reason) == (("vdb",), "disk vdb was not copied since the stop")


def test_an_approval_is_waited_for() -> None:
    world = World(entry=replace(PROOF, unapproved="it is not approved"))
    action = world.run()
    assert (action.kind, action.reason) == (A.WAIT_FOR_APPROVAL, "it is not approved")
    assert world.power is Power.RUNNING
    world.entry = PROOF
    assert world.run().kind is A.DONE


def test_an_approval_that_is_gone_is_missed_until_a_stop_is_asked_for_and_no_longer() -> None:
    without = replace(PROOF, unapproved="that of ann was withdrawn")
    state = fold(map(Recorded, (PLANNED, ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True))))
    assert next_action(PROOF, state).kind is A.STOP_SOURCE
    assert next_action(without, state).kind is A.WAIT_FOR_APPROVAL
    assert next_action(without, step(state, ev.StopAsked())).kind is A.STOP_SOURCE
    assert next_action(without, state, Goal.ROLLBACK).kind is A.BEGIN_ROLLBACK


def test_copying_ahead_needs_no_approval() -> None:
    warm = replace(PROOF, warm=WarmPolicy(), unapproved="it is not approved")
    state = fold([Recorded(PLANNED)])
    assert next_action(warm, state, Goal.PRECOPY, Power.RUNNING).kind is A.BEGIN_COPY


def test_the_dry_run_of_what_is_not_approved_says_that_and_then_what_would_be_done() -> None:
    without = replace(PROOF, unapproved="it is not approved")
    kinds = [action.kind for action in plan_actions(without, MachineState())]
    assert kinds.count(A.WAIT_FOR_APPROVAL) == 1
    assert [kind for kind in kinds if kind is not A.WAIT_FOR_APPROVAL] == [
        action.kind for action in plan_actions(PROOF, MachineState())
    ]


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.PRECOPY, Goal.ROLLBACK])
@pytest.mark.parametrize("commit", [None, CommitPolicy()])
def test_the_dry_run_tells_nothing_as_done_that_nobody_has_done(goal: Goal, commit: CommitPolicy | None) -> None:
    """Only what the journal holds is told as it is: the first step, and what is waited for."""
    entry = replace(PROOF, warm=WarmPolicy(), commit=commit, unapproved="it is not approved", asks_app=True)
    begun = fold([Recorded(PLANNED), Recorded(ev.CutoverBegun(power_before=Power.RUNNING))])
    first, *others = plan_actions(entry, begun if goal is Goal.ROLLBACK else MachineState(), goal)
    assert "would" not in first.reason
    told = [action.reason for action in others if action.kind is not A.WAIT_FOR_APPROVAL]
    assert told
    assert [reason for reason in told if "would" not in reason] == []


@pytest.mark.parametrize("goal", list(Goal))
@given(moved=st.integers(1, 40))
@settings(max_examples=60)
def test_the_dry_run_lists_what_the_run_then_does(goal: Goal, moved: int) -> None:
    world = World(fuse=moved)
    with contextlib.suppress(Killed):
        world.run()
    world.fuse = -1
    listed = plan_actions(PROOF, world.state, goal)
    before = world.state
    done: list[ActionKind] = []
    while (action := next_action(PROOF, world.state, goal)).kind not in STOPS:
        world.act(action)
        done.append(action.kind)
    assert [action.kind for action in listed] == [*done, action.kind]
    assert plan_actions(PROOF, before, goal) == listed


# --- an older plan's debts -------------------------------------------------------------------------------------------


def test_the_way_back_takes_over_what_an_older_plan_has_left_and_nothing_else_does() -> None:
    facts = EntryFacts("d", ("vda",))
    planned = step(MachineState(), ev.Planned(plan_digest="d", disks=("vda",)))
    action = next_action(facts, planned, Goal.ROLLBACK, owed="the older one has left it started")
    assert (action.kind, action.reason) == (ActionKind.TAKE_OVER, "the older one has left it started")
    assert next_action(facts, planned, Goal.MIGRATE, owed="something").kind is ActionKind.BEGIN_CUTOVER
    assert next_action(facts, planned, Goal.ROLLBACK).kind is ActionKind.DONE
    taken = step(planned, ev.CutoverBegun(power_before=Power.RUNNING, taken_from="older", target_may_run=True))
    assert next_action(facts, taken, Goal.ROLLBACK).kind is ActionKind.BEGIN_ROLLBACK
    back = step(taken, ev.RollbackBegun(reason="asked for"))
    assert next_action(facts, back, Goal.ROLLBACK).kind is ActionKind.STOP_TARGET
