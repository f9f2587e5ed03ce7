"""Rehearsals between the memory source and the memory target: what is left of them, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import MachinePolicy, Policy, Probe, RehearsalPolicy, StopPolicy, WarmPolicy
from kubeferry.errors import (
    Fenced,
    Interrupted,
    KubeferryError,
    PermanentError,
    RehearsalFailed,
    TargetRefused,
    TargetUnavailable,
)
from kubeferry.ledger import REHEARSAL
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.events import DiskVerified
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.rehearsal import why_not
from kubeferry.life.rehearsal_events import RehearsalBegun, RehearsalEnded, RehearsalObserved, Rehearsed
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.steps.rehearsing import reached, rehearse
from kubeferry.steps.release import release_plan
from kubeferry.targets.guest.rehearsals import asked
from reports.facts import build_report
from reports.markdown import render_markdown
from reports.pages import render_html

A = ActionKind
WARM = Policy(
    mode="warm",
    probes=(Probe(kind="agent"), Probe(kind="counter", path="/data/boots")),
    stop=StopPolicy(last_words=("/data/boots",)),
    warm=WarmPolicy(rounds=1, enough_bytes=0),
)


@pytest.fixture
def warm(build: Callable[..., Any]) -> Any:
    """A machine of which one round is durable."""
    scene = build(policy=WARM)
    scene.drive(Goal.PRECOPY)
    return scene


def rehearsed(scene: Any) -> MachineState:
    with scene.journal.lease(scene.plan.digest, scene.entry.name) as lease:
        return rehearse(scene.work(lease), scene._do)


def newest(scene: Any, kind: type[Any]) -> Any:
    return [record.event for record in scene.events if isinstance(record.event, kind)][-1]


def nothing_is_left(scene: Any) -> None:
    assert scene.target.rehearsals == {}
    assert REHEARSAL not in {thing.kind for thing in scene.journal.ledger_open(scene.plan.digest)}
    assert scene.power is Power.RUNNING


def test_the_synced_copy_is_shown_taken_away_and_read_back(warm: Any) -> None:
    before = bytes(warm.target.disks["web/vda"])
    state = rehearsed(warm)
    assert (state.phase, state.doubted) == (Phase.REHEARSED, False)
    assert warm.kinds[-6:] == [
        *("rehearsal-begun", "rehearsal-observed", "rehearsal-ended"),
        *("disk-verified", "disk-verified", "rehearsed"),
    ]
    begun, seen, passed = (newest(warm, kind) for kind in (RehearsalBegun, RehearsalObserved, Rehearsed))
    assert begun.roots == passed.roots
    assert set(passed.roots) == {"vda", "vdb"}
    assert [one["kind"] for one in seen.observation["probes"]] == ["agent"]
    (left,) = seen.observation["notAsked"]
    assert "at its stop" in left
    assert bytes(warm.target.disks["web/vda"]) == before
    nothing_is_left(warm)


def test_rounds_go_on_after_it_and_the_machine_moves(warm: Any) -> None:
    rehearsed(warm)
    with warm.disk("vda").open("r+b") as image:
        image.write(b"written since")
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert rehearsed(warm).phase is Phase.REHEARSED
    assert newest(warm, Rehearsed).round == 2
    assert warm.drive().phase is Phase.COMMITTED
    assert warm.equal()


def test_one_that_fails_is_no_failure_of_the_move(warm: Any) -> None:
    warm.target.answers["agent"] = False
    with pytest.raises(RehearsalFailed, match="did not pass: agent"):
        rehearsed(warm)
    assert (warm.state.phase, warm.state.failed) == (Phase.SYNCED, None)
    assert newest(warm, RehearsalEnded).removed
    nothing_is_left(warm)
    warm.target.answers.clear()
    assert rehearsed(warm).phase is Phase.REHEARSED


@pytest.mark.parametrize("error", [TargetRefused("QEMU says no"), TargetUnavailable("it is away"), ValueError("ours")])
@pytest.mark.parametrize("method", ["rehearse", "observe_rehearsal"])
def test_what_cannot_be_started_is_ended_and_said(warm: Any, method: str, error: Exception) -> None:
    warm.target.faults[method] = [error]
    with pytest.raises(KubeferryError) as caught:
        rehearsed(warm)
    assert str(error) in f"{caught.value.what} {caught.value.why}"
    assert str(error) in why_not(warm.state)
    assert (warm.state.phase, warm.state.failed) == (Phase.SYNCED, None)
    nothing_is_left(warm)


@pytest.mark.parametrize("kind", [A.BEGIN_REHEARSAL, A.REHEARSE, A.END_REHEARSAL])
@pytest.mark.parametrize("goal", [Goal.PRECOPY, Goal.MIGRATE, Goal.ROLLBACK, Goal.REHEARSE])
def test_killed_after_any_step_the_next_command_takes_it_away(warm: Any, kind: ActionKind, goal: Goal) -> None:
    class Killed(BaseException):
        pass

    def kill(action: Action) -> None:
        if action.kind is kind:
            raise Killed

    warm.after = kill
    with pytest.raises(Killed):
        warm.drive(Goal.REHEARSE)
    assert bool(warm.target.rehearsals) is (kind is A.REHEARSE)
    seen: list[bool] = []
    warm.after = lambda action: seen.append(bool(warm.target.rehearsals)) if action.kind is A.BEGIN_COPY else None
    warm.drive(goal)
    assert not any(seen), "a round was begun below it"
    assert not warm.state.rehearsing
    assert warm.target.rehearsals == {}
    assert (
        warm.state.phase
        is {
            Goal.PRECOPY: Phase.SYNCED,
            Goal.MIGRATE: Phase.COMMITTED,
            Goal.ROLLBACK: Phase.ROLLED_BACK,
            Goal.REHEARSE: Phase.REHEARSED,
        }[goal]
    )
    assert warm.equal()


def test_release_takes_away_what_a_killed_one_left(warm: Any) -> None:
    left_open(warm)
    lines = list(
        release_plan(warm.plan, warm.journal, warm.target, lambda: warm.source, everything=False, dry_run=True)
    )
    assert any("rehearsal" in line for line in lines), lines
    assert warm.target.rehearsals
    lines = list(
        release_plan(warm.plan, warm.journal, warm.target, lambda: warm.source, everything=False, dry_run=False)
    )
    assert any("its rehearsal was left" in line for line in lines), lines
    assert warm.state.phase is Phase.SYNCED
    nothing_is_left(warm)
    assert warm.equal()


def released(scene: Any, *, dry_run: bool) -> list[str]:
    return list(
        release_plan(scene.plan, scene.journal, scene.target, lambda: scene.source, everything=False, dry_run=dry_run)
    )


def left_open(scene: Any) -> None:
    """A rehearsal whose command was killed."""
    with scene.journal.lease(scene.plan.digest, scene.entry.name) as lease:
        work = scene.work(lease)
        state = work.state()
        work.record(RehearsalBegun(number=1, round=1, at="t", synced_at="t", roots=state.roots))
        work.target.rehearse(work.entry, work.ledger, lease.fence)


def test_ctrl_c_ends_it_too(warm: Any) -> None:
    def stop(action: Action) -> None:
        if action.kind is A.REHEARSE:
            stopping.request()

    warm.before = stop
    with pytest.raises(Interrupted):
        rehearsed(warm)
    stopping.reset()
    assert warm.state.phase is Phase.SYNCED
    nothing_is_left(warm)


def test_a_copy_that_changed_under_it_is_found_and_copied_anew(warm: Any) -> None:
    warm.target.rehearsals_write = True
    with pytest.raises(RehearsalFailed, match="changed under it: vda"):
        rehearsed(warm)
    assert newest(warm, DiskVerified).disk == "vdb"
    warm.target.rehearsals_write = False
    with pytest.raises(PermanentError, match="did not read back"):
        rehearsed(warm)
    assert warm.drive().phase is Phase.COMMITTED
    assert warm.equal()


def test_a_runner_that_slept_starts_none(warm: Any) -> None:
    with warm.journal.lease(warm.plan.digest, warm.entry.name) as lease:
        warm.target.rehearse(warm.entry, warm.work(lease).ledger, lease.fence)
        warm.target.end_rehearsal(warm.entry, lease.fence + 1)
        with pytest.raises(Fenced):
            warm.target.rehearse(warm.entry, warm.work(lease).ledger, lease.fence)
    assert warm.target.rehearsals == {}


@pytest.mark.parametrize(
    ("policy", "why"),
    [(WARM, "no copy of it is durable"), (WARM.model_copy(update={"mode": "cold"}), "no copy of it while it runs")],
)
def test_what_has_no_synced_copy_is_said(build: Callable[..., Any], policy: Policy, why: str) -> None:
    scene = build(policy=policy)
    with pytest.raises(PermanentError, match=why):
        rehearsed(scene)
    assert scene.events == []


def test_no_cutover_before_a_rehearsal_where_the_policy_asks_for_one(build: Callable[..., Any]) -> None:
    scene = build(policy=WARM.model_copy(update={"rehearsal": RehearsalPolicy(required=True)}))
    with pytest.raises(PermanentError, match="waits for a rehearsal"):
        scene.drive()
    assert (scene.power, scene.state.phase, scene.state.failed) == (Power.RUNNING, Phase.SYNCED, None)
    rehearsed(scene)
    assert scene.drive().phase is Phase.COMMITTED


def test_the_page_tells_what_was_seen_and_that_nothing_is_left(warm: Any) -> None:
    rehearsed(warm)
    warm.target.answers["agent"] = False
    with pytest.raises(RehearsalFailed):
        rehearsed(warm)
    report = build_report(warm.plan, {"web": warm.events}, generated_at="2026-01-01T00:00:00Z")
    first, second = report.machines[0].rehearsals
    assert (first.passed, second.passed, second.why) == (True, False, "the copy did not pass: agent")
    assert [line.partition(" with")[0] for line in first.disks] == [
        "vda: read back after it",
        "vdb: read back after it",
    ]
    assert first.removed == ("rehearsal of web",)
    assert not report.open_things
    for page in (render_html(report), render_markdown(report)):
        assert "did not pass" in page
        assert "read back after it with the root of before" in page


def reached_by(scene: Any, goal: Goal, *, asked: bool) -> MachineState:
    with scene.journal.lease(scene.plan.digest, scene.entry.name) as lease:
        return reached(scene.work(lease), goal, scene._do, asked)


def test_each_round_is_rehearsed_where_the_policy_says_so(build: Callable[..., Any]) -> None:
    scene = build(policy=WARM.model_copy(update={"rehearsal": RehearsalPolicy(each_round=True)}))
    for number in (1, 2):
        assert reached_by(scene, Goal.PRECOPY, asked=False).phase is Phase.REHEARSED
        assert newest(scene, Rehearsed).round == number


def test_a_move_with_a_rehearsal_stops_nothing_where_that_does_not_pass(build: Callable[..., Any]) -> None:
    scene = build(policy=WARM)
    scene.target.answers["agent"] = False
    with pytest.raises(RehearsalFailed):
        reached_by(scene, Goal.MIGRATE, asked=True)
    assert (scene.power, scene.state.phase) == (Power.RUNNING, Phase.SYNCED)
    scene.target.answers.clear()
    assert reached_by(scene, Goal.MIGRATE, asked=True).phase is Phase.COMMITTED
    assert reached_by(scene, Goal.MIGRATE, asked=True).phase is Phase.COMMITTED, "what has moved is not rehearsed"
    assert scene.kinds.count("rehearsed") == 1


def test_a_move_of_what_cannot_be_rehearsed_is_refused_where_that_is_asked_for(build: Callable[..., Any]) -> None:
    for scene in (build(policy=WARM.model_copy(update={"mode": "cold"})), build(policy=WARM, power=Power.OFF)):
        before = scene.power
        with pytest.raises(PermanentError, match="no copy of it"):
            reached_by(scene, Goal.MIGRATE, asked=True)
        assert (scene.power, scene.state.phase) == (before, Phase.PLANNED)


def test_what_a_policy_asks_for_is_the_machine_s_own_word_field_by_field(build: Callable[..., Any]) -> None:
    own = MachinePolicy(rehearsal=RehearsalPolicy(required=False))
    policy = WARM.model_copy(
        update={"rehearsal": RehearsalPolicy(required=True, max_age_seconds=60), "machines": {"web": own}}
    )
    assert build(policy=policy).entry.rehearsal == RehearsalPolicy(required=False, max_age_seconds=60)
    assert build(policy=WARM).entry.rehearsal is None


def test_where_a_network_leads_to_the_copy_its_ports_are_asked(warm: Any) -> None:
    probes = tuple(Probe.model_validate(one) for one in ({"kind": "http", "port": 80}, {"kind": "packets"}))
    entry = warm.entry.model_copy(update={"probes": probes})
    assert asked(entry, networked=True) == (probes, ())
    none, left = asked(entry, networked=False)
    assert (none, len(left)) == ((), 2)
