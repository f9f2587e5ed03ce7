"""What a machine is run as at its commit, by real KubeVirt: given without a restart, and taken back for good."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Entry
from kubeferry.errors import Fenced
from lab.ground import Ground, until
from lab.rig import Rig, rig
from lab.tenant import Tenant

VM = "VirtualMachine"
WATCHED_SECONDS = 15.0
GRACE_SECONDS = 10

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def tenant(make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant("kubeferry-hand-over")


@pytest.fixture
def moved(ground: Ground, kubevirt: Ground, tenant: Tenant, tmp_path: Path) -> Any:
    """A machine that is planned to run always, in place and started."""
    with rig(ground, tenant, tmp_path, "kept") as made:
        made.entry = always(made.entry)
        made.target.prepare(made.entry, made.ledger)
        made.target.apply(made.entry, made.ledger, dry_run=False)
        made.target.start(made.entry, made.ledger, 5)
        yield made


def always(entry: Entry) -> Entry:
    """It has no system that would answer a request to stop: nobody waits long for one."""
    manifests = copy.deepcopy(entry.manifests)
    for spec in (one["spec"] for one in manifests if one["kind"] == VM):
        spec["runStrategy"] = "Always"
        spec["template"]["spec"]["terminationGracePeriodSeconds"] = GRACE_SECONDS
    return entry.model_copy(update={"manifests": manifests})


def strategy(moved: Rig) -> str:
    found = moved.ground.read("get", "virtualmachine", moved.entry.target_name, f"--namespace={moved.namespace}")
    return str(found["spec"]["runStrategy"])


def instance(moved: Rig) -> str:
    """The uid of the instance that runs; empty where none does."""
    if moved.entry.target_name not in moved.ground.names("virtualmachineinstances", moved.namespace):
        return ""
    found = moved.ground.read("get", "vmi", moved.entry.target_name, f"--namespace={moved.namespace}")
    return str(found["metadata"]["uid"]) if found.get("status", {}).get("phase") == "Running" else ""


def stays(moved: Rig, uid: str) -> bool:
    limit = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < limit:
        if instance(moved) != uid:
            return False
        time.sleep(1)
    return True


def test_a_machine_is_the_cluster_s_from_its_commit_on_and_nobody_s_after_a_rollback(moved: Rig) -> None:
    until(lambda: bool(instance(moved)), seconds=120, what="an instance that runs")
    before = instance(moved)
    assert strategy(moved) == "Manual"

    assert {moved.target.hand_over(moved.entry, 5) for _ in range(2)} == {"Always"}
    assert strategy(moved) == "Always"
    assert stays(moved, before), "it was not restarted"
    assert {line.split()[0] for line in moved.target.apply(moved.entry, moved.ledger, dry_run=False)} == {"unchanged"}

    moved.target.stop(moved.entry, 6)
    assert strategy(moved) == "Halted"
    assert not moved.target.runs(moved.entry)
    assert stays(moved, ""), "nothing starts it again"
    with pytest.raises(Fenced):
        moved.target.hand_over(moved.entry, 5)
    assert strategy(moved) == "Halted"
