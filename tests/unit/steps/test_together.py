"""Machines that share a disk move as one: copied once while all of them are off, and all of them arrive, or none."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections.abc import Callable, Iterator

import pytest

from kubeferry import errors
from kubeferry.errors import Interrupted, PermanentError, ProbeFailed, SourceRefused, TargetRefused, TargetUnavailable
from kubeferry.life.actions import Goal
from kubeferry.life.evidence import Phase
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.steps.drive import drive
from kubeferry.steps.together import refuse_set
from kubeferry.targets import TargetCapabilities
from tests.unit.steps.pairs import NAMES, Killed, Pair, pair_in

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

    def fault(name: str, moment: str) -> None:
        if name == call and moment == "before":
            left[0] -= 1
            if not left[0]:
                raise error

    pair.fault = fault


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

    def fault(name: str, moment: str) -> None:
        if (name, moment) == ("target.hand_over", "before") and "a" in pair.target.strategies and broken:
            raise broken.pop()

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
            pair.target.heeds_fences = True

    pair.look = lambda *_seen: None  # type: ignore[method-assign]  # somebody has made it so
    pair.fault = fault
    assert isinstance(pair.command(), ProbeFailed)
    assert (pair.phases(), pair.running(), pair.target.running) == (ROLLED_BACK, set(NAMES), {})
    assert f"the source of {woken} was started again" in pair.state("a").rollback_reason


def test_what_cannot_begin_for_one_begins_for_none(pair: Pair) -> None:
    breaks(pair, "source.concerns", SourceRefused("told to", fix="Look."), of=2)
    assert isinstance(pair.command(), SourceRefused)
    assert (pair.running(), pair.target.disks) == (set(NAMES), {})
    assert Phase.COMMITTED not in pair.phases().values()
    pair.fault = lambda *_call: None
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
        refuse_set(works, {"b": TargetRefused("no room", machine="b")}, pair._again)
    assert pair.running() == set(NAMES)
    assert pair.state("b").failed is not None
    assert pair.told == []


def test_a_runner_that_lost_one_of_the_leases_does_nothing_to_any(pair: Pair) -> None:
    taken: list[str] = []

    def fault(name: str, moment: str) -> None:
        if (name, moment) == ("target.apply", "before") and not taken:
            taken.append(pair.journal.acquire(pair.plan.digest, "b", ttl_seconds=60).machine)

    real = pair.journal.acquire
    pair.journal.acquire = lambda plan, machine, **_: real(plan, machine, ttl_seconds=0.01)  # type: ignore[method-assign]
    pair.fault = fault
    error = pair.command()
    pair.journal.acquire = real  # type: ignore[method-assign]
    assert isinstance(error, errors.Fenced)
    assert pair.target.running == {}
    pair.fault = lambda *_call: None
    assert pair.command() is None
    assert (pair.phases(), pair.equal()) == (COMMITTED, True)


# --- killed anywhere, and lives full of faults -----------------------------------------------------------------------


def calls_of_a_move(build: Callable[..., Pair]) -> int:
    whole = build()
    whole.command()
    return whole.calls


@pytest.mark.parametrize("goal", [Goal.MIGRATE, Goal.ROLLBACK])
def test_killed_anywhere_the_same_command_goes_on(build: Callable[..., Pair], goal: Goal) -> None:
    many, r = calls_of_a_move(build), random.Random(goal)
    for at in sorted(r.sample(range(1, many), min(many - 1, LIVES))):
        pair, moment = build(), r.choice(("before", "after"))

        def fault(_name: str, when: str, pair: Pair = pair, moment: str = moment, at: int = at) -> None:
            if when == moment and pair.number == at:
                pair.dead = True
                raise Killed

        pair.fault = fault
        assert isinstance(pair.command(), Killed)
        pair.fault = lambda *_call: None
        pair.write("b")
        told = pair.command(goal)
        assert told is None, (at, told)
        if goal is Goal.MIGRATE:
            assert (pair.phases(), pair.equal(), pair.running()) == (COMMITTED, True, set()), at
        else:
            assert (pair.running(), pair.target.running) == (set(NAMES), {}), at


@pytest.mark.parametrize("number", range(LIVES))
def test_a_life_of_a_set_full_of_faults_ends_as_it_should(build: Callable[..., Pair], number: int) -> None:
    r = random.Random(number)
    before = r.choice((Power.RUNNING, Power.RUNNING, Power.OFF))
    pair = build(before)

    def fault(name: str, _moment: str) -> None:
        if r.random() >= rate:
            return
        kind = r.choice(FAULTS)
        if kind is Interrupted:
            stopping.request()
        if name.startswith("journal") and issubclass(kind, (PermanentError, ValueError)):
            kind = errors.TransientError  # a journal promises errors that pass
        pair.dead = kind is Killed
        raise kind(f"{name} was told to fail") if kind is not Killed else Killed

    for _ in range(r.randint(1, 4)):
        rate = r.choice((0.003, 0.01, 0.03))
        pair.fault = fault
        pair.target.answers["agent"] = r.random() < 0.75
        pair.command(r.choice((Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK)))
        pair.fault = lambda *_call: None
        ends = {phase for phase in pair.phases().values() if phase is Phase.COMMITTED}
        assert not ends or Phase.ROLLED_BACK not in pair.phases().values()
        pair.write(r.choice(NAMES))
    pair.target.answers.clear()
    assert None in [pair.command(Goal.MIGRATE_AGAIN) for _ in range(3)]
    assert (pair.phases(), pair.equal(), pair.running()) == (COMMITTED, True, set())
    pair.command(Goal.ROLLBACK)
    assert (pair.running(), pair.target.running) == (set(NAMES) if before is Power.RUNNING else set(), {})
