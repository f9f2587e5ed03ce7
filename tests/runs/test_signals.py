"""SIGINT, SIGTERM and SIGHUP in the middle of a copy, and a terminal, a pipe or a disk that takes no more output.

The whole program on a directory target; the copy is slow, so that there is a middle.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import sqlite3
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside.signals import SAME_ASK_SECONDS

MIB = 2**20
PROMPT_SECONDS = 30.0
NOBODY = "http://127.0.0.1:9/api"  # the port `discard`: no Prefect is needed here


RUNNING: list[subprocess.Popen[Any]] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """Programs end with their test."""
    yield
    while RUNNING:
        with RUNNING.pop() as program:
            program.kill()


def started(small: Any, *arguments: str, prefix: tuple[str, ...] = (), **streams: Any) -> subprocess.Popen[Any]:
    """A verb as a program that meets no Prefect."""
    program = subprocess.Popen(
        [*prefix, *small.program(*arguments)],
        cwd=small.folder,
        env={**os.environ, "PREFECT_API_URL": NOBODY},
        **{"stdin": subprocess.DEVNULL, **streams},
    )
    RUNNING.append(program)
    return program


class Copying:
    """A machine whose disk is copied for many seconds; verbs as programs, in sessions of their own."""

    def __init__(self, small: Any) -> None:
        self.small = small

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[Any]:
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
        return started(self.small, *arguments, **given | streams)

    def until_copied(self, program: subprocess.Popen[Any]) -> None:
        limit = time.monotonic() + 40
        while not (self.small.target.exists() and self.done_bytes() > 0):
            assert program.poll() is None, program.communicate()
            assert time.monotonic() < limit
            time.sleep(0.05)

    def done_bytes(self) -> int:
        for path in self.small.target.glob("machines/*/state/*/progress.json"):
            with contextlib.suppress(OSError, ValueError):
                return int(json.loads(path.read_bytes())["doneBytes"])
        return 0

    def nothing_runs(self) -> bool:
        limit = time.monotonic() + 15
        while any(str(self.small.folder) in line for line in command_lines()):
            if time.monotonic() > limit:
                return False
            time.sleep(0.1)
        return True


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


@pytest.fixture
def copying(small: Any) -> Copying:
    small.configure(bandwidthBytesPerSecond=MIB)
    small.disk("web").write_bytes(os.urandom(24 * MIB))
    small.add("web", disk=small.disk("web"))
    small.plan()
    return Copying(small)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_asked_stops_at_a_safe_point_and_says_whose_source_is_off(
    copying: Copying, number: signal.Signals
) -> None:
    program = copying.start("migrate", "plan.yaml")
    copying.until_copied(program)
    program.send_signal(number)
    out, _ = program.communicate(timeout=PROMPT_SECONDS)
    assert program.returncode == 128 + number, out
    assert "stopping at a safe point" in out
    assert "the source is off of web" in out
    assert "kubeferry rollback plan.yaml -m web" in out
    assert "failed" not in out
    assert copying.nothing_runs()
    small = copying.small
    assert small.power("web") is Power.OFF
    assert small.state("web").phase is Phase.CUTTING_OVER
    assert small.state("web").failed is None
    code, out, err = small.command("report", "plan.yaml", "--json")
    assert code == 0, err
    assert "failed" not in json.loads(out)["verdict"]
    assert small.command("rollback", "plan.yaml", "-m", "web")[0] == 0
    assert small.power("web") is Power.RUNNING


@pytest.mark.timeout(120)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_second_signal_names_whose_source_is_off_though_the_journal_does_not_answer(
    copying: Copying, as_json: bool
) -> None:
    program = copying.start("migrate", "plan.yaml", *(["--json"] if as_json else []))
    copying.until_copied(program)
    held = sqlite3.connect(copying.small.folder / "journal.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    try:
        program.send_signal(signal.SIGTERM)
        time.sleep(SAME_ASK_SECONDS + 0.5)
        assert program.poll() is None, "it waits for the journal"
        program.send_signal(signal.SIGTERM)
        out, _ = program.communicate(timeout=10)
    finally:
        held.close()
    assert program.returncode == 143, out
    said = json.loads(out.splitlines()[-1])["error"] if as_json else {"why": out, "fix": out, "exitCode": 143}
    assert "the source is off of web" in said["why"]
    assert "kubeferry rollback plan.yaml -m web" in said["fix"]
    assert said["exitCode"] == 143
    assert copying.nothing_runs()


@pytest.mark.timeout(120)
def test_for_programs_a_stop_is_an_error_of_its_own_kind(copying: Copying) -> None:
    program = copying.start("migrate", "plan.yaml", "--json", stderr=subprocess.PIPE)
    copying.until_copied(program)
    program.send_signal(signal.SIGTERM)
    out, err = program.communicate(timeout=PROMPT_SECONDS)
    assert program.returncode == 143, err
    (result,) = json.loads(out.splitlines()[-1])
    assert (result["machine"], result["phase"]) == ("web", "stopped")
    error = json.loads(err.splitlines()[-1])["error"]
    assert (error["kind"], error["exitCode"]) == ("Interrupted", 143)
    assert "web" in error["why"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_single_disk_stops_at_a_safe_point_and_is_gone_on_with(copying: Copying, number: signal.Signals) -> None:
    disk = copying.small.disk("web")
    program = copying.start("copy", str(disk), "copied.img", "--bandwidth", "2", "--format", "raw")
    copied = copying.small.folder / "copied.img"
    wait_until(lambda: copied.exists() and copied.stat().st_blocks > 8 * 2048)
    time.sleep(2.5)  # a checkpoint
    program.send_signal(number)
    out, _ = program.communicate(timeout=PROMPT_SECONDS)
    assert program.returncode == 128 + number, out
    assert "same command" in out
    code, out, err = copying.small.command("copy", str(disk), "copied.img", "--format", "raw", "--json")
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["resumedBytes"] > 0
    assert copied.read_bytes() == disk.read_bytes()


def wait_until(reached: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.05)


# --- output that goes nowhere ----------------------------------------------------------------------------------------


@pytest.fixture
def estate(small: Any) -> Any:
    """One machine, and a target in memory: it is moved in a second."""
    small.configure(target="memory", path=str(small.folder))
    small.add("web")
    small.plan()
    return small


def check_moved(small: Any) -> None:
    assert "committed" in small.kinds("web")
    assert "failed" not in small.kinds("web")


def test_streams_that_were_closed_before_it_began(estate: Any) -> None:
    closing = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    assert started(estate, "migrate", "plan.yaml", prefix=closing).wait(60) == 0
    check_moved(estate)
    assert (estate.folder / "journal.db").read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("which", ["stdout", "stderr"])
def test_no_room_for_what_is_said(estate: Any, which: str) -> None:
    with Path("/dev/full").open("w") as full:
        program = started(estate, "-v", "migrate", "plan.yaml", **{"stdout": subprocess.PIPE, which: full})
        program.communicate(timeout=60)
    assert program.returncode == (1 if which == "stdout" else 0)
    check_moved(estate)


@pytest.mark.parametrize("verb", ["migrate", "rollback"])
def test_a_reader_that_does_not_read_on_holds_up_no_machine(estate: Any, verb: str) -> None:
    if verb == "rollback":
        assert started(estate, "migrate", "plan.yaml", stdout=subprocess.DEVNULL).wait(60) == 0
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, bytes(4096))
    given = ("-m", "web") if verb == "rollback" else ()
    program = started(estate, verb, "plan.yaml", *given, "--json", stdout=writer)
    os.close(writer)
    end = "rolled-back" if verb == "rollback" else "committed"
    wait_until(lambda: end in estate.kinds("web"))
    assert program.poll() is None, "it waits to say so"
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().lstrip(b"\0")
    assert program.wait(30) == 0
    assert [one["machine"] for one in json.loads(said.splitlines()[-1])] == ["web"]


def test_a_log_whose_disk_is_full_ends_no_run(server: str, estate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.cli import logs

    class Full(logs.Kept):
        def __init__(self, _path: Path, encoding: str) -> None:
            super().__init__("/dev/full", encoding=encoding)

    monkeypatch.setattr(logs, "Kept", Full)
    code, _, err = estate.command("migrate", "plan.yaml")
    assert code == 0
    assert "is not whole: No space left on device" in err
    assert "Traceback" not in err
    check_moved(estate)


def at_a_terminal(ignoring: bool) -> Callable[[], None]:
    """For the child: the terminal on its standard input is its session's."""

    def take() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if ignoring:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    return take


@pytest.mark.timeout(120)
def test_a_terminal_that_is_lost_stops_at_a_safe_point(copying: Copying) -> None:
    ours, its = pty.openpty()
    program = copying.start(
        "migrate",
        "plan.yaml",
        stdin=its,
        stdout=its,
        stderr=its,
        preexec_fn=at_a_terminal(False),
        start_new_session=False,
    )
    os.close(its)
    with os.fdopen(ours, "rb"):
        copying.until_copied(program)
    assert program.wait(PROMPT_SECONDS) == 128 + signal.SIGHUP
    assert copying.small.state("web").phase is Phase.CUTTING_OVER
    assert copying.nothing_runs()


@pytest.mark.timeout(120)
def test_under_nohup_a_terminal_that_is_lost_ends_nothing(estate: Any) -> None:
    ours, its = pty.openpty()
    program = started(estate, "migrate", "plan.yaml", stdin=its, stdout=its, stderr=its, preexec_fn=at_a_terminal(True))
    os.close(its)
    os.close(ours)
    assert program.wait(60) in {0, 1}  # what it said has gone nowhere, which may be told
    check_moved(estate)
