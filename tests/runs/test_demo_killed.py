"""The demo is killed with everything it runs, twice, somewhere on its way; the same command again ends proven.

The source's hypervisor lives on, as it would: only what belongs to the run is killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import daemons, demo, guests
from tests.needs import needs

OURS = (b"lab.demo", b"-m\0flows", b"converters.mover", b"prefect", b"qemu-nbd")
MARK = "KUBEFERRY_TEST_DEMO"
WHOLE_SECONDS = 400


def start(log: Path) -> subprocess.Popen[bytes]:
    """Its words go to a file: it would stop at a pipe that nobody reads."""
    with log.open("wb") as said:
        command, environment = [sys.executable, "-m", "lab.demo"], {**os.environ, MARK: str(os.getpid())}
        return subprocess.Popen(command, cwd=demo.ROOT, env=environment, stdout=said, stderr=said)


def kill_all(run: subprocess.Popen[bytes]) -> None:
    """kill -9 to the run and to every program of ours that it started."""
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        started = f"{MARK}={os.getpid()}\0".encode() in environment  # others run programs of ours at the same time
        if started and any(word in command for word in OURS):
            try:
                os.kill(int(entry.name), signal.SIGKILL)
            except ProcessLookupError:
                continue


def journal_has_begun() -> bool:
    return (demo.FOLDER / "journal.db").exists()


@needs("root", *daemons.PROGRAMS, *guests.PROGRAMS)
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("libvirt")
def test_killed_anywhere_and_run_again_it_ends_proven(tmp_path: Path) -> None:
    seed = int(os.environ.get("KUBEFERRY_SEED", "7"))  # another moment: another seed
    chance = random.Random(seed)
    command = [sys.executable, "-m", "lab.demo"]
    subprocess.run([*command, "--clean"], cwd=demo.ROOT, check=True, timeout=120, stdout=subprocess.DEVNULL)
    try:
        first = start(tmp_path / "first")
        time.sleep(chance.uniform(1, 45))  # the estate, the server, discovery, planning
        kill_all(first)
        log = tmp_path / "second"
        second = start(log)
        limit = time.monotonic() + 150
        while not journal_has_begun() and second.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        assert journal_has_begun(), f"the second run did not come as far as the migration:\n{log.read_text()[-3000:]}"
        time.sleep(chance.uniform(0, 30))  # stop, copy, read back, boot, probes
        kill_all(second)
        third = subprocess.run(
            command, cwd=demo.ROOT, check=False, timeout=WHOLE_SECONDS, capture_output=True, text=True
        )
        assert third.returncode == 0, f"KUBEFERRY_SEED={seed}\n" + third.stdout[-3000:] + third.stderr[-2000:]
        report = json.loads((demo.FOLDER / "report.json").read_text())
        assert report["verdict"] == "proven"
        assert "PROVEN" in third.stdout
    finally:
        subprocess.run([*command, "--clean"], cwd=demo.ROOT, check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert not demo.FOLDER.exists()
