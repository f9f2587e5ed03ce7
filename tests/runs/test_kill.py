"""Killed or interrupted at any moment, the same command goes on and ends proven; nothing of ours keeps running.

A real lab guest behind the memory source, the directory target, and the whole program: it is booted in QEMU.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Plan, load
from kubeferry.errors import KubeferryError
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside.process import require, run
from lab import guests

MIB = 2**20
PROMPT_SECONDS = 60.0
# One of each part of the way: before anything, source off, copying, copied, started, observed, nearly done.
MOMENTS = ("cutover-begun", "source-stopped", "copy-begun", "disk-copied", "applied", "started", "observed")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of a guest that boots, once for all tests; each works on a copy."""
    try:
        require("qemu-system-x86_64", "qemu-img")
        return guests.build_guest(
            guests.Spec("killed", size=192 * MIB, payload=8 * MIB), tmp_path_factory.mktemp("guest") / "disk.img"
        )
    except KubeferryError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no lab guest: {error.what}")


@pytest.fixture
def move(server: str, small: Any, guest: Path) -> Iterator[Any]:
    """One machine with that guest, planned, and the program to move it."""
    shutil.copy(guest, small.disk("web"))
    small.add("web", disk=small.disk("web"))
    small.source.write_words("web", {"/data/boots": f"{guests.boot_count(guest)}\n"})
    small.policy(
        stop={"lastWords": ["/data/boots"]},
        probes=[
            {"kind": "agent", "timeoutSeconds": 200},
            {"kind": "counter", "path": "/data/boots", "timeoutSeconds": 60},
        ],
    )
    small.plan()
    moved = Move(small)
    yield moved
    moved.end()


class Move:
    """The program as a process group of its own, and what it leaves behind."""

    def __init__(self, small: Any) -> None:
        self.small = small
        self.log = small.folder / "run.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.small.program("migrate", "plan.yaml"),
                cwd=self.small.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def until(self, reached: Callable[[], bool], seconds: float = 100) -> None:
        """Wait for a moment; the program must not have ended before."""
        assert self.process is not None
        limit = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < limit, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def has(self, kind: str) -> bool:
        return kind in self.small.kinds("web")

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def finish(self, seconds: float = 110) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def left(self) -> list[str]:
        """Command lines of processes that work on this test's folder."""
        return [line for _, line in self._processes()]

    def gone(self, *, but: str = "nothing") -> bool:
        """Whether everything of ours, but one program, ends by itself within a moment."""
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            if not [line for line in self.left() if but not in line]:
                return True
            time.sleep(0.1)
        return False

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for pid, _ in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _processes(self) -> list[tuple[int, str]]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                at = (path.parent / "cwd").readlink()
                if str(self.small.folder) in f"{line} {at}" and int(path.parent.name) != os.getpid():
                    found.append((int(path.parent.name), line))
        return found

    def check_proven(self) -> None:
        """Committed, equal by another tool, observed by a boot that counted once, and nothing left running."""
        small = self.small
        state = small.state("web")
        assert state.phase is Phase.COMMITTED
        assert small.power("web") is Power.OFF
        assert state.probes_passed == 2
        planned = load(small.folder / "plan.yaml", Plan).entries[0]
        image = small.target / "machines" / planned.target_name / "disks" / f"{planned.disks[0].claim}.img"
        run(["qemu-img", "compare", "-f", "raw", "-F", "raw", str(small.disk("web")), str(image)])
        kinds = small.kinds("web")
        for once in ("cutover-begun", "source-stopped", "committed", "applied", "validated"):
            assert kinds.count(once) == 1, kinds
        assert "rollback-begun" not in kinds
        assert self.gone(), self.left()
        code, out, _ = small.command("release", "plan.yaml")
        assert (code, small.command("status", "plan.yaml", "--json")[0]) == (0, 0)
        kept = json.loads(small.command("status", "plan.yaml", "--json")[1])["open"]
        assert {thing.split()[0] for thing in kept} == {"machine-folder", "disk"}, out


@pytest.mark.timeout(240)
def test_stopped_and_then_killed_in_mid_copy(move: Any) -> None:
    """The one for every day: Ctrl-C, then kill -9; each time everything it started ends too, and it goes on."""
    move.small.configure(bandwidthBytesPerSecond=6 * MIB)
    move.start()
    move.until(lambda: copied_bytes(move) > 0)
    move.process.send_signal(signal.SIGINT)
    assert move.finish(PROMPT_SECONDS) == 130, move.log.read_text()
    told = move.log.read_text()
    assert "stopped on request" in told
    (log,) = (move.small.folder / ".kubeferry" / "logs").glob("*-migrate-*.log")
    assert f"  log: {log}" in told
    assert "recorded source-stopped" in log.read_text()
    assert "converters.mover" in log.read_text(), "the programs that it started"
    assert "Run the same command again" in told
    assert "Traceback" not in told
    assert move.gone(), move.left()
    move.start()
    move.until(lambda: copied_bytes(move) > 0)
    move.kill()
    assert move.gone(), move.left()
    assert not move.has("disk-copied")
    move.small.configure()
    move.start()
    assert move.finish() == 0, move.log.read_text()
    move.check_proven()


def copied_bytes(move: Any) -> int:
    for path in move.small.target.glob("machines/*/state/*/progress.json"):
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads(path.read_bytes())["doneBytes"])
    return 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_every_moment_of_one_way(move: Any) -> None:
    for moment in MOMENTS:
        move.start()
        move.until(lambda moment=moment: move.has(moment))
        move.kill()
        assert move.has(moment)
    move.start()
    assert move.finish() == 0, move.log.read_text()
    move.check_proven()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_with_a_server_of_its_own(move: Any) -> None:
    environment = {"PREFECT_API_URL": ""}
    move.start(**environment)
    move.until(lambda: move.has("started"))
    assert any("flows.serving.program" in line for line in move.left())
    assert "Prefect UI: http://127.0.0.1:" in move.log.read_text()
    move.kill()
    assert move.gone(but="qemu-system"), move.left()  # the started copy waits for the next run, which takes it over
    move.start(**environment)
    assert move.finish(200) == 0, move.log.read_text()
    move.check_proven()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_ctrl_c_while_the_copy_boots(move: Any) -> None:
    move.start()
    move.until(lambda: move.has("started"))
    move.process.send_signal(signal.SIGINT)
    assert move.finish(PROMPT_SECONDS) == 130, move.log.read_text()
    assert "rollback-begun" not in move.small.kinds("web")
    assert move.small.power("web") is Power.OFF
    move.start()
    assert move.finish() == 0, move.log.read_text()
    move.check_proven()
