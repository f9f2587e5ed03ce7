"""The demo is killed with everything it runs, twice, somewhere on its way; the same command again ends proven.

The source's hypervisor lives on, as it would: only what belongs to the run is killed.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import demo

OURS = (b"lab.demo", b"-m\0flows", b"converters.mover", b"prefect", b"qemu-nbd")
WHOLE_SECONDS = 400


@pytest.fixture(autouse=True)
def _machine_for_demos() -> None:
    if os.geteuid() != 0 or not shutil.which("libvirtd") or not shutil.which("qemu-system-x86_64"):
        if os.environ.get("CI"):
            pytest.fail("the demo needs root, libvirtd and QEMU")
        pytest.skip("the demo needs root, libvirtd and QEMU")


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "lab.demo"], cwd=demo.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_all(run: subprocess.Popen[bytes]) -> None:
    """kill -9 to the run and to every program of ours that it started."""
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if any(word in command for word in OURS) and int(entry.name) != os.getpid():
            try:
                os.kill(int(entry.name), signal.SIGKILL)
            except ProcessLookupError:
                continue


def journal_has_begun() -> bool:
    return (demo.FOLDER / "journal.db").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("libvirt")
def test_killed_anywhere_and_run_again_it_ends_proven() -> None:
    seed = int(os.environ.get("KUBEFERRY_SEED", "7"))  # another moment: another seed
    chance = random.Random(seed)
    command = [sys.executable, "-m", "lab.demo"]
    subprocess.run([*command, "--clean"], cwd=demo.ROOT, check=True, timeout=120, stdout=subprocess.DEVNULL)
    try:
        first = start()
        time.sleep(chance.uniform(1, 45))  # the estate, the server, discovery, planning
        kill_all(first)
        second = start()
        limit = time.monotonic() + 150
        while not journal_has_begun() and time.monotonic() < limit:
            time.sleep(0.05)
        assert journal_has_begun(), "the second run did not come as far as the migration"
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
