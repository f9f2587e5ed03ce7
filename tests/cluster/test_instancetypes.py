"""A machine of an instance type and a preference, and one whose disks go different ways: both arrive and are proven.

Real KubeVirt gives the one its processors and memory; of the other's disks one is on SCSI and in another class, and one
stays where it was, without anybody opening it. A type that is not there keeps a machine out of the plan, and one that
goes after the plan was made keeps it from being touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.model import Disk, DiskBus, Machine, Power
from lab import guests
from lab.cluster import services
from lab.ground import Ground
from lab.program import COUNTED, MIB, Program
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

GUEST = guests.Spec("typed", size=96 * MIB, payload=4 * MIB)
NAMESPACE = "kubeferry-typed"
TYPE, OWN, PREFERENCE = "kubeferry-small", "own", "kubeferry-linux"
API = "instancetype.kubevirt.io/v1beta1"
DATA = 8 * MIB
MACHINES: dict[str, dict[str, Any]] = {
    "sized": {"instancetype": {"name": TYPE}, "preference": {"name": PREFERENCE}},
    "own-size": {"instancetype": {"name": OWN, "kind": "namespaced"}},
    "disks": {
        "disks": [
            {
                "match": {"id": "vdb"},
                "storageClass": services.LATE_CLASS,
                "volumeMode": "Filesystem",
                "bus": "scsi",
            },
            {"match": {"label": "scratch"}, "include": False},
        ]
    },
    "unknown-size": {"instancetype": {"name": "kubeferry-none"}},
}
MOVED = [name for name in MACHINES if name != "unknown-size"]


def a_type(kind: str, name: str, cpus: int, memory: str) -> dict[str, Any]:
    metadata = {"name": name} | ({} if "Cluster" in kind else {"namespace": NAMESPACE})
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": metadata,
        "spec": {"cpu": {"guest": cpus}, "memory": {"guest": memory}},
    }


def a_preference() -> dict[str, Any]:
    devices = {"preferredRng": {}, "preferredDiskBus": "sata"}
    kind = "VirtualMachineClusterPreference"
    return {"apiVersion": API, "kind": kind, "metadata": {"name": PREFERENCE}, "spec": {"devices": devices}}


def with_disks(machine: Machine) -> Machine:
    """Two more disks: one of zeros and a word, and one whose file nobody has."""
    if machine.name != "disks":
        return machine
    (first,) = machine.disks
    path = Path(str(first.uri).removeprefix("file://")).with_name("data.img")
    path.write_bytes(b"words of the second disk".ljust(DATA, b"\0"))
    facts: dict[str, Any] = {"bus": DiskBus.VIRTIO, "source_kind": "file", "format": "raw", "chain": ()}
    data = Disk(id="vdb", uri=path.as_uri(), capacity_bytes=DATA, **facts)
    scratch = Disk(id="vdc", label="Scratch", uri=path.with_name("gone.img").as_uri(), capacity_bytes=DATA, **facts)
    return machine.model_copy(update={"disks": (first, data, scratch)})


@pytest.fixture(scope="module")
def cluster(own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant]) -> Iterator[tuple[Ground, Tenant]]:
    tenant = make_tenant(NAMESPACE)
    own.apply(
        a_type("VirtualMachineClusterInstancetype", TYPE, 2, "384Mi"),
        a_type("VirtualMachineInstancetype", OWN, 1, "320Mi"),
        a_preference(),
    )
    try:
        yield own, tenant
    finally:
        own.kubectl("delete", "virtualmachineclusterinstancetype", TYPE, "--ignore-not-found")
        own.kubectl("delete", "virtualmachineclusterpreference", PREFERENCE, "--ignore-not-found")


@pytest.fixture(scope="module")
def moved(cluster: tuple[Ground, Tenant], prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The machines, after one run."""
    ground, tenant = cluster
    program = Program(ground, tenant.kubeconfig, tmp_path_factory.mktemp("typed"), prefect)
    program.add(guests.build_guest(GUEST, tmp_path_factory.mktemp("guest") / "disk.img"), *MACHINES, change=with_disks)
    program.configure(concurrentMachines=3)
    policy = COUNTED | {
        "namespace": NAMESPACE,
        "storage": {"volumeMode": "Block", "accessMode": "ReadWriteOnce"},
        "machines": MACHINES,
    }
    program.make_plan(policy)
    ground.kubectl("delete", "virtualmachineclusterpreference", PREFERENCE)
    (program.folder / "asked").write_text(program.kubeferry("doctor", "plan.yaml", code=2))
    ground.apply(a_preference())
    program.migrate(400)
    yield program
    program.release()  # the machines themselves go with their namespace


def vm(program: Program, name: str) -> Any:
    return program.ground.read("get", "vm", program.plan.entry(name).target_name, f"--namespace={NAMESPACE}")


@pytest.mark.parametrize("name", MOVED)
def test_a_machine_arrives_and_is_proven(moved: Program, name: str) -> None:
    said = (moved.folder / "said").read_text()
    observed = next((event for event in moved.events(name) if event.kind == "observed"), None)
    assert observed is not None, said
    assert all(probe["ok"] for probe in observed.observation["probes"])
    assert "committed" in [event.kind for event in moved.events(name)], said
    assert moved.source.power(moved.plan.entry(name).machine) is Power.OFF


def test_a_type_that_is_not_there_keeps_its_machine_out_of_the_plan(moved: Program) -> None:
    assert "[instancetype.missing]" in moved.plan.excluded["unknown-size"]
    facts = next(one for one in moved.source.discover().machines if one.name == "unknown-size")
    assert facts.power is Power.RUNNING


def test_what_goes_after_the_plan_was_made_is_told_before_a_source_stops(moved: Program) -> None:
    asked = (moved.folder / "asked").read_text()
    assert f"there is no VirtualMachineClusterPreference {PREFERENCE}" in asked


@pytest.mark.parametrize(
    ("name", "cpus", "memory"), [("sized", 2, "384Mi"), ("own-size", 1, "320Mi"), ("disks", 1, "256Mi")]
)
def test_the_running_machine_has_what_its_type_gives(moved: Program, name: str, cpus: int, memory: str) -> None:
    """What KubeVirt made of it: a machine that ran at its source runs there now."""
    target = moved.plan.entry(name).target_name
    domain = moved.ground.read("get", "vmi", target, f"--namespace={NAMESPACE}")["spec"]["domain"]
    given = domain["cpu"]["sockets"] * domain["cpu"]["cores"] * domain["cpu"]["threads"]
    assert (given, domain["memory"]["guest"]) == (cpus, memory)


def test_the_object_is_the_plan_s_and_the_preference_filled_in_only_what_was_open(moved: Program) -> None:
    found = vm(moved, "sized")
    assert found["spec"]["instancetype"] == {"kind": "VirtualMachineClusterInstancetype", "name": TYPE}
    assert found["spec"]["preference"]["name"] == PREFERENCE
    assert found["status"]["instancetypeRef"]["controllerRevisionRef"]["name"]
    assert "sockets" not in found["spec"]["template"]["spec"]["domain"].get("cpu", {})
    target = moved.plan.entry("sized").target_name
    domain = moved.ground.read("get", "vmi", target, f"--namespace={NAMESPACE}")["spec"]["domain"]
    assert domain["devices"]["disks"][0]["disk"]["bus"] == "virtio"  # the plan's word, not the preference's


def test_each_disk_went_its_own_way_and_one_stayed(moved: Program) -> None:
    entry = moved.plan.entry("disks")
    assert [disk.disk for disk in entry.disks] == ["vda", "vdb"]
    claims = {
        one["metadata"]["name"]: one["spec"]
        for one in moved.ground.read("get", "pvc", f"--namespace={NAMESPACE}")["items"]
        if one["metadata"]["name"].startswith(f"{entry.target_name}-vd")
    }
    said = {name: (spec["storageClassName"], spec["volumeMode"]) for name, spec in claims.items()}
    assert said == {
        f"{entry.target_name}-vda": (services.CLASS, "Block"),
        f"{entry.target_name}-vdb": (services.LATE_CLASS, "Filesystem"),
    }
    disks = vm(moved, "disks")["spec"]["template"]["spec"]["domain"]["devices"]["disks"]
    assert [(one["name"], one["disk"]["bus"]) for one in disks] == [("vda", "virtio"), ("vdb", "scsi")]
    with moved.ground.disk(NAMESPACE, f"{entry.target_name}-vdb") as raw:
        assert raw.read_bytes()[:DATA].rstrip(b"\0") == b"words of the second disk"
