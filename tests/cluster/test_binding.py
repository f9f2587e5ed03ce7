"""A volume that waits for its first pod is made where the machine can run: by a real scheduler and provisioner."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.targets.kubevirt import binding, claims, names
from lab.ground import Ground
from lab.rig import Rig, rig
from lab.tenant import Tenant

FIRST_CONSUMER = {"storage_class": "lab-first-consumer", "volume_mode": "Filesystem"}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def tenant(make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant("kubeferry-binding")


def noted(moved: Rig) -> Any:
    state = names.state_claim(moved.entry.target_name)
    found = moved.ground.read("get", "pvc", state, f"--namespace={moved.namespace}")
    return json.loads(found["metadata"]["annotations"][claims.PLACEMENT])


def test_a_mover_of_a_volume_that_waits_asks_for_what_the_machine_needs_and_runs(
    own: Ground, kubevirt: Ground, tenant: Tenant, tmp_path: Path
) -> None:
    with rig(own, tenant, tmp_path, "waits", storage=FIRST_CONSUMER) as moved:
        result = moved.run(moved.job())
        assert result.ok, result.error
        assert noted(moved)["nodeSelector"] == {binding.SCHEDULABLE: "true", binding.ARCHITECTURE: "amd64"}
        (job,) = moved.ground.read("get", "jobs", f"--namespace={moved.namespace}")["items"]
        assert job["spec"]["template"]["spec"]["nodeSelector"] == noted(moved)["nodeSelector"]
        assert binding.OBSOLETE in json.dumps(job["spec"]["template"]["spec"]["affinity"])
        assert moved.arrived()


def test_it_is_not_made_where_the_machine_cannot_run(
    own: Ground, kubevirt: Ground, tenant: Tenant, tmp_path: Path
) -> None:
    """No node offers this processor: nothing is bound, and the mover says why it does not run."""
    movers = {"start_seconds": 5}
    with rig(own, tenant, tmp_path, "nowhere", storage=FIRST_CONSUMER, movers=movers) as moved:
        claim, vm = moved.entry.manifests
        vm = json.loads(json.dumps(vm))
        vm["spec"]["template"]["spec"]["domain"]["cpu"]["model"] = "Opteron_G3"
        moved.entry = moved.entry.model_copy(update={"manifests": (claim, vm)})
        result = moved.run(moved.job())
        assert not result.ok
        assert result.error is not None
        assert "no node takes its pod" in result.error.why
        bound = {one["status"]["phase"] for one in own.read("get", "pvc", f"--namespace={moved.namespace}")["items"]}
        assert bound == {"Pending"}
        told = [one.what for one in moved.target.concerns((moved.entry,)) if one.id == "node.none-fits"]
        assert any("Opteron_G3" in what for what in told)


def test_a_volume_that_is_made_at_once_leaves_its_mover_alone(
    ground: Ground, kubevirt: Ground, tenant: Tenant, tmp_path: Path
) -> None:
    with rig(ground, tenant, tmp_path, "at-once") as moved:
        moved.target.prepare(moved.entry, moved.ledger)
        assert noted(moved) == {}
