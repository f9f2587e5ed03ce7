"""A container's first process, as a process of its own: who is started, asked to stop, in which order, waited for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Ends its child by a kill when it is told to stop, as Prefect's worker does.
WORKER = """
sh -c 'trap "{at_stop}" TERM; echo ready; while :; do sleep 0.05; done' &
run=$!
trap 'kill -9 $run; exit 5' TERM
while :; do sleep 0.05; done
"""


def begun(script: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "kubeferry.outside.first_process", "sh", "-c", script]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_the_commands_words_and_code_are_ours() -> None:
    process = begun("echo said; exit 7")
    assert process.communicate(timeout=30) == ("said\n", None)
    assert process.returncode == 7


def test_who_lives_on_after_the_command_is_waited_for(tmp_path: Path) -> None:
    late = tmp_path / "late"
    process = begun(f"setsid sh -c 'sleep 0.5; echo led back >{late}' >/dev/null & exit 3")
    process.communicate(timeout=30)
    assert process.returncode == 3
    assert late.read_text() == "led back\n"


def test_a_command_that_would_kill_its_children_is_stopped_after_them_and_whom_they_left(tmp_path: Path) -> None:
    late = tmp_path / "late"
    leaves = f"setsid sh -c 'sleep 0.5; echo led back >{late}' >/dev/null & echo at a safe point; exit 0"
    process = begun(WORKER.format(at_stop=leaves.replace("'", "'\\''")))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert out == "at a safe point\n"
    assert process.returncode == 5
    assert late.read_text() == "led back\n"


def test_a_command_that_has_no_children_is_stopped_and_what_it_leaves_is_not_cut_off(tmp_path: Path) -> None:
    late = tmp_path / "late"
    leaves = f"setsid sh -c 'sleep 0.5; echo led back >{late}' >/dev/null &"
    process = begun(f'trap "{leaves} exit 5" TERM; echo ready; while :; do :; done')
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 5
    assert late.read_text() == "led back\n"


def test_a_command_that_is_killed_is_told_as_a_shell_tells_it() -> None:
    process = begun("kill -9 $$")
    process.communicate(timeout=30)
    assert process.returncode == 137
