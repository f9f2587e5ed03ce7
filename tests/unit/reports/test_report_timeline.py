"""Timeline, downtime and history: end to end, adding up exactly, and silent about what was not seen."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import CommitPolicy
from kubeferry.life import events as ev
from kubeferry.model import Power
from reports.facts import build_report
from reports.shapes import Bound, HappeningKind, MachineReport, PartName

P = PartName
gaps = st.floats(0, 5000, allow_nan=False).map(lambda seconds: round(seconds, 3))


def machine_of(life) -> MachineReport:
    return build_report(life.plan, {life.entry.name: life.records}, generated_at=life.at()).machines[0]


def parts_of(life) -> list[tuple[PartName, float, bool]]:
    timeline = machine_of(life).timeline
    return [(part.name, part.seconds, part.down) for part in timeline.parts]


def check_sums(machine: MachineReport) -> None:
    """Parts lie end to end, add up to the whole, and the down ones to the downtime: exactly, in milliseconds."""
    parts = machine.timeline.parts
    ends = [round(1000 * (part.offset_seconds + part.seconds)) for part in parts]
    assert all(
        end == round(1000 * after.offset_seconds) for end, (_, after) in zip(ends, pairwise(parts), strict=False)
    )
    assert sum(round(1000 * part.seconds) for part in parts) == round(1000 * machine.timeline.seconds)
    assert all(part.seconds > 0 for part in parts)
    if machine.downtime.seconds is not None:
        down = sum(round(1000 * part.seconds) for part in parts if part.down)
        assert down == round(1000 * machine.downtime.seconds)
    else:
        assert not any(part.down for part in parts)


def test_a_cutover_from_the_last_answer_to_the_first(estate):
    life = estate.life().begun().stopped().moved_bytes().observed().committed()
    machine = machine_of(life)
    assert parts_of(life) == [
        (P.BEFORE, 0.7, False),
        (P.STOP, 5.9, True),
        (P.COPY, 4.1, True),
        (P.VERIFY, 1.5, True),
        (P.START, 0.8, True),
        (P.BOOT, 9.4, True),
        (P.PROBES, 1.5, False),
        (P.COMMIT, 1.4, False),
    ]
    assert (machine.downtime.seconds, machine.downtime.bound) == (21.7, Bound.EXACT)
    assert machine.downtime.begins_at == "2026-07-14T09:12:01.100+00:00"
    assert machine.downtime.ends_at == machine.boot.first_answer_at
    assert machine.downtime.text == (
        "from the last answer of the source to the first answer of the copy, "
        "which was started for the proof and is stopped again"
    )
    check_sums(machine)


@given(
    pauses=st.lists(gaps, min_size=8, max_size=8),
    resumed=st.sets(st.integers(0, 7)),
    heard=st.booleans(),
    answers=st.booleans(),
    end=st.integers(0, 8),
)
def test_parts_always_add_up(estate, pauses, resumed, heard, answers, end):
    life = estate.life(disks=("vda", "vdb")).begun()
    steps = [
        lambda: life.then(0, ev.LastWords(at=life.at(-0.2))) if heard else life,
        lambda: life.then(0, ev.SourceStopped(how="acpi", at=life.at())),
        lambda: life.then(0, ev.CopyBegun(round=1, final=True)),
        lambda: life.copied("vda", 0.2),
        lambda: life.copied("vdb", 300.0),
        lambda: life.verified("vda").verified("vdb"),
        lambda: life.observed(**({} if answers else {"first_answer_at": None})),
        life.committed,
    ]
    for number, (pause, act) in enumerate(zip(pauses[:end], steps, strict=False)):
        if number in resumed:
            life.resumed()
        life.then(pause, ev.Failed(at="copy-disks", what="lost", transient=True)) if number == 3 else life.then(
            pause, ev.Note(text="waiting")
        )
        act()
    machine = machine_of(life)
    if machine.timeline:
        check_sums(machine)
    assert machine.resumes <= len(resumed)


def test_without_the_sources_last_answer_the_downtime_is_at_most(estate):
    life = estate.life().begun().then(5, ev.SourceStopped(how="acpi", at=estate.life().at(5)))
    downtime = machine_of(life.moved_bytes().observed().committed()).downtime
    assert (downtime.bound, downtime.begins_at) == (Bound.AT_MOST, "2026-07-14T09:12:00.400+00:00")


def test_while_no_copy_answered_the_downtime_is_at_least(estate):
    downtime = machine_of(estate.life().begun().stopped().moved_bytes()).downtime
    assert (downtime.bound, downtime.seconds) == (Bound.AT_LEAST, 11.5)
    assert "no answer of the copy was seen" in downtime.text


def test_with_neither_end_seen_nothing_is_claimed(estate):
    life = estate.life().begun().then(5, ev.SourceStopped(how="acpi", at=estate.life().at(5))).moved_bytes()
    downtime = machine_of(life).downtime
    assert (downtime.bound, downtime.seconds) == (Bound.NOT_MEASURED, None)


@pytest.mark.parametrize("power", [Power.OFF, Power.PAUSED, Power.CRASHED])
def test_a_source_that_served_nobody_has_no_downtime(estate, power):
    life = estate.life().begun(power).then(0.1, ev.SourceStopped(how="already-off", at=estate.life().at()))
    machine = machine_of(life.moved_bytes().observed().committed())
    assert machine.downtime.seconds is None
    assert machine.downtime.text == f"none caused: the source was {power} before"
    assert machine.power_before == power


def test_a_rollback_ends_the_downtime_at_the_restart_at_the_earliest(estate):
    life = estate.life().begun().stopped().moved_bytes().observed()
    life.then(0.1, ev.RollbackBegun(reason="asked for"))
    assert machine_of(life).downtime.text.endswith("the source is not back yet")
    machine = machine_of(life.then(1, ev.TargetStopped()).then(2, ev.SourceRestarted()).then(9, ev.RolledBack()))
    assert machine.downtime.bound is Bound.AT_LEAST
    assert machine.downtime.ends_at == life.records[-2].at
    names = [part.name for part in machine.timeline.parts]
    assert P.COMMIT not in names
    assert set(names[names.index(P.ROLLBACK) :]) == {P.ROLLBACK}
    check_sums(machine)


def test_an_interruption_is_shown_for_all_but_the_seconds_that_are_accounted_for(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True)).resumed()
    life.copied("vda", 600.0, seconds=40.0, resumed_bytes=200 << 20).verified("vda").observed().committed()
    assert (P.INTERRUPTED, 560.0, True) in parts_of(life)
    machine = machine_of(life)
    assert (machine.attempts, machine.resumes) == (2, 1)
    told = [one for one in machine.history if one.kind is HappeningKind.INTERRUPTED]
    assert len(told) == 1
    assert told[0].what == (
        "resumed after an interruption: 10\u00a0min 00\u00a0s lie between 'copy-begun' of one run and 'disk-copied' of "
        "the next; 200\u00a0MiB were durable already and were not read again"
    )
    check_sums(machine)


def test_a_run_that_ended_at_rest_was_not_interrupted(estate):
    life = estate.life()
    life.then(0, ev.Planned(plan_digest=life.plan.digest, disks=("vda",))).resumed()
    life.then(3600, ev.CutoverBegun(power_before=Power.RUNNING)).stopped().moved_bytes().observed()
    life.then(0.1, ev.Validated(probes_passed=3)).resumed().then(900, ev.Committed())
    machine = machine_of(life)
    assert (machine.attempts, machine.resumes, machine.history) == (3, 0, ())
    assert not any(part.name is P.INTERRUPTED for part in machine.timeline.parts)


WATCHED = CommitPolicy(watch_seconds=3600)


def watched(estate):
    """A copy that serves, and is asked again twice, each time by another run; the clock stands an hour later."""
    life = estate.life(commit=WATCHED).begun().stopped().moved_bytes().observed()
    first = life.records[-1].event.observation
    life.then(0.1, ev.Validated(probes_passed=3))
    for _ in range(2):
        again = first | {"firstAnswerAt": life.at(1799)}  # who asks anew hears a first answer anew
        life.resumed().then(1800, ev.Observed(observation=again))
    return life


def test_the_watch_of_a_copy_that_serves_is_no_downtime_and_no_part_of_the_cutover(estate):
    machine = machine_of(watched(estate).resumed().then(0.2, ev.Committed()).then(0.1, ev.SourceMarked()))
    assert (machine.downtime.seconds, machine.downtime.bound) == (21.7, Bound.EXACT)
    assert [part.name for part in machine.timeline.parts][-3:] == [P.BOOT, P.PROBES, P.COMMIT]
    assert machine.timeline.seconds < 60
    assert (machine.resumes, machine.history) == (0, ())
    check_sums(machine)


@pytest.mark.parametrize("committed", [False, True])
def test_a_way_back_from_a_copy_that_served_counts_only_what_nobody_answered(estate, committed):
    life = watched(estate)
    life = life.resumed().then(7200, ev.Committed()) if committed else life
    life.resumed().then(600, ev.RollbackBegun(reason="asked for")).then(1, ev.TargetStopped())
    machine = machine_of(life.then(2, ev.SourceRestarted()).then(0.1, ev.RolledBack()))
    assert (machine.downtime.seconds, machine.downtime.bound) == (24.7, Bound.AT_LEAST)
    assert machine.downtime.text.endswith("after which nobody asked it, without the time in which the copy served")
    names = [part.name for part in machine.timeline.parts]
    assert P.INTERRUPTED not in names
    assert P.WATCH in names
    check_sums(machine)


def test_a_repair_is_a_part_of_its_own(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True))
    life.copied("vda").verified("vda", differing=2).copied("vda").verified("vda")
    assert [name for name, _, _ in parts_of(life)][-4:] == [P.COPY, P.VERIFY, P.REPAIR, P.VERIFY]


def test_a_failure_and_what_came_after_it_are_told_in_order(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True))
    life.then(2, ev.Failed(at="copy-disks", what="libvirtd is gone", fix="Start it.", transient=True)).resumed()
    life.copied("vda", 62.0).then(1, ev.Note(text="looked at by hand"))
    history = machine_of(life).history
    assert [one.kind for one in history] == [HappeningKind.FAILED, HappeningKind.TAKEN_UP, HappeningKind.NOTE]
    assert history[0].fix == "Start it."
    assert history[1].what == "taken up again after the failure, 1\u00a0min 02\u00a0s later"


def test_a_stop_that_was_asked_for_is_told_as_one(estate):
    life = estate.life().begun().stopped().then(0.1, ev.CopyBegun(round=1, final=True))
    life.then(2, ev.Failed(at="copy-disks", what="stopped on request", transient=True, error_type="Interrupted"))
    assert machine_of(life).verdict == "under way"
    history = machine_of(life.resumed().copied("vda", 62.0)).history
    assert [one.kind for one in history] == [HappeningKind.NOTE, HappeningKind.TAKEN_UP]
    assert history[0].what == "copy-disks: stopped on request, on the way to the target"
    assert history[1].what == "taken up again after the stop, 1\u00a0min 02\u00a0s later"


def test_a_source_that_is_off_by_another_stop_is_told(estate):
    life = estate.life().begun().then(1, ev.StopAsked()).then(90, ev.RollbackBegun(reason="asked for"))
    life.then(1, ev.StopNotDone(why="it was stopped by user bob")).then(1, ev.RolledBack())
    machine = machine_of(life)
    (told,) = (one for one in machine.history if one.kind is HappeningKind.NOTE)
    assert (told.what, told.why) == ("the source is off by another stop than ours", "it was stopped by user bob")
    assert not machine.source_restarted


def test_only_the_newest_cutover_counts(estate):
    life = estate.life().begun().stopped().moved_bytes().observed()
    life.then(1, ev.RollbackBegun(reason="asked for")).then(1, ev.TargetStopped())
    life.then(1, ev.SourceRestarted()).then(1, ev.RolledBack()).then(9000, ev.CutoverBegun(power_before=Power.RUNNING))
    machine = machine_of(life.stopped())
    assert machine.timeline.seconds == 6.6
    assert not machine.source_restarted
    assert machine.history[-1].kind is HappeningKind.AGAIN


def test_times_that_contradict_each_other_measure_nothing(estate):
    life = estate.life().begun().stopped().moved_bytes().observed(first_answer_at="2026-07-14T08:00:00.000+00:00")
    machine = machine_of(life.committed())
    assert machine.downtime.text == "not measured: the recorded times contradict each other"
    check_sums(machine)


def test_a_clock_that_went_backwards_is_told(estate):
    life = estate.life().begun().stopped().moved_bytes()
    assert machine_of(life).timeline.clocks_agree
    life.then(-60, ev.Applied()).observed()
    machine = machine_of(life)
    assert not machine.timeline.clocks_agree
    check_sums(machine)


@pytest.mark.parametrize("at", ["", "yesterday", "2026-13-01T00:00:00Z", "9999999999999"])
def test_a_time_that_is_none_is_no_error(estate, at):
    life = estate.life().begun().stopped().moved_bytes().observed(started_at=at, first_answer_at=at)
    machine = machine_of(life.committed())
    assert machine.downtime.bound is not Bound.EXACT


def test_the_journals_lines_name_host_and_process_only(estate):
    line = machine_of(estate.life().begun()).journal[0]
    assert (line.seq, line.kind, line.writer) == (1, "planned", "host:1001")
