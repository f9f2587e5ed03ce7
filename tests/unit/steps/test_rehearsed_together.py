"""Machines of an app rehearsed together between the memory source and the memory target: what is left, whatever goes
wrong, and what is said of whom."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import (
    AppPolicy,
    AppProbe,
    AppRehearsal,
    Inventory,
    JournalConfig,
    Limits,
    Plan,
    Policy,
    Probe,
    WarmPolicy,
)
from kubeferry.errors import Interrupted, PermanentError, RehearsalFailed, TargetRefused, TargetUnavailable
from kubeferry.journal import Journal
from kubeferry.ledger import REHEARSAL
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.rehearsal import has_passed, why_not
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.rehearsing import reached
from kubeferry.steps.rehearsing_together import copy_ahead, reached_together, rehearsed_as_one
from kubeferry.steps.release import release_plan
from kubeferry.steps.together import drive_set
from kubeferry.steps.work import Work
from kubeferry.targets import TargetCapabilities
from kubeferry.targets.memory.target import MemoryTarget
from lab import machines
from lab.machines import a_disk
from mappings.plan import make_plan
from reports.facts import build_report
from reports.markdown import render_markdown
from reports.pages import render_html

A = ActionKind
NAMES = ("db", "web")


class Killed(BaseException):
    pass


class Shop:
    """The world of one test: `told` are the steps that were begun, `after` is called behind each."""

    def __init__(self, folder: Path, *, moves_as_one: bool) -> None:
        for name in NAMES:
            (folder / f"{name}.img").write_bytes(name.encode() * 4096)
        self.source = MemorySource("lab", folder)
        self.source.write_machines(
            *(machines.a_machine(name, a_disk(folder / f"{name}.img"), power=Power.RUNNING) for name in NAMES)
        )
        self.journal = Journal.open(JournalConfig(url=f"sqlite:///{folder / 'journal.db'}"))
        self.target = MemoryTarget()
        app = AppPolicy(
            members=NAMES,
            order=(("db",), ("web",)),
            probes=(AppProbe(kind="serial", expect="shop is open"),),
            rehearsal=AppRehearsal(together=True),
            together=moves_as_one,
        )
        policy = Policy(
            mode="warm", warm=WarmPolicy(rounds=1, enough_bytes=0), probes=(Probe(kind="agent"),), apps={"shop": app}
        )
        facts = Inventory(
            source="lab",
            source_kind="memory",
            observed_at="2026-01-01T00:00:00Z",
            machines=self.source.discover().machines,
        )
        self.plan: Plan = make_plan(facts, policy, name="shop", created_at="2026-01-01T00:00:00Z")
        self.journal.keep_plan(self.plan)
        self.told: list[tuple[str, ActionKind]] = []
        self.after: Callable[[str, Action], None] = lambda _name, _action: None

    def work(self, name: str, lease: Any) -> Work:
        return Work(
            plan=self.plan,
            entry=self.plan.entry(name),
            source=self.source,
            target=self.target,
            journal=self.journal,
            lease=lease,
            limits=Limits(),
            progress=lambda *_told: None,
        )

    @contextlib.contextmanager
    def works(self, *names: str) -> Iterator[list[Work]]:
        with contextlib.ExitStack() as held:
            yield [
                self.work(name, held.enter_context(self.journal.lease(self.plan.digest, name)))
                for name in names or NAMES
            ]

    def do(self, work: Work, action: Action, step: Callable[[], None]) -> None:
        self.told.append((work.entry.name, action.kind))
        step()
        self.after(work.entry.name, action)

    def command(self, goal: Goal = Goal.REHEARSE, *, asked: bool = False) -> dict[str, MachineState]:
        with self.works() as works:
            return reached_together(works, goal, self.do, asked)

    def alone(self, name: str, goal: Goal, *, asked: bool = False) -> MachineState:
        with self.works(name) as (work,):
            return reached(work, goal, lambda action, step: self.do(work, action, step), asked)

    def state(self, name: str) -> MachineState:
        return self.journal.state(self.plan.digest, name)

    def kill_after(self, kind: ActionKind, name: str) -> None:
        def kill(of: str, action: Action) -> None:
            if (of, action.kind) == (name, kind):
                self.after = lambda _name, _action: None
                raise Killed

        self.after = kill

    def nothing_is_left(self) -> None:
        assert self.target.rehearsals == {}
        assert REHEARSAL not in {thing.kind for thing in self.journal.ledger_open(self.plan.digest)}
        assert {self.source.power(self.plan.entry(name).machine) for name in NAMES} == {Power.RUNNING}
        assert not any(self.state(name).rehearsing or self.state(name).failed for name in NAMES)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    with contextlib.ExitStack() as opened:

        def made(*, moves_as_one: bool = False) -> Shop:
            shop = Shop(tmp_path, moves_as_one=moves_as_one)
            opened.callback(shop.journal.close)
            with shop.works() as works:
                assert not copy_ahead(works, shop.do)
            shop.told.clear()
            return shop

        yield made


@pytest.fixture
def shop(make: Callable[..., Shop]) -> Shop:
    """Both are copied ahead."""
    return make()


def test_all_run_at_once_and_the_app_is_asked_of_the_last(shop: Shop) -> None:
    running: list[set[str]] = []
    shop.after = lambda _name, action: (
        running.append(set(shop.target.rehearsals)) if action.kind is A.REHEARSE_APP else None
    )
    states = shop.command()
    assert running == [set(NAMES)]
    assert shop.target.beside == dict.fromkeys(NAMES, NAMES)
    assert [(name, str(kind)) for name, kind in shop.told][2:9] == [
        *(("db", "start-rehearsal"), ("db", "rehearse"), ("web", "start-rehearsal"), ("web", "rehearse")),
        *(("web", "rehearse-app"), ("web", "end-rehearsal"), ("db", "end-rehearsal")),
    ]
    assert {name: (state.phase, has_passed(state)) for name, state in states.items()} == dict.fromkeys(
        NAMES, (Phase.REHEARSED, True)
    )
    shop.nothing_is_left()


def test_the_probe_that_failed_is_named_for_all_and_none_has_passed(shop: Shop) -> None:
    shop.target.answers["serial"] = False
    with pytest.raises(RehearsalFailed, match="web: app shop did not pass: serial") as caught:
        shop.command()
    assert caught.value.fix
    assert why_not(shop.state("web")) == "app shop did not pass: serial"
    assert why_not(shop.state("db")) == "web: app shop did not pass: serial"
    shop.nothing_is_left()
    shop.target.answers.clear()
    assert all(map(has_passed, shop.command().values()))


def test_what_fails_in_the_first_tier_starts_nobody_behind_it(shop: Shop) -> None:
    shop.target.answers["agent"] = False
    with pytest.raises(RehearsalFailed, match="db: the copy did not pass: agent"):
        shop.command()
    assert ("web", A.START_REHEARSAL) not in shop.told
    assert why_not(shop.state("web")) == "db: the copy did not pass: agent"
    shop.nothing_is_left()


@pytest.mark.parametrize("error", [TargetRefused("QEMU says no"), TargetUnavailable("it is away"), ValueError("ours")])
@pytest.mark.parametrize("method", ["rehearse", "observe_rehearsal"])
def test_what_cannot_be_started_ends_all_of_them(shop: Shop, method: str, error: Exception) -> None:
    shop.target.faults[method] = [error]  # type: ignore[list-item]
    with pytest.raises((RehearsalFailed, PermanentError, TargetUnavailable), match=str(error)):
        shop.command()
    assert all(str(error) in why_not(shop.state(name)) for name in NAMES)
    shop.nothing_is_left()


def test_a_disk_that_changed_under_one_is_told_of_it_and_none_has_passed(shop: Shop) -> None:
    shop.target.rehearsals_write = True
    with pytest.raises(RehearsalFailed, match="did not read back as before"):
        shop.command()
    assert not any(has_passed(shop.state(name)) for name in NAMES)
    shop.nothing_is_left()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("db", A.BEGIN_REHEARSAL), ("db", A.REHEARSE), ("web", A.REHEARSE_APP), ("web", A.END_REHEARSAL)],
)
@pytest.mark.parametrize("goal", [Goal.PRECOPY, Goal.MIGRATE, None])
def test_killed_anywhere_the_next_command_of_one_ends_all(
    shop: Shop, name: str, kind: ActionKind, goal: Goal | None
) -> None:
    leave(shop, kind, name)
    if goal is None:
        assert all(map(has_passed, shop.command().values()))
    else:
        shop.alone("db", goal)
        assert not has_passed(shop.state("web"))
    assert shop.target.rehearsals == {}
    assert not any(shop.state(one).rehearsing for one in NAMES)


def test_release_ends_what_was_left_of_all(make: Callable[..., Shop]) -> None:
    shop = make(moves_as_one=True)
    leave(shop)
    lines = list(
        release_plan(shop.plan, shop.journal, shop.target, lambda: shop.source, everything=False, dry_run=False)
    )
    assert [line for line in lines if "has ended" in line] == [
        f"{name}: its rehearsal was left, and has ended" for name in reversed(NAMES)
    ]
    shop.nothing_is_left()


def test_one_that_somebody_else_has_in_hand_is_left_to_him(shop: Shop) -> None:
    leave(shop)
    assert set(shop.target.rehearsals) == set(NAMES)
    with shop.journal.lease(shop.plan.digest, "web"):
        shop.alone("db", Goal.PRECOPY)
    assert set(shop.target.rehearsals) == {"web"}
    shop.alone("web", Goal.PRECOPY)
    shop.nothing_is_left()


def leave(shop: Shop, kind: ActionKind = A.START_REHEARSAL, name: str = "web") -> None:
    """As a process leaves them that is killed behind this step."""
    shop.kill_after(kind, name)
    with shop.works() as works, pytest.raises(Killed):
        drive_set(works, Goal.REHEARSE, shop.do)
    shop.told.clear()


def test_who_stops_it_leaves_nothing_behind(shop: Shop) -> None:
    def stop(_name: str, action: Action) -> None:
        if action.kind is A.START_REHEARSAL:
            raise Interrupted("stopped on request")

    shop.after = stop
    with pytest.raises(Interrupted):
        shop.command()
    shop.nothing_is_left()


def test_machines_that_move_as_one_are_rehearsed_and_then_moved(make: Callable[..., Shop]) -> None:
    shop = make(moves_as_one=True)
    assert rehearsed_as_one(shop.plan, "web", Goal.REHEARSE, False) == NAMES
    states = shop.command(Goal.MIGRATE, asked=True)
    assert {state.phase for state in states.values()} == {Phase.COMMITTED}
    kinds = [kind for _name, kind in shop.told]
    assert kinds.index(A.RECORD_REHEARSAL) < kinds.index(A.BEGIN_CUTOVER)


def test_a_rehearsal_that_was_left_ends_before_they_move_or_go_back(make: Callable[..., Shop]) -> None:
    shop = make(moves_as_one=True)
    leave(shop)
    shop.command(Goal.MIGRATE)
    assert shop.told[:2] == [("web", A.END_REHEARSAL), ("db", A.END_REHEARSAL)]
    assert {shop.state(name).phase for name in NAMES} == {Phase.COMMITTED}


def test_one_of_them_is_not_rehearsed_by_its_own_cutover(shop: Shop) -> None:
    with pytest.raises(PermanentError, match="rehearsed together with db") as caught:
        shop.alone("web", Goal.MIGRATE, asked=True)
    assert "precopy --rehearse --app shop" in caught.value.fix
    assert shop.told == []


def test_a_target_that_has_no_such_thing_is_told_before_anything_begins(shop: Shop) -> None:
    shop.target.capabilities = TargetCapabilities(keeps_running=False)
    with pytest.raises(TargetRefused, match="does not rehearse machines together"):
        shop.command()
    assert shop.told == []


def test_what_was_not_copied_of_one_costs_the_other_no_round(shop: Shop) -> None:
    refused = {"db": TargetRefused("no room", machine="db")}
    with shop.works() as works:
        failed = copy_ahead(works, shop.do, refused)
    assert {name: len(shop.state(name).rounds) for name in NAMES} == {"db": 1, "web": 2}
    assert list(failed) == ["db"]


def test_the_page_tells_who_was_rehearsed_with_whom_and_what_the_app_showed(shop: Shop) -> None:
    shop.command()
    events = {name: shop.journal.events(shop.plan.digest, name) for name in NAMES}
    report = build_report(shop.plan, events, generated_at="2026-01-01T00:00:00Z")
    for text in (render_markdown(report), render_html(report)):
        assert "together: db, web" in text
        assert "app shop" in text
