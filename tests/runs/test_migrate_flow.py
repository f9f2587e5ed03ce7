"""The flow `migrate` under a real Prefect server: what is retried, what is not, and what an operator sees."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kubeferry.documents import Config, Plan, load
from kubeferry.errors import KubeferryError, OutOfTime, SourceUnavailable, TargetRefused, TargetUnavailable
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside.process import run
from kubeferry.targets.memory.target import MemoryTarget, connect


@pytest.fixture
def flow(server: str, small: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The small estate with a memory target, its plan run in this process."""
    from kubeferry.life import tries

    monkeypatch.setattr(tries, "DELAYS_SECONDS", [0.1, 0.1, 0.1])
    small.configure(target="memory", path=str(small.folder))
    return Flow(small)


class Flow:
    def __init__(self, small: Any) -> None:
        self.small = small
        self.target: MemoryTarget = connect(self.config.target)
        self.plan: Plan | None = None

    @property
    def config(self) -> Config:
        return load(self.small.folder / "kubeferry.yaml", Config)

    def go(self, *machines: str) -> dict[str, tuple[str, KubeferryError | None]]:
        from flows.following import Following
        from flows.migrate import Run, run_plan
        from flows.progress import Board
        from flows.serving.server import Api
        from kubeferry.life.action_kinds import Goal

        self.plan = self.plan or self.small.plan()
        with self.small.journal() as journal:
            journal.register_plan(self.plan.digest, self.plan.name, "")
            names = machines or tuple(entry.name for entry in self.plan.entries)
            run = Run(self.plan, self.config, journal, Board(quiet=True), Goal.MIGRATE)
            api = Api(os.environ["PREFECT_API_URL"])
            with Following(api, run, names, self.small.folder / "kubeferry.yaml") as shown:
                run.shown = shown
                outcomes = run_plan(run, names)
        return {outcome.machine: (outcome.phase, outcome.error) for outcome in outcomes}

    def flow_runs(self) -> dict[str, str]:
        """Name of each newest flow run of this plan, and its state."""
        runs, _ = self._ask()
        return {one["name"]: one["state_name"] for one in reversed(runs)}

    def state(self) -> dict[str, Any]:
        """That of the newest run of this plan."""
        found: dict[str, Any] = next(
            one["state"] for one in ask("flow_runs", sort="START_TIME_DESC") if self.is_of_this_plan(one)
        )
        return found

    def is_of_this_plan(self, one: Any) -> bool:
        """Whether a flow run is of the waves of this plan."""
        of_machine = "machine" in one["parameters"]
        return bool(self.plan and one["parameters"].get("digest") == self.plan.digest and not of_machine)

    def task_runs(self) -> list[tuple[str, str, int]]:
        """Each task of this plan: what it does, its state, how often it was run."""
        _, tasks = self._ask()
        return [(one["name"], one["state_name"], one["run_count"]) for one in tasks]

    def _ask(self) -> tuple[list[Any], list[Any]]:
        """This plan's flow runs and their subflows, and the tasks of all of them."""
        assert self.plan is not None
        recent = ask("flow_runs", sort="START_TIME_DESC")
        mine = [one for one in recent if self.is_of_this_plan(one)]
        names = {entry.name for entry in self.plan.entries}
        began = min(one["start_time"] for one in mine)
        found = [*mine, *(one for one in recent if one["name"] in names and one["start_time"] >= began)]
        these = {"id": {"any_": [one["id"] for one in found]}}
        tasks: list[Any] = []
        for _ in range(50):  # the server learns of tasks from events, a moment after they end
            tasks = ask("task_runs", sort="ID_DESC", flow_runs=these)
            if tasks and all(one["state_name"] in {"Completed", "Failed"} for one in tasks):
                break
            time.sleep(0.2)
        return found, tasks


def ask(what: str, **body: Any) -> list[Any]:
    """What the server answers over HTTP, as the UI sees it."""
    query = urllib.request.Request(  # noqa: S310 (loopback, our own address)
        f"{os.environ['PREFECT_API_URL']}/{what}/filter",
        data=json.dumps({"limit": 200, "offset": 0, **body}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(query, timeout=20) as answer:  # noqa: S310
        found: list[Any] = json.load(answer)
    return found


def test_one_machine_that_fails_does_not_fail_the_others_and_is_plainly_shown(flow: Any) -> None:
    for name in ("web", "db", "stubborn"):
        flow.small.add(name)
    flow.small.source.write_deaf("stubborn")
    outcomes = flow.go()
    assert {name: phase for name, (phase, _) in outcomes.items()} == {
        "web": "committed",
        "db": "committed",
        "stubborn": "failed",
    }
    assert "does not stop" in str(outcomes["stubborn"][1])
    assert flow.small.power("stubborn") is Power.RUNNING
    runs = flow.flow_runs()
    assert runs["web"] == runs["db"] == "Completed"
    assert runs["stubborn"] == runs["cutover lab"] == "RolledBack"
    assert flow.state()["message"] == "1 of 3 rolled back: stubborn; 2 of 3 done"
    tasks = flow.task_runs()
    assert [runs for name, state, runs in tasks if (name, state) == ("stop-source", "Failed")] == [1]
    assert {name for name, _, _ in tasks} >= {"record-plan", "copy-disks vda", "verify-disks vda", "commit"}
    key = f"wave-{flow.plan.digest[:12]}-{flow.plan.waves[0].name}"
    made = ask("artifacts", sort="CREATED_DESC", artifacts={"key": {"any_": [key]}})
    assert len(made) == 1, "one for a wave and a run, updated in place"
    table = {row["machine"]: row for row in json.loads(made[0]["data"])}
    described = f"{flow.plan.name}, {flow.plan.waves[0].name}: ERROR, 2 of 3 moved"
    assert (made[0]["type"], made[0]["description"]) == ("table", described)
    assert table["web"]["now"] == table["db"]["state"] == "committed"
    assert table["stubborn"]["state"] == "rolled-back"
    assert "does not stop" in table["stubborn"]["last error"]
    (page,) = ask("artifacts", artifacts={"key": {"any_": [f"machine-{flow.plan.digest[:12]}-web"]}})
    assert "| Part | Time | Down |" in page["data"]
    assert "**Downtime:**" in page["data"]
    (verdict,) = ask("artifacts", artifacts={"key": {"any_": [f"cutover-{flow.plan.digest[:12]}"]}})
    assert "# RolledBack" in verdict["data"]
    assert f"/artifacts/key/machine-{flow.plan.digest[:12]}-stubborn" in verdict["data"]


def test_what_may_pass_is_tried_again(flow: Any) -> None:
    flow.small.add("web")
    flow.plan = flow.small.plan()
    for method in ("stop", "open_round"):
        flow.small.source.write_faults(method, SourceUnavailable)
    flow.target.faults["apply"] = [TargetUnavailable("the folder does not answer")] * 3
    assert flow.go() == {"web": ("committed", None)}
    again = {name: (state, runs) for name, state, runs in flow.task_runs() if runs > 1}
    assert again == {
        "stop-source": ("Completed", 2),
        "begin-copy": ("Completed", 2),
        "apply": ("Completed", 4),
    }
    assert flow.flow_runs()["web"] == "Completed"


def test_what_does_not_pass_in_time_leads_back(flow: Any) -> None:
    flow.small.add("web")
    flow.small.policy(downtime={"patienceSeconds": 3})
    flow.plan = flow.small.plan()
    flow.target.faults["apply"] = [TargetUnavailable("the folder does not answer")] * 1000
    phase, error = flow.go()["web"]
    assert phase == "failed"
    assert isinstance(error, OutOfTime)
    assert flow.small.state("web").resumes is Phase.ROLLED_BACK


def test_a_wave_waits_for_the_one_before(flow: Any) -> None:
    for name in ("first", "beside", "second"):
        flow.small.add(name)
    flow.small.policy(machines={"second": {"after": ["first"]}})
    flow.plan = flow.small.plan()
    assert [set(wave.machines) for wave in flow.plan.waves] == [{"first", "beside"}, {"second"}]
    flow.small.source.write_deaf("first")
    outcomes = flow.go()
    assert {name: phase for name, (phase, _) in outcomes.items()} == {
        "first": "failed",
        "beside": "committed",
        "second": "not begun",
    }
    assert flow.small.kinds("second") == []
    assert flow.small.power("second") is Power.RUNNING
    assert "second" not in flow.flow_runs()


def test_who_is_held_back_stands_in_prefect_with_its_reason(flow: Any) -> None:
    for name in ("first", "beside", "second"):
        flow.small.add(name)
    flow.small.policy(machines={"second": {"after": ["first"]}})
    flow.plan = flow.small.plan()
    assert flow.go("beside", "second")["second"][0] == "not begun"
    reason = "second: it comes after first, which has not moved yet; 1 of 2 done"
    (state,) = (one["state"] for one in ask("flow_runs", sort="START_TIME_DESC") if flow.is_of_this_plan(one))
    assert (state["name"], state["message"]) == ("Held", f"1 machine held back: {reason}")
    key = f"wave-{flow.plan.digest[:12]}-{flow.plan.waves[1].name}"
    newest = ask("artifacts", sort="CREATED_DESC", artifacts={"key": {"any_": [key]}})[0]
    (row,) = json.loads(newest["data"])
    assert (row["machine"], row["state"]) == ("second", "held back")
    assert row["now"] == "it is held back: it comes after first, which has not moved yet"
    flow.small.source.write_deaf("first")
    flow.go()
    assert flow.state()["name"] == "RolledBack"
    assert flow.state()["message"].startswith("1 of 3 rolled back: first; 1 machine held back: second: it comes after")


def test_a_defect_of_ours_is_told_and_stops_nobody_else(flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.small.add("web")
    flow.small.add("db")
    apply: Callable[..., list[str]] = flow.target.apply

    def broken(entry: Any, ledger: Any, *, dry_run: bool) -> list[str]:
        if entry.name == "web":
            raise ZeroDivisionError("a slip")
        return apply(entry, ledger, dry_run=dry_run)

    monkeypatch.setattr(flow.target, "apply", broken)
    outcomes = flow.go()
    assert outcomes["db"] == ("committed", None)
    assert "a defect" in str(outcomes["web"][1])
    assert "a slip" in str(outcomes["web"][1])


@pytest.mark.timeout(180)
def test_the_program_ends_promptly_with_a_server_of_its_own(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It once hung for minutes: Prefect's log worker waited for a server that was gone."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    small.add("web")
    small.source.write_deaf("web")
    small.plan()
    began = time.monotonic()
    done = run(small.program("migrate", "plan.yaml"), cwd=small.folder, check=False, timeout=150)
    assert time.monotonic() - began < 120
    assert done.code == 2
    assert "does not stop" in done.err
    assert "fix:" in done.err
    assert small.power("web") is Power.RUNNING


SECRET = "hunter22"  # noqa: S105 (struck out below)


def test_no_secret_comes_to_prefect_in_a_state_a_log_a_name_or_a_table(
    flow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library quotes an address with a password, and a machine is called after the value of a variable."""
    monkeypatch.setenv("GOVC_PASSWORD", SECRET)
    name = f"of-{SECRET}"
    flow.small.add(name)

    def refuse(*_given: Any) -> Any:
        lost = OSError(f"https://root:{SECRET}x@vc/sdk?token={SECRET}y went away")
        raise TargetRefused(str(lost), why=f"nbd://me:{SECRET}z@host/x", fix="Look.", machine=name) from lost

    monkeypatch.setattr(MemoryTarget, "observe", refuse)
    began = datetime.now(UTC).isoformat()
    assert flow.go()[name][0] == "failed"
    since = {"start_time": {"after_": began}}
    runs = ask("flow_runs", sort="START_TIME_DESC", flow_runs=since)
    these = {"id": {"any_": [one["id"] for one in runs]}}
    for _ in range(100):  # logs come in batches, tasks from events
        told = [*runs, *ask("task_runs", sort="ID_DESC", flow_runs=these), *ask("artifacts", sort="CREATED_DESC")]
        told += ask("logs", sort="TIMESTAMP_DESC", logs={"flow_run_id": these["id"]})
        if "went away" in str(told) and "of-***" in str(told):
            break
        time.sleep(0.2)
    assert SECRET not in json.dumps(told)
    assert any("https://root:***@vc/sdk?token=***" in one.get("message", "") for one in told), "the log of the error"
