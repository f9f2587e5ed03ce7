"""An assessment of real machines leaves them as they are: their definitions, their images, and what libvirt saw of
them meanwhile."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli import run
from kubeferry.documents import Config, JournalConfig, SourceConfig, TargetConfig, save
from lab import daemons
from lab.bare import Bare
from lab.daemons import URI, virsh
from tests.needs import needs
from tests.pages import dead_links, pages_in

pytestmark = [needs(*daemons.PROGRAMS, "root"), pytest.mark.xdist_group("libvirt")]

MIB = 1 << 20


def state_of(bare: Bare) -> dict[str, Any]:
    """All that a write would change: what libvirt says of the machines, and every byte and time of their files."""
    told = {f"xml {name}": virsh("dumpxml", name) for name in bare.names}
    told |= {f"kept {name}": virsh("dumpxml", "--inactive", name) for name in bare.names}
    told |= {f"state {name}": virsh("domstate", "--reason", name) for name in bare.names}
    told |= {f"snapshots {name}": virsh("snapshot-list", name, "--name") for name in bare.names}
    told |= {f"checkpoints {name}": virsh("checkpoint-list", name, "--name") for name in bare.names}
    files = [path for path in bare.folder.rglob("*.qcow2") if path.is_file()]
    told |= {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return told | {f"time {path}": str(path.stat().st_mtime_ns) for path in files}


def test_machines_and_images_are_as_they_were(bare: Bare, tmp_path: Path, monkeypatch: Any) -> None:
    runs = bare.define("runs", (bare.image("runs.qcow2", form="qcow2", size=8 * MIB), "qcow2"))
    bare.define("off", (bare.image("off.qcow2", form="qcow2", size=8 * MIB), "qcow2"))
    virsh("start", runs)
    place = tmp_path / "project"
    place.mkdir()
    config = Config(
        sources={"lab": SourceConfig(kind="libvirt", uri=URI)},
        target=TargetConfig(kind="directory", path=str(place / "target")),
        journal=JournalConfig(url=f"sqlite:///{place}/kubeferry.db"),
    )
    save(config, place / "kubeferry.yaml")
    monkeypatch.chdir(place)
    assert run(["discover", "--config", "kubeferry.yaml", "--out", "inventory.yaml"]) == 0
    before, seen = state_of(bare), watched(lambda: run(["assess", "inventory.yaml", "--config", "kubeferry.yaml"]))
    assert state_of(bare) == before
    assert seen == "", "libvirt saw something happen to a machine"
    assert not (place / "target").exists()
    assert not (place / "kubeferry.db").exists()
    made = pages_in(place / "assessment")
    assert f"{runs}/index.html" in made
    assert list(dead_links(place / "assessment", made)) == []


def watched(work: Callable[[], int]) -> str:
    """What libvirt tells of events of any machine while something is done, which has to succeed."""
    command = ["virsh", "-q", "-c", URI, "event", "--all", "--loop"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert work() == 0
            # Its own last word: an event that is ours, so that all before it have arrived.
        finally:
            watching.terminate()
        return watching.communicate(timeout=30)[0]
