"""Programs as children: what they print, how they fail, how they end."""

import os
import sys
import time
from pathlib import Path

import pytest

from kubeferry.errors import ToolMissing
from kubeferry.outside.process import ProgramFailed, alive, child, detached, end_detached, require, run


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_run_gives_what_was_printed() -> None:
    done = run(["sh", "-c", "cat; echo err >&2"], stdin="in")
    assert (done.code, done.out, done.err) == (0, "in", "err\n")


def test_standard_input_is_closed() -> None:
    assert run(["cat"]).out == ""


def test_a_failure_names_the_command_and_what_it_said() -> None:
    with pytest.raises(ProgramFailed) as caught:
        run(["sh", "-c", "echo no such disk >&2; exit 3"])
    assert "sh ended with exit code 3" in str(caught.value)
    assert "no such disk" in caught.value.why
    assert "sh -c" in caught.value.fix


def test_a_signal_is_named() -> None:
    with pytest.raises(ProgramFailed, match="signal SIGKILL"):
        run(["sh", "-c", "kill -9 $$"])


def test_too_long_is_a_failure() -> None:
    with pytest.raises(ProgramFailed, match="SIGKILL") as caught:
        run(["sleep", "60"], timeout=0.2)
    assert "did not end within 0.2 s" in caught.value.why


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing) as caught:
        require("qemu-img", "nbdkit")
    assert "apt-get install nbdkit qemu-utils" in caught.value.fix
    with pytest.raises(ToolMissing):
        run(["qemu-img", "info"])


def test_a_child_ends_with_its_block(tmp_path: Path) -> None:
    with child(["sleep", "60"], log=tmp_path / "log") as owned:
        assert owned.poll() is None
    assert not running(owned.pid)


def test_a_child_that_ignores_term_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with child(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], log=log, grace=0.3) as owned:
        while "up" not in owned.tail():
            time.sleep(0.01)
    assert not running(owned.pid)


def test_a_child_dies_with_us(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from kubeferry.outside.process import child\n"
        f"with child(['sleep', '60'], log=Path({str(tmp_path / 'log')!r})) as c:\n"
        "    print(c.pid, flush=True); time.sleep(0.3); import os; os.kill(os.getpid(), 9)\n"
    )
    done = run([sys.executable, "-c", program], check=False)
    pid = int(done.out)
    limit = time.monotonic() + 30
    while running(pid) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not running(pid)


def test_a_detached_program_outlives_and_is_ended(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    detached(["sleep", "61"], pidfile=pidfile, log=tmp_path / "log")
    assert alive(pidfile, program="sleep") is not None
    assert alive(pidfile, program="qemu") is None, "a pid that another program has now is not ours"
    assert end_detached(pidfile, program="sleep")
    assert not pidfile.exists()
    assert not end_detached(pidfile, program="sleep")


def test_a_detached_program_that_ended_by_itself_is_collected(tmp_path: Path) -> None:
    pid = detached(["true"], pidfile=tmp_path / "pid", log=tmp_path / "log")
    limit = time.monotonic() + 30
    while running(pid) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not end_detached(tmp_path / "pid", program="true")
    assert not Path(f"/proc/{pid}").exists(), "it is dead, and nobody has asked how it ended"


def test_a_detached_program_is_told_a_secret_that_its_command_does_not_show(tmp_path: Path) -> None:
    pid = detached(["sh", "-c", "cat; sleep 61"], pidfile=tmp_path / "pid", log=tmp_path / "log", stdin="open sesame")
    limit = time.monotonic() + 10
    while (tmp_path / "log").read_text() != "open sesame" and time.monotonic() < limit:
        time.sleep(0.02)
    assert (tmp_path / "log").read_text() == "open sesame"
    assert b"sesame" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert end_detached(tmp_path / "pid", program="sh")
    detached(["true"], pidfile=tmp_path / "pid", log=tmp_path / "log", stdin="nobody reads this")


def test_another_programs_pid_is_left_alone(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{os.getpid()}\n")
    assert not end_detached(pidfile, program="no-such-program")


def test_what_a_failing_program_has_printed_so_far_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """It may be a secret that was asked for, and broke off."""
    caplog.set_level("DEBUG")
    done = run(["sh", "-c", 'echo "$SAID"; exit 3'], check=False, env={"SAID": "three seeds"})
    assert done.out == "three seeds\n"
    assert "exit code 3" in caplog.text
    assert "three seeds" not in caplog.text
