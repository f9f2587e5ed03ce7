"""Two guests of libvirt that write one raw disk, moved as a set into a folder: one copy, both proven, both back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import JournalConfig, Plan, load
from kubeferry.journal import Journal
from kubeferry.life.machine_state import Phase
from kubeferry.outside.process import ProgramFailed
from lab import daemons, guests
from lab.bare import Bare
from lab.daemons import virsh
from tests.needs import here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(560), pytest.mark.xdist_group("libvirt")]

MIB = 1 << 20
GUEST = guests.Spec("shared", size=96 * MIB, payload=4 * MIB)
PREFIX = f"kft-set{os.getpid()}-"
WORDS = "one disk for all of them"
CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
CONFIG = {
    "sources": {"lab": {"kind": "libvirt", "uri": "qemu:///system"}},
    "target": {"kind": "directory", "path": "target"},
    "journal": {"url": "sqlite:///journal.db"},
    "limits": {"concurrentMachines": 1},
}
POLICY = {
    "storage": {"accessMode": "ReadWriteMany"},
    "probes": [
        {"kind": "agent", "timeoutSeconds": 240},
        {"kind": "file", "path": "/dev/vdb", "expect": WORDS, "timeoutSeconds": 60},
    ],
}


class Set:
    """The two guests, and the program on them."""

    def __init__(self, folder: Path, bare: Bare) -> None:
        self.folder, self.bare = folder, bare
        self.shared = folder / "shared.img"
        self.names: list[str] = []

    def add(self, name: str, guest: Path) -> None:
        own = self.folder / f"{name}.img"
        shutil.copy(guest, own)
        xml = self.bare.xml(name, (own, "raw"), (self.shared, "raw"), devices=CHANNEL, mib=256)
        shareable = "<target dev='vdb' bus='virtio'/><shareable/>"
        xml = xml.replace("<target dev='vdb' bus='virtio'/>", shareable).replace(
            "</os>", "</os><features><acpi/></features>"
        )
        file = self.folder / f"{name}.xml"
        file.write_text(xml)
        self.bare.names.append(self.bare.prefix + name)
        virsh("define", str(file))
        virsh("start", self.bare.prefix + name)
        self.names.append(self.bare.prefix + name)

    def answer(self) -> None:
        """Wait until both guests' agents answer: what does not answer is not probed by its agent."""
        limit = time.monotonic() + 180
        for name in self.names:
            while True:
                try:
                    virsh("qemu-agent-command", name, '{"execute":"guest-ping"}')
                    break
                except ProgramFailed:
                    assert time.monotonic() < limit
                    time.sleep(1)

    def write(self, name: str, kind: str, content: dict[str, Any]) -> None:
        document = {"apiVersion": "kubeferry.io/v1alpha1", "kind": kind} | content
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flows", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=400)
        assert process.returncode == 0, said
        return said

    def killed_when(self, name: str, phase: Phase) -> None:
        """A run that is killed once the machine is that far."""
        process = self.start("migrate", "plan.yaml")
        try:
            limit = time.monotonic() + 300
            while self.phase(name) is not phase:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < limit
                time.sleep(0.2)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself, and the test fails
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()

    def phase(self, name: str) -> Phase:
        plan = load(self.folder / "plan.yaml", Plan)
        with Journal.open(JournalConfig(url=f"sqlite:///{self.folder / 'journal.db'}")) as journal:
            return journal.state(plan.digest, name).phase

    def power(self) -> list[str]:
        return [virsh("domstate", name).strip() for name in self.names]

    def images(self) -> list[Path]:
        return sorted((self.folder / "target").rglob("*.img"))


@pytest.fixture
def pair(on_storage: Path) -> Iterator[Set]:
    here("libvirtd", "qemu-system-x86_64", "root")
    bare = Bare(on_storage, PREFIX)
    made = Set(on_storage, bare)
    head, noise = f"{WORDS}\n".encode().ljust(128 * 1024, b"\n"), os.urandom(MIB)
    made.shared.write_bytes(head + noise + bytes(3 * MIB) + noise[:1024])
    guest = guests.build_guest(GUEST, on_storage / "guest.img")
    with daemons.running(on_storage):
        try:
            for name in ("one", "two"):
                made.add(name, guest)
            made.answer()
            made.write("kubeferry", "Config", CONFIG)
            made.write("policy", "Policy", POLICY)
            yield made
        finally:
            if (on_storage / "plan.yaml").exists():  # whatever came of it, no copy runs on
                made.start("release", "plan.yaml", "--everything", "--yes").communicate(timeout=200)
            bare.remove()


def test_two_guests_with_one_disk_arrive_with_one_copy_of_it_and_go_back(pair: Set) -> None:
    one, two = pair.names
    pair.run("discover", "--machine", one, "--machine", two)
    pair.run("plan", "inventory.yaml", "--policy", "policy.yaml")
    assert load(pair.folder / "plan.yaml", Plan).excluded == {}
    pair.killed_when(two, Phase.STARTED)
    assert pair.power() == ["shut off", "shut off"]
    said = pair.run("migrate", "plan.yaml")
    assert [pair.phase(name) for name in pair.names] == [Phase.COMMITTED, Phase.COMMITTED], said
    copies = [path for path in pair.images() if path.stat().st_size == pair.shared.stat().st_size]
    assert [path.parent.parent.name for path in copies] == [one]
    assert copies[0].read_bytes() == pair.shared.read_bytes(), "no machine's proof has written to it"
    assert "proven" in pair.run("report", "plan.yaml")
    assert f"vdb is one disk with that of {one}" in (pair.folder / "report.md").read_text()

    pair.run("rollback", "plan.yaml", "--machine", one, "--machine", two)
    assert pair.power() == ["running", "running"]
    pair.run("release", "plan.yaml", "--everything", "--yes")
    assert pair.images() == []
