"""Two machines that share a disk, on a class whose block volumes several nodes may write, and in real KubeVirt: one
claim that both attach, both proven from it, both back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeferry.model import Machine, Power
from lab import guests
from lab.cluster import services
from lab.ground import Ground
from lab.program import MIB, Program
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(560)]

NAMESPACE = "kubeferry-shared-disks"
GUEST = guests.Spec("set", size=96 * MIB, payload=4 * MIB)
NAMES = ("one", "two")
WORDS = "one disk for all of them"
POLICY: dict[str, Any] = {
    "namespace": NAMESPACE,
    "storage": {"volumeMode": "Block", "storageClass": services.BLOCK_CLASS},
    "runStrategy": "Manual",
    "probes": [
        {"kind": "agent", "timeoutSeconds": 240},
        {"kind": "file", "path": "/dev/vdb", "expect": WORDS, "timeoutSeconds": 120},
    ],
}


ENDS = ("committed", "rolled-back")


@pytest.fixture(scope="module")
def tenant(own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant(NAMESPACE)


@pytest.fixture(scope="module")
def program(own: Ground, tenant: Tenant, prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The machines after one run, with one turn for both."""
    folder = tmp_path_factory.mktemp("set")
    made = Program(own, tenant.kubeconfig, folder, prefect)
    (folder / "source").mkdir()
    shared = folder / "source" / "shared.img"
    shared.write_bytes(f"{WORDS}\n".encode().ljust(128 * 1024, b"\n") + os.urandom(MIB) + bytes(3 * MIB))

    def with_it(machine: Machine) -> Machine:
        (own_disk,) = machine.disks
        facts = {"id": "vdb", "uri": shared.as_uri(), "capacity_bytes": shared.stat().st_size, "shareable": True}
        return machine.model_copy(update={"disks": (own_disk, own_disk.model_copy(update=facts))})

    made.add(guests.build_guest(GUEST, folder / "guest.img"), *NAMES, change=with_it, words=False)
    made.configure(concurrentMachines=1)
    made.make_plan(POLICY)
    made.migrate(450)
    yield made
    made.release("--everything", "--yes")


def claims(program: Program) -> dict[str, Any]:
    found = program.ground.read("get", "pvc", f"--namespace={NAMESPACE}")["items"]
    return {one["metadata"]["name"]: one for one in found}


def test_both_arrive_and_are_proven_from_one_claim(program: Program) -> None:
    said = (program.folder / "said").read_text()
    ends = [[event.kind for event in program.events(name) if event.kind in ENDS] for name in NAMES]
    assert ends == [["committed"], ["committed"]], said
    assert [program.source.power(program.plan.entry(name).machine) for name in NAMES] == [Power.OFF, Power.OFF]
    assert [name for name in claims(program) if name.endswith("-vdb")] == ["one-vdb"]
    assert claims(program)["one-vdb"]["spec"]["accessModes"] == ["ReadWriteMany"]
    copied = [event.disk for name in NAMES for event in program.events(name) if event.kind == "disk-copied"]
    assert sorted(copied) == ["vda", "vda", "vdb"]


@pytest.mark.parametrize("name", NAMES)
def test_each_runs_with_it_as_a_disk_that_others_write(program: Program, name: str) -> None:
    instance = program.ground.read("get", "vmi", name, f"--namespace={NAMESPACE}")
    assert instance["status"]["phase"] == "Running"
    named = {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in instance["spec"]["volumes"]}
    (shared,) = [one for one in instance["spec"]["domain"]["devices"]["disks"] if named[one["name"]] == "one-vdb"]
    assert (shared["shareable"], shared["cache"]) == (True, "none")


def test_both_go_back_and_the_claim_goes_with_the_last_of_them(program: Program) -> None:
    program.kubeferry("rollback", "plan.yaml", "--machine", "one", code=2)
    program.kubeferry("rollback", "plan.yaml", "--machine", "one", "--machine", "two", "--lose-writes")
    assert [program.source.power(program.plan.entry(name).machine) for name in NAMES] == [Power.RUNNING, Power.RUNNING]
    assert program.ground.read("get", "vmi", f"--namespace={NAMESPACE}")["items"] == []
    said = program.kubeferry("release", "plan.yaml", "--everything", "--yes")
    assert said.index("two: removed") < said.index("one: removed")
    assert claims(program) == {}
