"""A second attempt, a second runner, a cleanup that fails: nothing of an older one counts, or is done, for a newer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Policy, Probe, WarmPolicy
from kubeferry.errors import (
    Fenced,
    Interrupted,
    PermanentError,
    ProbeFailed,
    SourceUnavailable,
    TargetRefused,
    TargetUnavailable,
    TransientError,
)
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.events import CopyBegun
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.drive import drive
from kubeferry.steps.release import settle
from kubeferry.targets import External, TargetCapabilities

A = ActionKind
WARM = Policy(mode="warm", probes=(Probe(kind="agent"),), warm=WarmPolicy(rounds=4, enough_bytes=0))


def rolled_back(scene: Any) -> Any:
    """The scene after an attempt that failed its probes, whose next one would pass them."""
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive()
    scene.target.answers.clear()
    return scene


# --- what an older attempt knew --------------------------------------------------------------------------------------


def test_a_machine_that_was_off_and_was_started_since_is_copied_ahead_as_one_that_runs(
    build: Callable[..., Any],
) -> None:
    scene = rolled_back(build(policy=WARM, power=Power.OFF))
    scene.source.write_power("web", Power.RUNNING)
    assert scene.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert scene.equal()


def test_leaving_a_round_starts_no_machine_that_its_owner_has_stopped(build: Callable[..., Any]) -> None:
    scene = rolled_back(build(policy=WARM))
    scene.drive(Goal.PRECOPY)
    scene.source.write_power("web", Power.OFF)
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.OFF


@pytest.mark.parametrize("keeps_running", [True, False])
def test_disks_that_a_target_ran_on_are_read_whole(build: Callable[..., Any], keeps_running: bool) -> None:
    """What it wrote stands in no fingerprint: only where it ran over a throw-away layer are they as they were."""
    scene = build(policy=WARM)
    scene.target.capabilities = TargetCapabilities(keeps_running=keeps_running)
    rolled_back(scene)
    scene.source.write_power("web", Power.OFF)
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    last = [record.event for record in scene.events if isinstance(record.event, CopyBegun)][-1]
    assert last.final
    assert (last.since is None) == keeps_running


def test_an_attempt_that_is_gone_on_with_is_not_followed_by_another(scene: Any) -> None:
    rolled_back(scene)
    scene.stop_before(A.COPY_DISKS)
    with pytest.raises(Interrupted):
        scene.drive(Goal.MIGRATE_AGAIN)
    scene.before = lambda _action: None
    scene.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        scene.drive(Goal.MIGRATE_AGAIN)
    assert scene.kinds.count("rollback-begun") == 2
    assert scene.power is Power.RUNNING


def test_a_source_that_somebody_starts_after_the_proof_wins(scene: Any) -> None:
    scene.after = lambda one: scene.source.write_power("web", Power.RUNNING) if one.kind is A.STOP_TARGET else None
    with pytest.raises(ProbeFailed, match="what was proven of it is stale"):
        scene.drive()
    assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})


# --- what is not asked for -------------------------------------------------------------------------------------------


def test_the_source_of_a_machine_that_has_moved_may_be_gone(scene: Any) -> None:
    scene.drive()
    scene.source.write_machines()
    assert scene.drive().phase is Phase.COMMITTED


def test_the_way_back_stops_the_target_also_where_the_source_does_not_answer(scene: Any) -> None:
    scene.target.capabilities = TargetCapabilities(keeps_running=True)
    scene.drive()
    scene.source.write_faults("power", SourceUnavailable)
    scene.source.write_faults("start", SourceUnavailable)
    with pytest.raises(SourceUnavailable):
        scene.drive(Goal.ROLLBACK)
    assert not scene.target.running
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK


def test_copying_ahead_leaves_a_machine_alone_that_was_rolled_back(scene: Any) -> None:
    rolled_back(scene)
    before = scene.events
    assert scene.drive(Goal.PRECOPY).phase is Phase.ROLLED_BACK
    assert scene.events == before


def test_copying_ahead_begins_no_cutover(build: Callable[..., Any]) -> None:
    scene = build(policy=WARM)
    scene.stop_before(A.APPLY)
    with pytest.raises(Interrupted):
        scene.drive()
    scene.source.write_power("web", Power.RUNNING)
    before = scene.events
    scene.drive(Goal.PRECOPY)
    assert scene.events == before


# --- a second runner -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "left"), [(A.STOP_SOURCE, Power.RUNNING), (A.RESTART_SOURCE, Power.OFF)])
def test_who_was_overtaken_changes_no_power_state(scene: Any, kind: ActionKind, left: Power) -> None:
    scene.target.answers["agent"] = False
    (scene.folder / "words.json").unlink()  # no agent, so that nothing is recorded before the stop
    scene.overtaken_at(kind)
    assert scene.power is left


def test_who_was_overtaken_while_a_round_opened_leaves_it_to_the_other(build: Callable[..., Any]) -> None:
    scene = build(policy=WARM)
    stale = scene.journal.acquire(scene.plan.digest, "web", ttl_seconds=0.01)
    begin = scene.source.open_round

    def opened(*given: Any, **named: Any) -> Any:
        found = begin(*given, **named)
        time.sleep(0.02)
        scene.journal.acquire(scene.plan.digest, "web")
        return found

    scene.source.open_round = opened
    with pytest.raises(Fenced):
        drive(scene.work(stale), Goal.PRECOPY, lambda _action, step: step())
    assert list(scene.folder.glob("views/*/open"))


# --- answers that are lost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        *("planned", "cutover-begun", "source-stopped", "copy-begun", "disk-copied", "disk-verified", "applied"),
        *("started", "observed", "validated", "target-stopped", "committed"),
    ],
)
def test_what_was_recorded_and_not_answered_is_neither_done_twice_nor_refused(scene: Any, kind: str) -> None:
    """A task is tried again, and finds that the database took the event before its connection broke."""
    append, lost = scene.journal.append, []

    def losing(lease: Any, event: Any) -> Any:
        done = append(lease, event)
        if event.kind == kind and not lost:
            lost.append(event)
            raise TransientError("the journal does not answer")
        return done

    def tried_again(_action: Action, step: Callable[[], None]) -> None:
        try:
            step()
        except TransientError:
            step()

    scene.journal.append = losing
    with scene.journal.lease(scene.plan.digest, "web") as lease:
        assert drive(scene.work(lease), Goal.MIGRATE, tried_again).phase is Phase.COMMITTED
    assert lost
    assert scene.equal()


# --- defects of ours -------------------------------------------------------------------------------------------------


def test_a_defect_of_ours_leads_back_and_is_told_as_one(scene: Any) -> None:
    def slip(_entry: Any, _words: Any) -> None:
        raise ZeroDivisionError("a slip")

    scene.target.observe = slip
    with pytest.raises(PermanentError, match="a defect: ZeroDivisionError: a slip") as caught:
        scene.drive()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert (scene.state.phase, scene.power, scene.target.running) == (Phase.ROLLED_BACK, Power.RUNNING, {})


# --- cleanups that fail ----------------------------------------------------------------------------------------------


def test_a_view_that_cannot_be_given_back_does_not_hide_why_it_is(scene: Any) -> None:
    """Taken for the source's silence, a full target would leave the machine off until somebody looks."""

    def full(_job: Any, _ledger: Any, _held: Any) -> None:
        scene.source.write_faults("close_round", SourceUnavailable)
        raise TargetRefused("the target is full")

    scene.target.submit = full
    with pytest.raises(TargetRefused, match="full"):
        scene.drive()
    assert (scene.state.phase, scene.power) == (Phase.ROLLED_BACK, Power.RUNNING)


def test_a_target_that_does_not_answer_afterwards_undoes_no_move(scene: Any) -> None:
    def away(_thing: External) -> bool:
        raise TargetUnavailable("the cluster is away")

    with scene.journal.lease(scene.plan.digest, scene.entry.name) as lease:
        work = scene.work(lease)
        assert drive(work, Goal.MIGRATE, lambda _action, step: step()).phase is Phase.COMMITTED
        scene.target.exists = away
        settle(work)
    assert scene.journal.ledger_open(scene.plan.digest)
