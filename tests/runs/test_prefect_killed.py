"""The run's own Prefect server is killed before each single step of a machine's move, which ends all the same.

The server is a real one. The program that moves is kubeferry's own, but that a step waits until the server answers, and
kills it then. The target is in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from kubeferry.model import Power
from tests.runs.test_prefect_away import ended

KILLS = """
import contextlib, os, signal, sys
from flows.cli import main
from flows.serving import server
from kubeferry.steps import drive

step = sys.argv.pop(1)
real, begun, running = drive.STEPS[step], server._begun, []

@contextlib.contextmanager
def remembered(home, port):
    with begun(home, port) as (url, child):
        running.append((url, child))
        yield url, child

def killed(work, action, state):
    ((url, child),) = running
    answers = server.Api(url, child).wait(90) == ""
    with contextlib.suppress(ProcessLookupError):  # told as one that did not answer
        os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    print(f"killed before {step}, answering: {answers}", file=sys.stderr, flush=True)
    real(work, action, state)

server._begun = remembered
drive.STEPS = {**drive.STEPS, step: killed}
main()
"""
STEPS = (
    *("record-plan", "begin-cutover", "stop-source", "begin-copy", "copy-disks", "verify-disks"),
    *("apply", "start", "observe", "validate", "stop-target", "commit"),
)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", STEPS)
def test_the_move_ends_by_the_journal_whichever_step_its_server_is_killed_before(small: Any, step: str) -> None:
    small.configure(target="memory", path=str(small.folder))
    small.add("web")
    small.plan()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    program = subprocess.Popen(
        [sys.executable, "-c", KILLS, step, "migrate", "plan.yaml"],
        cwd=small.folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    code, out = ended(program, 240)
    assert code == 0, out
    assert out.count(f"killed before {step}, answering: True") == 1, out
    assert "Traceback" not in out
    assert small.kinds("web")[-1] in {"committed", "source-marked", "released"}
    assert "failed" not in small.kinds("web")
    assert small.power("web") is Power.OFF
