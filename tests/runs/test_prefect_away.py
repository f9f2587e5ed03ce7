"""A Prefect server that is slow, hung, killed in the middle or never there neither stops nor delays a move."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Plan, load
from kubeferry.model import Power
from tests.runs.gate import Gate, Way
from tests.runs.test_migrate_flow import ask

MIB = 2**20
DOWNTIME_SECONDS = 5.0


@pytest.fixture
def estate(server: str, small: Any) -> Any:
    """Two machines and a target in memory, planned."""
    small.configure(target="memory", path=str(small.folder))
    for name in ("web", "db"):
        small.add(name)
    small.plan()
    return small


def started(small: Any, *arguments: str, api: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        small.program(*arguments),
        cwd=small.folder,
        env={**os.environ, "PREFECT_API_URL": api},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(program: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    try:
        out, _ = program.communicate(timeout=seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
    return program.returncode, out


def downtime(small: Any, name: str) -> float:
    """Seconds from the stop of the source to the start of the copy, by the journal."""
    plan = load(small.folder / "plan.yaml", Plan)
    with small.journal() as journal:
        at = {str(one.event.kind): datetime.fromisoformat(one.at) for one in journal.events(plan.digest, name)}
    return (at["started"] - at["source-stopped"]).total_seconds()


def check_moved(small: Any) -> None:
    for name in ("web", "db"):
        assert small.kinds(name)[-1] in {"committed", "source-marked", "released"}
        assert "failed" not in small.kinds(name)
        assert downtime(small, name) < DOWNTIME_SECONDS


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("way", "after", "then"),
    [
        ("closed", 0, "closed"),
        pytest.param("held", 0, "held", marks=pytest.mark.slow),
        pytest.param("slow", 0, "slow", marks=pytest.mark.slow),
        ("open", 5, "closed"),  # while the run's flow begins
        ("open", 25, "closed"),  # while machines are shown
        ("open", 25, "held"),
    ],
)
def test_a_server_that_is_not_there_stops_nothing(estate: Any, server: str, way: Way, after: int, then: Way) -> None:
    with Gate(server, way, after=after, then=then) as gate:
        code, out = ended(started(estate, "migrate", "plan.yaml", api=gate.url), 90)
    assert code == 0, out
    assert "Traceback" not in out
    assert ("does not answer" in out) == (way in {"closed", "held"}), out
    check_moved(estate)
    assert gate.requests > after or way == "closed"


@pytest.fixture
def copying(server: str, small: Any) -> Iterator[Callable[[str, str], subprocess.Popen[str]]]:
    """A machine whose disk is copied for nine seconds, and a verb that does it, begun under an API."""
    small.configure(bandwidthBytesPerSecond=MIB)
    small.disk("web").write_bytes(os.urandom(9 * MIB))
    small.add("web", disk=small.disk("web"))
    small.policy(mode="warm")
    small.plan()
    running: list[subprocess.Popen[str]] = []

    def begin(verb: str, api: str) -> subprocess.Popen[str]:
        running.append(started(small, verb, "plan.yaml", api=api))
        limit = time.monotonic() + 40
        while "copy-begun" not in small.kinds("web"):
            assert running[-1].poll() is None, running[-1].communicate()
            assert time.monotonic() < limit
            time.sleep(0.1)
        return running[-1]

    yield begin
    for one in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)


@pytest.mark.timeout(120)
def test_what_could_not_be_shown_is_shown_when_the_server_is_back(
    copying: Callable[[str, str], subprocess.Popen[str]], small: Any, server: str
) -> None:
    with Gate(server, "closed") as gate:
        program = copying("precopy", gate.url)
        gate.turn("open")
        code, out = ended(program, 80)
    assert code == 0, out
    digest = load(small.folder / "plan.yaml", Plan).digest
    recent = ask("flow_runs", sort="START_TIME_DESC")
    (whole,) = (one for one in recent if is_of(one, digest))
    assert (whole["name"], whole["state_name"]) == ("precopy lab", "Completed")
    machine = next(one for one in recent if one["name"] == "web" and one["start_time"] >= whole["start_time"])
    assert machine["state_name"] == "Completed"


@pytest.mark.timeout(120)
def test_ctrl_c_works_while_the_server_hangs_and_is_no_failure(
    copying: Callable[[str, str], subprocess.Popen[str]], small: Any, server: str
) -> None:
    with Gate(server) as gate:
        program = copying("migrate", gate.url)
        gate.turn("held")
        program.send_signal(signal.SIGINT)
        began = time.monotonic()
        code, out = ended(program, 40)
    assert code == 130, out
    assert time.monotonic() - began < 20
    assert small.command("status", "plan.yaml", "--json")[1].count('"failed": ""') == 1


@pytest.mark.timeout(180)
def test_our_own_server_is_killed_in_the_middle(
    copying: Callable[[str, str], subprocess.Popen[str]], small: Any
) -> None:
    program = copying("precopy", "")
    (own,) = children(program.pid)
    os.kill(own, signal.SIGKILL)
    began = time.monotonic()
    code, out = ended(program, 100)
    assert code == 0, out
    assert time.monotonic() - began < 60
    assert small.kinds("web")[-1] == "synced"
    assert small.power("web") is Power.RUNNING


def is_of(run: Any, digest: str) -> bool:
    """Whether a flow run is one of a plan's, and not of one of its machines alone."""
    return run["parameters"].get("digest") == digest and "machine" not in run["parameters"]


def children(pid: int) -> list[int]:
    """Servers of our own among the children of a process."""
    begun = [
        child for thread in Path(f"/proc/{pid}/task").iterdir() for child in (thread / "children").read_text().split()
    ]
    return [int(one) for one in begun if b"flows.serving.program" in Path(f"/proc/{one}/cmdline").read_bytes()]


@pytest.mark.timeout(120)
def test_a_stop_is_shown_as_cancelled(
    copying: Callable[[str, str], subprocess.Popen[str]], small: Any, server: str
) -> None:
    program = copying("precopy", server)
    time.sleep(6)  # until Prefect is there, too
    program.send_signal(signal.SIGTERM)
    code, out = ended(program, 60)
    assert code == 143, out
    digest = load(small.folder / "plan.yaml", Plan).digest
    (whole,) = (one for one in ask("flow_runs", sort="START_TIME_DESC") if is_of(one, digest))
    assert whole["state_name"] == "Cancelled"
    assert json.loads(small.command("report", "plan.yaml", "--json")[1])["verdict"]


@pytest.mark.timeout(180)
def test_two_first_runs_at_once_in_a_fresh_folder_both_end_well(estate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each starts a server of its own, and both want to make the same database first."""
    monkeypatch.delenv("PREFECT_API_URL")
    runs = [
        subprocess.Popen(
            estate.program("migrate", "plan.yaml", "-m", name),
            cwd=estate.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for name in ("web", "db")
    ]
    told = [ended(one, 150) for one in runs]
    assert [code for code, _ in told] == [0, 0], told
    assert not any("Traceback" in out for _, out in told), told
    check_moved(estate)
