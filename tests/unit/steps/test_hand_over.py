"""What a machine is run as follows its source, is given at the commit, and is taken back before the source is back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Policy, Probe
from kubeferry.errors import Fenced, TargetUnavailable
from kubeferry.life.action_kinds import ActionKind as A
from kubeferry.life.action_kinds import Goal
from kubeferry.life.events import Committed
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps import power
from kubeferry.steps.drive import drive
from kubeferry.targets import TargetCapabilities

CONNECTED = TargetCapabilities(keeps_running=True, isolated=False)


@pytest.fixture
def connected(build: Callable[..., Any]) -> Any:
    scene = build()
    scene.target.capabilities = CONNECTED
    return scene


def given(scene: Any) -> list[str]:
    return [record.event.run_strategy for record in scene.events if isinstance(record.event, Committed)]


@pytest.mark.parametrize(
    ("before", "said", "strategy", "runs"),
    [
        (Power.RUNNING, None, "Always", True),
        (Power.OFF, None, "Halted", False),
        (Power.OFF, "Always", "Always", True),
        (Power.RUNNING, "Halted", "Halted", False),
        (Power.RUNNING, "Manual", "Manual", True),
        (Power.RUNNING, "RerunOnFailure", "RerunOnFailure", True),
    ],
)
def test_a_machine_ends_as_its_source_was_or_as_the_policy_says(
    build: Callable[..., Any], before: Power, said: str | None, strategy: str, runs: bool
) -> None:
    scene = build(power=before, policy=Policy(probes=(Probe(kind="agent"),), run_strategy=said))
    scene.target.capabilities = CONNECTED
    seen: list[dict[str, str]] = []
    scene.before = lambda action: seen.append(dict(scene.target.strategies))
    assert scene.drive().phase is Phase.COMMITTED
    assert seen
    assert not any(seen), "before the commit it is nobody's to start"
    assert scene.target.strategies == {"web": strategy}
    assert (bool(scene.target.running), given(scene)) == (runs, [strategy])


def test_a_target_that_runs_nothing_of_its_own_is_given_nothing(scene: Any) -> None:
    scene.drive()
    assert (scene.target.strategies, scene.target.running, given(scene)) == ({}, {}, [""])


def test_who_is_killed_between_the_deed_and_its_record_does_it_again(
    connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = connected.journal.append

    def killed(lease: Any, event: Any) -> Any:
        if isinstance(event, Committed):
            raise KeyboardInterrupt
        return append(lease, event)

    monkeypatch.setattr(connected.journal, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        connected.drive()
    assert (connected.state.phase, connected.target.strategies) == (Phase.VALIDATED, {"web": "Always"})
    monkeypatch.setattr(connected.journal, "append", append)
    assert connected.drive().phase is Phase.COMMITTED
    assert given(connected) == ["Always"]


def test_what_was_given_and_not_recorded_is_taken_back_where_somebody_starts_the_source(
    connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = connected.journal.append

    def killed(lease: Any, event: Any) -> Any:
        if isinstance(event, Committed):
            raise KeyboardInterrupt
        return append(lease, event)

    monkeypatch.setattr(connected.journal, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        connected.drive()
    monkeypatch.setattr(connected.journal, "append", append)
    connected.source.write_power("web", Power.RUNNING)
    with pytest.raises(Exception, match="rolled back"):
        connected.drive()
    assert (connected.target.strategies, connected.target.running) == ({}, {})
    assert connected.power is Power.RUNNING


@pytest.mark.parametrize("during", [False, True])
def test_a_source_that_somebody_starts_at_the_commit_is_the_one_that_runs(
    connected: Any, monkeypatch: pytest.MonkeyPatch, during: bool
) -> None:
    given_over = connected.target.hand_over

    def wake(*told: Any) -> str:
        connected.source.write_power("web", Power.RUNNING)
        return str(given_over(*told))

    if during:
        monkeypatch.setattr(connected.target, "hand_over", wake)
    else:
        connected.after = lambda action: (
            connected.source.write_power("web", Power.RUNNING) if action.kind is A.VALIDATE else None
        )
    with pytest.raises(Exception, match="rolled back"):
        connected.drive()
    assert (connected.target.strategies, connected.target.running) == ({}, {})
    assert (connected.power, given(connected)) == (Power.RUNNING, [])


def test_a_rollback_after_the_commit_takes_it_back_before_the_source_starts(connected: Any) -> None:
    connected.drive()
    seen: list[tuple[str, dict[str, str]]] = []
    connected.before = lambda action: seen.append((str(action.kind), dict(connected.target.strategies)))
    assert connected.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert dict(seen)[A.RESTART_SOURCE] == {}
    assert (connected.power, connected.target.running) == (Power.RUNNING, {})


def test_a_target_that_does_not_take_it_is_asked_again_by_the_next_run(connected: Any) -> None:
    connected.target.faults["hand_over"].append(TargetUnavailable("no answer", fix="Try it again."))
    with pytest.raises(TargetUnavailable):
        connected.drive()
    assert (connected.state.resumes, connected.state.failed.at) == (Phase.VALIDATED, A.COMMIT)
    assert connected.drive().phase is Phase.COMMITTED
    assert connected.target.strategies == {"web": "Always"}


def test_an_overtaken_runner_hands_nothing_over(connected: Any) -> None:
    lease = connected.overtaken_at(A.COMMIT)
    assert connected.target.strategies == {}
    connected.journal.release(lease)
    assert connected.drive().phase is Phase.COMMITTED


def test_who_sleeps_in_the_deed_wakes_nothing_that_was_rolled_back(
    connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.stop_before(A.COMMIT)
    with pytest.raises(Exception, match="stopped"):
        connected.drive()
    connected.before = lambda _action: None
    given_over, slept = connected.target.hand_over, []

    def asleep(*told: Any) -> str:
        if not slept:
            slept.append(told)
            connected.journal.release(lease)
            connected.drive(Goal.ROLLBACK)
            connected.target.heeds_fences = False
        return str(given_over(*told))

    monkeypatch.setattr(connected.target, "hand_over", asleep)
    lease = connected.journal.acquire(connected.plan.digest, "web")
    with pytest.raises(Fenced):
        drive(connected.work(lease), Goal.MIGRATE, lambda _action, step: step())
    assert (connected.target.strategies, connected.target.running) == ({}, {})
    assert connected.power is Power.RUNNING


def test_what_a_sleeper_stopped_too_late_runs_again_as_it_was_handed_over(
    connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.drive()
    stale = connected.journal.acquire(connected.plan.digest, "web", ttl_seconds=0.01)
    stop = connected.target.stop

    def asleep(entry: Any, _fence: int) -> None:
        time.sleep(0.02)
        connected.journal.release(connected.journal.acquire(connected.plan.digest, "web"))
        stop(entry, 0)  # the one moment that no fence covers

    monkeypatch.setattr(connected.target, "stop", asleep)
    with pytest.raises(Fenced, match="runner") as caught:
        power.stop_target(connected.work(stale))
    assert "started again" in caught.value.why
    assert (connected.target.strategies, list(connected.target.running)) == ({"web": "Always"}, ["web"])
