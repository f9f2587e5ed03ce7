"""libvirtd dies while a disk is being copied: told with what to do, and the same command goes on once it is back."""

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
def test_libvirtd_gone_in_mid_copy_is_told_and_gone_on_from(folder: Path) -> None:
    assert flows(folder, "discover").returncode == 0
    assert flows(folder, "plan", "inventory.yaml", "--policy", "policy.yaml").returncode == 0
    migrate = [sys.executable, "-m", "flows", "migrate", "plan.yaml", "--machine", MACHINE]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.Popen(
        migrate, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 90
    while not copying(folder):
        assert run.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.05)
    kill_libvirtd()
    _, said = run.communicate(timeout=200)
    assert run.returncode == 1, said
    assert "does not answer" in said
    assert "Start libvirtd" in said
    daemons.start(folder / "source")
    again = flows(folder, "migrate", "plan.yaml", "--machine", MACHINE)
    assert again.returncode == 0, again.stderr
    state = flows(folder, "status", "plan.yaml", "--json").stdout
    assert f'"machine": "{MACHINE}", "phase": "committed"' in state
