"""A rehearsal by the whole program, killed in its middle: the next command, whichever, takes its copy away first.

The machine runs behind the memory source and has no system, so its copy stays at a boot menu while a probe waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from tests.needs import here

NOBODY = "http://127.0.0.1:9/api"  # the port `discard`: no Prefect is needed here


@pytest.fixture(params=[300])
def synced(request: pytest.FixtureRequest, small: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A machine of which one round is durable in a target folder, and whose probe waits so long, in seconds; whatever
    runs there ends with the test."""
    here("qemu-system-x86_64", "qemu-img")
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    small.add("web")
    small.policy(mode="warm", probes=[{"kind": "agent", "timeoutSeconds": request.param}])
    small.plan()
    code, _, err = small.command("precopy", "plan.yaml")
    assert code == 0, err
    yield small
    for pid, _ in machines(small):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def machines(small: Any) -> list[tuple[int, str]]:
    """The QEMUs that run over this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "qemu-system" in line and str(small.target) in line:
                found.append((int(path.parent.name), line))
    return found


def killed_in_the_middle(small: Any) -> None:
    program = subprocess.Popen(
        small.program("rehearse", "plan.yaml"),
        cwd=small.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: bool(machines(small)) and (rehearsal(small) / "run" / "start.json").exists())
    os.killpg(program.pid, signal.SIGKILL)
    program.wait(10)
    assert machines(small), "QEMU goes on without it"
    assert small.kinds("web")[-1] == "rehearsal-begun"


def until(reached: Callable[[], bool], seconds: float = 90) -> None:
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit
        time.sleep(0.05)


def rehearsal(small: Any) -> Path:
    return Path(small.target / "machines" / "web" / "rehearsal")


def nothing_is_left(small: Any) -> None:
    assert machines(small) == []
    assert not rehearsal(small).exists()
    assert small.power("web") is Power.RUNNING
    open_things = json.loads(small.command("status", "plan.yaml", "--json")[1])["open"]
    assert not [thing for thing in open_things if "rehearsal" in thing]


@pytest.mark.timeout(240)
def test_the_next_round_begins_when_the_copy_is_gone(synced: Any) -> None:
    killed_in_the_middle(synced)
    assert "rehearsal" in synced.command("status", "plan.yaml")[1]
    code, _, err = synced.command("precopy", "plan.yaml")
    assert code == 0, err
    kinds = synced.kinds("web")
    ended = kinds.index("rehearsal-ended")
    assert kinds[ended + 1] == "copy-begun"
    nothing_is_left(synced)


@pytest.mark.timeout(240)
def test_release_takes_it_away_and_leaves_the_machine_synced(synced: Any) -> None:
    killed_in_the_middle(synced)
    assert "would end a rehearsal that was left" in synced.command("release", "plan.yaml", "--dry-run")[1]
    code, out, err = synced.command("release", "plan.yaml")
    assert code == 0, err
    assert "its rehearsal was left, and has ended" in out
    assert synced.state("web").phase is Phase.SYNCED
    nothing_is_left(synced)


@pytest.mark.parametrize("synced", [3], indirect=True)
@pytest.mark.timeout(240)
def test_one_that_does_not_pass_is_told_with_its_reason_and_the_machine_stays_synced(synced: Any) -> None:
    small = synced
    told = small.command("rehearse", "plan.yaml", "--dry-run")[1]
    assert [line.split()[0] for line in told.splitlines()[1:]] == [
        *("begin-rehearsal", "rehearse", "end-rehearsal", "verify-disks", "record-rehearsal", "done"),
    ]
    code, out, err = small.command("rehearse", "plan.yaml")
    assert code == 2
    assert "the copy did not pass: the guest agent answers" in err, out
    assert small.state("web").phase is Phase.SYNCED
    assert "did not pass" in small.command("status", "plan.yaml")[1]
    code, _, err = small.command("migrate", "plan.yaml", "--rehearse")
    assert (code, small.power("web")) == (2, Power.RUNNING), err
    nothing_is_left(small)


@pytest.mark.timeout(60)
def test_what_was_not_copied_ahead_is_named(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    small.add("web")
    small.policy(mode="cold")
    small.plan()
    code, _, err = small.command("rehearse", "plan.yaml")
    assert code == 2
    assert "copied after its stop" in err
    assert small.kinds("web") == []
