"""A claim that several machines attach is neither written while one of them runs nor removed while one names it. The
cluster is a double: objects by kind and name, no controller."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import Companion, Entry, TargetConfig
from kubeferry.errors import TargetRefused
from kubeferry.targets.kubevirt import machine, removal
from kubeferry.targets.kubevirt.kinds import INSTANCE, VIRTUAL_MACHINE, Kind
from tests.unit.targets.kubevirt.test_cluster_machine import Double

CONFIG = TargetConfig(kind="kubevirt", stop_seconds=1)


class Cluster(Double):
    def delete(self, kind: Kind, name: str, _namespace: str = "", **_more: Any) -> None:
        self.asked.append(f"delete {kind.name} {name}")
        self.objects.pop((kind.name, name), None)


@pytest.fixture
def cluster() -> Any:
    return Cluster()


@pytest.fixture
def web(make: Any) -> Entry:
    """It carries a disk that `db` attaches."""
    entry = make.entry()
    shared = entry.disks[0].model_copy(update={"shared_with": ("db",)})
    found: Entry = entry.model_copy(
        update={"disks": (shared,), "moves_with": (Companion(name="db", target_name="db"),)}
    )
    return found


def attaching(kind: Kind, claim: str) -> dict[str, Any]:
    volumes = [{"name": "vdb", "persistentVolumeClaim": {"claimName": claim}}]
    spec = {"volumes": volumes} if kind is INSTANCE else {"template": {"spec": {"volumes": volumes}}}
    return {"spec": spec, "status": {"phase": "Running"}}


def test_nothing_is_written_while_another_machine_runs_from_the_claim(cluster: Any, web: Entry) -> None:
    machine.refuse_running(cluster, web)
    cluster.put(INSTANCE, "db", **attaching(INSTANCE, "web-vda"))
    with pytest.raises(TargetRefused, match="db runs at the target") as refused:
        machine.refuse_running(cluster, web)
    assert refused.value.machine == "web"


@pytest.mark.parametrize("kind", [VIRTUAL_MACHINE, INSTANCE])
def test_nothing_is_removed_while_another_machine_names_the_claim(cluster: Any, web: Entry, kind: Kind) -> None:
    cluster.put(kind, "db", **attaching(kind, "web-vda"))
    with pytest.raises(TargetRefused, match="attached to other machines"):
        removal.remove(cluster, CONFIG, web)
    assert cluster.asked == []


def test_a_machine_of_that_name_with_other_disks_keeps_none(cluster: Any, web: Entry) -> None:
    cluster.put(VIRTUAL_MACHINE, "db", **attaching(VIRTUAL_MACHINE, "another"))
    removal.remove(cluster, CONFIG, web)
