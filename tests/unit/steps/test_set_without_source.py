"""Machines that share a disk, and a source of them that is gone, or lets nobody in: what that keeps the others from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from kubeferry.documents import Inventory, JournalConfig, MachinePolicy, Policy, freeze
from kubeferry.errors import (
    AlreadyMoved,
    KubeferryError,
    LoginLost,
    PermanentError,
    SourceGone,
    SourceRefused,
    SourceUnavailable,
    TargetRefused,
)
from kubeferry.journal import Journal
from kubeferry.journal.schema import MACHINE
from kubeferry.life.action_kinds import Goal
from kubeferry.life.event_kinds import EventKind
from kubeferry.life.events import Note
from kubeferry.life.machine_state import Phase
from kubeferry.marks import MoveMark
from kubeferry.model import Machine, Power
from kubeferry.steps import drive, together
from kubeferry.steps.drive import left_owing
from kubeferry.steps.marks import LEFT_OFF
from kubeferry.steps.release import losses, release_plan
from kubeferry.steps.together import refuse_set
from kubeferry.steps.work import Work
from mappings.plan import make_plan
from soak.run.journals import copied
from soak.run.pair import AT, NAMES, Pair, pair_in
from soak.run.world import Killed, no_fault

ASKS = ("power", "start", "stop", "last_start", "concerns")
COMMITTED = dict.fromkeys(NAMES, Phase.COMMITTED)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = pair_in(tmp_path)
    yield pair
    pair.journal.close()


def other_than(name: str) -> str:
    return "b" if name == "a" else "a"


def lose(pair: Pair, name: str, error: type[KubeferryError], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the source of this machine hears that; its disks and files stay as they are."""

    def asked(real: Any) -> Any:
        def ask(machine: Machine, *given: Any) -> Any:
            if machine.name == name:
                raise error("no such machine", fix="Look.", machine=name)
            return real(machine, *given)

        return ask

    for method in ASKS:
        monkeypatch.setattr(pair.source, method, asked(getattr(pair.source, method)))
    monkeypatch.setattr(pair, "power", lambda one: Power(pair.source._power(pair.plan.entry(one).machine)))


def killed_at(pair: Pair, call: str, *, of: int = 1, when: str = "before") -> None:
    left = [of]

    def fault(name: str, moment: str) -> BaseException | None:
        left[0] -= (name, moment) == (call, when)
        return Killed() if (name, moment, left[0]) == (call, when, 0) else None

    pair.fault = fault
    assert isinstance(pair.command(), Killed)
    pair.fault = no_fault


def released(pair: Pair) -> list[str]:
    return list(release_plan(pair.plan, pair.journal, pair.target, lambda: pair.source, everything=True, dry_run=False))


@pytest.mark.parametrize("error", [SourceGone, SourceRefused, LoginLost, SourceUnavailable])
@pytest.mark.parametrize("lost", NAMES)
def test_a_source_that_cannot_be_started_keeps_no_other_one_off(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, lost: str, error: type[KubeferryError]
) -> None:
    killed_at(pair, "target.observe")
    with monkeypatch.context() as without:
        lose(pair, lost, error, without)
        assert isinstance(pair.command(Goal.ROLLBACK), error)
        assert (pair.running(), pair.target.running) == ({other_than(lost)}, {})
        assert pair.state(other_than(lost)).phase is Phase.ROLLED_BACK
        assert pair.state(lost).resumes is Phase.ROLLING_BACK
        assert isinstance(pair.command(Goal.MIGRATE_AGAIN), error)
        assert pair.running() == {other_than(lost)}
    assert pair.command(Goal.ROLLBACK) is None
    assert pair.running() == set(NAMES)


@pytest.mark.parametrize("error", [SourceGone, SourceRefused, LoginLost])
@pytest.mark.parametrize("lost", NAMES)
def test_a_set_that_has_moved_begins_no_way_back_that_one_of_it_cannot_go(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, lost: str, error: type[KubeferryError]
) -> None:
    pair.command()
    with monkeypatch.context() as without:
        lose(pair, lost, error, without)
        refused = pair.command(Goal.ROLLBACK)
        assert isinstance(refused, SourceRefused)
        assert (refused.machine, pair.phases()) == (lost, COMMITTED)
        assert pair.command() is None
    assert pair.command() is None
    assert (pair.phases(), pair.running(), set(pair.target.running)) == (COMMITTED, set(), set(NAMES))


@pytest.mark.parametrize("lost", NAMES)
def test_a_set_that_has_moved_in_part_goes_back_also_without_a_source(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The source of the one that has not moved runs: its copy goes down, whatever became of the other one."""
    killed_at(pair, "target.hand_over", of=2)
    assert pair.phases() == {"a": Phase.COMMITTED, "b": Phase.VALIDATED}
    lose(pair, lost, SourceGone, monkeypatch)
    if lost == "a":
        pair.look = lambda *_seen: None  # type: ignore[method-assign]  # somebody makes two run, until it is seen
        pair.source.write_power("b", Power.RUNNING)
        assert isinstance(pair.command(), SourceGone)
        assert (pair.running(), pair.target.running) == ({"b"}, {})
    else:
        assert pair.command() is None
        assert (pair.phases(), set(pair.target.running)) == (COMMITTED, set(NAMES))


@pytest.mark.parametrize("lost", NAMES)
def test_what_is_left_of_a_set_is_removed_though_one_has_no_way_back(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    killed_at(pair, "target.observe")
    lose(pair, lost, SourceGone, monkeypatch)
    lines = released(pair)
    assert (pair.running(), pair.target.disks, pair.target.running) == ({other_than(lost)}, {}, {})
    assert f"{lost}: was started: there is no way back, its source is gone" in lines
    assert f"{other_than(lost)}: was started: rolled back first, its source is as it was before" in lines
    assert len([line for line in lines if "rolled back first" in line or "no way back" in line]) == len(NAMES)
    released(pair)


def test_nothing_is_removed_while_a_source_may_be_started_still(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_at(pair, "target.observe")
    lose(pair, "a", SourceGone, monkeypatch)
    lose(pair, "b", SourceUnavailable, monkeypatch)
    with pytest.raises(SourceUnavailable):
        released(pair)
    assert set(pair.target.disks) == {"a/vda", "a/vdb", "b/vda"}


def test_who_is_asked_before_a_release_is_told_that_a_set_that_has_not_moved_whole_goes_back(pair: Pair) -> None:
    killed_at(pair, "target.hand_over", of=2)
    assert pair.phases() == {"a": Phase.COMMITTED, "b": Phase.VALIDATED}
    back = "it is rolled back first, then what was copied of it is removed"
    assert losses(pair.plan, pair.journal, pair.target, lambda: pair.source) == [
        f"a: moves together with b, which has not arrived: {back}",
        f"b: is validated: {back}",
    ]
    released(pair)
    assert pair.running() == set(NAMES)


def test_a_login_that_is_lost_is_told_with_each_source_that_is_off_meanwhile(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost at the second stop: it is the first one that is off, and it stays so."""
    with monkeypatch.context() as without:
        stop = pair.source.stop

        def lost(machine: Machine, *given: Any) -> Any:
            if machine.name == "b":
                raise LoginLost("no way in", why="run out", fix="Look.", machine="b")
            return stop(machine, *given)

        without.setattr(pair.source, "stop", lost)
        told = pair.command()
    assert isinstance(told, LoginLost)
    off = pair.state("a").stopped
    assert off is not None
    assert f"that of a since {off.at} is off, and stays so until then" in told.why
    assert (pair.running(), "begin-rollback" in {kind for _, kind in pair.told}) == ({"b"}, False)
    assert pair.command() is None
    assert pair.phases() == COMMITTED


def test_a_journal_from_between_two_stops_finds_the_second_one_by_its_mark_and_starts_both(pair: Pair) -> None:
    """A backup from while the first of them shut down, which may take minutes: it knows no stop of the second one."""
    append, backup = pair.journal.append, pair.folder / "backup.db"

    def noting(lease: Any, event: Any) -> Any:
        done = append(lease, event)
        if (lease.machine, event.kind) == ("a", EventKind.SOURCE_STOPPED):
            copied(pair.folder / "journal.db", backup)
        return done

    pair.journal.append = noting  # type: ignore[method-assign]
    killed_at(pair, "target.prepare")
    assert pair.running() == set()
    with Journal.open(JournalConfig(url=f"sqlite:///{backup}")) as restored:
        older = Pair(pair.folder, pair.source, restored, pair.plan, pair.target)
        with restored._writing() as db:  # who held the leases has ended
            db.execute(update(MACHINE).values(owner=None, expires_at=""))
        assert older.command(Goal.ROLLBACK) is None
        told = {name: [one.event for one in restored.events(pair.plan.digest, name)] for name in NAMES}
        assert older.running() == {"a", "b"}
        assert older.phases() == dict.fromkeys(NAMES, Phase.ROLLED_BACK)
    assert not any(Note(text=LEFT_OFF) in told[name] for name in NAMES)
    notes = {name: [one.text for one in told[name] if isinstance(one, Note)] for name in NAMES}
    assert notes["a"] == []
    assert notes["b"][0].startswith("this journal does not know that the source was stopped by kubeferry at ")


def test_what_its_owner_shut_down_before_the_set_came_to_its_stop_is_left_off_and_said(pair: Pair) -> None:
    """A mark that was left, and no stop behind it: killed just then."""
    killed_at(pair, "source.mark", of=3, when="after")  # about to stop a, a is off, about to stop b
    assert pair.source.marked(pair.plan.entry("b").machine) is not None
    pair.source.write_power("b", Power.OFF)
    assert pair.command(Goal.ROLLBACK) is None
    assert pair.running() == {"a"}
    told = [one.event for one in pair.journal.events(pair.plan.digest, "b")]
    assert Note(text=LEFT_OFF) in told


# --- another plan takes one of them alone ----------------------------------------------------------------------------


def test_who_is_taken_by_another_plan_alone_is_told_with_the_others_and_whose_source_is_off(pair: Pair) -> None:
    killed_at(pair, "target.prepare")
    assert pair.running() == set()
    policy = Policy(machines={name: MachinePolicy(accept=("disk.shared",)) for name in NAMES})
    facts = Inventory(source="lab", source_kind="memory", observed_at=AT, machines=pair.source.discover().machines)
    plan = make_plan(facts, policy, name="alone", created_at=AT)
    pair.journal.keep_plan(plan)
    alone = Pair(pair.folder, pair.source, pair.journal, plan, pair.target)
    with pair.journal.lease(plan.digest, "a") as lease:
        assert "cutting-over; there it moves together with b: what it owes" in left_owing(alone.works([lease])[0])
    killed_at(alone, "target.prepare")
    told = pair.command(Goal.MIGRATE)
    assert isinstance(told, PermanentError)
    assert told.what == "another plan has taken it in hand since"
    assert "; in this one it moves together with b, and the source of b is off by this one" in told.why
    assert "leaves the machine, and b with it, alone" in told.fix
    assert pair.running() == set()


# --- found out beforehand --------------------------------------------------------------------------------------------


def refused_beforehand(pair: Pair) -> BaseException:
    works = pair.works([pair.journal.acquire(pair.plan.digest, name) for name in NAMES])
    with pytest.raises(PermanentError) as refused:
        refuse_set(works, {"b": TargetRefused("no room", machine="b")}, pair.step)
    return refused.value


def test_whether_a_newer_plan_has_a_refused_machine_in_hand_is_asked_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def in_hand(work: Work) -> None:
        asked.append(work.entry.name)

    for module in (together, drive):
        monkeypatch.setattr(module, "in_hand", in_hand)
    refused_beforehand(pair)
    assert asked == list(NAMES)


def test_what_has_moved_by_another_journal_does_not_go_back_for_one_that_is_refused(pair: Pair) -> None:
    """The journal is a backup from where the cutover of the first of them had begun."""
    killed_at(pair, "source.concerns", of=2)
    assert pair.state("a").phase is Phase.CUTTING_OVER
    pair.target.moves["a"] = MoveMark(AT, pair.plan.digest, "2026-01-01T00:00:09Z", pair.plan.name)
    assert isinstance(refused_beforehand(pair), (AlreadyMoved, TargetRefused))
    assert pair.state("a").resumes is Phase.CUTTING_OVER


def test_what_a_newer_plan_has_in_hand_does_not_go_back_for_one_that_is_refused(pair: Pair) -> None:
    newer = Pair(pair.folder, pair.source, pair.journal, freeze(pair.plan.model_copy(update={"name": "newer"})))
    pair.journal.keep_plan(newer.plan)
    for one in (pair, newer):
        killed_at(one, "source.concerns", of=2)
        assert one.state("a").phase is Phase.CUTTING_OVER
    assert "another plan has taken it in hand since" in str(refused_beforehand(pair))
    assert (pair.state("a").phase, newer.state("a").phase) == (Phase.CUTTING_OVER, Phase.CUTTING_OVER)
