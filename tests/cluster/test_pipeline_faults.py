"""The whole program on a cluster: killed in mid-copy and run again; refused by KubeVirt's webhook; stopped by Ctrl-C.

A real lab guest behind the memory source, whose disk the lab's hypervisor serves as it serves libvirt's.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import Plan, freeze, load, save
from kubeferry.model import Machine, Power
from lab import ground as grounds
from lab import guests
from lab.ground import Ground, until
from lab.program import COUNTED, MIB, Program
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

NAMESPACE = "kubeferry-program"
GUEST = guests.Spec("web", size=192 * MIB, payload=24 * MIB)


@dataclass
class Web(Program):
    """One machine, planned, and the program to move it."""

    @property
    def machine(self) -> Machine:
        return self.plan.entries[0].machine

    def prepare(self, guest: Path) -> None:
        self.add(guest, "web")
        policy = COUNTED | {
            "namespace": NAMESPACE,
            "storage": {"volumeMode": "Block", "accessMode": "ReadWriteOnce"},
        }
        self.configure()
        self.make_plan(policy, asked=False)

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
        return next((event for event in self.events("web") if event.kind == kind), None)

    def check_nothing_left(self) -> None:
        self.kubeferry("release", "plan.yaml", "--everything")
        for kind in ("vm", "pvc", "jobs", "pods", "networkpolicies"):
            until(lambda kind=kind: not self.ground.names(kind, NAMESPACE), seconds=60, what=f"the end of all {kind}")
        assert [path for path in Path(grounds.SOCKETS).rglob("*") if not path.is_dir()] == []
        assert json.loads(self.kubeferry("status", "plan.yaml", "--json"))["open"] == []


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
def program(own: Ground, tenant: Tenant, guest: Path, prefect: str, tmp_path: Path) -> Iterator[Web]:
    made = Web(own, tenant.kubeconfig, tmp_path, prefect)
    made.prepare(guest)
    yield made
    made.release("--everything")


def test_killed_in_mid_copy_with_its_mover_and_run_again(program: Web, guest: Path) -> None:
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


def test_ctrl_c_in_mid_copy_leaves_no_mover_and_no_export(program: Web) -> None:
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


def test_a_machine_that_the_webhook_refuses_is_rolled_back(program: Web) -> None:
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


def test_a_host_that_is_not_the_hypervisor_ends_in_a_rollback(program: Web) -> None:
    config = yaml.safe_load((program.folder / "kubeferry.yaml").read_text())
    other = " ".join(program.ground.hypervisor().key.with_suffix(".pub").read_text().split()[:2])
    config["sources"]["lab"]["ssh"]["hostKey"] = other
    (program.folder / "kubeferry.yaml").write_text(yaml.safe_dump(config))
    said = program.kubeferry("migrate", "plan.yaml", code=2)
    assert "fix:" in said
    assert program.source.power(program.machine) is Power.RUNNING
    program.check_nothing_left()
