"""Hooks in a run: real programs at their places, killed at each record, failing on both sides of the stop, of machines
alone and of an app that moves as one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.migrate import Run, _work
from flows.progress import Board
from kubeferry.errors import HookFailed, LateHookFailed, ProbeFailed, TargetRefused
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.life.hook_events import HookRun
from kubeferry.life.states import Phase
from kubeferry.model import Power
from kubeferry.sources import Inside
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.drive import drive
from kubeferry.targets.memory import target
from kubeferry.targets.memory.target import MemoryTarget
from tests.host_agent import HostAgent
from tests.unit.flows.nights import Killed, Night
from tests.unit.flows.test_apps import NAMES
from tests.unit.flows.test_apps import POLICY as APPS
from tests.unit.flows.test_apps import Estate as Apps

Command = Callable[..., tuple[int, str, str]]
PHASES = ("before-stop", "after-stop", "after-start", "after-commit", "after-rollback")
TELLS = """\
import os, sys
told = os.environ
line = f"{told['KUBEFERRY_PHASE']} {told['KUBEFERRY_HOOK']} {told['KUBEFERRY_MACHINE']} {told['KUBEFERRY_CALL']}"
open('ran.txt', 'a').write(line + '\\n')
sys.exit(3 if os.path.exists('fails-' + told['KUBEFERRY_PHASE']) else 0)
"""


def hook(phase: str, name: str = "tell", kind: str = "command") -> dict[str, Any]:
    argv = (
        [sys.executable, "tells.py"] if kind == "command" else ["sh", "-c", f"echo {phase} {name} >> {Path.cwd()}/in"]
    )
    return {"name": name, "on": phase, "kind": kind, "argv": argv, "timeoutSeconds": 30}


def policy(*hooks: dict[str, Any]) -> str:
    return f"hooks: {json.dumps(hooks)}\n"


ALL = policy(*(hook(phase) for phase in PHASES))


@pytest.fixture(autouse=True)
def tells(estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of every hook: it writes down what it was told, and fails where a file says so. Nothing of an earlier
    test's target is there."""
    monkeypatch.setattr(target, "_opened", {})
    (estate / "tells.py").write_text(TELLS)


def ran() -> list[str]:
    """`PHASE HOOK MACHINE` of each, in their order."""
    path = Path("ran.txt")
    return [line.rpartition(" ")[0] for line in path.read_text().splitlines()] if path.exists() else []


def phases() -> list[str]:
    return [line.split()[0] for line in ran()]


def runs(web: Night) -> list[HookRun]:
    with Journal.open(web.config.journal) as journal:
        events = [record.event for record in journal.events(web.plan.digest, "web")]
    return [event for event in events if isinstance(event, HookRun)]


# --- their places ----------------------------------------------------------------------------------------------------


def test_each_is_run_at_its_place_and_told_in_the_journal(web: Night) -> None:
    web.planned(ALL)
    assert web.run().phase == "committed"
    assert phases() == ["before-stop", "after-stop", "after-start", "after-commit"]
    order = [kind for kind in web.kinds if kind in {"hook-run", "stop-asked", "source-stopped", "started", "observed"}]
    assert order == [
        "hook-run",
        "stop-asked",
        "source-stopped",
        "hook-run",
        "started",
        "hook-run",
        "observed",
        "hook-run",
    ]
    assert web.kinds[-4:].index("committed") < web.kinds[-4:].index("hook-run")
    assert all(run.ok and run.code == 0 and run.seconds > 0 for run in runs(web))
    assert len({run.call for run in runs(web)}) == 4
    assert web.run().phase == "committed"  # and none of them again
    assert len(ran()) == 4


def test_a_dry_run_names_them_and_runs_none(web: Night) -> None:
    web.planned(ALL)
    code, out, _err = web.kubeferry("migrate", "plan.yaml", "--dry-run")
    assert code == 0
    for phase in ("before-stop", "after-stop", "after-start", "after-commit"):
        assert f"hook {phase}: tell (command)" in out
    assert ran() == []


def test_a_machine_that_was_off_has_no_guest_to_run_one(web: Night) -> None:
    web.planned(policy(hook("before-stop"), hook("before-stop", "inside", "guest")))
    web.source.write_power("web", Power.OFF)
    assert web.run().phase == "committed"
    assert [(run.hook, run.ok) for run in runs(web)] == [("tell", True)]


def test_hooks_of_the_guest_are_run_by_the_agent_of_whoever_runs_then(
    web: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, copy = HostAgent(), HostAgent()
    monkeypatch.setattr(MemorySource, "inside", lambda *_given: Inside(ask=source))
    web.target.agents["web"] = copy
    web.planned(policy(*(hook(phase, kind="guest") for phase in ("before-stop", "after-start", "after-rollback"))))
    with closing(source), closing(copy):
        web.target.answers["agent"] = False
        assert isinstance(web.run().error, ProbeFailed)
        assert Path("in").read_text().splitlines() == [
            f"{one} tell" for one in ("before-stop", "after-start", "after-rollback")
        ]
        assert (len(source.started), len(copy.started)) == (2, 1)


def test_who_may_not_ask_the_guest_has_a_hook_that_failed_and_no_machine_that_did(
    web: Night, stays_up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_given: Any) -> None:
        raise TargetRefused("the account may not", machine="web")

    monkeypatch.setattr(MemoryTarget, "agent", refused)
    web.planned(policy(hook("after-commit", kind="guest")))
    assert isinstance(web.run().error, LateHookFailed)
    assert web.state.phase is Phase.COMMITTED
    assert [(run.ok, run.why) for run in runs(web)] == [(False, "the account may not")]


# --- killed ----------------------------------------------------------------------------------------------------------


def killed_before(web: Night, nth: int) -> None:
    """A run that was killed just before its nth hook was recorded."""
    whole, seen = Journal.append, iter(range(1, 99))

    def kill(journal: Journal, lease: Any, event: Any) -> Any:
        if event.kind == "hook-run" and next(seen) == nth:
            raise Killed
        return whole(journal, lease, event)

    plan = web.plan
    with pytest.MonkeyPatch.context() as patched, Journal.open(web.config.journal) as journal:
        journal.keep_plan(plan)
        patched.setattr(Journal, "append", kill)
        run = Run(plan, web.config, journal, Board(quiet=True), Goal.MIGRATE)
        with pytest.raises(Killed), _work(run, plan.entries[0]) as work:
            drive(work, Goal.MIGRATE, lambda _action, step: step())


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_what_was_recorded_is_not_run_again_whoever_goes_on(web: Night, nth: int) -> None:
    web.planned(ALL)
    web.killed_after("hook-run", nth=nth)
    assert web.run().phase == "committed"
    assert phases() == ["before-stop", "after-stop", "after-start", "after-commit"]


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_what_was_not_recorded_is_run_once_more_with_the_same_call(web: Night, nth: int) -> None:
    web.planned(ALL)
    killed_before(web, nth)
    assert web.run().phase == "committed"
    whole = ["before-stop", "after-stop", "after-start", "after-commit"]
    assert phases() == [*whole[:nth], *whole[nth - 1 :]]
    lines = Path("ran.txt").read_text().splitlines()
    assert len(set(lines)) == 4


def test_the_hook_after_a_rollback_is_run_by_whoever_comes_next(web: Night) -> None:
    web.planned(ALL)
    web.target.answers["agent"] = False
    killed_before(web, 4)
    assert web.state.phase is Phase.ROLLED_BACK
    web.run()
    assert phases()[-2:] == ["after-rollback", "after-rollback"]
    web.run()
    assert len(ran()) == 5


def test_whoever_looks_after_things_runs_what_nobody_has_run_and_no_more(web: Night) -> None:
    web.planned(policy(hook("after-commit"), hook("after-commit", "later")))
    web.killed_after("hook-run")
    looked = web.caretake()
    assert "its hooks after-commit were not run" in looked["taken"][0]["why"]
    assert ran() == ["after-commit tell web", "after-commit later web"]
    assert web.caretake()["taken"] == []


def test_another_cutover_owes_all_of_them_anew_with_other_calls(web: Night) -> None:
    web.planned(ALL)
    web.target.answers["agent"] = False
    assert isinstance(web.run().error, ProbeFailed)
    assert phases() == ["before-stop", "after-stop", "after-start", "after-rollback"]
    web.target.answers["agent"] = True
    assert web.run(Goal.MIGRATE_AGAIN).phase == "committed"
    assert phases()[4:] == ["before-stop", "after-stop", "after-start", "after-commit"]
    assert len(set(Path("ran.txt").read_text().splitlines())) == 8


# --- one that fails --------------------------------------------------------------------------------------------------


def test_one_before_the_stop_that_fails_has_stopped_nothing(web: Night) -> None:
    web.planned(ALL)
    Path("fails-before-stop").touch()
    outcome = web.run()
    assert isinstance(outcome.error, HookFailed)
    assert "nothing was stopped" in outcome.error.why
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert "stop-asked" not in web.kinds
    assert "source-restarted" not in web.kinds
    assert phases() == ["before-stop", "after-rollback"]


@pytest.mark.parametrize("phase", ["after-stop", "after-start"])
def test_one_after_the_stop_that_fails_leads_back(web: Night, phase: str) -> None:
    web.planned(ALL)
    Path(f"fails-{phase}").touch()
    outcome = web.run()
    assert isinstance(outcome.error, HookFailed)
    assert f"its hook {phase} tell failed" in outcome.error.what
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert phases()[-2:] == [phase, "after-rollback"]
    assert web.target.running == {}


def test_one_after_the_commit_that_fails_leaves_it_committed_and_the_same_command_goes_on(web: Night) -> None:
    web.planned(policy(hook("after-commit", "first"), hook("after-commit", "second")))
    Path("fails-after-commit").touch()
    outcome = web.run()
    assert isinstance(outcome.error, LateHookFailed)
    assert "it has moved, and its hooks after-commit first, after-commit second failed" in outcome.error.what
    assert (web.power, web.state.phase) == (Power.OFF, Phase.COMMITTED)
    code, out, _err = web.kubeferry("status", "plan.yaml", "--json")
    (told,) = json.loads(out.splitlines()[-1])["machines"]
    assert code in {0, 1}
    assert "hook after-commit first failed: it ended with exit code 3" in told["failed"]
    assert told["next"] == "hooks-after-commit"
    Path("fails-after-commit").unlink()
    assert web.run().phase == "committed"
    assert web.run().phase == "committed"
    assert len(ran()) == 4


def test_one_after_a_rollback_that_fails_is_told_beside_the_reason_and_run_again(web: Night) -> None:
    web.planned(ALL)
    web.target.answers["agent"] = False
    Path("fails-after-rollback").touch()
    outcome = web.run()
    assert isinstance(outcome.error, ProbeFailed)
    assert "hook after-rollback tell failed" in outcome.error.why
    assert web.power is Power.RUNNING
    outcome = web.run(Goal.ROLLBACK)
    assert isinstance(outcome.error, LateHookFailed)
    Path("fails-after-rollback").unlink()
    assert web.run(Goal.ROLLBACK).phase == "rolled-back"
    assert [run.ok for run in runs(web)] == [True, True, True, False, False, True]


def test_one_may_last_no_longer_than_the_cutover_has_time(web: Night) -> None:
    slow = hook("after-stop") | {"argv": ["sleep", "300"], "timeoutSeconds": 600}
    web.planned(policy(slow) + "downtime: {budgetSeconds: 3}\n")
    outcome = web.run()
    assert isinstance(outcome.error, HookFailed)
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert runs(web)[0].seconds < 6


def test_what_cannot_be_run_here_is_refused_before_anything_is_touched(web: Night) -> None:
    calls = {
        "name": "dns",
        "on": "after-start",
        "kind": "http",
        "url": "https://dns.example/",
        "tokenEnv": "NOT_SET_HERE",
    }
    web.planned(policy(hook("after-stop") | {"argv": ["no-such-program"]}, calls, hook("before-stop", kind="guest")))
    code, _out, err = web.kubeferry("migrate", "plan.yaml")
    assert code == 2
    for told in (
        "not installed: no-such-program",
        "the environment has no NOT_SET_HERE",
        "the guest agent does not answer",
    ):
        assert told in err
    assert web.power is Power.RUNNING


# --- an app that moves as one ----------------------------------------------------------------------------------------


def test_the_hooks_of_an_app_are_run_once_and_those_of_its_machines_at_one_place(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = Apps(kubeferry, estate, monkeypatch)
    of_app = json.dumps([hook(phase, "app") for phase in PHASES])
    text = APPS.replace("    together: TOGETHER\n", f"    together: true\n    hooks: {of_app}\n")
    text += (
        f"machines: {{web: {ALL.strip()}, db1: {ALL.strip()}}}\n".replace("hooks: [", "{hooks: [")
        .replace("]}", "]}}")
        .replace("], db1", "]}, db1")
    )
    apps.planned(policy=text)
    found = apps.run("db1", "db2", "cache", "web")
    assert {one.phase for one in found.values()} == {"committed"}
    assert ran() == [
        *("before-stop app web", "before-stop tell web", "before-stop tell db1"),
        *("after-stop tell web", "after-stop tell db1", "after-stop app db2"),
        *("after-start tell db1", "after-start tell web", "after-start app web"),
        *("after-commit tell db1", "after-commit tell web", "after-commit app web"),
    ]


def test_an_app_that_goes_back_runs_its_hook_once_all_are_back_and_one_that_fails_keeps_no_other(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = Apps(kubeferry, estate, monkeypatch)
    hooks = json.dumps([hook(phase) for phase in ("before-stop", "after-rollback")])
    text = APPS.replace("    together: TOGETHER\n", f"    together: true\n    hooks: {hooks}\n")
    apps.planned(policy=f"{text}hooks: {hooks}\n")
    Path("fails-after-rollback").touch()
    apps.target.answers["serial"] = False
    found = apps.run("db1", "db2", "cache", "web")
    assert all(isinstance(one.error, ProbeFailed) for one in found.values())
    assert apps.running() == set(NAMES)
    assert [one for one in ran() if one.startswith("after")] == [
        f"after-rollback tell {name}" for name in ("db1", "db2", "cache", "web", "web")
    ]
    apps.target.answers["serial"] = True


def test_one_of_a_set_that_fails_before_the_stop_stops_none(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = Apps(kubeferry, estate, monkeypatch)
    apps.planned(policy=f"{APPS}{policy(hook('before-stop'))}")
    Path("fails-before-stop").touch()
    found = apps.run("db1", "db2", "cache", "web")
    assert all(one.error for one in found.values())
    assert apps.order_of("source.stop") == []
    assert apps.running() == set(NAMES)


def test_machines_of_an_app_that_move_alone_run_its_hooks_each(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = Apps(kubeferry, estate, monkeypatch)
    text = APPS.replace("    together: TOGETHER\n", f"    together: false\n    {policy(hook('before-stop'))}")
    apps.planned(policy=f"{text}{policy(hook('before-stop'))}")
    apps.run()
    assert sorted(one for one in ran() if one.split()[2] in {"db1", "web", "wiki"}) == [
        "before-stop tell db1",
        "before-stop tell db1",
        "before-stop tell web",
        "before-stop tell web",
        "before-stop tell wiki",
    ]
