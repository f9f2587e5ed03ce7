"""The table of one machine's life: what is legal where, what each claim rests on, and that nothing gets around it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.errors import PermanentError
from kubeferry.life import events as ev
from kubeferry.life.states import ENDS, TRANSITIONS, IllegalTransition, MachineState, Phase, Recorded, fold, step
from kubeferry.model import Autostart, Power

PASSED = {"probes": [{"kind": "agent", "what": "agent answers", "ok": True}]}
FAILED = {"probes": [{"kind": "agent", "what": "agent answers", "ok": True}, {"kind": "http", "ok": False}]}


def copied(disk: str, number: int = 1, root: str = "r1") -> ev.DiskCopied:
    return ev.DiskCopied(disk=disk, round=number, root=root, algorithm="blake3", size_bytes=1 << 20)


def verified(disk: str, root: str = "r1", differing: int = 0) -> ev.DiskVerified:
    return ev.DiskVerified(disk=disk, root=root, differing=differing)


AS_BEFORE = {"vda": "r1", "vdb": "r1"}
REHEARSAL = (
    ev.RehearsalBegun(number=1, round=2, at="t", synced_at="t", roots=AS_BEFORE),
    ev.RehearsalObserved(observation=PASSED),
    ev.RehearsalEnded(at="t"),
)
REHEARSED = ev.Rehearsed(number=1, round=2, at="t", synced_at="t", probes_passed=1, roots=AS_BEFORE)
STOPPED = ev.SourceStopped(how="agent", at="2026-01-01T00:00:00.000Z", last_words={"/count": "4"})
TO_STOPPED = (
    ev.Planned(plan_digest="d1", disks=("vda", "vdb")),
    ev.CutoverBegun(power_before=Power.RUNNING),
    STOPPED,
)
TO_COPIED = (*TO_STOPPED, ev.CopyBegun(round=1, final=True), copied("vda"), copied("vdb"))
TO_VERIFIED = (*TO_COPIED, verified("vda"), verified("vdb"))
TO_STARTED = (*TO_VERIFIED, ev.Applied(changes=("created",)), ev.Started(where="qemu"))
TO_VALIDATED = (*TO_STARTED, ev.Observed(observation=PASSED), ev.Validated(probes_passed=1))
TO_COMMITTED = (*TO_VALIDATED, ev.TargetStopped(), ev.Committed())


def after(*events: ev.Event) -> MachineState:
    return fold(Recorded(event, at=f"t{number}") for number, event in enumerate(events))


def refused(state: MachineState, event: ev.Event, why: str) -> None:
    with pytest.raises(IllegalTransition, match=why) as caught:
        step(state, event)
    assert isinstance(caught.value, PermanentError)
    assert str(state.phase) in caught.value.what
    assert str(event.kind) in caught.value.what
    assert caught.value.fix


# --- the way through ---------------------------------------------------------------------------------------------


def test_the_cold_path_ends_committed_with_its_timeline() -> None:
    state = after(*TO_COMMITTED)
    assert state.phase is Phase.COMMITTED
    assert [phase for phase, _at in state.timeline] == [
        Phase.PLANNED,
        Phase.CUTTING_OVER,
        Phase.STARTED,
        Phase.VALIDATED,
        Phase.COMMITTED,
    ]
    assert state.timeline[0] == (Phase.PLANNED, "t0")
    assert not state.target_may_run
    assert state.last_words == {"/count": "4"}


def test_a_machine_that_was_off_takes_the_same_path() -> None:
    state = after(TO_COMMITTED[0], ev.CutoverBegun(power_before=Power.OFF), *TO_COMMITTED[2:])
    assert (state.phase, state.power_before) == (Phase.COMMITTED, Power.OFF)


def test_a_machine_without_disks_needs_no_round() -> None:
    planned = ev.Planned(plan_digest="d", disks=())
    state = after(planned, ev.CutoverBegun(power_before=Power.OFF), STOPPED, ev.Applied(), ev.Started())
    assert state.phase is Phase.STARTED


def test_warm_rounds_end_in_the_same_cutover() -> None:
    rounds: list[ev.Event] = [
        *(ev.CopyBegun(round=1, final=False), copied("vda", 1), copied("vdb", 1), ev.Synced(round=1)),
        *(ev.CopyBegun(round=2, final=False), copied("vda", 2), copied("vdb", 2), ev.Synced(round=2)),
        *(verified("vda"), verified("vdb"), *REHEARSAL, verified("vda"), verified("vdb"), REHEARSED),
        *(ev.Approved(by="ann"), ev.CutoverBegun(power_before=Power.RUNNING), STOPPED),
        *(ev.CopyBegun(round=3, final=True), copied("vda", 3), copied("vdb", 3), verified("vda"), verified("vdb")),
    ]
    state = after(TO_STOPPED[0], *rounds, ev.Applied(), ev.Started())
    assert state.phase is Phase.STARTED
    assert state.approved is not None
    assert state.rehearsed == REHEARSED


# --- the rules ---------------------------------------------------------------------------------------------------


def test_nothing_comes_before_planned_not_even_a_note() -> None:
    for event in (TO_STOPPED[1], ev.Note(text="x"), ev.Committed()):
        refused(MachineState(), event, "nothing is planned")
    refused(after(TO_STOPPED[0]), TO_STOPPED[0], "planned already")
    refused(MachineState(), ev.Planned(plan_digest="d", disks=("vda", "vda")), "named twice")


def test_rounds_count_up_and_the_final_one_needs_the_source_off() -> None:
    begun = after(*TO_STOPPED[:2])
    refused(begun, ev.CopyBegun(round=1, final=True), "confirmed off")
    refused(after(*TO_STOPPED), ev.CopyBegun(round=1, final=False), "the final one")
    refused(after(*TO_COPIED), ev.CopyBegun(round=1, final=True), "does not come after")
    refused(after(*TO_STOPPED), copied("vda", 0), "not the one that is open")
    refused(after(*TO_COPIED), copied("vda", 2), "not the one that is open")
    refused(after(*TO_COPIED), copied("vdz"), "not one of the plan")


def test_what_is_put_back_at_the_source_is_known_until_it_is_rolled_back() -> None:
    was = Autostart(words="with its host", settings={"autostart": "yes"})
    recorded = after(*TO_STOPPED[:2], ev.AutostartRecorded(was=was))
    assert recorded.autostart == was
    refused(after(*TO_STOPPED), ev.AutostartRecorded(was=was), "off already")
    begun = step(step(recorded, STOPPED), ev.CutoverBegun(power_before=Power.RUNNING))
    assert begun.autostart == was, "begun anew, it is still to be put back"
    moved = after(*TO_COMMITTED[:2], ev.AutostartRecorded(was=was), *TO_COMMITTED[2:])
    refused(moved, ev.SourceMarked(), "what stood there before")
    moved = step(step(moved, ev.NotesRecorded(before="Ann's", line="moved")), ev.SourceMarked())
    assert (moved.marked, moved.phase) == (True, Phase.COMMITTED)
    back = step(step(step(moved, ev.RollbackBegun(reason="asked")), ev.SourceRestarted()), ev.RolledBack())
    assert (back.autostart, back.notes, back.marked) == (None, None, False)


def test_a_verification_counts_for_the_newest_copy_only() -> None:
    state = after(*TO_COPIED, verified("vda"))
    assert state.unverified == ("vdb",)
    assert step(state, copied("vda")).unverified == ("vda", "vdb")
    assert step(state, ev.CopyBegun(round=2, final=True)).unverified == ("vda", "vdb")
    refused(state, verified("vdb", root="other"), "another root")
    refused(after(*TO_COPIED[:-1]), verified("vdb"), "not copied in round 1")
    refused(step(state, ev.CopyBegun(round=2, final=True)), verified("vda"), "not copied in round 2")


def test_a_difference_is_remembered_until_the_disk_is_copied_again() -> None:
    state = after(*TO_VERIFIED, verified("vda", differing=3))
    assert state.unverified == ("vda",)
    assert state.differing == {"vda": 3}
    repaired = step(state, copied("vda"))
    assert repaired.differing == {}
    assert repaired.repairs == {"vda": 1}
    assert step(repaired, verified("vda")).unverified == ()


@pytest.mark.parametrize("event", [ev.Applied(), ev.Started()])
def test_the_target_needs_every_disk_verified_and_the_source_off(event: ev.Event) -> None:
    refused(after(*TO_VERIFIED[:-1]), event, "not verified: vdb")
    refused(after(*TO_STOPPED[:2]), event, "not confirmed off")


def test_started_needs_applied() -> None:
    refused(after(*TO_VERIFIED), ev.Started(), "not applied")


def test_nothing_is_copied_under_a_target_that_may_run() -> None:
    applied = after(*TO_VERIFIED, ev.Applied())
    assert applied.target_may_run
    refused(applied, ev.CopyBegun(round=2, final=True), "may be running")
    refused(applied, copied("vda"), "may be running")
    refused(applied, ev.CutoverBegun(power_before=Power.RUNNING), "may be running")


def test_validated_needs_probes_that_ran_and_passed() -> None:
    started = after(*TO_STARTED)
    refused(started, ev.Validated(probes_passed=1), "no observation passed")
    refused(step(started, ev.Observed(observation=FAILED)), ev.Validated(probes_passed=1), "no observation passed")
    refused(step(started, ev.Observed(observation={"probes": []})), ev.Validated(probes_passed=1), "no observation")
    refused(step(started, ev.Observed(observation=PASSED)), ev.Validated(probes_passed=2), "1 probes passed, not 2")
    again = step(step(started, ev.Observed(observation=PASSED)), ev.Started())
    refused(again, ev.Validated(probes_passed=1), "no observation passed")
    refused(started, ev.Committed(), "has no such event")


def test_a_rollback_ends_only_with_the_target_down_and_the_source_back() -> None:
    state = after(*TO_STARTED, ev.RollbackBegun(reason="probe"))
    refused(state, ev.SourceRestarted(), "may be running")
    refused(state, ev.RolledBack(), "may be running")
    down = step(state, ev.TargetStopped())
    refused(down, ev.RolledBack(), "not started again")
    done = step(step(down, ev.SourceRestarted()), ev.RolledBack())
    assert done.phase is Phase.ROLLED_BACK
    assert not done.source_off


def test_a_machine_that_was_off_is_rolled_back_without_a_start() -> None:
    events = (TO_STOPPED[0], ev.CutoverBegun(power_before=Power.OFF), STOPPED, ev.RollbackBegun(reason="asked"))
    assert after(*events, ev.RolledBack()).phase is Phase.ROLLED_BACK


def test_a_rolled_back_machine_starts_its_next_cutover_from_nothing_but_its_round() -> None:
    back = (ev.RollbackBegun(reason="x"), ev.TargetStopped(), ev.SourceRestarted(), ev.RolledBack())
    state = after(*TO_VALIDATED, *back, ev.CutoverBegun(power_before=Power.RUNNING))
    assert (state.applied, state.observed, state.validated, state.stopped, state.verified) == (None,) * 4 + ({},)
    assert state.round == 1
    refused(step(state, STOPPED), ev.CopyBegun(round=1, final=True), "does not come after")


def test_a_cutover_begun_again_keeps_the_first_power_state() -> None:
    """A runner that was killed after the stop must not learn that the source 'was off'."""
    state = after(*TO_STOPPED[:2], ev.CutoverBegun(power_before=Power.OFF))
    assert state.power_before is Power.RUNNING
    woken = after(TO_STOPPED[0], ev.CutoverBegun(power_before=Power.OFF), STOPPED)
    assert step(woken, ev.CutoverBegun(power_before=Power.RUNNING)).power_before is Power.RUNNING


def test_last_words_are_kept_when_the_stop_is_recorded_without_them() -> None:
    heard = ev.LastWords(at="t", words={"/count": "7"})
    late = ev.SourceStopped(how="already-off", at="t")
    assert after(*TO_STOPPED[:2], heard, late).last_words == {"/count": "7"}


# --- failure -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(1, len(TO_COMMITTED)))
def test_a_failure_anywhere_resumes_at_the_same_place(length: int) -> None:
    before = after(*TO_COMMITTED[:length])
    failed = step(before, ev.Failed(at="copy-disks", what="it broke", transient=True))
    assert failed.phase is Phase.FAILED
    assert failed.resumes is before.phase
    twice = step(step(failed, ev.Failed(at="copy-disks", what="again")), ev.Note(text="looked at it"))
    assert (twice.phase, twice.resumes, twice.attempts) == (Phase.FAILED, before.phase, 2)
    assert twice.failed is not None
    resumed = step(twice, TO_COMMITTED[length])
    straight = step(before, TO_COMMITTED[length])
    assert (resumed.phase, resumed.failed, resumed.failed_in) == (straight.phase, None, None)


@pytest.mark.parametrize("length", range(1, len(TO_COMMITTED) + 1))
def test_a_stop_that_was_asked_for_is_no_failure(length: int) -> None:
    before = after(*TO_COMMITTED[:length])
    stop = ev.Failed(at="copy-disks", what="stopped on request", transient=True, error_type="Interrupted")
    assert step(before, stop) == before
    if length < len(TO_COMMITTED):
        failed = step(before, ev.Failed(at="copy-disks", what="it broke", transient=True))
        assert step(failed, stop) == failed, "nor does it mend one"


def test_ends_do_not_fail() -> None:
    refused(after(*TO_COMMITTED), ev.Failed(at="x", what="y"), "has no such event")


# --- properties --------------------------------------------------------------------------------------------------

ROOTS = st.sampled_from(["r1", "r2"])
DISKS = st.sampled_from(["vda", "vdb"])
ROUNDS = st.integers(0, 3)
ANY_EVENT = st.one_of(
    st.just(TO_STOPPED[0]),
    st.builds(ev.CopyBegun, round=ROUNDS, final=st.booleans()),
    st.builds(ev.DiskCopied, disk=DISKS, round=ROUNDS, root=ROOTS, algorithm=st.just("blake3")),
    st.builds(ev.DiskVerified, disk=DISKS, root=ROOTS, differing=st.integers(0, 1)),
    st.sampled_from([ev.CutoverBegun(power_before=power) for power in Power]),
    st.builds(ev.Observed, observation=st.sampled_from([PASSED, FAILED, {}])),
    st.sampled_from([ev.Validated(probes_passed=1), ev.Validated(probes_passed=2)]),
    st.sampled_from(
        [
            *(STOPPED, ev.Applied(), ev.Started(), ev.TargetStopped(), ev.Committed(), ev.SourceRestarted()),
            *(ev.RollbackBegun(reason="r"), ev.RolledBack(), ev.Failed(at="a", what="w"), ev.Synced(round=1)),
            *(*REHEARSAL, REHEARSED, ev.Approved(by="a"), ev.Released(), ev.Note(text="n"), ev.LastWords(at="t")),
            ev.Watched(probes_passed=1),
        ]
    ),
)


@given(st.lists(ANY_EVENT, max_size=60), st.integers(0, len(TO_COMMITTED)))
@settings(max_examples=300)
def test_no_sequence_of_events_gets_around_the_invariants(events: list[ev.Event], start: int) -> None:
    state = after(*TO_COMMITTED[:start])
    running = {Phase.STARTED, Phase.VALIDATED}
    for event in events:
        try:
            state = step(state, event)
        except IllegalTransition:
            continue
        if state.resumes in running:
            assert state.source_off
            assert not state.unverified
            assert not state.uncopied
        if state.resumes is Phase.VALIDATED:
            assert state.validated
        if state.resumes is Phase.COMMITTED:
            assert state.probes_passed
        if state.resumes is Phase.ROLLED_BACK:
            assert not state.target_may_run
            assert not state.owes_restart
        assert not (state.source_restarted and state.target_may_run)
        assert (state.phase is Phase.FAILED) == (state.failed is not None) == (state.failed_in is not None)


@given(st.lists(ANY_EVENT, max_size=30))
@settings(max_examples=100)
def test_events_come_back_from_json_as_they_were(events: list[ev.Event]) -> None:
    assert [ev.event_from_json(ev.event_to_json(event)) for event in events] == events


def test_every_kind_has_one_payload_and_a_place_in_the_table() -> None:
    kinds = [cls.model_fields["kind"].default for cls in ev.Event.__args__]
    assert sorted(kinds) == sorted(ev.EventKind)
    assert {kind for _phase, kind in TRANSITIONS} == set(ev.EventKind) - {
        ev.EventKind.NOTE,
        ev.EventKind.LOCATED,
    }  # at any time


def test_every_phase_is_reached_and_every_phase_but_the_ends_leads_to_one() -> None:
    reached = {Phase.PLANNED} | set(TRANSITIONS.values())
    assert reached == set(Phase)
    for phase in set(Phase) - {Phase.FAILED}:
        seen, todo = {phase}, [phase]
        while todo:
            here = todo.pop()
            news = {to for (at, _kind), to in TRANSITIONS.items() if at is here} - seen
            seen |= news
            todo += news
        assert seen & ENDS, phase


@pytest.mark.parametrize("text", ["", "{}", '{"kind": "nonsense"}', '{"kind": "committed", "extra": 1}', "[1]"])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ev.event_from_json(text)
