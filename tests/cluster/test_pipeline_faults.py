"""The whole program on a cluster: killed in mid-copy and run again; refused by KubeVirt's webhook; stopped by Ctrl-C.

A real lab guest behind the memory source, whose disk the lab's hypervisor serves as it serves libvirt's.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import JournalConfig, Plan, freeze, load, save
from kubeferry.journal import Journal
from kubeferry.model import Cpu, Disk, DiskBus, Firmware, FirmwareKind, Machine, Memory, Nic, Power
from kubeferry.outside.process import run
from kubeferry.sources.memory.source import MemorySource
from lab import ground as grounds
from lab import guests
from lab.ground import Ground, until
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "kubeferry-program"
MIB = 1 << 20
GUEST = guests.Spec("web", size=192 * MIB, payload=24 * MIB)


@dataclass
class Program:
    """One machine, planned, and the program to move it, as a process group of its own."""

    ground: Ground
    tenant: Tenant
    folder: Path
    api: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def source(self) -> MemorySource:
        return MemorySource("lab", self.folder / "source")

    @property
    def machine(self) -> Machine:
        return load(self.folder / "plan.yaml", Plan).entries[0].machine

    def prepare(self, guest: Path) -> None:
        (self.folder / "source").mkdir()
        disk = self.folder / "source" / "web.img"
        run(["cp", "--sparse=always", str(guest), str(disk)])
        self.source.write_machines(a_machine(disk))
        self.source.write_words("web", {"/data/boots": f"{guests.boot_count(disk)}\n"})
        policy = {
            "namespace": NAMESPACE,
            "storage": {"volumeMode": "Block", "accessMode": "ReadWriteOnce"},
            "stop": {"lastWords": ["/data/boots"]},
            "probes": [{"kind": kind, "path": "/data/boots", "timeoutSeconds": 240} for kind in ("agent", "counter")],
        }
        self.write("policy", "Policy", policy)
        self.configure()
        self.kubeferry("discover")
        self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")

    def configure(self, **limits: int) -> None:
        access = self.ground.access().model_dump(mode="json", by_alias=True)
        source = {"kind": "memory", "uri": f"memory://{self.folder}/source", "ssh": access}
        movers = self.ground.movers().model_dump(mode="json", by_alias=True)
        target = {"kind": "kubevirt", "kubeconfig": str(self.tenant.kubeconfig), "movers": movers}
        config = {"sources": {"lab": source}, "target": target, "journal": {"url": "sqlite:///journal.db"}}
        self.write("kubeferry", "Config", config | {"limits": limits})

    def write(self, name: str, kind: str, content: dict[str, Any]) -> None:
        document = {"apiVersion": "kubeferry.io/v1alpha1", "kind": kind} | content
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))

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
        assert self.process is not None
        code = self.process.wait(seconds)
        return code, (self.folder / "log").read_text()

    def kubeferry(self, verb: str, *words: str, code: int = 0) -> str:
        self.start(verb, *words)
        ended, said = self.finish()
        assert ended == code, said
        return said

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def until_it_moves(self) -> dict[str, Any]:
        """Wait for the Job, for its pod to run and for a durable part of the copy; the Job."""

        def moving() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()
            return done_bytes(self.ground) > 8 * MIB

        until(moving, seconds=90, what="the copy")
        (job,) = self.ground.read("get", "jobs", f"--namespace={NAMESPACE}")["items"]
        return dict(job)

    def event(self, kind: str) -> Any:
        plan = load(self.folder / "plan.yaml", Plan)
        with Journal.open(JournalConfig(url=f"sqlite:///{self.folder}/journal.db")) as journal:
            return next((one.event for one in journal.events(plan.digest, "web") if one.event.kind == kind), None)

    def check_nothing_left(self) -> None:
        self.kubeferry("release", "plan.yaml", "--everything")
        for kind in ("vm", "pvc", "jobs", "pods", "networkpolicies"):
            until(lambda kind=kind: not self.ground.names(kind, NAMESPACE), seconds=60, what=f"the end of all {kind}")
        assert [path for path in Path(grounds.SOCKETS).rglob("*") if not path.is_dir()] == []
        assert json.loads(self.kubeferry("status", "plan.yaml", "--json"))["open"] == []


def a_machine(disk: Path) -> Machine:
    drive = Disk(
        id="vda",
        bus=DiskBus.VIRTIO,
        uri=disk.as_uri(),
        source_kind="file",
        format="raw",
        chain=(),
        capacity_bytes=disk.stat().st_size,
    )
    return Machine(
        id="id-web",
        name="web",
        source="lab",
        power=Power.RUNNING,
        arch="x86_64",
        machine_type="pc-q35-7.2",
        firmware=Firmware(kind=FirmwareKind.BIOS),
        cpu=Cpu(vcpus=1),
        memory=Memory(size_bytes=256 * MIB),
        disks=(drive,),
        nics=(Nic(id="nic0", network_kind="network", network="default", model="virtio", mac="52:54:00:00:00:01"),),
    )


def done_bytes(ground: Ground) -> int:
    """What the running mover told last, in its pod's log."""
    for pod in ground.read("get", "pods", f"--namespace={NAMESPACE}")["items"]:
        if pod["status"]["phase"] == "Running" and pod["metadata"]["name"].startswith("kf-"):
            said = ground.kubectl("logs", pod["metadata"]["name"], f"--namespace={NAMESPACE}", "--tail=1")
            return int(json.loads(said)["doneBytes"]) if said.startswith("{") else 0
    return 0


@pytest.fixture(scope="module")
def tenant(own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant(NAMESPACE)


@pytest.fixture(scope="module")
def guest(own: Ground, kubevirt: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guests.build_guest(GUEST, tmp_path_factory.mktemp("guest") / "disk.img")


@pytest.fixture
def program(own: Ground, tenant: Tenant, guest: Path, prefect: str, tmp_path: Path) -> Iterator[Program]:
    made = Program(own, tenant, tmp_path, prefect)
    made.prepare(guest)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
    made.start("release", "plan.yaml", "--everything")
    made.finish()


def test_killed_in_mid_copy_with_its_mover_and_run_again(program: Program, guest: Path) -> None:
    """kill -9 to the pipeline: the Job goes on. Its pod is lost meanwhile, too: its successor resumes. The next run
    attaches to that Job, and the machine ends proven."""
    program.configure(bandwidthBytesPerSecond=4 * MIB)
    program.start("migrate", "plan.yaml")
    job = program.until_it_moves()
    program.kill()
    program.ground.kubectl("delete", "pods", "--all", f"--namespace={NAMESPACE}", "--wait=false")
    time.sleep(1)
    program.start("migrate", "plan.yaml")
    code, said = program.finish()
    assert code == 0, said
    assert re.search(r"vda: \w+ \d+ % of \d+ MiB", said), said
    copied = program.event("disk-copied")
    assert copied.resumed_bytes > 0
    assert copied.where.startswith(f"Job {NAMESPACE}/{job['metadata']['name']} ")
    (still,) = [
        one
        for one in program.ground.read("get", "jobs", f"--namespace={NAMESPACE}")["items"]
        if one["metadata"]["name"] == job["metadata"]["name"]
    ] or [job]
    assert still["metadata"]["uid"] == job["metadata"]["uid"]
    assert program.event("committed") is not None
    counter = next(one for one in program.event("observed").observation["probes"] if one["kind"] == "counter")
    assert counter["evidence"] == f"{guests.boot_count(guest)} at the source, {guests.boot_count(guest) + 1} here"
    program.check_nothing_left()


def test_ctrl_c_in_mid_copy_leaves_no_mover_and_no_export(program: Program) -> None:
    program.configure(bandwidthBytesPerSecond=2 * MIB)
    program.start("migrate", "plan.yaml")
    program.until_it_moves()
    assert program.process is not None
    program.process.send_signal(signal.SIGINT)
    code, said = program.finish(60)
    assert code == 130, said
    assert "Run the same command again" in said
    assert program.ground.names("jobs", NAMESPACE) == []
    assert [path for path in Path(grounds.SOCKETS).rglob("*") if not path.is_dir()] == []
    assert program.source.power(program.machine) is Power.OFF, "it is taken up again, not rolled back"
    program.kubeferry("rollback", "plan.yaml", "--machine", "web")
    assert program.source.power(program.machine) is Power.RUNNING
    program.check_nothing_left()


def test_a_machine_that_the_webhook_refuses_is_rolled_back(program: Program) -> None:
    """A plan that our own checks would not have let pass: KubeVirt's webhook says no, its words are told, and the
    source runs again."""
    plan = load(program.folder / "plan.yaml", Plan)
    (entry,) = plan.entries
    manifests = json.loads(json.dumps(entry.manifests))
    machine = next(one for one in manifests if one["kind"] == "VirtualMachine")
    machine["spec"]["template"]["spec"]["domain"]["devices"]["disks"][0]["disk"]["bus"] = "ide"
    spoiled = plan.model_copy(update={"entries": (entry.model_copy(update={"manifests": tuple(manifests)}),)})
    save(freeze(spoiled.model_copy(update={"digest": ""})), program.folder / "plan.yaml")
    said = program.kubeferry("migrate", "plan.yaml", code=2)
    assert "the cluster refuses the machine's manifests" in said
    assert "IDE bus is not supported" in said or "bus" in said
    assert "fix:" in said
    assert program.source.power(program.machine) is Power.RUNNING
    assert program.ground.names("vm", NAMESPACE) == []
    program.check_nothing_left()


def test_a_host_that_is_not_the_hypervisor_ends_in_a_rollback(program: Program) -> None:
    config = yaml.safe_load((program.folder / "kubeferry.yaml").read_text())
    other = " ".join(program.ground.hypervisor().key.with_suffix(".pub").read_text().split()[:2])
    config["sources"]["lab"]["ssh"]["hostKey"] = other
    (program.folder / "kubeferry.yaml").write_text(yaml.safe_dump(config))
    said = program.kubeferry("migrate", "plan.yaml", code=2)
    assert "fix:" in said
    assert program.source.power(program.machine) is Power.RUNNING
    program.check_nothing_left()
