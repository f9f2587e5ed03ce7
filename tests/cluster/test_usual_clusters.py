"""Namespaces as usual clusters have them: in each, a machine arrives and is proven.

All machines are one plan and one run, as a user's are: storage that shares block volumes only, a mesh's sidecars in
movers and machines (heeded or not), default limits, volumes where the first mover runs, a constraint on users, and
feature gates that were off in older versions of KubeVirt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.setup.manifests import MOVERS_ACCOUNT, roles
from kubeferry.model import Disk, DiskBus, DiskDevice, Machine, Power
from lab import guests, injector, usual
from lab.cluster import services
from lab.ground import Ground
from lab.injector import Admitted
from lab.program import COUNTED, MIB, Program
from lab.tenant import ACCOUNT, Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

GUEST = guests.Spec("usual", size=96 * MIB, payload=4 * MIB)
BLOCK = {"volumeMode": "Block", "accessMode": "ReadWriteOnce"}
SHARED = {"volumeMode": "Block", "accessMode": "ReadWriteMany", "storageClass": services.BLOCK_CLASS}
NODE_LOCAL = {"volumeMode": "Filesystem", "accessMode": "ReadWriteOnce", "storageClass": services.LATE_CLASS}
MACHINES: dict[str, dict[str, Any]] = {
    "shared-block": {"storage": SHARED},
    "mesh": {"storage": BLOCK},
    "mesh-everywhere": {"storage": BLOCK},
    "default-limits": {"storage": BLOCK},
    "node-local": {"storage": NODE_LOCAL, "placement": {"nodeSelector": {"kubernetes.io/hostname": "lab"}}},
    "constrained": {"storage": BLOCK},
    "older-gates": {"storage": BLOCK},
}
"""By the name of the namespace that each goes to, without what comes before it."""


def with_a_drive(machine: Machine) -> Machine:
    """An empty CD-ROM drive, where it matters."""
    drive = Disk(id="sda", device=DiskDevice.CDROM, bus=DiskBus.SATA)
    return machine.model_copy(update={"disks": (*machine.disks, drive)}) if machine.name == "older-gates" else machine


def place(name: str) -> str:
    return f"kubeferry-{name}"


@pytest.fixture(scope="module")
def guest(own: Ground, kubevirt: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guests.build_guest(GUEST, tmp_path_factory.mktemp("guest") / "disk.img")


@pytest.fixture(scope="module")
def tenants(own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant]) -> dict[str, Tenant]:
    """All namespaces; the first one's account may work in each."""
    made = {name: make_tenant(place(name)) for name in MACHINES}
    first = place(next(iter(MACHINES)))
    for name in MACHINES:
        for role in ("kubeferry", "kubeferry-file-probes"):
            words = (f"--role={role}", f"--serviceaccount={first}:{ACCOUNT}", f"--namespace={place(name)}")
            own.kubectl("create", "rolebinding", f"{role}-of-all", *words)
    return made


def movers_rights(namespace: str) -> list[dict[str, Any]]:
    """What `manifests --openshift` prints for the movers' account, without the kind that only OpenShift has."""
    printed = yaml.safe_load_all(roles((namespace,), openshift=True))
    return [one for one in printed if one["kind"] in {"Role", "RoleBinding"} and one["metadata"]["name"] != ACCOUNT]


@pytest.fixture(scope="module")
def cluster(own: Ground, tenants: dict[str, Tenant]) -> Iterator[Ground]:
    """Everything that stands in the way, in its namespace only; but gates are the whole cluster's."""
    with ExitStack() as standing:
        own.apply(usual.limits(place("default-limits"), memory="1Gi"))
        own.apply(*usual.constraint(place("constrained")))
        own.apply(*movers_rights(place("constrained")))
        standing.callback(usual.remove_constraint, own, place("constrained"))
        standing.enter_context(usual.gates_off(own))
        yield own


@pytest.fixture(scope="module")
def admitted(cluster: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Admitted]]:
    """Every pod that was asked for in these namespaces, some with a mesh's container put into them."""
    modes: dict[str, injector.Mode] = {place(name): "watching" for name in MACHINES}
    modes |= {place("mesh"): "polite", place("mesh-everywhere"): "rude"}
    with injector.injecting(cluster, modes, tmp_path_factory.mktemp("injector")) as pods:
        yield pods


@pytest.fixture(scope="module")
def moved(
    cluster: Ground,
    tenants: dict[str, Tenant],
    admitted: list[Admitted],
    guest: Path,
    prefect: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Program]:
    """The machines, after one run."""
    first = tenants[next(iter(MACHINES))]
    program = Program(cluster, first.kubeconfig, tmp_path_factory.mktemp("usual"), prefect)
    program.add(guest, *MACHINES, change=with_a_drive)
    program.configure({"serviceAccount": MOVERS_ACCOUNT}, concurrentMachines=3)
    policy = COUNTED | {
        "namespace": first.namespace,
        "machines": {name: said | {"namespace": place(name)} for name, said in MACHINES.items()},
    }
    program.make_plan(policy)
    program.migrate(400)
    yield program
    program.release()  # the machines themselves go with their namespaces


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_arrives_and_is_proven(moved: Program, guest: Path, name: str) -> None:
    said = (moved.folder / "said").read_text()
    observed = next((event for event in moved.events(name) if event.kind == "observed"), None)
    assert observed is not None, said
    counter = next(one for one in observed.observation["probes"] if one["kind"] == "counter")
    assert counter["evidence"] == f"{guests.boot_count(guest)} at the source, {guests.boot_count(guest) + 1} here"
    assert "committed" in [event.kind for event in moved.events(name)], said
    assert moved.source.power(moved.plan.entry(name).machine) is Power.OFF


def movers(admitted: list[Admitted], name: str) -> list[Admitted]:
    found = [one for one in admitted if one.namespace == place(name)]
    found = [one for one in found if one.pod["metadata"].get("generateName", "").startswith("kf-")]
    assert found, "there were movers"
    return found


def test_movers_keep_their_state_where_file_systems_are_for_one_node(moved: Program) -> None:
    claims = moved.ground.read("get", "pvc", f"--namespace={place('shared-block')}")["items"]
    made = {(one["spec"]["volumeMode"], *one["spec"]["accessModes"]) for one in claims}
    assert made == {("Block", "ReadWriteMany"), ("Filesystem", "ReadWriteOnce")}


def test_a_mesh_leaves_movers_alone_and_a_rude_one_does_not_keep_them(moved: Program, admitted: list[Admitted]) -> None:
    """A mover is over when its own container is, whatever stands beside it and never ends."""
    assert {one.injected for one in movers(admitted, "mesh")} == {False}
    assert {one.injected for one in movers(admitted, "mesh-everywhere")} == {True}
    machines = [one for one in admitted if one.namespace == place("mesh") and one.injected]
    assert machines, "the machine's own pod did not opt out: it is the user's"


def test_movers_ran_where_the_machine_runs(moved: Program, admitted: list[Admitted]) -> None:
    """Node-local volumes are bound to where the first pod ran that wanted them."""
    for mover in movers(admitted, "node-local"):
        assert mover.pod["spec"]["nodeSelector"]["kubernetes.io/hostname"] == "lab"


def test_movers_of_the_constrained_namespace_used_their_account(moved: Program, admitted: list[Admitted]) -> None:
    for mover in movers(admitted, "constrained"):
        assert mover.pod["spec"]["serviceAccountName"] == MOVERS_ACCOUNT
        assert mover.pod["spec"]["securityContext"]["runAsUser"] == 107
        assert mover.pod["spec"]["automountServiceAccountToken"] is False


def test_a_drive_that_this_kubevirt_refuses_was_left_out_of_the_plan(moved: Program) -> None:
    entry = moved.plan.entry("older-gates")
    assert [disk.id for disk in entry.machine.disks] == ["vda", "sda"]
    vm = moved.ground.read("get", "vm", entry.target_name, f"--namespace={place('older-gates')}")
    assert [disk["name"] for disk in vm["spec"]["template"]["spec"]["domain"]["devices"]["disks"]] == ["vda"]
    assert [one.id for one in entry.concerns if one.id == "kubevirt.left-out"]
