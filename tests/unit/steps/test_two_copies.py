"""Never two copies: what the journal says is looked at in the world before a machine is started, on either side, and
what a runner does that slept through its lease is undone."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import JournalConfig, Policy, Probe, dump
from kubeferry.errors import Fenced, Interrupted, PermanentError, ProbeFailed, TargetRefused, TargetUnavailable
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.drive import drive
from kubeferry.steps.release import settle
from kubeferry.targets import TargetCapabilities
from kubeferry.targets.gone import GoneTarget
from soak.run.journals import backed_up

A = ActionKind
TTL = 0.05
UNKNOWN = "its copy runs at the target, and this journal knows nothing of it"
CONNECTED = TargetCapabilities(keeps_running=True, isolated=False)


@pytest.fixture
def connected(scene: Any) -> Any:
    """The scene with a target that behaves as a cluster: what it starts runs on."""
    scene.target.capabilities = CONNECTED
    return scene


def two_run(scene: Any) -> bool:
    return bool(scene.target.running) and scene.power is not Power.OFF


def end_leases(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("UPDATE kubeferry_machine SET owner = NULL, expires_at = ''")


# --- a journal that is older than the world --------------------------------------------------------------------------


def backups_of_a_move(scene: Any) -> list[Path]:
    """The journal as it was after each event of a whole move. Who held a lease then has ended since."""
    made = backed_up(scene.journal, scene.folder)
    scene.drive()
    for backup in made:
        end_leases(backup)
    return made


@pytest.mark.parametrize("goal", [Goal.ROLLBACK, Goal.MIGRATE])
def test_a_journal_that_was_restored_from_a_backup_starts_no_second_copy(
    connected: Any, tmp_path: Path, goal: Goal
) -> None:
    scene = connected
    ended: list[str] = []
    for backup in backups_of_a_move(scene):
        shutil.copy(backup, tmp_path / f"{backup.stem}.db")
        scene.target.running.setdefault("web", "since the move")
        scene.source.write_power("web", Power.OFF)
        with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path / backup.stem}.db")) as restored:
            scene.journal = restored
            try:
                ended.append(str(scene.drive(goal).phase))
            except TargetRefused as refused:
                ended.append(refused.what)
        assert not two_run(scene), backup
    assert {UNKNOWN, "rolled-back" if goal is Goal.ROLLBACK else "committed"} <= set(ended)


def test_a_machine_that_is_planned_as_halted_and_that_its_owner_started_is_not_joined_by_its_source(
    build: Callable[..., Any],
) -> None:
    scene = build(policy=Policy(probes=(Probe(kind="agent"),), run_strategy="Halted"))
    scene.target.capabilities = CONNECTED
    scene.drive()
    assert not scene.target.running
    scene.target.running["web"] = "by its owner"
    with pytest.raises(TargetRefused, match=UNKNOWN) as caught:
        scene.drive(Goal.ROLLBACK)
    assert "exists nowhere else" in caught.value.fix
    assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])
    scene.target.running.clear()
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


@pytest.mark.parametrize("kind", [A.STOP_SOURCE, A.BEGIN_COPY, A.VERIFY_DISKS, A.APPLY])
def test_two_operators_with_a_journal_each_start_no_second_copy(
    connected: Any, tmp_path: Path, kind: ActionKind
) -> None:
    scene = connected
    scene.stop_before(kind)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.before = lambda _action: None
    mine = scene.journal
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path / 'theirs.db'}")) as theirs:
        theirs.register_plan(scene.plan.digest, scene.plan.name, dump(scene.plan))
        scene.journal = theirs
        assert scene.drive().phase is Phase.COMMITTED
        scene.journal = mine
        for goal in (Goal.MIGRATE, Goal.ROLLBACK):
            with pytest.raises(TargetRefused, match="knows nothing of it"):
                scene.drive(goal)
            assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])


def test_a_target_that_does_not_answer_keeps_its_source_off_until_a_person_says_that_it_is_down(
    connected: Any,
) -> None:
    scene = connected
    scene.stop_before(A.COPY_DISKS)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.before = lambda _action: None
    scene.target.runs = away
    scene.target.stop = away
    with pytest.raises(TargetUnavailable):
        scene.drive(Goal.ROLLBACK)
    assert (scene.power, scene.state.resumes) == (Power.OFF, Phase.ROLLING_BACK)
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        told = said_down(scene.work(lease), "ann")
        assert drive(told, Goal.ROLLBACK, lambda _action, step: step()).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


def test_a_target_that_is_gone_for_good_is_rolled_back_on_a_person_s_word_and_that_is_recorded(connected: Any) -> None:
    scene = connected
    scene.drive()
    scene.target.runs = scene.target.stop = away
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        drive(said_down(scene.work(lease), "ann"), Goal.ROLLBACK, lambda _action, step: step())
    assert scene.power is Power.RUNNING
    events = [record.event for record in scene.events]
    assert [event.told_by for event in events if event.kind == "target-stopped"] == ["ann"]
    assert [event.text for event in events if event.kind == "note"] == [
        "ann says that the target is down for good: nobody asks it"
    ]


def away(_entry: Any) -> bool:
    raise TargetUnavailable("the cluster is away", fix="Wait for it.")


def said_down(work: Any, who: str) -> Any:
    return type(work)(**{name: getattr(work, name) for name in work.__dataclass_fields__} | {"target_is_down": who})


# --- a source that is started between two looks ----------------------------------------------------------------------


def test_a_start_that_is_tried_again_looks_at_the_source_again(connected: Any) -> None:
    scene = connected
    scene.target.faults["start"] = [TargetUnavailable("the API server answers 503")]

    def again(action: Action, step: Callable[[], None]) -> None:
        try:
            step()
        except TargetUnavailable:
            scene.source.write_power("web", Power.RUNNING)
            started = scene.target.start
            scene.target.start = lambda *_given: pytest.fail("started beside a source that runs")
            step()
            scene.target.start = started

    with scene.journal.lease(scene.plan.digest, "web") as lease, pytest.raises(ProbeFailed, match="rolled back"):
        drive(scene.work(lease), Goal.MIGRATE, again)
    assert (scene.power, scene.target.running, "started" in scene.kinds) == (Power.RUNNING, {}, False)


def test_a_copy_that_is_tried_again_does_not_go_on_from_a_source_that_runs(connected: Any) -> None:
    scene = connected
    scene.target.faults["submit"] = [TargetUnavailable("the API server answers 503")]

    def again(_action: Action, step: Callable[[], None]) -> None:
        try:
            step()
        except TargetUnavailable:
            scene.source.write_power("web", Power.RUNNING)
            before = len(scene.kinds)
            step()
            assert len(scene.kinds) == before

    with scene.journal.lease(scene.plan.digest, "web") as lease:
        assert drive(scene.work(lease), Goal.MIGRATE, again).phase is Phase.COMMITTED
    assert (scene.power, scene.equal(), scene.kinds.count("cutover-begun")) == (Power.OFF, True, 2)


def test_a_source_that_comes_up_while_the_target_starts_runs_alone(connected: Any) -> None:
    scene = connected
    start = scene.target.start

    def meanwhile(entry: Any, ledger: Any, fence: int) -> None:
        start(entry, ledger, fence)
        scene.source.write_power("web", Power.RUNNING)

    scene.target.start = meanwhile
    with pytest.raises(ProbeFailed, match="two copies must not run"):
        scene.drive()
    assert (scene.power, scene.target.running) == (Power.RUNNING, {})


@pytest.mark.parametrize("mode", ["cold", "warm"])
@pytest.mark.parametrize("kind", [A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS, A.APPLY, A.START, A.VALIDATE])
def test_a_source_that_was_started_and_is_off_again_is_copied_again(
    build: Callable[..., Any], mode: str, kind: ActionKind
) -> None:
    scene = build(policy=Policy(mode=mode, probes=(Probe(kind="agent"),)))
    scene.target.capabilities = CONNECTED
    meddled: list[Action] = []

    def meddle(action: Action) -> None:
        if action.kind is kind and scene.state.final and not meddled:
            meddled.append(action)
            scene.source.write_power("web", Power.RUNNING)
            scene.disk("vda").write_bytes(b"written meanwhile" + scene.disk("vda").read_bytes()[17:])
            scene.source.write_power("web", Power.OFF)

    scene.after = meddle
    if kind in {A.APPLY, A.START, A.VALIDATE}:  # a target may have run: the way back, to what was written last
        with pytest.raises(ProbeFailed, match="was started again by somebody"):
            scene.drive()
        assert (scene.power, scene.target.running) == (Power.RUNNING, {})
        assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    else:
        assert scene.drive().phase is Phase.COMMITTED
    assert meddled
    assert (scene.power, scene.equal()) == (Power.OFF, True)


@pytest.mark.parametrize("mode", ["cold", "warm"])
@pytest.mark.parametrize("stays_on", [False, True])
def test_a_source_that_is_started_again_and_again_is_not_copied_for_ever(
    build: Callable[..., Any], mode: str, stays_on: bool
) -> None:
    """A watchdog, an autostart, a cluster of hypervisors: it wins, and that is told."""
    scene = build(policy=Policy(mode=mode, probes=(Probe(kind="agent"),)))
    meddled: list[Action] = []

    def meddle(action: Action) -> None:
        if action.kind is A.COPY_DISKS and scene.state.final:
            meddled.append(action)
            assert len(meddled) < 10
            scene.source.write_power("web", Power.RUNNING)
            scene.source.write_power("web", Power.RUNNING if stays_on else Power.OFF)

    scene.after = meddle
    with pytest.raises(ProbeFailed, match="started again 4 times"):
        scene.drive()
    assert len(meddled) == 4
    assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})
    scene.after = lambda _action: None
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert (scene.power, scene.equal()) == (Power.OFF, True)


def test_a_source_that_cannot_tell_its_last_start_is_believed_to_have_been_off(connected: Any) -> None:
    scene = connected
    told = iter(["first", *[""] * 50])
    scene.source.last_start = lambda _machine: next(told)
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.kinds.count("source-stopped") == 1


# --- a runner that slept ---------------------------------------------------------------------------------------------


class Sleeping:
    """A seam whose first call of one method comes after its runner's lease has run out, and after what another one did
    meanwhile. `first`: the method is carried out before the sleep."""

    def __init__(self, inner: Any, method: str, meanwhile: Callable[[], None], *, first: bool = False) -> None:
        self._inner, self._method, self._meanwhile, self._first, self._slept = inner, method, meanwhile, first, False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name != self._method or self._slept:
            return value

        def call(*given: Any, **named: Any) -> Any:
            self._slept = True
            done = value(*given, **named) if self._first else None
            time.sleep(2 * TTL)
            self._meanwhile()
            return done if self._first else value(*given, **named)

        return call


def sleeps(scene: Any, side: str, method: str, *goals: Goal, goal: Goal = Goal.MIGRATE, first: bool = False) -> str:
    """A run that sleeps at one call, while other runners reach these goals; what it is told when it wakes."""
    lease = scene.journal.acquire(scene.plan.digest, "web", ttl_seconds=TTL)
    work = scene.work(lease)

    def meanwhile() -> None:
        for one in goals:
            scene.drive(one)

    seam = Sleeping(getattr(scene, side), method, meanwhile, first=first)
    parts = {name: getattr(work, name) for name in work.__dataclass_fields__} | {side: seam}
    with pytest.raises(Fenced) as caught:
        drive(type(work)(**parts), goal, lambda _action, step: step())
    return caught.value.why


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("side", "method", "agent"),
    [("target", "start", True), ("source", "stop", True), ("source", "stop", False), ("target", "apply", True)],
)
def test_who_slept_through_the_way_back_leaves_one_machine_the_source(
    connected: Any, side: str, method: str, agent: bool, first: bool
) -> None:
    scene = connected
    if not agent:  # so that nothing is recorded between the look and the stop
        (scene.folder / "words.json").unlink()
    sleeps(scene, side, method, Goal.ROLLBACK, first=first)
    assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})


def test_a_copy_that_was_started_too_late_is_stopped_again(connected: Any) -> None:
    """The last thing that a fence stops is the ledger's entry: asleep just after it."""
    scene = connected
    slept: list[str] = []
    intend = scene.journal.intend

    def sleepy(lease: Any, kind: str, name: str, where: str) -> Any:
        done = intend(lease, kind, name, where)
        if kind == "process" and not slept:
            slept.append(kind)
            time.sleep(2 * TTL)
            scene.drive(Goal.ROLLBACK)
        return done

    scene.journal.intend = sleepy
    lease = scene.journal.acquire(scene.plan.digest, "web", ttl_seconds=TTL)
    with pytest.raises(Fenced, match="no longer owns") as caught:
        drive(scene.work(lease), Goal.MIGRATE, lambda _action, step: step())
    assert "started too late was stopped again" in caught.value.why
    assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})


def test_a_source_that_was_stopped_too_late_is_started_again(connected: Any) -> None:
    scene = connected
    (scene.folder / "words.json").unlink()
    assert "stopped too late was started again" in sleeps(scene, "source", "stop", Goal.ROLLBACK)
    assert scene.power is Power.RUNNING


def test_a_source_that_was_started_too_late_is_stopped_again(connected: Any) -> None:
    scene = connected
    scene.drive()
    why = sleeps(scene, "source", "start", Goal.ROLLBACK, Goal.MIGRATE_AGAIN, goal=Goal.ROLLBACK)
    assert "started too late was stopped again" in why
    assert (scene.state.phase, scene.power, list(scene.target.running)) == (Phase.COMMITTED, Power.OFF, ["web"])


def test_a_copy_that_was_stopped_too_late_is_started_again(connected: Any) -> None:
    scene = connected
    scene.target.heeds_fences = False
    scene.drive()
    why = sleeps(scene, "target", "stop", Goal.ROLLBACK, Goal.MIGRATE_AGAIN, goal=Goal.ROLLBACK)
    assert "stopped too late was started again" in why
    assert (scene.state.phase, scene.power, list(scene.target.running)) == (Phase.COMMITTED, Power.OFF, ["web"])


@pytest.mark.parametrize("method", ["start", "stop"])
def test_the_target_itself_refuses_who_slept(connected: Any, method: str) -> None:
    """It carries the newest fence: a newer runner's copy is neither joined, nor started, nor stopped."""
    scene = connected
    changes: list[str] = []
    if method == "start":
        sleeps(scene, "target", "start", Goal.ROLLBACK)
        assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})
        return
    scene.drive()
    stop, start = scene.target.stop, scene.target.start
    scene.target.stop = lambda *given: (stop(*given), changes.append("stopped"))
    scene.target.start = lambda *given: (start(*given), changes.append("started"))
    why = sleeps(scene, "target", "stop", Goal.ROLLBACK, Goal.MIGRATE_AGAIN, goal=Goal.ROLLBACK)
    assert "again" not in why
    assert changes == ["stopped", "started", "started"], "the way back, the start and the look of the next move"
    assert (scene.state.phase, scene.power, list(scene.target.running)) == (Phase.COMMITTED, Power.OFF, ["web"])


def test_a_copy_that_a_runner_with_another_journal_has_since_is_left_to_it(connected: Any) -> None:
    scene = connected
    lease = scene.journal.acquire(scene.plan.digest, "web", ttl_seconds=TTL)
    work = scene.work(lease)

    def meanwhile() -> None:
        scene.target.start(scene.entry, lambda _thing: None, lease.fence + 1000)
        with pytest.raises(Fenced, match="a newer runner has this machine at the target"):
            scene.drive(Goal.ROLLBACK)

    parts = {name: getattr(work, name) for name in work.__dataclass_fields__}
    parts["target"] = Sleeping(scene.target, "start", meanwhile)
    with pytest.raises(Fenced) as caught:
        drive(type(work)(**parts), Goal.MIGRATE, lambda _action, step: step())
    assert "again" not in caught.value.why
    assert (scene.power, list(scene.target.running)) == (Power.OFF, ["web"])


def test_who_slept_leaves_what_the_next_runner_does_as_it_is(connected: Any) -> None:
    scene = connected
    sleeps(scene, "target", "start", Goal.MIGRATE)
    assert (scene.state.phase, scene.power, list(scene.target.running)) == (Phase.COMMITTED, Power.OFF, ["web"])


def test_what_cannot_be_undone_is_told_as_that(connected: Any) -> None:
    scene = connected
    (scene.folder / "words.json").unlink()
    lease = scene.journal.acquire(scene.plan.digest, "web", ttl_seconds=TTL)
    work = scene.work(lease)

    def meanwhile() -> None:
        scene.drive(Goal.ROLLBACK)
        scene.target.faults["runs"] = [TargetUnavailable("the cluster is away")]

    seam = Sleeping(scene.source, "stop", meanwhile)
    parts = {name: getattr(work, name) for name in work.__dataclass_fields__} | {"source": seam}
    with pytest.raises(Fenced, match="no longer owns") as caught:
        drive(type(work)(**parts), Goal.MIGRATE, lambda _action, step: step())
    assert "could not be undone: the cluster is away" in caught.value.why
    assert "both source and target" in caught.value.fix


# --- defects of what is asked ----------------------------------------------------------------------------------------


def test_a_defect_of_a_look_is_recorded_and_leads_back(connected: Any) -> None:
    scene = connected
    power = scene.source.power
    told: list[Any] = []

    def slip(machine: Any) -> Any:
        if "applied" in scene.kinds and not told:
            told.append(machine)
            raise ValueError("a slip")
        return power(machine)

    scene.source.power = slip
    with pytest.raises(PermanentError, match="a defect: ValueError: a slip"):
        scene.drive()
    assert "failed" in scene.kinds
    assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})


def test_a_target_that_is_gone_for_good_is_not_even_opened_for_the_way_back(scene: Any) -> None:
    scene.drive()
    assert (scene.state.phase, scene.power) == (Phase.COMMITTED, Power.OFF)
    scene.target = GoneTarget("ann on host")
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        work = said_down(scene.work(lease), "ann on host")
        drive(work, Goal.ROLLBACK, lambda _action, step: step())
        settle(work)
    assert (scene.state.phase, scene.power) == (Phase.ROLLED_BACK, Power.RUNNING)
    said = [record for record in scene.events if getattr(record.event, "told_by", "") or record.event.kind == "note"]
    assert said
    assert all("ann on host" in record.event.model_dump_json() and record.at for record in said)
    assert scene.journal.ledger_open(scene.plan.digest, "web"), "nobody has looked that anything is gone"
    with pytest.raises(TargetUnavailable, match="gone for good"):
        scene.target.runs(scene.entry)
