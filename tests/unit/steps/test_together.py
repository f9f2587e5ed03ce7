"""Machines that share a disk move as one: copied once while all of them are off, and all of them arrive, or none."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import update

from kubeferry import errors
from kubeferry.documents import JournalConfig
from kubeferry.errors import Interrupted, PermanentError, ProbeFailed, SourceRefused, TargetRefused, TargetUnavailable
from kubeferry.journal import Journal
from kubeferry.journal.schema import MACHINE
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.steps.drive import drive
from kubeferry.steps.release import release_plan
from kubeferry.steps.together import refuse_set
from kubeferry.targets import TargetCapabilities
from reports.disks import EQUAL
from reports.facts import build_report
from reports.shapes import MachineReport, Verdict
from soak.run.journals import backed_up
from soak.run.pair import NAMES, Pair, pair_in
from soak.run.world import Killed, no_fault

LIVES = int(os.environ.get("KUBEFERRY_LIVES", "8"))
FAULTS = (
    *(errors.SourceUnavailable, errors.TargetUnavailable, errors.TransientError),
    *(errors.SourceRefused, errors.TargetRefused, errors.IntegrityFailed, ValueError, Interrupted, Killed),
)
COMMITTED, ROLLED_BACK = dict.fromkeys(NAMES, Phase.COMMITTED), dict.fromkeys(NAMES, Phase.ROLLED_BACK)


@pytest.fixture
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Pair]]:
    with contextlib.ExitStack() as opened:

        def make(power: Power = Power.RUNNING) -> Pair:
            pair = pair_in(tmp_path_factory.mktemp("pair"), power)
            opened.callback(pair.journal.close)
            return pair

        yield make


@pytest.fixture
def pair(build: Callable[..., Pair]) -> Pair:
    return build()


def breaks(pair: Pair, call: str, error: BaseException, *, of: int = 1) -> None:
    """The call of this number breaks, once."""
    left = [of]

    def fault(name: str, moment: str) -> BaseException | None:
        left[0] -= (name, moment) == (call, "before")
        return error if (name, moment, left[0]) == (call, "before", 0) else None

    pair.fault = fault


def test_what_starts_each_of_them_is_off_when_they_have_moved_and_put_back_with_them(pair: Pair) -> None:
    def started() -> dict[str, bool]:
        return {name: pair.source.autostart(pair.plan.entry(name).machine) is not None for name in NAMES}

    for name in NAMES:
        pair.source.write_autostart(name, order="1")
    assert (pair.command(), pair.phases()) == (None, COMMITTED)
    assert started() == dict.fromkeys(NAMES, False)
    assert (pair.command(Goal.ROLLBACK), pair.phases()) == (None, ROLLED_BACK)
    assert started() == dict.fromkeys(NAMES, True)


def test_both_arrive_with_one_copy_of_what_they_share(pair: Pair) -> None:
    assert pair.plan.entry("b").attached is not None
    assert pair.command() is None
    assert (pair.phases(), pair.equal(), pair.running()) == (COMMITTED, True, set())
    assert set(pair.target.strategies) == set(NAMES)


def test_no_step_is_taken_before_all_have_taken_the_ones_before_it(pair: Pair) -> None:
    pair.command()
    order = [kind for _name, kind in pair.told]
    stages = ("begin-cutover", "stop-source", "verify-disks", "apply", "start", "observe", "validate", "commit")
    for before, after in itertools.pairwise(stages):
        last = max(at for at, kind in enumerate(order) if kind == before)
        assert last < order.index(after), (before, after, pair.told)


def test_one_that_fails_its_probe_takes_both_back(pair: Pair) -> None:
    def fails_for_b(name: str, moment: str) -> None:
        if (name, moment) == ("target.observe", "before"):
            pair.target.answers["agent"] = not pair.state("a").observed

    pair.fault = fails_for_b
    error = pair.command()
    assert isinstance(error, ProbeFailed)
    assert (pair.phases(), pair.running(), pair.target.running) == (ROLLED_BACK, set(NAMES), {})
    assert "b: the target did not pass: agent" in pair.state("a").rollback_reason
    back = [kind for _name, kind in pair.told if kind in {"stop-target", "restart-source"}]
    assert back == ["stop-target", "stop-target", "restart-source", "restart-source"]


def test_a_commit_that_is_refused_takes_back_the_one_before_it(pair: Pair) -> None:
    breaks(pair, "target.hand_over", TargetRefused("told to", fix="Look."), of=2)
    assert isinstance(pair.command(), TargetRefused)
    assert (pair.phases(), pair.running(), pair.target.running) == (ROLLED_BACK, set(NAMES), {})


def test_a_commit_that_may_pass_is_gone_on_with(pair: Pair) -> None:
    broken = [TargetUnavailable(f"try {number}", fix="Wait.") for number in range(3)]

    def fault(name: str, moment: str) -> BaseException | None:
        second = (name, moment) == ("target.hand_over", "before") and "a" in pair.target.strategies
        return broken.pop() if second and broken else None

    pair.fault = fault
    assert isinstance(pair.command(), TargetUnavailable)
    assert pair.phases() == {"a": Phase.COMMITTED, "b": Phase.FAILED}
    assert pair.command() is None
    assert pair.phases() == COMMITTED


@pytest.mark.parametrize("woken", NAMES)
@pytest.mark.parametrize("at", ["target.apply", "target.hand_over", "target.watch"])
def test_a_source_that_somebody_starts_takes_both_back(pair: Pair, woken: str, at: str) -> None:
    done: list[str] = []

    def fault(name: str, moment: str) -> None:
        if (name, moment) == (at, "before") and not done:
            done.append(name)
            pair.source.write_power(woken, Power.RUNNING)

    pair.look = lambda *_seen: None  # type: ignore[method-assign]  # somebody makes two run, until it is seen
    pair.fault = fault
    assert isinstance(pair.command(), ProbeFailed)
    assert (pair.phases(), pair.running(), pair.target.running) == (ROLLED_BACK, set(NAMES), {})
    assert f"the source of {woken} was started again" in pair.state("a").rollback_reason


def test_what_cannot_begin_for_one_begins_for_none(pair: Pair) -> None:
    breaks(pair, "source.concerns", SourceRefused("told to", fix="Look."), of=2)
    assert isinstance(pair.command(), SourceRefused)
    assert (pair.running(), pair.target.disks) == (set(NAMES), {})
    assert Phase.COMMITTED not in pair.phases().values()
    pair.fault = no_fault
    assert pair.command(Goal.MIGRATE_AGAIN) is None
    assert pair.phases() == COMMITTED


def test_after_a_rollback_none_moves_until_it_is_asked_for_again(pair: Pair) -> None:
    pair.command()
    assert pair.command(Goal.ROLLBACK) is None
    assert (pair.phases(), pair.running()) == (ROLLED_BACK, set(NAMES))
    assert isinstance(pair.command(), ProbeFailed)
    assert pair.running() == set(NAMES)
    assert pair.command(Goal.MIGRATE_AGAIN) is None
    assert (pair.phases(), pair.equal()) == (COMMITTED, True)


def test_machines_that_were_off_stay_so_after_a_rollback(build: Callable[..., Pair]) -> None:
    pair = build(Power.OFF)
    assert pair.command() is None
    pair.command(Goal.ROLLBACK)
    assert (pair.phases(), pair.running()) == (ROLLED_BACK, set())


def test_a_place_that_proves_only_takes_all_down_before_it_commits_any(pair: Pair) -> None:
    pair.target.capabilities = TargetCapabilities(keeps_running=False, isolated=True)
    assert pair.command() is None
    assert (pair.phases(), pair.target.running) == (COMMITTED, {})
    assert [kind for _name, kind in pair.told][-4:] == ["stop-target", "stop-target", "commit", "commit"]


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK])
def test_one_of_a_set_is_not_driven_alone(pair: Pair, goal: Goal) -> None:
    with pair.journal.lease(pair.plan.digest, "a") as lease, pytest.raises(PermanentError) as refused:
        drive(pair.works([lease])[0], goal, lambda _action, step: step())
    assert "it moves together with b, and not alone" in refused.value.what
    assert pair.running() == set(NAMES)


def test_one_that_is_found_out_beforehand_keeps_the_other(pair: Pair) -> None:
    works = pair.works([pair.journal.acquire(pair.plan.digest, name) for name in NAMES])
    with pytest.raises(TargetRefused):
        refuse_set(works, {"b": TargetRefused("no room", machine="b")}, pair.step)
    assert pair.running() == set(NAMES)
    assert pair.state("b").failed is not None
    assert pair.told == []


@pytest.mark.parametrize(("name", "kind"), [("a", "start"), ("a", "stop-source"), ("b", "commit")])
def test_a_runner_that_lost_one_of_the_leases_does_nothing_to_any(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    other = "b" if name == "a" else "a"
    real, step, taken = pair.journal.acquire, pair.step, []

    def overtaken(work: Any, action: Any, do: Callable[[], None]) -> None:
        if (work.entry.name, action.kind) == (name, kind) and not taken:
            taken.append((pair.running(), set(pair.target.running), set(pair.target.strategies)))
            time.sleep(0.02)
            real(pair.plan.digest, other)
        step(work, action, do)

    with monkeypatch.context() as short:
        short.setattr(pair, "step", overtaken)
        assert isinstance(pair.command(ttl_seconds=0.01), errors.Fenced)
    assert taken == [(pair.running(), set(pair.target.running), set(pair.target.strategies))]
    assert pair.command() is None
    assert (pair.phases(), pair.equal()) == (COMMITTED, True)


def test_a_copy_of_one_of_them_that_nobody_knows_of_is_found_before_any_is_touched(pair: Pair) -> None:
    pair.look = lambda *_seen: None  # type: ignore[method-assign]  # somebody has made it so
    pair.target.running["b"] = "by somebody"
    error = pair.command()
    assert isinstance(error, TargetRefused)
    assert error.machine == "b"
    assert pair.told == [("a", "record-plan"), ("b", "record-plan"), ("a", "begin-cutover")]
    assert (pair.running(), pair.target.disks) == (set(NAMES), {})


# --- what is released, and what is reported --------------------------------------------------------------------------


def released(pair: Pair, *, everything: bool = True) -> list[str]:
    lines = release_plan(
        pair.plan, pair.journal, pair.target, lambda: pair.source, everything=everything, dry_run=False
    )
    return list(lines)


def test_a_set_under_way_goes_back_whole_before_it_is_removed(pair: Pair) -> None:
    breaks(pair, "target.hand_over", Killed(), of=2)
    assert isinstance(pair.command(), Killed)
    assert pair.phases() == {"a": Phase.COMMITTED, "b": Phase.VALIDATED}
    lines = released(pair)
    assert (pair.phases(), pair.running(), pair.target.disks) == (ROLLED_BACK, set(NAMES), {})
    assert "a: was committed: rolled back first, its source is as it was before" in lines


def test_what_is_released_of_a_set_that_has_moved_keeps_both(pair: Pair) -> None:
    pair.command()
    released(pair, everything=False)
    assert set(pair.target.running) == set(NAMES)
    assert pair.equal()


def test_a_disk_stays_while_one_that_attaches_it_could_not_be_removed(pair: Pair) -> None:
    pair.command()
    pair.target.faults["remove"] = [TargetUnavailable("it does not go", machine="b")]
    lines: list[str] = []
    with pytest.raises(TargetUnavailable):
        lines.extend(
            release_plan(pair.plan, pair.journal, pair.target, lambda: pair.source, everything=True, dry_run=False)
        )
    assert "a: b still has its disk: left alone" in lines
    assert "a/vdb" in pair.target.disks
    released(pair)
    assert pair.target.disks == {}


def report(pair: Pair) -> dict[str, MachineReport]:
    told = {name: pair.journal.events(pair.plan.digest, name) for name in NAMES}
    return {one.name: one for one in build_report(pair.plan, told, generated_at="2026-01-01T00:00:00Z").machines}


def test_a_report_says_who_moved_together_and_whose_proof_a_disk_rests_on(pair: Pair) -> None:
    pair.command()
    told = report(pair)
    assert {one.verdict for one in told.values()} == {Verdict.PROVEN}
    assert (told["a"].moves_with, told["b"].moves_with) == (("b",), ("a",))
    assert [disk.disk for disk in told["b"].disks] == ["vda"]
    assert told["b"].attached == ("vdb is one disk with that of a, which carries it: " + EQUAL,)
    assert told["b"].attached[0] in told["b"].why
    assert told["b"].unmoved == ()


def test_who_attaches_a_disk_is_not_proven_by_what_the_carrier_did_not_show(pair: Pair) -> None:
    pair.command()
    told = {name: pair.journal.events(pair.plan.digest, name) for name in NAMES} | {"a": []}
    machines = build_report(pair.plan, told, generated_at="2026-01-01T00:00:00Z").machines
    found = {one.name: one for one in machines}
    assert found["b"].verdict is Verdict.NOT_PROVEN
    assert found["b"].why[0] == "vdb is one disk with that of a, which carries it: not copied"


# --- killed anywhere, and lives full of faults -----------------------------------------------------------------------


def calls_of_a_move(build: Callable[..., Pair]) -> int:
    whole = build()
    whole.command()
    return whole.calls


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.ROLLBACK])
def test_killed_anywhere_the_same_command_goes_on(build: Callable[..., Pair], goal: Goal) -> None:
    many, r = calls_of_a_move(build), random.Random(goal)
    for at in sorted(r.sample(range(1, many), min(many - 1, LIVES // 2))):
        pair, moment = build(), r.choice(("before", "after"))

        def fault(_name: str, when: str, pair: Pair = pair, moment: str = moment, at: int = at) -> BaseException | None:
            return Killed() if (when, pair.number) == (moment, at) else None

        pair.fault = fault
        assert isinstance(pair.command(), Killed)
        pair.fault = no_fault
        pair.write("b")
        told = pair.command(goal)
        assert told is None, (at, told)
        if goal is Goal.MIGRATE:
            assert (pair.phases(), pair.equal(), pair.running()) == (COMMITTED, True, set()), at
        else:
            assert (pair.running(), pair.target.running) == (set(NAMES), {}), at


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.ROLLBACK])
def test_a_journal_of_a_set_that_is_older_than_the_world_starts_no_second_copy_of_any(pair: Pair, goal: Goal) -> None:
    """Both have moved, and run there; the journal is a backup from somewhere on their way."""
    backups = backed_up(pair.journal, pair.folder)
    pair.command()
    for backup in sorted(random.Random(goal).sample(backups, min(len(backups), LIVES))):
        with Journal.open(JournalConfig(url=f"sqlite:///{backup}")) as restored:
            older = Pair(pair.folder, pair.source, restored, pair.plan, pair.target)
            with restored._writing() as db:
                db.execute(update(MACHINE).values(owner=None, expires_at=""))
            older.command(goal)  # looks after each call
            assert bool(older.running()) != bool(pair.target.running), (backup.name, older.phases())
        for name in NAMES:
            pair.target.running.setdefault(name, "since the move")
            pair.source.write_power(name, Power.OFF)


@pytest.mark.parametrize("number", range(LIVES // 2))
def test_a_life_of_a_set_full_of_faults_ends_as_it_should(build: Callable[..., Pair], number: int) -> None:
    r = random.Random(number)
    before = r.choice((Power.RUNNING, Power.RUNNING, Power.OFF))
    pair = build(before)

    def fault(name: str, _moment: str) -> BaseException | None:
        if r.random() >= rate:
            return None
        kind = r.choice(FAULTS)
        if kind is Interrupted:
            stopping.request()
        if name.startswith("journal") and issubclass(kind, (PermanentError, ValueError)):
            kind = errors.TransientError  # a journal promises errors that pass
        return Killed() if kind is Killed else kind(f"{name} was told to fail")

    for _ in range(r.randint(1, 4)):
        rate = r.choice((0.003, 0.01, 0.03))
        pair.fault = fault
        pair.target.answers["agent"] = r.random() < 0.75
        pair.command(r.choice((Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK)))
        pair.fault = no_fault
        ends = {phase for phase in pair.phases().values() if phase is Phase.COMMITTED}
        assert not ends or Phase.ROLLED_BACK not in pair.phases().values()
        pair.write(r.choice(NAMES))
    pair.target.answers.clear()
    assert None in [pair.command(Goal.MIGRATE_AGAIN) for _ in range(3)]
    assert (pair.phases(), pair.equal(), pair.running()) == (COMMITTED, True, set())
    pair.command(Goal.ROLLBACK)
    assert (pair.running(), pair.target.running) == (set(NAMES) if before is Power.RUNNING else set(), {})
