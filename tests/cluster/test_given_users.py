"""Movers that name no user, where the cluster gives them one of the namespace's range, as OpenShift does.

Two machines move and boot in real KubeVirt from what that user wrote: on a volume with a file system, with UEFI
variables beside it, and on a device. A third one cannot, and is told so before its source is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import pytest

from kubeferry.images.variables import Variable, store_of
from kubeferry.model import Firmware, FirmwareKind, Machine, Power, Tpm
from lab import guests, injector, usual
from lab.ground import Ground
from lab.program import COUNTED, Program
from lab.tenant import Tenant
from tests.cluster.test_usual_clusters import GUEST

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

NAMESPACE = "kubeferry-given-users"
MODES = {"files": "Filesystem", "device": "Block", "with-tpm": "Block"}
MARK = Variable("Mark", UUID("12345678-1234-1234-1234-123456789abc"), 7, b"set at the source")


def firmware(machine: Machine) -> Machine:
    """One with UEFI variables, one with a TPM that keeps something."""
    own: dict[str, Any] = {}
    if machine.name == "files":
        own = {"firmware": Firmware(kind=FirmwareKind.UEFI, nvram="/files.fd")}
    elif machine.name == "with-tpm":
        own = {
            "tpm": Tpm(model="tpm-crb", version="2.0", backend="emulator", state="/with-tpm.tpm"),
            "uuid": str(MARK.vendor),
        }
    return machine.model_copy(update=own)


@pytest.fixture(scope="module")
def moved(
    own: Ground,
    kubevirt: Ground,
    make_tenant: Callable[[str], Tenant],
    prefect: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Program]:
    """All three, after one run."""
    guest = guests.build_guest(GUEST, tmp_path_factory.mktemp("guest") / "disk.img")
    tenant = make_tenant(NAMESPACE)
    program = Program(own, tenant.kubeconfig, tmp_path_factory.mktemp("given"), prefect)
    program.add(guest, *MODES, change=firmware)
    (program.folder / "source" / "files.variables").write_bytes(store_of((MARK,), "4m"))
    (program.folder / "source" / "with-tpm.tpm").write_bytes(b"nobody comes to read it")
    program.configure({"user": 0}, concurrentMachines=2)
    machines = {name: {"storage": {"volumeMode": mode, "accessMode": "ReadWriteOnce"}} for name, mode in MODES.items()}
    with ExitStack() as standing:
        own.apply(*usual.constraint(NAMESPACE))
        standing.callback(usual.remove_constraint, own, NAMESPACE)
        modes: dict[str, injector.Mode] = {NAMESPACE: "giving"}
        standing.enter_context(injector.injecting(own, modes, tmp_path_factory.mktemp("injector")))
        program.make_plan(COUNTED | {"namespace": NAMESPACE, "machines": machines})
        program.migrate(400)
        yield program
        program.release()  # the machines themselves go with their namespace


@pytest.mark.parametrize("name", ["files", "device"])
def test_what_such_a_mover_writes_boots_in_kubevirt(moved: Program, name: str) -> None:
    said = (moved.folder / "said").read_text()
    observed = next((event for event in moved.events(name) if event.kind == "observed"), None)
    assert observed is not None, said
    counter = next(one for one in observed.observation["probes"] if one["kind"] == "counter")
    boots = guests.boot_count(moved.folder / "source" / f"{name}.img")
    assert counter["evidence"] == f"{boots} at the source, {boots + 1} here"
    assert "committed" in [event.kind for event in moved.events(name)], said


def test_the_variables_went_with_it(moved: Program) -> None:
    entry = moved.plan.entry("files")
    (carried,) = [event for event in moved.events("files") if event.kind == "variables-carried"]
    assert carried.names == ("Mark",)
    instance = moved.ground.read("get", "vmi", entry.target_name, f"--namespace={NAMESPACE}")
    kept = [one for one in instance["status"]["volumeStatus"] if one["name"].startswith("persistent-state-for")]
    assert entry.variables is not None
    assert kept[0]["persistentVolumeClaimInfo"]["claimName"] == entry.variables.claim


def test_every_mover_ran_as_the_user_that_it_was_given(moved: Program) -> None:
    movers = moved.ground.read("get", "pods", f"--namespace={NAMESPACE}", "--selector=kubeferry.io/part=mover")["items"]
    assert {one["metadata"]["labels"]["kubeferry.io/machine"] for one in movers} == {"files", "device"}
    for mover in movers:
        assert "runAsUser" not in mover["spec"]["securityContext"]
        assert mover["spec"]["securityContext"]["fsGroup"] == usual.FIRST_USER
        assert [one["securityContext"]["runAsUser"] for one in mover["spec"]["containers"]] == [usual.FIRST_USER]
        assert mover["status"]["phase"] == "Succeeded"


def test_what_only_kubevirts_own_user_can_bring_is_told_before_the_source_is_touched(moved: Program) -> None:
    """libvirt there gives the folder of a TPM's state its rights, which only its owner may."""
    assert "mover.tpm-owner" in (moved.folder / "said").read_text()
    machine = moved.plan.entry("with-tpm").machine
    assert moved.source.power(machine) is Power.RUNNING
    assert moved.source.last_start(machine) == "0"
    for kind in ("pvc", "vm"):
        assert not [name for name in moved.ground.names(kind, NAMESPACE) if "with-tpm" in name], kind
