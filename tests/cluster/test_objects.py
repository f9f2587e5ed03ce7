"""Rooms and objects in a cluster: what is there is left, what drifts is told, DataVolumes take over filled claims.

None of this needs a hypervisor: it runs on a user's cluster, too. What needs KubeVirt's webhooks or CDI says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import TargetConfig
from kubeferry.errors import TargetRefused
from kubeferry.ledger import External
from kubeferry.targets.kubevirt.target import connect
from lab.ground import Ground
from lab.rig import SIZE, Rig, rig
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def tenant(make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant("kubeferry-objects")


@pytest.fixture
def make(ground: Ground, tenant: Tenant, tmp_path: Path) -> Callable[..., Any]:
    def made(name: str, **options: Any) -> Any:
        return rig(ground, tenant, tmp_path, name, **options)

    return made


def versions(moved: Rig) -> dict[str, str]:
    """Every claim and machine of the namespace, as which edition."""
    found = moved.ground.read("get", "pvc,virtualmachines", f"--namespace={moved.namespace}")["items"]
    return {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["uid"] for one in found}


def words(lines: list[str]) -> set[str]:
    return {line.split()[0] for line in lines}


def test_prepare_a_second_time_changes_nothing_and_says_so(make: Callable[..., Any]) -> None:
    with make("twice") as moved:
        first = moved.target.prepare(moved.entry, moved.ledger)
        made, told = versions(moved), list(moved.written)
        again = moved.target.prepare(moved.entry, moved.ledger)
        assert (first["vda"].created, again["vda"].created) == (True, False)
        assert first["vda"].ref == again["vda"].ref
        assert versions(moved) == made
        assert moved.written == told, "nothing more stands in the ledger"
        assert {thing.kind for thing in told} == {"disk", "state-claim"}
        moved.end()
        assert moved.left() == []


def test_a_claim_carries_its_machine_and_source(make: Callable[..., Any]) -> None:
    with make("marked") as moved:
        moved.target.prepare(moved.entry, moved.ledger)
        claim = moved.ground.read("get", "pvc", moved.entry.disks[0].claim, f"--namespace={moved.namespace}")
        labels, notes = claim["metadata"]["labels"], claim["metadata"]["annotations"]
        assert (labels["app.kubernetes.io/managed-by"], labels["kubeferry.io/machine"]) == ("kubeferry", "marked")
        assert notes["kubeferry.io/machine-id"] == moved.entry.machine.id
        assert claim["spec"]["resources"]["requests"]["storage"] in {str(SIZE), f"{SIZE >> 20}Mi"}


def test_a_dry_run_writes_nothing(make: Callable[..., Any]) -> None:
    with make("dry") as moved:
        assert words(moved.target.apply(moved.entry, moved.ledger, dry_run=True)) == {"created"}
        assert versions(moved) == {}
        assert moved.written == []


def test_apply_a_second_time_finds_all_as_it_should_be(make: Callable[..., Any]) -> None:
    with make("again") as moved:
        moved.target.prepare(moved.entry, moved.ledger)
        assert words(moved.target.apply(moved.entry, moved.ledger, dry_run=False)) == {"unchanged", "created"}
        made = versions(moved)
        assert words(moved.target.apply(moved.entry, moved.ledger, dry_run=False)) == {"unchanged"}
        assert versions(moved) == made


def spoil(moved: Rig, patch: dict[str, Any]) -> None:
    """Somebody changes the machine's object by hand."""
    where = ("virtualmachine", moved.entry.target_name, f"--namespace={moved.namespace}")
    moved.ground.kubectl("patch", *where, "--type=merge", f"--patch={json.dumps(patch)}")


def apply_with_a_change_in_between(moved: Rig, patch: dict[str, Any]) -> list[str]:
    """Apply; after the trial, before the deed, somebody changes the machine's object."""
    moved.ground.kubectl("delete", "pvc", moved.entry.disks[0].claim, f"--namespace={moved.namespace}")

    def ledger(thing: External) -> None:  # the claim is about to be made: the trial is over
        spoil(moved, patch)

    return moved.target.apply(moved.entry, ledger, dry_run=False)


def test_drift_between_trial_and_deed_is_told_and_mended(make: Callable[..., Any]) -> None:
    with make("drifts") as moved:
        moved.target.apply(moved.entry, moved.ledger, dry_run=False)
        told = apply_with_a_change_in_between(moved, {"spec": {"template": {"spec": {"hostname": "somebody"}}}})
        (drift,) = [line for line in told if line.startswith("drift")]
        assert "VirtualMachine drifts" in drift
        assert "hostname" in drift


def test_drift_in_a_field_of_the_plan_is_refused_with_its_owner(make: Callable[..., Any]) -> None:
    with make("taken") as moved:
        moved.target.apply(moved.entry, moved.ledger, dry_run=False)
        guest = {"spec": {"template": {"spec": {"domain": {"memory": {"guest": "512Mi"}}}}}}
        with pytest.raises(TargetRefused) as refused:
            apply_with_a_change_in_between(moved, guest)
        assert "conflict with" in refused.value.why
        assert "memory.guest" in refused.value.why
        assert "Another manager owns these fields" in refused.value.fix


def test_what_is_not_the_plan_is_not_started(make: Callable[..., Any], kubevirt: Ground) -> None:
    with make("foreign") as moved:
        moved.target.prepare(moved.entry, moved.ledger)
        with pytest.raises(TargetRefused, match="not those of the plan"):
            moved.target.start(moved.entry, moved.ledger)


def test_unknown_fields_are_refused_by_the_server_in_its_words(make: Callable[..., Any]) -> None:
    with make("unknown") as moved:
        manifests = json.loads(json.dumps(moved.entry.manifests))
        machine = next(one for one in manifests if one["kind"] == "VirtualMachine")
        machine["spec"]["template"]["spec"]["domain"]["noSuchField"] = 1
        entry = moved.entry.model_copy(update={"manifests": tuple(manifests)})
        with pytest.raises(TargetRefused, match="noSuchField"):
            moved.target.apply(entry, moved.ledger, dry_run=False)
        assert versions(moved) == {}


def test_the_webhook_refuses_what_cannot_run(make: Callable[..., Any], kubevirt: Ground) -> None:
    with make("odd") as moved:
        manifests = json.loads(json.dumps(moved.entry.manifests))
        machine = next(one for one in manifests if one["kind"] == "VirtualMachine")
        machine["spec"]["template"]["spec"]["domain"]["devices"]["disks"][0]["disk"]["bus"] = "ide"
        entry = moved.entry.model_copy(update={"manifests": tuple(manifests)})
        with pytest.raises(TargetRefused) as refused:
            moved.target.apply(entry, moved.ledger, dry_run=False)
        assert "IDE" in refused.value.why or "bus" in refused.value.why
        assert refused.value.fix
        assert versions(moved) == {}, "nothing is written before everything is accepted"


def test_a_name_of_another_machine_is_refused_everywhere(make: Callable[..., Any]) -> None:
    with make("mine") as moved:
        moved.target.prepare(moved.entry, moved.ledger)
        machine = moved.entry.machine.model_copy(update={"id": "id-other"})
        other = moved.entry.model_copy(update={"machine": machine})
        for write in (
            lambda: moved.target.prepare(other, moved.ledger),
            lambda: moved.target.apply(other, moved.ledger, dry_run=False),
            lambda: moved.target.remove(other),
        ):
            with pytest.raises(TargetRefused, match=r"belongs to another machine|cannot be used|not ours"):
                write()


def test_a_data_volume_takes_over_a_filled_claim(make: Callable[..., Any], own: Ground, kubevirt: Ground) -> None:
    """CDI's real adoption: the claim stays the same one with the same bytes, and outlives its VirtualMachine."""
    with make("adopted", storage={"data_volumes": True}) as moved:
        assert "DataVolume" in {manifest["kind"] for manifest in moved.entry.manifests}
        assert moved.run(moved.job()).ok
        claim = moved.entry.disks[0].claim
        before = own.read("get", "pvc", claim, f"--namespace={moved.namespace}")["metadata"]["uid"]
        moved.target.apply(moved.entry, moved.ledger, dry_run=False)
        (volume,) = own.read("get", "datavolumes", f"--namespace={moved.namespace}")["items"]
        assert volume["status"]["phase"] == "Succeeded"
        assert own.read("get", "pvc", claim, f"--namespace={moved.namespace}")["metadata"]["uid"] == before
        assert moved.arrived()
        assert words(moved.target.apply(moved.entry, moved.ledger, dry_run=False)) == {"unchanged"}
        own.kubectl("delete", "virtualmachine", moved.entry.target_name, f"--namespace={moved.namespace}")
        assert claim in own.names("pvc", moved.namespace), "a VirtualMachine deleted by mistake costs no data"
        assert moved.arrived()
        moved.end()
        assert moved.left() == []
        assert own.names("datavolumes", moved.namespace) == []


def test_the_offer_is_what_the_cluster_has(ground: Ground, tenant: Tenant) -> None:
    target = connect(TargetConfig(kind="kubevirt", kubeconfig=str(tenant.kubeconfig)))
    offer = target.offer()
    target.close()
    known = ground.read("get", "storageclasses")["items"]
    assert [one.name for one in offer.classes] == sorted(one["metadata"]["name"] for one in known)
