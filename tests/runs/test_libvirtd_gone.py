"""libvirtd dies while a disk is being copied: the run tells so, and goes on once it is back; where that is not in time,
it ends with what to do, and whoever looks after machines leads it back: nobody has to touch anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.documents import JournalConfig, Plan, load
from kubeferry.journal import Journal
from lab import daemons, estate
from tests.needs import here

PREFIX = "kft-gone-"
MACHINE = f"{PREFIX}web"
CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources: {lab: {kind: libvirt, uri: "qemu:///system"}}
target: {kind: directory, path: target}
journal: {url: "sqlite:///journal.db"}
limits: {bandwidthBytesPerSecond: 8388608}
"""
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
stop: {lastWords: [/data/boots]}
probes:
  - {kind: agent, timeoutSeconds: 240}
  - {kind: counter, path: /data/boots, timeoutSeconds: 60}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    here("libvirtd", "qemu-system-x86_64", "root")
    source = tmp_path / "source"
    estate.up(source, prefix=PREFIX)
    (tmp_path / "kubeferry.yaml").write_text(CONFIG)
    (tmp_path / "policy.yaml").write_text(POLICY)
    yield tmp_path
    daemons.start(source)
    estate.down(source)


def flows(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        command, cwd=folder, env=environment, check=False, timeout=300, capture_output=True, text=True
    )


def begun(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A run that copies, and the file of what it says."""
    assert flows(folder, "discover").returncode == 0
    assert flows(folder, "plan", "inventory.yaml", "--policy", "policy.yaml").returncode == 0
    migrate = [sys.executable, "-m", "flows", "migrate", "plan.yaml", "--machine", MACHINE]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    said = folder / "said"
    with said.open("wb") as told:
        run = subprocess.Popen(migrate, cwd=folder, env=environment, stdout=told, stderr=told)
    limit = time.monotonic() + 90
    while not copying(folder):
        assert run.poll() is None, said.read_text()
        assert time.monotonic() < limit
        time.sleep(0.05)
    return run, said


def seen(said: Path, words: str, run: subprocess.Popen[bytes]) -> None:
    """Wait until the run has said this."""
    limit = time.monotonic() + 90
    while words not in said.read_text():
        assert run.poll() is None, said.read_text()
        assert time.monotonic() < limit
        time.sleep(0.2)


def copying(folder: Path) -> bool:
    """Whether the journal has the machine's round begun; a journal that is being made has nothing yet."""
    path = folder / "journal.db"
    if not path.exists():
        return False
    plan = load(folder / "plan.yaml", Plan)
    with Journal.open(JournalConfig(url=f"sqlite:///{path}")) as journal:
        return journal.state(plan.digest, MACHINE).round > 0


def kill_libvirtd() -> None:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_it = (entry / "comm").read_text().strip() == "libvirtd"
        except OSError:
            continue
        if is_it:
            os.kill(int(entry.name), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("libvirt")
def test_libvirtd_gone_in_mid_copy_is_waited_for_and_gone_on_from(folder: Path) -> None:
    run, said = begun(folder)
    kill_libvirtd()
    seen(said, "tried again, since", run)
    daemons.start(folder / "source")
    assert run.wait(timeout=300) == 0, said.read_text()
    state = flows(folder, "status", "plan.yaml", "--json").stdout
    assert f'"machine": "{MACHINE}", "phase": "committed"' in state


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("libvirt")
def test_libvirtd_gone_for_longer_than_there_is_time_ends_the_run_with_what_to_do_and_caretake_leads_back(
    folder: Path,
) -> None:
    with (folder / "policy.yaml").open("a") as policy:
        policy.write("downtime: {patienceSeconds: 10}\n")
    run, said = begun(folder)
    kill_libvirtd()
    assert run.wait(timeout=200) == 1, said.read_text()
    assert "does not answer" in said.read_text()
    assert "Start libvirtd" in said.read_text()
    flows(folder, "caretake")  # as each minute: it changes nothing as long as nobody answers
    daemons.start(folder / "source")
    limit = time.monotonic() + 200
    while MACHINE not in daemons.virsh("list", "--name").split():
        assert time.monotonic() < limit
        flows(folder, "caretake")
        time.sleep(1)
    state = flows(folder, "status", "plan.yaml", "--json").stdout
    assert f'"machine": "{MACHINE}", "phase": "rolled-back"' in state
