"""The program as a user runs it, in a process of its own, on machines of the memory source in a folder.

The source's disks are served by the lab's hypervisor, as it serves libvirt's. What it does not show: a hypervisor that
runs the machines, so nobody writes to a disk while a machine "runs".
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubeferry.documents import JournalConfig, Plan, load
from kubeferry.journal import Journal
from kubeferry.model import Machine, Nic, Power
from kubeferry.outside.process import run
from kubeferry.sources.memory.source import MemorySource
from lab import guests, machines
from lab.ground import Ground

ROOT = Path(__file__).resolve().parents[1]
MIB = 1 << 20

COUNTED: dict[str, Any] = {
    "stop": {"lastWords": ["/data/boots"]},
    "probes": [{"kind": kind, "path": "/data/boots", "timeoutSeconds": 240} for kind in ("agent", "counter")],
}
"""What a policy says of machines that count their boots."""

Change = Callable[[Machine], Machine]


@dataclass
class Program:
    """A folder with a source, a configuration, a plan and a journal; `api` is a Prefect server's."""

    ground: Ground
    kubeconfig: Path
    folder: Path
    api: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def source(self) -> MemorySource:
        return MemorySource("lab", self.folder / "source")

    @property
    def plan(self) -> Plan:
        return load(self.folder / "plan.yaml", Plan)

    def add(self, guest: Path, *names: str, change: Change = lambda machine: machine, words: bool = True) -> None:
        """Running machines of these names, each with the guest's disk as its own; `words`: and with its counter."""
        folder = self.folder / "source"
        folder.mkdir(exist_ok=True)
        machines = []
        for number, name in enumerate(names, 1):
            disk = folder / f"{name}.img"
            run(["cp", "--sparse=always", str(guest), str(disk)])
            machines.append(change(a_machine(name, disk, number)))
            if words:
                self.source.write_words(name, {"/data/boots": f"{guests.boot_count(disk)}\n"})
        self.source.write_machines(*machines)

    def configure(self, movers: dict[str, Any] | None = None, **limits: int) -> None:
        access = self.ground.access().model_dump(mode="json", by_alias=True)
        source = {"kind": "memory", "uri": f"memory://{self.folder}/source", "ssh": access}
        settings = self.ground.movers().model_dump(mode="json", by_alias=True) | (movers or {})
        target = {"kind": "kubevirt", "kubeconfig": str(self.kubeconfig), "movers": settings}
        config = {"sources": {"lab": source}, "target": target, "journal": {"url": "sqlite:///journal.db"}}
        self.write("kubeferry", "Config", config | {"limits": limits})

    def write(self, name: str, kind: str, content: dict[str, Any]) -> None:
        document = {"apiVersion": "kubeferry.io/v1alpha1", "kind": kind} | content
        plain = json.loads(json.dumps(document))  # values of their own: YAML's aliases are not read
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(plain))

    def make_plan(self, policy: dict[str, Any], *, asked: bool = True) -> None:
        """Discovery, and a plan by this policy; `asked`: for what the target has to offer."""
        self.write("policy", "Policy", policy)
        self.kubeferry("discover")
        asking = ("--config", "kubeferry.yaml") if asked else ()
        self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml", *asking)

    # --- the process ---------------------------------------------------------------------------------------------

    def start(self, verb: str, *words: str) -> None:
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows", verb, *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": self.api},
                start_new_session=True,
            )

    def finish(self, seconds: float = 200) -> tuple[int, str]:
        """The exit code, and all that was said."""
        if self.process is None:
            raise RuntimeError("nothing was started")
        code = self.process.wait(seconds)
        return code, (self.folder / "log").read_text()

    def kubeferry(self, verb: str, *words: str, code: int = 0) -> str:
        """What a command says that ends with this code."""
        self.start(verb, *words)
        ended, said = self.finish()
        if ended != code:
            raise AssertionError(f"{verb} ended with {ended}:\n{said}")
        return said

    def migrate(self, seconds: float) -> None:
        """To the end, whichever it is: `said` in the folder has the exit code, and all that was said."""
        self.start("migrate", "plan.yaml")
        code, said = self.finish(seconds)
        (self.folder / "said").write_text(f"{code}\n{said}")

    def release(self, *words: str) -> None:
        """The end of a test, whatever still runs."""
        self.kill()
        self.start("release", "plan.yaml", *words)
        self.finish()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def events(self, machine: str) -> list[Any]:
        """The journal's events of the plan for one machine."""
        with Journal.open(JournalConfig(url=f"sqlite:///{self.folder}/journal.db")) as journal:
            return [one.event for one in journal.events(self.plan.digest, machine)]


def a_machine(name: str, disk: Path, number: int = 1) -> Machine:
    """A running machine with one disk and one card."""
    card = Nic(id="nic0", network_kind="network", network="default", model="virtio", mac=f"52:54:00:00:00:{number:02x}")
    facts = {"power": Power.RUNNING, "machine_type": "pc-q35-7.2", "nics": (card,)}
    return machines.a_machine(name, machines.a_disk(disk), memory_bytes=256 * MIB, **facts)
