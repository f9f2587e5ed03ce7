"""`--json` of the verbs that take long: a line an event while they go on, the result last."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from flows.cli import run
from kubeferry.model import Power


@pytest.fixture
def estate(server: str, small: Any) -> Any:
    """Two machines and a target in memory, planned, under the one Prefect server."""
    small.configure(target="memory", path=str(small.folder))
    for name in ("web", "db"):
        small.add(name)
    small.plan()
    return small


def lines_of(estate: Any, *arguments: str) -> tuple[int, list[dict[str, Any]], Any, str]:
    code, out, err = estate.command(*arguments, "--json")
    *events, result = (json.loads(line) for line in out.splitlines())
    return code, events, result, err


def test_a_migration_is_told_by_events_and_ends_with_its_result(estate: Any) -> None:
    code, events, result, err = lines_of(estate, "migrate", "plan.yaml")
    assert (code, err) == (0, "")
    assert result == [{"machine": name, "phase": "committed", "error": ""} for name in ("db", "web")]
    assert {event["event"] for event in events} <= {"action", "progress"}
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    of_web = [event["what"].partition(":")[0] for event in events if event["machine"] == "web"]
    assert of_web[0] == "record-plan"
    assert {"stop-source", "copy-disks vda", "verify-disks vda", "commit"} <= set(of_web)


def test_a_machine_that_fails_is_in_the_result_and_the_exit_code(estate: Any) -> None:
    estate.source.write_deaf("web")
    code, _, result, err = lines_of(estate, "migrate", "plan.yaml")
    phases = {one["machine"]: one["phase"] for one in result}
    assert (code, phases) == (2, {"db": "committed", "web": "failed"})
    assert "does not stop" in next(one["error"] for one in result if one["machine"] == "web")
    assert err == ""
    code, events, result, _ = lines_of(estate, "rollback", "plan.yaml", "-m", "db")
    assert (code, [one["phase"] for one in result]) == (0, ["rolled-back"])
    assert "restart-source" in {event["what"].partition(":")[0] for event in events}
    assert estate.power("db") is Power.RUNNING


def test_for_a_person_outcomes_are_a_table_with_a_total_and_the_log_is_named(estate: Any) -> None:
    estate.source.write_deaf("web")
    code, out, err = estate.command("migrate", "plan.yaml")
    (log,) = (estate.folder / ".kubeferry" / "logs").glob("*-migrate-*.log")
    assert code == 2
    assert "total: 2 machines (1 committed, 1 failed)" in out
    assert err.splitlines()[-1] == f"  log: {log}"
    kept = log.read_text()
    assert "web: recorded failed" in kept
    assert "does not stop" in kept
    assert "Traceback" in kept, "where it came from, for who looks into it"


class Deaf(io.TextIOBase):
    """Standard output whose reader has gone."""

    def __init__(self, file: IO[bytes]) -> None:
        self.fileno = file.fileno  # type: ignore[method-assign]

    def write(self, _text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_machines_move_on_when_nobody_reads_what_is_said_of_them(
    estate: Any, arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "nowhere").open("wb") as file, contextlib.chdir(estate.folder), monkeypatch.context() as changed:
        changed.setattr(sys, "stdout", Deaf(file))
        assert run(["migrate", "plan.yaml", *arguments]) == 0
    stands = json.loads(estate.command("status", "plan.yaml", "--json")[1])
    assert [one["phase"] for one in stands["machines"]] == ["committed", "committed"]
