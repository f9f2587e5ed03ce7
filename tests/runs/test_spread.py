"""Machines of a run that real workers take from a real Prefect server, with the journal on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kubeferry.journal import Errand
from kubeferry.model import Power
from kubeferry.words import first_of
from tests.runs.test_deployments import Prefect, working
from tests.tools.conftest import PASSWORD, PASSWORD_ENV, _new_server

MIB = 2**20


@pytest.fixture
def on_postgres(small: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three machines, one of which is copied for some seconds, and a journal that workers on any host could reach."""
    monkeypatch.setenv(PASSWORD_ENV, PASSWORD)
    small.configure(target="memory", path=str(small.folder), bandwidthBytesPerSecond=MIB)
    small.disk("slow").write_bytes(os.urandom(6 * MIB))
    small.add("slow", disk=small.disk("slow"))
    for name in ("db", "web"):
        small.add(name)
    small.policy(namespace="apps", machines={"web": {"after": ["db"]}})
    with _new_server() as database, database.running():
        journal = database.config("postgres")
        with_journal(small, url=journal.url, passwordEnv=PASSWORD_ENV)
        yield small
        if (small.folder / "plan.yaml").exists():
            assert small.command("deploy", "plan.yaml", "--remove")[0] == 0


def with_journal(small: Any, **journal: str) -> None:
    path = small.folder / "kubeferry.yaml"
    document = yaml.safe_load(path.read_text()) | {"journal": journal, "spread": {"machines": 4, "takeSeconds": 60}}
    path.write_text(yaml.safe_dump(document))


def errands(small: Any, digest: str) -> list[Errand]:
    with small.journal() as journal:
        found: list[Errand] = journal.errands.of_plan(digest)
    return found


@pytest.mark.timeout(300)
def test_any_worker_takes_a_machine_and_one_that_is_killed_is_followed_by_another(
    on_postgres: Any, server: str
) -> None:
    small, prefect = on_postgres, Prefect(server)
    plan = small.plan()
    code, _, err = small.command("deploy", "plan.yaml")
    assert code == 0, err
    with contextlib.ExitStack() as workers:
        for number in range(2):
            (small.folder / f"host{number}").mkdir()
            workers.enter_context(working(server, small.folder / f"host{number}", "kubeferry"))
        whole = prefect.start("cutover/lab")
        limit = time.monotonic() + 120
        while "copy-begun" not in small.kinds("slow"):
            assert time.monotonic() < limit, errands(small, plan.digest)
            time.sleep(0.3)
        (slow,) = (one for one in errands(small, plan.digest) if one.unit == ("slow",))
        os.kill(int(slow.owner.split(":")[1]), signal.SIGKILL)
        state = prefect.end(whole, 200)
    assert (state["name"], state["message"]) == ("Completed", "3 of 3 done")
    found = errands(small, plan.digest)
    told = first_of([f"{one.unit[0]} {one.state}" for one in found], 9)
    assert sorted((one.unit[0], one.state, one.lost) for one in found) == [
        ("db", "ended", False),
        ("slow", "ended", False),
        ("slow", "taken", True),
        ("web", "ended", False),
    ], told
    assert len({one.owner for one in found}) == 4  # a process each
    assert all(small.power(name) is Power.OFF for name in ("slow", "db", "web"))
    runs = prefect.ask("/flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [machine_of(prefect)]}}})
    assert {one["name"] for one in runs} == {"slow", "db", "web"}
    assert all(one["parent_task_run_id"] for one in runs)
    steps = prefect.ask("/task_runs/filter", {"task_runs": {"name": {"like_": "commit"}}})
    assert len(steps) >= 3


def machine_of(prefect: Prefect) -> str:
    return str(prefect.deployment("machine/lab")["id"])


@pytest.mark.timeout(120)
def test_a_journal_in_a_file_is_refused_before_anything_is_deployed(small: Any, server: str) -> None:
    small.add("web")
    small.plan()
    with_journal(small, url="sqlite:///journal.db")
    code, _, err = small.command("deploy", "plan.yaml")
    assert code == 2
    assert "the journal is a file" in err
    assert "Let the journal be on PostgreSQL" in err
    assert Prefect(server).ask("/deployments/filter", {}) == []
