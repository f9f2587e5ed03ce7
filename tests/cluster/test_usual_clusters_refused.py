"""Namespaces as usual clusters have them, and machines that cannot live there: refused before their source is touched.

One plan, made where nobody asked the cluster, and one run. What would be found out only when a source is already off
(a pod that is refused, a volume that never comes) is found out before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kubeferry.model import Disk, DiskBus, DiskDevice, Machine, Power
from lab import usual
from lab.cluster import provisioner
from lab.ground import Ground, until
from lab.program import MIB, Program
from lab.tenant import ACCOUNT, Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ONLY_BLOCK = "kubeferry-only-block"
STORAGE = {"volumeMode": "Block", "accessMode": "ReadWriteOnce", "storageClass": "lab"}
MACHINES: dict[str, tuple[dict[str, Any], str]] = {
    "only-block": ({"storage": STORAGE | {"storageClass": ONLY_BLOCK}}, "storage.no-filesystem"),
    "tight-limits": ({}, "limit-range.exceeded"),
    "elsewhere": ({"placement": {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}}, "node.none-fits"),
    "no-constraint": ({}, "namespace.user-range"),
    "gates": ({}, "kubevirt.gate-off"),
}
"""By the name of the namespace that each is planned for; what the policy says of it, and what is told."""


def place(name: str) -> str:
    return f"kubeferry-no-{name}"


def with_a_drive(machine: Machine) -> Machine:
    drive = Disk(id="sda", device=DiskDevice.CDROM, bus=DiskBus.SATA)
    return machine.model_copy(update={"disks": (*machine.disks, drive)}) if machine.name == "gates" else machine


def only_block() -> list[dict[str, Any]]:
    """A class that makes no file systems at all, and says so."""
    metadata = {"name": ONLY_BLOCK}
    sets = [{"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}]
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": metadata,
            "provisioner": provisioner.BLOCK_NAME,
        },
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "StorageProfile",
            "metadata": metadata,
            "spec": {"claimPropertySets": sets},
        },
    ]


def profiled(ground: Ground) -> bool:
    found = ground.read("get", "storageprofile", ONLY_BLOCK)
    return bool((found.get("status") or {}).get("claimPropertySets"))


@pytest.fixture(scope="module")
def cluster(own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant]) -> Iterator[tuple[Ground, Tenant]]:
    tenants = [make_tenant(place(name)) for name in MACHINES]
    for tenant in tenants:
        words = ("--role=kubeferry", f"--serviceaccount={tenants[0].namespace}:{ACCOUNT}")
        own.kubectl("create", "rolebinding", "kubeferry-of-all", *words, f"--namespace={tenant.namespace}")
    with ExitStack() as standing:
        own.apply(*only_block())
        standing.callback(own.kubectl, "delete", "storageclass", ONLY_BLOCK)
        until(lambda: profiled(own), seconds=30, what="the profile of a new class")
        own.apply(usual.limits(place("tight-limits"), memory="128Mi"))
        own.apply(*usual.constraint(place("no-constraint")))
        standing.callback(usual.remove_constraint, own, place("no-constraint"))
        standing.enter_context(usual.gates_off(own))
        yield own, tenants[0]


@pytest.fixture(scope="module")
def refused(cluster: tuple[Ground, Tenant], prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The machines, after one run that ended with the code of what a person must correct."""
    ground, tenant = cluster
    program = Program(ground, tenant.kubeconfig, tmp_path_factory.mktemp("refused"), prefect)
    empty = program.folder / "empty.img"
    empty.write_bytes(bytes(16 * MIB))
    program.add(empty, *MACHINES, words=False, change=with_a_drive)
    program.configure()
    policy = {
        "namespace": tenant.namespace,
        "storage": STORAGE,
        "machines": {name: said | {"namespace": place(name)} for name, (said, _) in MACHINES.items()},
    }
    program.make_plan(policy, asked=False)
    (program.folder / "said").write_text(program.kubeferry("migrate", "plan.yaml", code=2))
    return program


@pytest.mark.parametrize("name", MACHINES)
def test_what_stands_in_the_way_is_told_before_the_source_is_touched(refused: Program, name: str) -> None:
    _, concern = MACHINES[name]
    said = (refused.folder / "said").read_text()
    assert concern in said
    machine = refused.plan.entry(name).machine
    assert refused.source.power(machine) is Power.RUNNING
    assert refused.source.last_start(machine) == "0", "it was never stopped and started again"
    planned, *found_out = refused.events(name)
    assert (planned.kind, [(one.kind, one.at) for one in found_out]) == ("planned", [("failed", "ask-beforehand")])
    for kind in ("pvc", "jobs", "vm", "pods"):
        assert refused.ground.names(kind, place(name)) == [], kind


def test_nothing_else_is_said_to_be_wrong(refused: Program) -> None:
    """Each machine has one thing against it: a check that cries wolf would be switched off."""
    said = (refused.folder / "said").read_text()
    told = {word for _, word in MACHINES.values()}
    lines = [line.strip() for line in said.splitlines() if line.strip().startswith("- ")]
    assert lines
    assert [line for line in lines if line.removeprefix("- ").split(":")[0] not in told] == []
