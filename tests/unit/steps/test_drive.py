"""One machine from planned to committed, and the way back, with every place where something can go wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Observation
from kubeferry.errors import (
    Fenced,
    HostileImage,
    Interrupted,
    KubeferryError,
    PermanentError,
    ProbeFailed,
    SourceRefused,
    SourceUnavailable,
    TargetRefused,
    TargetUnavailable,
)
from kubeferry.inside.said import Said
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.steps.drive import drive

A = ActionKind
STRAIGHT = (
    *(
        "planned",
        "cutover-begun",
        "stop-asked",
        "last-words",
        "source-stopped",
        "copy-begun",
        "disk-copied",
        "disk-copied",
    ),
    *("disk-verified", "disk-verified", "applied", "started", "observed", "validated", "target-stopped", "committed"),
)
WAY = (
    *(A.RECORD_PLAN, A.BEGIN_CUTOVER, A.STOP_SOURCE, A.BEGIN_COPY, A.COPY_DISKS, A.VERIFY_DISKS),
    *(A.APPLY, A.START, A.OBSERVE, A.VALIDATE, A.STOP_TARGET, A.COMMIT),
)
AFTER_BEGIN = WAY[2:]


def test_the_straight_way(scene: Any) -> None:
    assert scene.drive().phase is Phase.COMMITTED
    assert tuple(scene.kinds) == STRAIGHT
    assert scene.power is Power.OFF
    assert scene.equal()
    assert not scene.target.running
    assert scene.state.last_words == {"/data/boots": "7\n"}


def test_what_the_system_says_of_itself_is_recorded_before_the_stop_and_seen_again_after(scene: Any) -> None:
    before, after = Said(hostname="web", time_zone="CET, UTC+01:00"), Said(hostname="web")
    scene.source.write_said("web", before)
    scene.target.said["web"] = after
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.state.heard.said == before
    observed = next(record.event for record in scene.events if record.event.kind == "observed")
    assert Observation.model_validate(observed.observation).said == after


def test_a_committed_machine_is_left_alone(scene: Any) -> None:
    scene.drive()
    before = scene.events
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.events == before


# --- the source ------------------------------------------------------------------------------------------------------


def test_a_source_that_will_not_stop_runs_on(scene: Any) -> None:
    scene.source.write_deaf("web")
    with pytest.raises(SourceRefused, match="does not stop"):
        scene.drive()
    assert (scene.state.phase, scene.power) == (Phase.ROLLED_BACK, Power.RUNNING)
    assert not scene.target.disks
    with pytest.raises(ProbeFailed, match="rolled back"):
        scene.drive()
    scene.source.write_deaf()
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED


def test_a_disk_that_is_gone_is_refused_before_anything_changes(scene: Any) -> None:
    scene.disk("vdb").unlink()
    with pytest.raises(SourceRefused) as caught:
        scene.drive()
    assert "vdb" in caught.value.why
    assert caught.value.fix
    assert scene.power is Power.RUNNING
    assert scene.kinds == ["planned", "failed"]


def test_a_source_that_was_off_stays_off(build: Callable[..., Any]) -> None:
    scene = build(power=Power.OFF)
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive()
    assert scene.power is Power.OFF
    assert "source-restarted" not in scene.kinds
    assert scene.state.phase is Phase.ROLLED_BACK


def test_a_source_that_somebody_starts_during_the_copy_is_copied_again(scene: Any) -> None:
    def meddle(action: Action) -> None:
        if action.kind is A.COPY_DISKS and scene.state.round == 1:
            scene.disk("vda").write_bytes(bytes(scene.disk("vda").stat().st_size))
            scene.source.write_power("web", Power.RUNNING)

    scene.after = meddle
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.state.round == 2
    assert (scene.power, scene.equal()) == (Power.OFF, True)


def test_a_source_that_somebody_starts_beside_the_target_wins(scene: Any) -> None:
    scene.after = lambda action: scene.source.write_power("web", Power.RUNNING) if action.kind is A.START else None
    with pytest.raises(ProbeFailed, match="two copies must not run"):
        scene.drive()
    assert (scene.power, scene.target.running) == (Power.RUNNING, {})


# --- faults at each place --------------------------------------------------------------------------------------------


def at_the_source(method: str) -> Callable[[Any, type[KubeferryError]], None]:
    return lambda scene, error: scene.source.write_faults(method, error)


def at_the_target(method: str) -> Callable[[Any, type[KubeferryError]], None]:
    return lambda scene, error: scene.target.faults[method].append(error("told to fail", fix="Try again."))


PLACES = {
    "source-stop": at_the_source("stop"),
    "source-open-round": at_the_source("open_round"),
    "source-close-round": at_the_source("close_round"),
    "source-power": at_the_source("power"),
    "source-concerns": at_the_source("concerns"),
    "target-prepare": at_the_target("prepare"),
    "target-submit": at_the_target("submit"),
    "target-watch": at_the_target("watch"),
    "target-apply": at_the_target("apply"),
    "target-start": at_the_target("start"),
    "target-observe": at_the_target("observe"),
    "target-stop": at_the_target("stop"),
}


@pytest.mark.parametrize("error", [SourceUnavailable, TargetUnavailable])
@pytest.mark.parametrize("place", PLACES)
def test_what_may_pass_is_told_and_the_next_run_goes_on(scene: Any, place: str, error: type[KubeferryError]) -> None:
    PLACES[place](scene, error)
    with pytest.raises(error):
        scene.drive()
    assert "rollback-begun" not in scene.kinds
    assert scene.drive().phase is Phase.COMMITTED
    assert [kind for kind in scene.kinds if kind != "failed"].count("source-stopped") == 1
    assert scene.equal()


@pytest.mark.parametrize("error", [SourceRefused, TargetRefused, HostileImage])
@pytest.mark.parametrize("place", [place for place in PLACES if place not in {"source-concerns", "source-power"}])
def test_what_cannot_be_mended_leads_back_and_again_works(scene: Any, place: str, error: type[KubeferryError]) -> None:
    PLACES[place](scene, error)
    with pytest.raises(error):
        scene.drive()
    assert (scene.state.phase, scene.power) == (Phase.ROLLED_BACK, Power.RUNNING)
    assert not scene.target.running
    failures = [record.event for record in scene.events if record.event.kind == "failed"]
    assert [failure.error_type for failure in failures] == [error.__name__]
    assert "after a failure" in scene.state.rollback_reason
    scene.disk("vda").write_bytes(b"\x5a" * scene.disk("vda").stat().st_size)  # it ran, and wrote
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert (scene.power, scene.equal()) == (Power.OFF, True)


def test_the_way_back_goes_on_after_it_failed_itself(scene: Any) -> None:
    scene.target.answers["agent"] = False
    scene.source.write_faults("start", SourceUnavailable)
    with pytest.raises(SourceUnavailable):
        scene.drive()
    assert (scene.state.resumes, scene.power) == (Phase.ROLLING_BACK, Power.OFF)
    scene.target.answers["agent"] = True  # too late: a rollback once begun takes nothing but its own end
    with pytest.raises(ProbeFailed):
        scene.drive()
    assert (scene.state.phase, scene.power) == (Phase.ROLLED_BACK, Power.RUNNING)


def test_a_rollback_on_request(scene: Any) -> None:
    scene.drive()
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.kinds.count("rolled-back") == 1


def test_nothing_to_roll_back(scene: Any) -> None:
    assert scene.drive(Goal.ROLLBACK).phase is Phase.PLANNED
    assert scene.power is Power.RUNNING


# --- bytes that went wrong -------------------------------------------------------------------------------------------


def damage(scene: Any) -> None:
    next(iter(scene.target.disks.values()))[4096] ^= 0xFF


def test_a_damaged_copy_is_repaired_not_started_over(scene: Any) -> None:
    scene.after = lambda action: damage(scene) if action.kind is A.COPY_DISKS else None
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.equal()
    found = [record.event.differing for record in scene.events if record.event.kind == "disk-verified"]
    assert sorted(found) == [0, 0, 1]
    assert scene.state.repairs == {"vda": 1}


def test_storage_that_loses_writes_is_given_up_and_the_source_runs(scene: Any) -> None:
    scene.after = lambda action: damage(scene) if action.kind in {A.COPY_DISKS, A.REPAIR_DISKS} else None
    with pytest.raises(PermanentError, match="waits for a person") as caught:
        scene.drive()
    assert "loses writes" in caught.value.why
    assert (scene.state.phase, scene.power) == (Phase.ROLLED_BACK, Power.RUNNING)
    assert "applied" not in scene.kinds


def test_a_target_that_is_not_what_was_asked_for(scene: Any) -> None:
    scene.target.answers["counter"] = False
    with pytest.raises(ProbeFailed) as caught:
        scene.drive()
    assert "counter" in caught.value.why
    assert "migrate --again" in caught.value.fix
    assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})
    order = [kind for kind in scene.kinds if kind in {"target-stopped", "source-restarted"}]
    assert order == ["target-stopped", "source-restarted"]
    scene.target.answers.clear()
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED


# --- stopped, and killed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WAY)
def test_ctrl_c_at_each_action_leads_neither_back_nor_astray(scene: Any, kind: ActionKind) -> None:
    def press(action: Action) -> None:
        if action.kind is kind:
            stopping.request()
            stopping.check()

    scene.before = press
    with pytest.raises(Interrupted) as caught:
        scene.drive()
    assert "same command" in caught.value.fix
    assert "rollback-begun" not in scene.kinds
    assert not [event for event in scene.kinds if event in STRAIGHT[STRAIGHT.index("applied") :]] or (
        scene.power is Power.OFF
    )
    scene.before = lambda _action: None
    stopping.reset()
    assert scene.drive().phase is Phase.COMMITTED
    assert Counter(event for event in scene.kinds if event != "failed") == Counter(STRAIGHT)


class Killed(BaseException):
    """kill -9 at this point: nothing of ours may catch it."""


class Fuse:
    """Burns at every place where a runner can be killed, and kills it at the `length`-th."""

    def __init__(self, length: int) -> None:
        self.left = length
        self.power_changes = 0

    def burn(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def burning(scene: Any, fuse: Fuse) -> None:
    """Let the fuse burn before and after each event, which is after each effect, and at each change of power."""
    append, change = scene.journal.append, scene.source.write_power

    def append_burning(lease: Any, event: Any) -> Any:
        fuse.burn()
        done = append(lease, event)
        fuse.burn()
        return done

    def change_burning(name: str, power: Power) -> None:
        change(name, power)
        fuse.power_changes += 1
        fuse.burn()

    scene.journal.append, scene.source.write_power = append_burning, change_burning


def all_ends(scene: Any) -> int:
    fuse = Fuse(0)
    burning(scene, fuse)
    scene.drive()
    return -fuse.left


def test_killed_anywhere_it_ends_committed_and_nothing_is_done_twice(build: Callable[..., Any]) -> None:
    places = all_ends(build())
    assert places > 2 * len(STRAIGHT)
    for length in range(1, places + 1):
        scene, fuse = build(), Fuse(length)
        burning(scene, fuse)
        with pytest.raises(Killed):
            scene.drive()
        assert scene.drive().phase is Phase.COMMITTED, f"killed at {length}"
        counted = Counter(scene.kinds)
        # The guest is heard once more when nobody knows whether it was stopped after it was heard; nothing else.
        assert counted.pop("last-words") in {1, 2}
        wanted = Counter(STRAIGHT)
        wanted.pop("last-words")
        assert counted == wanted, f"killed at {length}"
        assert fuse.power_changes == 1
        assert (scene.power, scene.equal(), scene.target.running) == (Power.OFF, True, {})
        things = [(thing.kind, thing.name) for thing in scene.journal.ledger(scene.plan.digest)]
        assert len(things) == len(set(things))


def test_killed_anywhere_on_the_way_back_it_ends_rolled_back(build: Callable[..., Any]) -> None:
    scene, fuse = build(), Fuse(0)
    scene.target.answers["agent"] = False
    burning(scene, fuse)
    with pytest.raises(ProbeFailed):
        scene.drive()
    for length in range(1, -fuse.left + 1):
        scene, lit = build(), Fuse(length)
        scene.target.answers["agent"] = False
        burning(scene, lit)
        with pytest.raises(Killed):
            scene.drive()
        with pytest.raises(ProbeFailed):
            scene.drive()
        assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})
        assert Counter(scene.kinds)["rolled-back"] == 1


# --- one runner a machine --------------------------------------------------------------------------------------------


def test_a_second_runner_is_refused(scene: Any) -> None:
    refused: list[Fenced] = []

    def second(action: Action) -> None:
        if action.kind is A.COPY_DISKS:
            with pytest.raises(Fenced) as caught:
                scene.drive()
            refused.append(caught.value)

    scene.before = second
    assert scene.drive().phase is Phase.COMMITTED
    assert len(refused) == 1
    assert refused[0].machine == "web"


def test_a_runner_that_wakes_up_late_writes_nothing_and_leads_nowhere(scene: Any) -> None:
    stale = scene.journal.acquire(scene.plan.digest, "web", ttl_seconds=0.01)
    time.sleep(0.05)
    newer = scene.journal.acquire(scene.plan.digest, "web")
    with pytest.raises(Fenced):
        drive(scene.work(stale), Goal.MIGRATE, lambda _action, step: step())
    assert scene.events == []
    assert scene.power is Power.RUNNING
    assert drive(scene.work(newer), Goal.MIGRATE, lambda _action, step: step()).phase is Phase.COMMITTED


@pytest.mark.parametrize("kind", AFTER_BEGIN)
def test_overtaken_at_any_action_it_neither_rolls_back_nor_records(scene: Any, kind: ActionKind) -> None:
    newer = scene.overtaken_at(kind)
    assert not {"rollback-begun", "failed"} & set(scene.kinds)
    assert drive(scene.work(newer), Goal.MIGRATE, lambda _action, step: step()).phase is Phase.COMMITTED


def test_no_password_of_an_address_is_recorded(scene: Any) -> None:
    away = TargetUnavailable("https://ann:hunter2@host is away", why="GET https://host/?token=hunter2", fix="Wait.")
    scene.target.faults["prepare"] = [away]
    with pytest.raises(TargetUnavailable):
        scene.drive()
    failed = [record.event.model_dump_json() for record in scene.events if record.event.kind == "failed"]
    assert len(failed) == 1
    assert "hunter2" not in failed[0]
