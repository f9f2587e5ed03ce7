"""A plan on a real Prefect server, its verbs run from there by a real process worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Plan
from kubeferry.model import Power
from kubeferry.outside.process import run
from tests.runs.conftest import ROOT
from tests.runs.gate import Gate
from tests.runs.test_prefect_away import ended, started

MIB = 2**20
ENDS = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


class Prefect:
    """The server as an operator's browser asks it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, body: dict[str, Any] | None = None, *, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        query = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers, method=method)  # noqa: S310
        for _ in range(10):
            try:
                with urllib.request.urlopen(query, timeout=30) as answer:  # noqa: S310 (loopback, our own address)
                    text = answer.read()
            except urllib.error.HTTPError as error:
                if error.code != 503:  # its database is locked: asked again, as Prefect's own client does
                    raise
                time.sleep(1)
            else:
                return json.loads(text) if text else None
        raise AssertionError(f"{path} is not answered")

    def deployment(self, name: str) -> Any:
        return self.ask(f"/deployments/name/{name}", method="GET")

    def start(self, name: str, **parameters: Any) -> str:
        """What `prefect deployment run NAME -p …` and the button do."""
        made = self.ask(f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": parameters})
        return str(made["id"])

    def state(self, run_id: str) -> Any:
        return self.ask(f"/flow_runs/{run_id}", method="GET")["state"]

    def end(self, run_id: str, seconds: float = 150) -> Any:
        """The state that a run ends in."""
        limit = time.monotonic() + seconds
        while (state := self.state(run_id))["type"] not in ENDS:
            assert time.monotonic() < limit, state
            time.sleep(0.5)
        return state

    def cancel(self, run_id: str) -> None:
        """What the button does."""
        self.ask(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}, "force": False})


@pytest.fixture
def prefect(server: str) -> Prefect:
    return Prefect(server)


@contextlib.contextmanager
def working(url: str, folder: Path, pool: str, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process worker, started by way of the module `before`; and at the end none of what it has started."""
    words = [word for module in (*before, "prefect") for word in (sys.executable, "-m", module)]
    command = [*words, "worker", "start", "--pool", pool, "--type", "process"]
    environment = os.environ | {
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(folder / "worker"),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PYTHONPATH": str(ROOT),
    }
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)


@pytest.fixture
def deployed(small: Any, prefect: Prefect) -> Iterator[Callable[..., Plan]]:
    """A plan of the small estate, deployed; nothing of it is left on the server afterwards."""

    def deploy(*more: str) -> Plan:
        plan: Plan = small.plan()
        code, _, err = small.command("deploy", "plan.yaml", "--caretake-every", "0", *more)
        assert code == 0, err
        return plan

    yield deploy
    if (small.folder / "plan.yaml").exists():
        code, _, err = small.command("deploy", "plan.yaml", "--remove")
        assert code == 0, err


@pytest.fixture
def in_memory(small: Any) -> Any:
    """Two machines, and a target in memory."""
    small.configure(target="memory", path=str(small.folder))
    for name in ("db", "web"):
        small.add(name)
    return small


# --- what is made ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_a_plan_is_deployed_once_changed_and_removed(in_memory: Any, deployed: Any, prefect: Prefect) -> None:
    in_memory.policy(mode="warm", precopy={"cron": "0 */4 * * *", "timeZone": "Europe/Vienna"})
    plan = in_memory.plan()
    code, out, _ = in_memory.command("deploy", "plan.yaml", "--dry-run")
    assert code == 0
    told = "would make deployment precopy/lab: runs at the times of the cron line `0 */4 * * *` (Europe/Vienna)"
    assert told in out
    assert "would make deployment caretake/lab: runs every 1 min 00 s" in out
    assert prefect.ask("/work_pools/filter", {}) == []
    assert in_memory.command("deploy", "plan.yaml", "--policy", "policy.yaml")[0] == 0
    assert in_memory.command("deploy", "plan.yaml")[1] == "nothing to change\n"
    precopy = prefect.deployment("precopy/lab")
    assert precopy["parameters"]["digest"] == plan.digest
    assert precopy["schedules"][0]["schedule"]["timezone"] == "Europe/Vienna"
    assert precopy["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert precopy["description"].startswith("Copy running machines ahead")
    assert {"kubeferry", "plan:lab", "wave:wave-1"} <= set(precopy["tags"])
    foreign = prefect.ask("/deployments/", foreign_deployment(prefect))
    in_memory.policy(mode="cold")
    changed = in_memory.plan()
    code, out, _ = in_memory.command("deploy", "plan.yaml")
    assert "removed deployment precopy/lab: the plan needs it no more\n" in out
    assert "changed deployment cutover/lab: version, parameters, description\n" in out
    assert prefect.deployment("cutover/lab")["parameters"]["digest"] == changed.digest
    assert prefect.deployment("cutover/other")["id"] == foreign["id"]
    assert "worker" not in in_memory.command("deploy", "plan.yaml", "--remove", "--dry-run")[1]
    code, out, _ = in_memory.command("deploy", "plan.yaml", "--remove", "--json")
    done = json.loads(out)["changes"]
    assert {one["deed"] for one in done} == {"remove"}
    kinds = [one["kind"] for one in done]
    assert (kinds.count("automation"), kinds.count("work pool")) == (1, 1)
    assert [one["name"] for one in prefect.ask("/deployments/filter", {})] == ["other"]
    prefect.ask(f"/deployments/{foreign['id']}", method="DELETE")


def foreign_deployment(prefect: Prefect, name: str = "other") -> dict[str, Any]:
    flow = prefect.ask("/flows/", {"name": "cutover"})
    return {"name": name, "flow_id": flow["id"], "tags": ["theirs"]}


def test_what_somebody_else_has_made_is_refused_and_left(in_memory: Any, prefect: Prefect) -> None:
    in_memory.plan()
    theirs = prefect.ask("/deployments/", foreign_deployment(prefect, "lab"))
    code, _, err = in_memory.command("deploy", "plan.yaml")
    assert code == 2
    assert "deployment cutover/lab: kubeferry did not make it" in err
    assert prefect.deployment("cutover/lab")["tags"] == ["theirs"]
    assert prefect.ask("/work_pools/filter", {}) == [], "nothing was made"
    prefect.ask(f"/deployments/{theirs['id']}", method="DELETE")


@pytest.mark.parametrize("way", ["closed", "none"])
def test_a_server_that_is_away_is_told_with_what_helps(
    in_memory: Any, server: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    in_memory.plan()
    with Gate(server, "closed") as gate:
        if way == "closed":
            monkeypatch.setenv("PREFECT_API_URL", gate.url)
        else:
            monkeypatch.delenv("PREFECT_API_URL")
        code, out, err = in_memory.command("deploy", "plan.yaml")
    assert (code, out) == (1 if way == "closed" else 2, "")
    assert "Traceback" not in err
    assert "PREFECT_API_URL" in err


# --- what runs -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(240)
def test_machines_move_from_a_deployment_and_a_chain_leaves_its_documents_in_the_journal(
    in_memory: Any, deployed: Any, prefect: Prefect
) -> None:
    in_memory.policy(namespace="apps", machines={"web": {"after": ["db"]}})
    plan = deployed("--policy", "policy.yaml")
    with working(prefect.url, in_memory.folder, "kubeferry"):
        held = prefect.start("cutover/lab", machines=["web"])
        state = prefect.end(held)
        assert (state["type"], state["name"]) == ("CANCELLED", "Held")
        assert "it comes after db" in state["message"]
        state = prefect.end(prefect.start("cutover/lab", wave="wave-1"))
        assert (state["name"], state["message"]) == ("Completed", "1 of 1 done")
        assert ["committed" in in_memory.kinds(name) for name in ("db", "web")] == [True, False]
        for verb in ("discover", "assess", "plan"):
            assert prefect.end(prefect.start(f"{verb}/lab"))["type"] == "COMPLETED"
        state = prefect.end(prefect.start("report/lab"))
        assert state["type"] == "COMPLETED"
    with in_memory.journal() as journal:
        assert "db" in journal.document("Inventory", "lab").text
        (newest,) = (one for one in journal.plans() if one.digest != plan.digest)
    assert newest.name == "lab"
    (page,) = prefect.ask("/artifacts/filter", {"artifacts": {"key": {"any_": [f"plan-{newest.digest[:12]}"]}}})
    assert f"kubeferry deploy --plan {newest.digest[:12]}" in page["data"]


@pytest.mark.timeout(240)
def test_a_schedule_begins_runs_by_itself(in_memory: Any, deployed: Any, prefect: Prefect) -> None:
    """With SQLAlchemy 2.1 the server's scheduler fails at each deployment, and says so in its log alone."""
    deployed("--caretake-every", "10")
    assert "scheduler" not in in_memory.command("deploy", "plan.yaml", "--caretake-every", "10")[2]
    with working(prefect.url, in_memory.folder, "kubeferry"):
        of_caretake = {"deployments": {"id": {"any_": [prefect.deployment("caretake/lab")["id"]]}}}
        limit = time.monotonic() + 120
        while not any(one["state_type"] == "COMPLETED" for one in prefect.ask("/flow_runs/filter", of_caretake)):
            assert time.monotonic() < limit, "no run was begun"
            time.sleep(1)


@pytest.fixture
def stopped(small: Any) -> Any:
    """A machine that is copied after its stop, for half a minute; one that waits for its turn."""
    small.configure(bandwidthBytesPerSecond=MIB, concurrentMachines=1)
    small.disk("web").write_bytes(os.urandom(30 * MIB))
    small.add("web", disk=small.disk("web"))
    small.add("zero")
    return small


def until_copied(small: Any, alive: Callable[[], bool], seconds: float = 90) -> None:
    limit = time.monotonic() + seconds
    while "copy-begun" not in small.kinds("web"):
        assert alive()
        assert time.monotonic() < limit
        time.sleep(0.3)


def check_back(small: Any) -> None:
    assert small.kinds("web")[-1] == "rolled-back"
    assert small.power("web") is Power.RUNNING
    assert "cutover-begun" not in small.kinds("zero")
    assert small.power("zero") is Power.RUNNING


@pytest.mark.timeout(240)
def test_cancel_stops_a_worker_s_run_and_a_machine_in_its_cutover_goes_back(
    stopped: Any, deployed: Any, prefect: Prefect
) -> None:
    deployed()
    with working(prefect.url, stopped.folder, "kubeferry") as worker:
        moving = prefect.start("cutover/lab")
        until_copied(stopped, lambda: worker.poll() is None)
        began = time.monotonic()
        prefect.cancel(moving)
        state = prefect.end(moving, 60)
        assert time.monotonic() - began < 60
        assert state["name"] == "Cancelled"
    check_back(stopped)


@pytest.mark.timeout(240)
def test_a_worker_that_is_stopped_in_order_leads_its_machine_back_first(
    stopped: Any, deployed: Any, prefect: Prefect
) -> None:
    """As a container of the worker is: left to itself, Prefect's worker would kill the run."""
    deployed()
    with working(prefect.url, stopped.folder, "kubeferry", "kubeferry.outside.first_process") as worker:
        moving = prefect.start("cutover/lab")
        until_copied(stopped, lambda: worker.poll() is None)
        worker.send_signal(signal.SIGTERM)
        worker.wait(90)
        check_back(stopped)
    assert prefect.state(moving)["name"] == "Cancelled"


@pytest.mark.timeout(240)
def test_cancel_stops_a_terminal_s_run_as_well(stopped: Any, prefect: Prefect) -> None:
    plan: Plan = stopped.plan()
    program = started(stopped, "migrate", "plan.yaml", api=prefect.url)
    until_copied(stopped, lambda: program.poll() is None)
    moving = newest(prefect, plan)
    began = time.monotonic()
    prefect.cancel(moving)
    try:
        code, out = ended(program, 80)
    except subprocess.TimeoutExpired:
        raise AssertionError(told_of(stopped.folder)) from None
    assert time.monotonic() - began < 60
    assert code == 143, out
    assert prefect.state(moving)["name"] == "Cancelled"
    check_back(stopped)
    assert stopped.command("status", "plan.yaml", "--json")[1].count('"failed": ""') == 2


def told_of(folder: Path) -> str:
    """What the logs of a run have in the end."""
    logs = [*(folder / ".kubeferry" / "logs").glob("*-migrate-*.log"), *(folder / ".kubeferry").glob("*.log")]
    return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)


@pytest.mark.timeout(240)
def test_a_run_that_somebody_deletes_moves_on(stopped: Any, prefect: Prefect) -> None:
    plan: Plan = stopped.plan()
    stopped.policy(mode="warm")
    plan = stopped.plan()
    program = started(stopped, "precopy", "plan.yaml", "-m", "web", api=prefect.url)
    until_copied(stopped, lambda: program.poll() is None)
    prefect.ask(f"/flow_runs/{newest(prefect, plan)}", method="DELETE")
    code, out = ended(program, 120)
    assert code == 0, out
    assert stopped.kinds("web")[-1] == "synced"


def newest(prefect: Prefect, plan: Plan) -> str:
    limit = time.monotonic() + 40
    while time.monotonic() < limit:
        for one in prefect.ask("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 50}):
            if one["parameters"].get("digest") == plan.digest and "machine" not in one["parameters"]:
                return str(one["id"])
        time.sleep(0.5)
    raise AssertionError("no run of the plan is shown")


@pytest.mark.timeout(240)
def test_a_server_that_goes_away_in_the_middle_of_a_worker_s_run_changes_nothing(
    stopped: Any, deployed: Any, prefect: Prefect
) -> None:
    stopped.policy(mode="warm")
    deployed()
    with Gate(prefect.url) as gate, working(gate.url, stopped.folder, "kubeferry") as worker:
        moving = prefect.start("precopy/lab", machines=["web"])
        until_copied(stopped, lambda: worker.poll() is None)
        gate.turn("closed")
        limit = time.monotonic() + 90
        while stopped.kinds("web")[-1] != "synced":
            assert time.monotonic() < limit
            time.sleep(0.5)
        gate.turn("open")
        state = prefect.end(moving, 90)
    assert (state["name"], state["message"]) == ("Completed", "1 of 1 done")


def process_of(moving: str) -> int:
    """The process that a run is carried out by."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"PREFECT__FLOW_RUN_ID={moving}\0".encode() in (folder / "environ").read_bytes():
                return int(folder.name)
    raise AssertionError("nobody carries it out")


@pytest.mark.timeout(120)
def test_the_flows_of_the_tree_are_deployed_by_prefect_s_own_command(
    server: str, prefect: Prefect, tmp_path: Path
) -> None:
    from flows.programme import FLOWS

    prefect.ask("/work_pools/", {"name": "kubeferry", "type": "process"})
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = run(command, cwd=ROOT, env={"PREFECT_HOME": str(tmp_path)}, timeout=100)
    assert done.out.count("successfully created") == len(FLOWS)
    made = prefect.ask("/deployments/filter", {})
    assert {one["entrypoint"] for one in made} == set(FLOWS.values())
    assert all(one["description"] for one in made)
    for one in made:
        prefect.ask(f"/deployments/{one['id']}", method="DELETE")
    prefect.ask("/work_pools/kubeferry", method="DELETE")
