"""The machine that is left behind: what starts it by itself, what people read at it, and whether it runs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from flows.cli.standing import standings
from kubeferry import marks
from kubeferry.documents import Policy, StopPolicy
from kubeferry.errors import Fenced, Interrupted, SourceRefused, SourceUnavailable
from kubeferry.life.action_kinds import ActionKind as A
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.life.old_machine import left_so
from kubeferry.model import Power
from kubeferry.steps.accounts import settle
from kubeferry.steps.afterwards import watch_sources
from kubeferry.steps.drive import drive
from kubeferry.targets import TargetCapabilities
from reports.facts import build_report
from reports.markdown import render_markdown
from tests.unit.steps.conftest import POLICY
from tests.unit.steps.test_marks import AGENT, another_plan, left_at
from tests.unit.steps.test_precedence import made
from tests.unit.steps.test_release import released
from tests.unit.steps.test_stop_asked import Killed, shut_down

ON = {"order": "3", "delay": "120"}
OWN = "Ask Ann\n and Bob "


def autostart(scene: Any) -> dict[str, str]:
    """What starts the machine by itself now."""
    told = scene.source.autostart(scene.entry.machine)
    return dict(told.settings) if told else {}


def notes(scene: Any) -> Any:
    return scene.source.notes(scene.entry.machine)


def ended(scene: Any, goal: Goal = Goal.MIGRATE) -> Phase:
    """A run as a flow carries it out; the phase that it reached."""
    state = scene.drive(goal)
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        settle(scene.work(lease))
    return Phase(state.phase)


def killed(scene: Any, method: str, *, done: bool, goal: Goal = Goal.MIGRATE) -> None:
    """A run that is killed when it calls this method of the source for the first time, or when that was done."""
    whole = getattr(scene.source, method)

    def kill(*args: Any, **named: Any) -> None:
        delattr(scene.source, method)
        if done:
            whole(*args, **named)
        raise Killed

    setattr(scene.source, method, kill)
    with pytest.raises(Killed):
        ended(scene, goal)


def host_starts(scene: Any) -> None:
    """The machine's hypervisor starts anew, and its machines that start by themselves with it."""
    scene.source.write_power("web", Power.RUNNING if autostart(scene) else Power.OFF)
    assert not (scene.target.running and scene.power is Power.RUNNING), "two copies run"


@pytest.fixture
def started(build: Any) -> Any:
    """A machine that its source starts by itself, going to a target that keeps it running."""
    scene = build()
    scene.source.write_autostart("web", **ON)
    scene.target.capabilities = TargetCapabilities(keeps_running=True, isolated=False)
    return scene


# --- what starts it --------------------------------------------------------------------------------------------------


def test_what_starts_a_source_is_recorded_before_it_is_switched_off_and_put_back_by_a_rollback(started: Any) -> None:
    assert ended(started) is Phase.COMMITTED
    assert started.kinds.index("autostart-recorded") == started.kinds.index("source-stopped") - 1
    assert (autostart(started), started.state.autostart.settings, started.state.stopped.stays_off) == ({}, ON, True)
    host_starts(started)
    assert started.power is Power.OFF
    assert ended(started, Goal.ROLLBACK) is Phase.ROLLED_BACK
    assert (autostart(started), started.power, started.state.autostart) == (ON, Power.RUNNING, None)


def test_what_nothing_starts_costs_no_event(scene: Any) -> None:
    assert ended(scene) is Phase.COMMITTED
    assert "autostart-recorded" not in scene.kinds
    assert scene.state.stopped.stays_off is True


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.ROLLBACK])
@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("method", ["stop", "autostart", "set_autostart", "mark", "last_start"])
def test_killed_anywhere_around_the_stop_the_next_run_does_the_rest(
    started: Any, method: str, done: bool, host: bool, goal: Goal
) -> None:
    killed(started, method, done=done)
    if host:
        host_starts(started)
    ended(started, goal)
    assert autostart(started) == ({} if goal is Goal.MIGRATE else ON)
    if goal is Goal.MIGRATE:
        assert (started.state.phase, started.power, started.equal()) == (Phase.COMMITTED, Power.OFF, True)
        ended(started, Goal.ROLLBACK)
    assert (autostart(started), started.power) == (ON, Power.RUNNING)


@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("method", ["start", "set_autostart", "unmark", "write_notes"])
def test_killed_anywhere_on_the_way_back_the_next_run_does_the_rest(
    started: Any, method: str, done: bool, host: bool
) -> None:
    started.source.write_machines(*(one.model_copy(update={"description": OWN}) for one in machines(started)))
    ended(started)
    killed(started, method, done=done, goal=Goal.ROLLBACK)
    if host:
        host_starts(started)
    ended(started, Goal.ROLLBACK)
    expected = Power.RUNNING if not (host and "source-restarted" in started.kinds[:-1]) else started.power
    assert (autostart(started), started.power, notes(started)) == (ON, expected, OWN)


def machines(scene: Any) -> Any:
    return scene.source.discover().machines


@pytest.mark.parametrize("kind", [A.STOP_SOURCE, A.BEGIN_COPY, A.APPLY, A.OBSERVE, A.COMMIT])
def test_stopped_between_two_steps_and_rolled_back_it_is_as_it_was(started: Any, kind: A) -> None:
    left_at(started, kind)
    host_starts(started)
    ended(started, Goal.ROLLBACK)
    assert (autostart(started), started.power) == (ON, Power.RUNNING)


def test_a_machine_that_was_off_is_switched_off_for_good_and_put_back_too(build: Any) -> None:
    scene = build(power=Power.OFF)
    scene.source.write_autostart("web", **ON)
    assert ended(scene) is Phase.COMMITTED
    assert autostart(scene) == {}
    ended(scene, Goal.ROLLBACK)
    assert (autostart(scene), scene.power) == (ON, Power.OFF)


def test_a_machine_that_its_owner_has_shut_down_is_put_back_and_left_off(started: Any) -> None:
    left_at(started, A.STOP_SOURCE)
    shut_down(started)
    left_at(started, A.APPLY)
    assert autostart(started) == {}
    ended(started, Goal.ROLLBACK)
    assert (autostart(started), started.power) == (ON, Power.OFF)


def test_a_source_that_may_not_be_changed_does_not_move(started: Any) -> None:
    started.source.write_faults("set_autostart", SourceRefused)
    with pytest.raises(SourceRefused, match="told to fail"):
        started.drive()
    assert (started.state.phase, started.power, autostart(started)) == (Phase.ROLLED_BACK, Power.RUNNING, ON)
    assert not started.target.disks


def test_one_that_takes_the_change_and_does_not_make_it_does_not_move(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(started.source, "set_autostart", lambda _machine, _wanted: None)
    with pytest.raises(SourceRefused, match="with its folder, and that cannot be switched off"):
        started.drive()
    assert (started.state.phase, started.power, autostart(started)) == (Phase.ROLLED_BACK, Power.RUNNING, ON)


def test_what_cannot_be_put_back_is_said_when_the_source_runs_again_and_the_same_command_ends_it(started: Any) -> None:
    ended(started)
    started.source.write_faults("set_autostart", SourceRefused)
    with pytest.raises(SourceRefused, match="could not be put back") as caught:
        started.drive(Goal.ROLLBACK)
    assert "order 3, delay 120" in caught.value.fix
    assert (started.power, autostart(started), started.state.resumes) == (Power.RUNNING, {}, Phase.ROLLING_BACK)
    started.source.write_autostart("web", **ON)  # by hand
    assert ended(started, Goal.ROLLBACK) is Phase.ROLLED_BACK
    assert (started.power, autostart(started)) == (Power.RUNNING, ON)


def test_who_switches_it_on_again_during_the_move_wants_it_so(started: Any) -> None:
    left_at(started, A.BEGIN_COPY)
    started.source.write_autostart("web", order="9")
    started.source.write_power("web", Power.RUNNING)
    assert ended(started) is Phase.COMMITTED
    assert (autostart(started), started.state.autostart.settings) == ({}, {"order": "9"})


def test_another_plan_puts_back_what_the_older_one_has_switched_off(started: Any) -> None:
    left_at(started, A.APPLY)
    started.plan = another_plan(started)
    ended(started, Goal.ROLLBACK)
    assert (autostart(started), started.power) == (ON, Power.RUNNING)


def test_another_plan_that_moves_it_on_puts_back_what_the_older_one_has_changed(started: Any) -> None:
    started.source.write_machines(*(one.model_copy(update={"description": OWN}) for one in machines(started)))
    started.plan = made(started, Policy(probes=AGENT), "first")
    assert ended(started) is Phase.COMMITTED
    started.target.stop(started.entry, started.journal.newest_fence("web"))
    started.target.unmark(started.entry, started.journal.newest_fence("web"))
    first, started.plan = notes(started), another_plan(started)
    assert ended(started) is Phase.COMMITTED
    assert "plan another at" in notes(started)
    assert notes(started) != first
    ended(started, Goal.ROLLBACK)
    assert (autostart(started), started.power, notes(started)) == (ON, Power.RUNNING, OWN)


def test_a_runner_that_switches_it_off_too_late_puts_it_back(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It slept, and another one has rolled the machine back meanwhile."""
    whole, slept = started.source.set_autostart, []
    stale = started.journal.acquire(started.plan.digest, "web", ttl_seconds=0.01)

    def overtaken(machine: Any, wanted: Any) -> None:
        if wanted is None and not slept:
            slept.append(True)
            time.sleep(0.02)
            started.drive(Goal.ROLLBACK)
        whole(machine, wanted)

    monkeypatch.setattr(started.source, "set_autostart", overtaken)
    with pytest.raises(Fenced):
        drive(started.work(stale), Goal.MIGRATE, lambda _action, step: step())
    assert slept
    assert (autostart(started), started.power, started.state.phase) == (ON, Power.RUNNING, Phase.ROLLED_BACK)


# --- what people read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [None, "", OWN])
def test_a_machine_that_has_moved_says_where_it_is_until_it_is_rolled_back(build: Any, own: str | None) -> None:
    scene = build()
    scene.source.write_machines(*(one.model_copy(update={"description": own}) for one in machines(scene)))
    assert ended(scene) is Phase.COMMITTED
    line = marks.line_in(notes(scene))
    entry = scene.entry
    assert line.startswith(f"moved to {entry.namespace}/{entry.target_name} by kubeferry plan test at 20")
    assert line.endswith("; do not start")
    assert notes(scene) == (f"{own}\n{line}" if own else line)
    assert scene.kinds[-2:] == ["notes-recorded", "source-marked"]
    assert machines(scene)[0].description == (own or None)
    before = scene.kinds
    ended(scene)
    assert scene.kinds == before, "once"
    released(scene)
    assert marks.line_in(notes(scene)) == line, "it says so for as long as it has moved"
    ended(scene, Goal.ROLLBACK)
    assert (notes(scene), scene.state.notes, scene.state.marked) == (own, None, False)


def test_what_people_write_there_meanwhile_stays(scene: Any) -> None:
    ended(scene)
    now = notes(scene)
    scene.source.write_notes(scene.entry.machine, f"Moved on Monday!\n{now}\nAsk Bob", now)
    ended(scene, Goal.ROLLBACK)
    assert notes(scene) == "Moved on Monday!\nAsk Bob"


@pytest.mark.parametrize("fault", [SourceRefused, SourceUnavailable])
def test_where_it_may_not_be_written_the_machine_has_moved_and_a_note_says_so(scene: Any, fault: Any) -> None:
    scene.source.write_faults("write_notes", fault)
    assert ended(scene) is Phase.COMMITTED
    assert (scene.state.marked, left_so(scene.state)) == (False, ("no autostart", "not marked"))
    told = [record.event.text for record in scene.events if str(record.event.kind) == "note"]
    assert any("nothing could be written at the source that the machine has moved" in text for text in told)
    ended(scene)
    assert (scene.state.marked, scene.kinds.count("notes-recorded")) == (True, 1)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.ROLLBACK])
def test_killed_while_it_is_written_the_next_run_goes_on(scene: Any, done: bool, goal: Goal) -> None:
    scene.source.write_machines(*(one.model_copy(update={"description": OWN}) for one in machines(scene)))
    killed(scene, "write_notes", done=done)
    assert scene.state.phase is Phase.COMMITTED
    ended(scene, goal)
    assert (notes(scene) == OWN) == (goal is Goal.ROLLBACK)
    assert scene.state.marked == (goal is Goal.MIGRATE)


def test_a_line_that_cannot_be_taken_away_keeps_no_source_off(scene: Any) -> None:
    ended(scene)
    scene.source.write_faults("write_notes", SourceRefused)
    assert ended(scene, Goal.ROLLBACK) is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING
    told = [record.event.text for record in scene.events if str(record.event.kind) == "note"]
    assert any("could not be taken away" in text for text in told)


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_status_and_report_say_how_it_was_left(started: Any) -> None:
    assert ended(started) is Phase.COMMITTED
    (row,) = standings(started.plan, {"web": started.events}, {}, {})
    assert str(row.source).endswith(" UTC, autostart off, marked")
    assert row.facts()["source"]["left"] == ["autostart off", "marked"]  # type: ignore[index]
    report = build_report(started.plan, {"web": started.events}, generated_at="2026-01-01T00:00:00Z")
    assert report.machines[0].left_so == ("autostart off", "marked")
    assert "**Source:** off, autostart off, marked" in render_markdown(report)
    ended(started, Goal.ROLLBACK)
    (row,) = standings(started.plan, {"web": started.events}, {}, {})
    assert str(row.source) == "running"


# --- whether it runs -------------------------------------------------------------------------------------------------


def test_a_source_that_runs_beside_its_copy_is_an_alarm_and_nothing_is_done(started: Any) -> None:
    def watched() -> Any:
        return watch_sources(started.plan, started.journal, lambda: started.source)

    assert watched().asked == 0
    assert ended(started) is Phase.COMMITTED
    assert (watched().alarms, watched().unanswered, watched().asked) == ((), (), 1)
    started.source.write_power("web", Power.RUNNING)
    before = started.kinds
    (alarm,) = watched().alarms
    assert (alarm.machine, "is running at lab, beside its copy" in alarm.what) == ("web", True)
    assert "with its folder) was switched off then" in alarm.why
    assert "kubeferry rollback" in alarm.fix
    assert (started.power, started.kinds, list(started.target.running)) == (Power.RUNNING, before, ["web"])
    started.source.write_faults("powers", SourceUnavailable)
    (told,) = watched().unanswered
    assert "lab does not tell" in told


def test_a_source_that_another_plan_has_in_hand_is_no_alarm(started: Any) -> None:
    first = started.plan = made(started, Policy(probes=AGENT), "first")
    ended(started)
    started.target.stop(started.entry, started.journal.newest_fence("web"))
    started.target.unmark(started.entry, started.journal.newest_fence("web"))
    started.plan = another_plan(started)
    left_at(started, A.APPLY)
    ended(started, Goal.ROLLBACK)
    assert started.power is Power.RUNNING
    seen = watch_sources(first, started.journal, lambda: started.source)
    assert (seen.alarms, seen.asked) == ((), 1)


def test_the_source_of_a_copy_that_was_removed_may_run(started: Any) -> None:
    ended(started)
    released(started, everything=True)
    started.source.write_power("web", Power.RUNNING)
    assert watch_sources(started.plan, started.journal, lambda: started.source).asked == 0


# --- a source that ends what is stopped ------------------------------------------------------------------------------


class Replacing:
    """The memory source as one whose groups end what is stopped: it may not be stopped in one."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.capabilities = type(inner.capabilities)(
            **{name: getattr(inner.capabilities, name) for name in inner.capabilities.__slots__}
            | {"replaces_stopped": True}
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def stop(self, machine: Any, *more: Any) -> Any:
        if self._inner.autostart(machine) is not None:
            raise SourceRefused("it would be ended")
        return self._inner.stop(machine, *more)


@pytest.mark.parametrize("detach", [False, True])
def test_a_source_that_would_be_ended_is_taken_out_before_its_stop_where_the_policy_says_so(
    build: Any, detach: bool
) -> None:
    stop = StopPolicy(last_words=POLICY.stop.last_words, scaling_group="detach" if detach else None)
    scene = build(policy=Policy(probes=POLICY.probes, stop=stop))
    scene.source.write_autostart("web", **ON)
    scene.source = Replacing(scene.source)
    if not detach:
        with pytest.raises(SourceRefused, match="would be ended"):
            scene.drive()
        assert (scene.power, autostart(scene), "autostart-recorded" in scene.kinds) == (Power.RUNNING, ON, False)
        return
    killed(scene, "set_autostart", done=True)
    assert (scene.power, autostart(scene), "stop-asked" in scene.kinds) == (Power.RUNNING, {}, False)
    assert ended(scene) is Phase.COMMITTED
    assert scene.kinds.index("autostart-recorded") < scene.kinds.index("stop-asked")
    ended(scene, Goal.ROLLBACK)
    assert (scene.power, autostart(scene)) == (Power.RUNNING, ON)


def test_a_run_that_is_stopped_while_the_line_is_written_leaves_it_to_the_next_one(scene: Any) -> None:
    scene.source.write_faults("write_notes", Interrupted)
    ended(scene)
    assert not scene.state.marked
    assert ended(scene) is Phase.COMMITTED
    assert scene.state.marked
