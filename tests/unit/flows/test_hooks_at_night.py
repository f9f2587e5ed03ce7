"""Hooks, slots and machines that are handed out, on nights that go wrong: each is somebody's, and told as it is."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete

from flows import elsewhere, places
from flows.caretaking import look_after
from flows.leaving import owed
from flows.migrate import _work
from flows.programme import taking
from flows.results import as_text, from_text
from flows.told import Outcome
from kubeferry.errors import KubeferryError, SourceRefused, TransientError
from kubeferry.journal import Journal
from kubeferry.journal import errands as kept
from kubeferry.journal.schema import ERRAND
from kubeferry.life.action_kinds import Goal
from kubeferry.life.events import Validated
from kubeferry.life.states import IllegalTransition, MachineState, Phase
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.drive import drive
from tests.clocks import Clock
from tests.receivers import KEY, listening
from tests.unit.flows.nights import Killed, Night, window
from tests.unit.flows.test_elsewhere import Spread, spread  # noqa: F401

TELLS = """\
import os, sys, time
told = os.environ
phase, machine, name = told['KUBEFERRY_PHASE'], told['KUBEFERRY_MACHINE'], told['KUBEFERRY_HOOK']
open('ran.txt', 'a').write(f"{phase} {name} {machine}\\n")
time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0)
sys.exit(3 if any(map(os.path.exists, (f'fails-{phase}', f'fails-{phase}-{machine}', f'fails-{phase}-{name}'))) else 0)
"""


def hook(phase: str, name: str = "tell", sleep: float = 0, seconds: float = 60) -> dict[str, Any]:
    argv = [sys.executable, "tells.py", str(sleep)]
    return {"name": name, "on": phase, "kind": "command", "argv": argv, "timeoutSeconds": seconds}


def policy(*hooks: dict[str, Any]) -> str:
    return f"hooks: {json.dumps(hooks)}\n"


@pytest.fixture(autouse=True)
def tells(estate: Path) -> None:
    (estate / "tells.py").write_text(TELLS)


def ran() -> list[str]:
    path = Path("ran.txt")
    return path.read_text().splitlines() if path.exists() else []


def test_a_hook_owed_of_the_last_way_back_leaves_no_machine_of_a_set_behind(
    shop: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.planned(policy(hook("after-rollback")))
    shop.target.answers["agent"] = False
    shop.killed_after("rolled-back", nth=2)
    assert ran() == []
    shop.target.answers["agent"] = True
    Path("fails-after-rollback-db").touch()
    stopped: list[str] = []
    stop = MemorySource.stop

    def told(self: Any, machine: Any, *given: Any, **named: Any) -> Any:
        stopped.append(machine.name)
        return stop(self, machine, *given, **named)

    monkeypatch.setattr(MemorySource, "stop", told)
    shop.run(Goal.MIGRATE_AGAIN)
    assert sorted(stopped) in ([], ["db", "web"])  # both, or none


def test_who_looks_after_things_waits_for_no_slot(web: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "AGAIN_SECONDS", 0.05)
    with (web.folder / "kubeferry.yaml").open("a") as file:
        file.write("limits: {concurrentMachines: 3, perHost: 1}\n")
    web.planned(policy(hook("after-rollback")))
    web.target.answers["agent"] = False
    web.killed_after("rolled-back")
    assert web.state.phase is Phase.ROLLED_BACK
    with Journal.open(web.config.journal) as journal:
        journal.register_plan("another", "another", "{}")
        lease = journal.acquire("another", "c1")
        wanted = places.slots.asked(web.plan, web.config.limits, [("web",)])["web",]["web"]
        assert journal.take_slots([lease], {"c1": wanted}) == ()
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(look_after(web.config, journal)))
        thread.start()
        thread.join(6)
        hangs = thread.is_alive()
        journal.release(lease)
        thread.join(20)
        assert not hangs, "the caretaker waits for a slot"


def test_a_round_copied_ahead_forgets_no_hook_of_the_way_back(web: Night) -> None:
    web.planned("mode: warm\nwarm: {rounds: 1}\n" + policy(hook("before-stop"), hook("after-rollback")))
    web.target.answers["agent"] = False
    web.killed_after("rolled-back")
    web.target.answers["agent"] = True
    web.run(Goal.PRECOPY)
    web.caretake()
    web.run(Goal.MIGRATE)
    web.run(Goal.ROLLBACK)
    assert "after-rollback tell web" in ran()


def test_a_cutover_whose_budget_its_hooks_use_up_begins_not_without_end(web: Night) -> None:
    hooks = policy(hook("before-stop", "one", 2.6), hook("before-stop", "two", 0.6))
    web.planned(hooks + "downtime: {budgetSeconds: 3}\n")
    late = threading.Timer(20, stopping.request)
    late.start()
    web.run()
    late.cancel()
    late.join()
    assert web.kinds.count("cutover-begun") == 1
    assert web.state.phase is Phase.ROLLED_BACK


def test_who_looks_after_things_tells_of_a_hook_that_failed_after_the_way_back(web: Night) -> None:
    web.planned(policy(hook("after-rollback")))
    web.target.answers["agent"] = False
    web.killed_after("rolled-back")
    Path("fails-after-rollback").touch()
    looked = web.caretake()
    assert ran() == ["after-rollback tell web"]
    assert looked["code"] == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_hook_that_failed_after_the_way_back_has_a_message_of_its_own(
    web: Night, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    monkeypatch.setenv("HOOK_KEY", KEY)
    web.planned(policy(hook("after-rollback")))
    web.target.answers["agent"] = False
    Path("fails-after-rollback").touch()
    with listening() as ops:
        told = {"ops": {"url": f"{ops.url}/hook", "secretEnv": "HOOK_KEY"}}
        with (web.folder / "kubeferry.yaml").open("a") as file:
            file.write(f"notify: {json.dumps({'webhooks': told})}\n")
        if killed:
            web.kubeferry("notify")  # from here on
            web.killed_after("rolled-back")
            assert web.caretake()["code"] == 1
        else:
            assert web.kubeferry("migrate", "plan.yaml")[0] == 2
        web.caretake()
    back, late = (one.body for one in ops.got)
    assert (back["event"], back["reason"]) == ("rolled-back", "the target did not pass: agent")
    assert "--again" in back["fix"]
    assert late["event"] == "failed"
    assert "its hook after-rollback tell failed" in late["reason"]


def test_after_a_window_s_end_hooks_of_the_way_back_are_run_by_who_looks_after_things(web: Night, clock: Clock) -> None:
    web.planned(window(clock, -30, 30) + policy(hook("before-stop"), hook("after-rollback")))
    web.killed_after("source-stopped")
    clock.ahead += 3600
    web.killed_after("rolled-back")
    assert (web.state.phase, web.state.waits_for_window, web.power) == (Phase.ROLLED_BACK, True, Power.RUNNING)
    for _ in range(3):
        clock.ahead += 600
        web.caretake()
    assert "after-rollback tell web" in ran()


def test_whose_worker_was_killed_after_the_stop_is_not_told_as_not_begun(
    spread: Spread,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = Journal.append

    def kill(journal: Journal, lease: Any, event: Any) -> Any:
        made = append(journal, lease, event)
        if lease.machine == "gamma" and event.kind == "source-stopped":
            raise Killed
        return made

    def send(errand: Any) -> Any:
        if errand.unit != ("gamma",):
            return errand.id
        with monkeypatch.context() as patched:
            patched.setattr(kept, "ALIVE_SECONDS", 2.0)
            assert spread.journal.errands.take(errand.id)
            patched.setattr(Journal, "append", kill)
            run = spread.run()
            with contextlib.suppress(Killed), _work(run, spread.plan.entry("gamma")) as work:
                drive(work, Goal.MIGRATE, lambda _action, step: step())
        stopping.request()
        return errand.id

    found = spread.whole(send)
    state = spread.journal.state(spread.plan.digest, "gamma")
    assert state.source_off
    assert found["gamma"].phase != "not begun"


def test_a_service_that_was_drained_is_not_left_so_by_a_kill(web: Night, clock: Clock) -> None:
    web.planned(policy(hook("before-stop"), hook("after-rollback")) + "downtime: {budgetSeconds: 300}\n")
    web.killed_after("hook-run")
    assert ran() == ["before-stop tell web"]
    clock.ahead += 7200
    web.caretake()
    assert len(ran()) > 1


@pytest.mark.parametrize("cut", ["delete from kubeferry_machine", "update kubeferry_machine set seq = 0, digest = ''"])
def test_states_refuse_what_state_refuses(web: Night, cut: str) -> None:
    web.run()
    with contextlib.closing(sqlite3.connect("journal.db")) as db:
        db.execute(cut)
        db.commit()
    with Journal.open(web.config.journal) as journal:
        with pytest.raises(KubeferryError):
            journal.state(web.plan.digest, "web")
        with pytest.raises(KubeferryError):
            journal.histories(web.plan.digest)
        with pytest.raises(KubeferryError):
            journal.states(web.plan.digest)


def test_an_error_of_another_room_arrives_with_its_exit_code() -> None:
    error = IllegalTransition(MachineState(), Validated(probes_passed=1), "no")
    (there,) = from_text(as_text([Outcome("web", "failed", error)]))
    assert there.error is not None
    assert (there.error.exit_code, there.error.transient) == (error.exit_code, error.transient)


def test_a_hook_lasts_no_longer_than_any_of_its_set_has_time(shop: Night) -> None:
    after = json.dumps([hook("after-stop", "slow", 15)])
    web = f"{{hooks: {after}, downtime: {{budgetSeconds: 600}}}}"
    shop.planned(f"machines: {{db: {{downtime: {{budgetSeconds: 4}}}}, web: {web}}}\n")
    begun = time.monotonic()
    shop.run()
    took = time.monotonic() - begun
    assert took < 12


def test_a_journal_that_is_away_for_a_moment_makes_no_failure_of_a_machine_that_moved(
    spread: Spread,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = elsewhere.Elsewhere._told

    def away(self: Any, run: Any, unit: Any, errand: Any) -> Any:
        def refused(*_given: Any) -> Any:
            raise TransientError("the journal does not answer")

        with pytest.MonkeyPatch.context() as patched:
            if unit == ("gamma",):
                patched.setattr(self, "_journal", type("J", (), {"state": refused, "errands": self._journal.errands})())
            return told(self, run, unit, errand)

    monkeypatch.setattr(elsewhere.Elsewhere, "_told", away)
    found = spread.whole(spread.worker)
    assert spread.journal.state(spread.plan.digest, "gamma").phase is Phase.COMMITTED
    assert found["gamma"].phase == "committed", found["gamma"]


def test_an_errand_that_a_restored_journal_does_not_know_is_not_waited_for_for_ever(
    spread: Spread,  # noqa: F811
) -> None:
    def send(errand: Any) -> Any:
        if errand.unit == ("gamma",):
            assert spread.journal.errands.take(errand.id)
            time.sleep(0.3)
            with spread.journal._writing() as db:  # the journal of before
                db.execute(delete(ERRAND).where(ERRAND.c.id == errand.id))
            return errand.id
        return spread.worker(errand)

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(spread.whole(send, seconds=1.0)), daemon=True)
    thread.start()
    thread.join(8)
    stopping.request()
    thread.join(4)
    assert found


def test_a_journal_that_is_away_when_a_run_has_ended_makes_no_failure_of_it(
    spread: Spread,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errands = spread.journal.errands
    one, two = (errands.ask("asker", spread.plan.digest, (name,), "migrate") for name in ("alpha", "gamma"))
    taken = errands.take(one.id)
    assert taken
    ready = SimpleNamespace(run=SimpleNamespace(shown=None))
    monkeypatch.setattr(taking, "carried_through", lambda _run, unit, _path: [Outcome(n, "committed") for n in unit])
    monkeypatch.setattr(taking.moves, "prepared", lambda *_given, **_named: contextlib.nullcontext(ready))
    monkeypatch.setattr(taking, "replace", lambda move, **_named: move)
    end, times = errands.end, []

    def away_once(errand: str, result: str) -> None:
        times.append(errand)
        if times.count(two.id) == 1 and errand == two.id:
            raise TransientError("the journal does not answer")
        end(errand, result)

    monkeypatch.setattr(errands, "end", away_once)
    taker = taking._Taker(spread.journal, taken, 0.3)
    taker.runs.append(SimpleNamespace(machines=("alpha",)))  # type: ignore[arg-type]
    taker._drive(SimpleNamespace(path=None), ready.run)  # type: ignore[arg-type]
    told = {one.unit[0]: from_text(one.result)[0].phase for one in errands.of_plan(spread.plan.digest)}
    assert told == {"alpha": "committed", "gamma": "committed"}


def test_who_is_asked_to_try_again_does_so_though_an_owed_hook_fails(web: Night) -> None:
    web.planned(policy(hook("after-rollback")))
    web.target.answers["agent"] = False
    web.killed_after("rolled-back")
    web.target.answers["agent"] = True
    Path("fails-after-rollback").touch()
    outcome = web.run(Goal.MIGRATE_AGAIN)
    assert outcome.phase == "committed"


def test_a_service_that_was_drained_is_not_left_so_by_a_stop(web: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    web.planned(policy(hook("before-stop"), hook("before-stop", "two", 5), hook("after-rollback")))
    soon = threading.Timer(1.5, stopping.request)
    soon.start()
    web.run()
    soon.join()
    assert owed(web.plan, {"web": web.state}) == (("web",), ())


def test_what_an_app_runs_after_its_way_back_waits_for_all_of_its_sources(
    shop: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_app = json.dumps([hook("after-rollback", "app")])
    shop.policy = shop.policy.replace("together: true", f"together: true, hooks: {of_app}")
    shop.planned(policy(hook("after-rollback", "own")))
    shop.target.answers["agent"] = False
    start, away = MemorySource.start, [True]

    def refused(self: Any, machine: Any, *given: Any, **named: Any) -> Any:
        if machine.name == "db" and away[0]:
            raise SourceRefused("it does not start", why="a volume is gone", machine="db")
        return start(self, machine, *given, **named)

    monkeypatch.setattr(MemorySource, "start", refused)
    shop.run()
    assert (shop.power_of("web"), shop.power_of("db")) == (Power.RUNNING, Power.OFF)
    assert ran() == ["after-rollback own web"]
    away[0] = False
    shop.run(Goal.ROLLBACK)
    assert (shop.power_of("web"), shop.power_of("db")) == (Power.RUNNING, Power.RUNNING)
    assert sorted(ran()[1:]) == sorted(["after-rollback own db", f"after-rollback app {ran()[-1].split()[-1]}"])
    assert ran()[-1].startswith("after-rollback app")


def test_who_looks_after_things_leaves_a_hook_that_failed_to_a_person(web: Night) -> None:
    web.planned(policy(hook("after-commit", "one"), hook("after-commit", "two")))
    Path("fails-after-commit-one").touch()
    web.killed_after("hook-run")
    assert ran() == ["after-commit one web"]
    web.caretake()
    assert ran() == ["after-commit one web", "after-commit two web"]
    Path("fails-after-commit-one").unlink()
    web.run()  # a person asks
    assert ran()[2:] == ["after-commit one web"]


def test_a_run_whose_window_is_closed_runs_what_the_way_back_still_owes(web: Night, clock: Clock) -> None:
    web.planned(window(clock, -30, 30) + policy(hook("before-stop"), hook("after-rollback")))
    web.killed_after("source-stopped")
    clock.ahead += 3600
    web.killed_after("rolled-back")
    assert (web.state.phase, web.state.waits_for_window, web.power) == (Phase.ROLLED_BACK, True, Power.RUNNING)
    web.kubeferry("migrate", "plan.yaml")
    assert ran() == ["before-stop tell web", "after-rollback tell web"]
    assert web.kinds.count("cutover-begun") == 1
