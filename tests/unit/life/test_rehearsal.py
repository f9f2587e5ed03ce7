"""A rehearsal in one machine's life: what it needs, what it leaves in doubt, and that nothing goes on below it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.documents import RehearsalPolicy, WarmPolicy
from kubeferry.life import events as ev
from kubeferry.life import rehearsal
from kubeferry.life.action_kinds import EVENT_OF, STOPS, ActionKind, Began, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.imagined import plan_actions
from kubeferry.life.states import IllegalTransition, MachineState, Phase, Recorded, fold, step
from kubeferry.model import Power

A = ActionKind
ROOTS = {"vda": "r1"}
PASSED = {"probes": [{"kind": "agent", "what": "agent answers", "ok": True}], "where": "here"}
FAILED = {"probes": [{"kind": "screen", "what": "the screen says 'login'", "ok": False}]}
FACTS = EntryFacts("d", ("vda",), warm=WarmPolicy(rounds=1))

SYNCED = (
    ev.Planned(plan_digest="d", disks=("vda",)),
    ev.CopyBegun(round=1, final=False),
    ev.DiskCopied(disk="vda", round=1, root="r1", algorithm="blake3"),
    ev.DiskVerified(disk="vda", root="r1"),
    ev.Synced(round=1),
)
BEGUN = ev.RehearsalBegun(number=1, round=1, at="2026-01-01T01:00:00Z", synced_at="2026-01-01T00:00:00Z", roots=ROOTS)
SEEN = ev.RehearsalObserved(observation=PASSED)
ENDED = ev.RehearsalEnded(at="2026-01-01T01:05:00Z", removed=("all of it",))
READ_BACK = ev.DiskVerified(disk="vda", root="r1")
REHEARSED = ev.Rehearsed(
    number=1,
    round=1,
    at="2026-01-01T01:06:00Z",
    synced_at="2026-01-01T00:00:00Z",
    probes_passed=1,
    roots=ROOTS,
)
WHOLE = (*SYNCED, BEGUN, SEEN, ENDED, READ_BACK, REHEARSED)


def after(*events: ev.Event) -> MachineState:
    return fold(Recorded(event) for event in events)


def refused(state: MachineState, event: ev.Event, why: str) -> None:
    with pytest.raises(IllegalTransition, match=why):
        step(state, event)


def test_a_rehearsal_that_passed_is_a_phase_and_a_later_round_makes_it_older() -> None:
    state = after(*WHOLE)
    assert (state.phase, rehearsal.has_passed(state), rehearsal.why_not(state)) == (Phase.REHEARSED, True, "")
    assert not state.doubted
    later = after(
        *WHOLE,
        ev.CopyBegun(round=2, final=False),
        ev.DiskCopied(disk="vda", round=2, root="r2", algorithm="blake3"),
        ev.DiskVerified(disk="vda", root="r2"),
        ev.Synced(round=2),
    )
    assert (later.phase, rehearsal.has_passed(later), later.rehearsed) == (Phase.SYNCED, True, REHEARSED)


def test_it_needs_every_disk_read_back_and_the_roots_that_were() -> None:
    refused(after(*SYNCED[:1]), BEGUN, "no such event")
    refused(after(*SYNCED, BEGUN, SEEN, ENDED), BEGUN.model_copy(update={"number": 2}), "not verified: vda")
    refused(after(*SYNCED), BEGUN.model_copy(update={"roots": {"vda": "other"}}), "not those that were read back")


@pytest.mark.parametrize(
    "event",
    [
        ev.CopyBegun(round=2, final=False),
        ev.DiskVerified(disk="vda", root="r1"),
        ev.CutoverBegun(power_before=Power.RUNNING),
        ev.RollbackBegun(reason="asked"),
        BEGUN,
    ],
)
def test_nothing_goes_on_below_one_that_is_open(event: ev.Event) -> None:
    refused(after(*SYNCED, BEGUN), event, "rehearsal may be running")
    refused(after(*SYNCED, BEGUN, SEEN), event, "rehearsal may be running")


def test_the_claim_needs_its_evidence() -> None:
    refused(after(*SYNCED), REHEARSED, "not the newest")
    refused(after(*SYNCED, BEGUN, SEEN), REHEARSED, "has not ended")
    refused(after(*SYNCED, BEGUN, ENDED, READ_BACK), REHEARSED, "nobody has looked")
    refused(after(*SYNCED, BEGUN, SEEN, ENDED), REHEARSED, "not read back since: vda")
    failed = ev.RehearsalObserved(observation=FAILED)
    refused(after(*SYNCED, BEGUN, failed, ENDED, READ_BACK), REHEARSED, "no observation of it passed")
    other = REHEARSED.model_copy(update={"roots": {"vda": "other"}})
    refused(after(*SYNCED, BEGUN, SEEN, ENDED, READ_BACK), other, "not as they were")
    changed = ev.DiskVerified(disk="vda", root="r1", differing=3)
    refused(after(*SYNCED, BEGUN, SEEN, ENDED, changed), REHEARSED, "not read back since")


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ((BEGUN,), "it is under way, or was left"),
        ((BEGUN, ENDED), "it was ended before anybody looked at it"),
        ((BEGUN, ev.RehearsalObserved(why="QEMU says no"), ENDED), "QEMU says no"),
        ((BEGUN, ev.RehearsalObserved(observation=FAILED), ENDED), "the copy did not pass: the screen says 'login'"),
        ((BEGUN, ev.RehearsalObserved(observation={"probes": []}), ENDED), "none of its probes can be asked"),
        ((BEGUN, SEEN, ENDED), "its copy was not read back after it"),
        ((BEGUN, SEEN, ENDED, ev.DiskVerified(disk="vda", root="r1", differing=2)), "changed under it: vda"),
    ],
)
def test_why_one_did_not_pass_is_said_and_the_machine_stays_synced(events: tuple[ev.Event, ...], why: str) -> None:
    state = after(*SYNCED, *events)
    assert why in rehearsal.why_not(state)
    assert (state.phase, state.failed) == (Phase.SYNCED, None)


def test_one_after_another_counts_the_newest() -> None:
    again = BEGUN.model_copy(update={"number": 2})
    state = after(*WHOLE, again, ev.RehearsalObserved(observation=FAILED), ENDED)
    assert (state.phase, rehearsal.has_passed(state)) == (Phase.SYNCED, False)
    assert "did not pass" in rehearsal.owed(RehearsalPolicy(required=True), state, "")


def test_a_policy_holds_back_until_one_passed_that_is_young_enough() -> None:
    required = RehearsalPolicy(required=True, max_age_seconds=3600)
    assert rehearsal.owed(None, after(*SYNCED), "") == ""
    assert rehearsal.owed(RehearsalPolicy(), after(*SYNCED), "") == ""
    assert "was not rehearsed" in rehearsal.owed(required, after(*SYNCED), "")
    passed = after(*WHOLE)
    assert rehearsal.owed(required, passed, "2026-01-01T01:00:00Z") == ""
    assert "3601 s ago" in rehearsal.owed(required, passed, "2026-01-01T01:00:01Z")
    assert rehearsal.owed(RehearsalPolicy(required=True), passed, "2027-01-01T00:00:00Z") == ""


def facts(policy: RehearsalPolicy | None = None, now: str = "") -> EntryFacts:
    return EntryFacts("d", ("vda",), warm=WarmPolicy(rounds=1), rehearsal=policy, now=now)


def test_the_way_through_one_rehearsal() -> None:
    told = [action.kind for action in plan_actions(facts(), after(*SYNCED), Goal.REHEARSE)]
    assert told == [A.BEGIN_REHEARSAL, A.REHEARSE, A.END_REHEARSAL, A.VERIFY_DISKS, A.RECORD_REHEARSAL, A.DONE]


def test_a_cutover_waits_where_the_policy_asks_for_one() -> None:
    waits = next_action(facts(RehearsalPolicy(required=True)), after(*SYNCED), Goal.MIGRATE, Power.RUNNING)
    assert waits.kind is A.WAIT_FOR_REHEARSAL
    on = next_action(facts(RehearsalPolicy(required=True)), after(*WHOLE), Goal.MIGRATE, Power.RUNNING)
    assert on.kind is A.BEGIN_CUTOVER


def test_a_cutover_that_waits_for_a_rehearsal_and_an_approval_is_told_both() -> None:
    both = replace(facts(RehearsalPolicy(required=True)), unapproved="it is not approved")
    assert next_action(both, after(*SYNCED)).kind is A.WAIT_FOR_REHEARSAL
    waits = next_action(both, after(*WHOLE))
    assert (waits.kind, waits.reason) == (A.WAIT_FOR_APPROVAL, "it is not approved")
    listed = plan_actions(both, after(*SYNCED))
    assert [action.kind for action in listed if action.kind in STOPS] == [
        *(A.WAIT_FOR_REHEARSAL, A.WAIT_FOR_APPROVAL, A.DONE)
    ]


@pytest.mark.parametrize("goal", [Goal.PRECOPY, Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK, Goal.REHEARSE])
@pytest.mark.parametrize("events", [(BEGUN,), (BEGUN, SEEN)])
def test_whatever_comes_next_ends_one_that_was_left(goal: Goal, events: tuple[ev.Event, ...]) -> None:
    action = next_action(facts(), after(*SYNCED, *events), goal, Power.RUNNING)
    assert action.kind is A.END_REHEARSAL
    assert "open" in action.reason


def test_a_cutover_reads_back_what_a_rehearsal_left_in_doubt_and_copies_anew_what_it_changed() -> None:
    doubted = after(*SYNCED, BEGUN, ENDED)
    assert next_action(facts(), doubted, Goal.MIGRATE, Power.RUNNING).kind is A.VERIFY_DISKS
    changed = step(doubted, ev.DiskVerified(disk="vda", root="r1", differing=1))
    action = next_action(facts(), changed, Goal.MIGRATE, Power.OFF)
    assert (action.kind, action.round) == (A.BEGIN_COPY, 2)
    begun = step(changed, ev.CopyBegun(round=2, final=False))
    assert not begun.doubted


def test_doubt_lasts_into_a_final_round_which_is_then_read_back_whole() -> None:
    off = (ev.CutoverBegun(power_before=Power.OFF), ev.SourceStopped(how="already-off", at="t"))
    state = after(*SYNCED, BEGUN, ENDED, *off, ev.CopyBegun(round=2, final=True))
    assert state.doubted
    copied = step(state, ev.DiskCopied(disk="vda", round=2, root="r2", algorithm="blake3"))
    assert not step(copied, ev.DiskVerified(disk="vda", root="r2")).doubted


GOALS = st.sampled_from([Goal.PRECOPY, Goal.REHEARSE, Goal.END_REHEARSAL, Goal.MIGRATE, Goal.ROLLBACK])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_commands_killed_anywhere_leave_none_open_behind_them(data: st.DataObject) -> None:
    """Whatever the order of commands, and wherever each is killed: a copy runs only while one is open, nothing is
    written below it, and the next command takes it away first."""
    world = Rehearsals()
    for _ in range(data.draw(st.integers(1, 6))):
        world.passes = data.draw(st.booleans())
        world.command(data.draw(GOALS), data.draw(st.integers(0, 9)))
        assert world.runs <= world.state.rehearsing
    world.command(Goal.END_REHEARSAL, 99)
    assert (world.runs, world.state.rehearsing) == (False, False)


class Rehearsals:
    """A double: one disk, a source that runs, a copy that may run. A command ends after so many steps, as if killed."""

    def __init__(self) -> None:
        self.state, self.runs, self.passes, self.power = MachineState(), False, True, Power.RUNNING

    def command(self, goal: Goal, steps: int) -> None:
        ahead = len(self.state.rounds)
        for _ in range(steps):
            action = next_action(FACTS, self.state, goal, self.power, began=Began(rounds=ahead))
            if action.kind in STOPS:
                return
            events = self.events(action.kind, action.round)
            assert {event.kind for event in events} == {EVENT_OF[action.kind]}
            for event in events:
                self.state = step(self.state, event)
            goal = goal.after(action.kind)

    def events(self, kind: ActionKind, number: int) -> list[ev.Event]:
        state = self.state
        if kind in {A.COPY_DISKS, A.BEGIN_COPY, A.BEGIN_CUTOVER, A.VERIFY_DISKS, A.STOP_SOURCE}:
            assert not self.runs, "below a copy that runs"
        if kind is A.REHEARSE:
            self.runs = True
            return [ev.RehearsalObserved(observation=PASSED if self.passes else FAILED)]
        if kind is A.END_REHEARSAL:
            self.runs = False
            return [ENDED]
        if kind is A.STOP_SOURCE:
            self.power = Power.OFF
        if kind is A.RESTART_SOURCE:
            self.power = Power.RUNNING
        root = f"r{state.round}"
        made: dict[ActionKind, ev.Event] = {
            A.RECORD_PLAN: SYNCED[0],
            A.BEGIN_COPY: ev.CopyBegun(round=number, final=state.source_off),
            A.COPY_DISKS: ev.DiskCopied(disk="vda", round=state.round, root=root, algorithm="blake3"),
            A.VERIFY_DISKS: ev.DiskVerified(disk="vda", root=root),
            A.END_ROUND: ev.Synced(round=state.round),
            A.BEGIN_CUTOVER: ev.CutoverBegun(power_before=self.power, stop_is_told=True),
            A.STOP_SOURCE: ev.SourceStopped(how="agent", at="t"),
            A.OBSERVE: ev.Observed(observation=PASSED),
            A.VALIDATE: ev.Validated(probes_passed=1),
            A.BEGIN_ROLLBACK: ev.RollbackBegun(reason="asked"),
        }
        if kind is A.BEGIN_REHEARSAL:
            fields = rehearsal.intent(state.rehearsal, state.round, state.roots)
            return [ev.RehearsalBegun.model_validate(fields)]
        if kind is A.RECORD_REHEARSAL:
            return [ev.Rehearsed.model_validate(rehearsal.claim(state.rehearsal, state.roots))]
        return [made[kind] if kind in made else ev.event_of(EVENT_OF[kind], {})]
