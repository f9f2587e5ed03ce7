"""The log of a run: where it is, what it holds, what it never holds, and how many are kept."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import logs

Command = Callable[..., tuple[int, str, str]]
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [a-z_.]+ .")


def kept(folder: Path) -> list[Path]:
    return sorted((folder / ".kubeferry" / "logs").glob("*.log"))


def test_a_run_leaves_a_log_beside_the_configuration(kubeferry: Command, estate: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert kubeferry("discover", "--config", str(estate / "kubeferry.yaml"), "--out", str(elsewhere / "i.yaml"))[0] == 0
    (log,) = kept(estate)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-discover-\d+\.log", log.name)
    lines = log.read_text().splitlines()
    assert all(LINE.match(line) for line in lines), lines
    assert "discover" in lines[0]
    assert any("opens source lab" in line for line in lines)
    assert lines[-1].endswith(" ended")


def test_an_error_names_the_log_which_has_the_whole_of_it(kubeferry: Command, estate: Path) -> None:
    code, _, err = kubeferry("discover", "--source", "nobody")
    (log,) = kept(estate)
    assert code == 2
    assert err.splitlines()[-1] == f"  log: {log}"
    assert "source 'nobody' is not configured" in log.read_text()
    assert "Traceback" in log.read_text()
    assert "Traceback" not in err
    told = json.loads(kubeferry("discover", "--source", "nobody", "--json")[2])["error"]
    assert Path(told["log"]) in kept(estate)


def test_a_dry_run_and_a_look_leave_none(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    before = kept(estate)
    kubeferry("migrate", "plan.yaml", "--dry-run")
    kubeferry("release", "plan.yaml", "--dry-run")
    kubeferry("status", "plan.yaml")
    assert kept(estate) == before
    kubeferry("release", "plan.yaml")
    assert len(kept(estate)) == len(before) + 1


def test_the_newest_are_kept(kubeferry: Command, estate: Path) -> None:
    folder = estate / ".kubeferry" / "logs"
    folder.mkdir(parents=True)
    for number in range(logs.KEPT + 5):
        log = folder / f"2020-01-01T00-00-{number:02}Z-migrate-1.log"
        log.touch()
        os.utime(log, (number, number))
    (folder / "of-mine.log").touch()
    running = folder / "2019-01-01T00-00-00Z-migrate-2.log"
    running.write_text("written to a moment ago")
    kubeferry("discover")
    assert running.exists()
    assert (folder / "of-mine.log").exists()
    assert len(kept(estate)) == logs.KEPT + 1
    assert "discover" in kept(estate)[-2].name
    assert "00-00-07Z" in kept(estate)[1].name


def test_where_no_log_can_be_written_the_work_is_done_all_the_same(kubeferry: Command, estate: Path) -> None:
    (estate / ".kubeferry").write_text("a file")
    assert kubeferry("discover")[0] == 0
    code, _, err = kubeferry("discover", "-c", "nowhere/kubeferry.yaml")
    assert (code, "log:" in err, (estate / "nowhere").exists()) == (2, False, False)


def test_secrets_are_struck_out(kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVC_PASSWORD", "hunter22")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3ts")
    monkeypatch.setenv("SOME_TOKEN", "1")
    text = "logs in with hunter22 and s3cr3ts at nbd://me:pass@word@host/x, 1 time"
    assert logs.without_secrets(text) == "logs in with *** and *** at nbd://me:***@host/x, 1 time"
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:hunter33")
    text = (
        "GET https://host/x?X-Amz-Security-Token=abc%2F&n=1 (postgresql://host/db?user=me&password=a@b) admin:hunter33"
    )
    struck = "GET https://host/x?X-Amz-Security-Token=***&n=1 (postgresql://host/db?user=me&password=*** ***"
    assert logs.without_secrets(text) == struck
    kubeferry("discover", "--source", "hunter22")
    assert "hunter22" not in kept(estate)[0].read_text()
    assert "***" in kept(estate)[0].read_text()


def test_nothing_stays_attached(kubeferry: Command) -> None:
    def attached() -> list[object]:
        return [(list(ours.handlers), ours.level, ours.propagate) for ours in map(logging.getLogger, logs.OURS)]

    before = attached()
    kubeferry("-v", "discover")
    kubeferry("discover", "-v", "--source", "nobody")
    assert attached() == before


def test_a_name_in_it_commands_no_terminal(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover", "--machine", "x\x1b[2Jy")
    assert "x\ufffd[2Jy" in kept(estate)[0].read_text()
    assert "\x1b" not in kept(estate)[0].read_text()
