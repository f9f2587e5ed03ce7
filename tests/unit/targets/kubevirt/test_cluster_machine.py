"""A machine that is stopped is gone with its pod, and one that runs is not written to. The cluster is a double: objects
by kind and name, no controller; what is stopped ends only where the test says so."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import TargetConfig
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.targets.kubevirt import machine
from kubeferry.targets.kubevirt.answers import Conflict
from kubeferry.targets.kubevirt.kinds import CLAIM, INSTANCE, POD, VIRTUAL_MACHINE, Kind
from kubeferry.targets.kubevirt.target import KubevirtTarget

Object = dict[str, Any]


class Double:
    """`asked` are the requests that change something."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.asked: list[str] = []

    def put(self, kind: Kind, name: str, **content: Any) -> None:
        self.objects[kind.name, name] = {"kind": kind.name, "metadata": {"name": name}} | content

    def get(self, kind: Kind, name: str, _namespace: str = "") -> Object | None:
        return self.objects.get((kind.name, name))

    def list(self, kind: Kind, _namespace: str = "", _labels: object = None) -> list[Object]:
        return [found for (name, _), found in self.objects.items() if name == kind.name]

    def create(self, manifest: Object, kind: Kind) -> Object:
        self.asked.append(f"create {kind.name} {manifest['metadata']['name']}")
        self.objects[kind.name, manifest["metadata"]["name"]] = manifest
        return manifest

    def apply(self, manifest: Object, kind: Kind, **_options: bool) -> Object:
        self.asked.append(f"apply {kind.name} {manifest['spec'].get('runStrategy')}")
        return manifest

    def call(self, method: str, path: str, **_more: Any) -> bytes:
        self.asked.append(f"{method} {path.rpartition('/')[2]}")
        return b""


@pytest.fixture
def cluster(make: Any, monkeypatch: pytest.MonkeyPatch) -> Double:
    """With the plan's VirtualMachine in it."""
    monkeypatch.setattr(machine, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(machine, "FORCED_SECONDS", 0.05)
    monkeypatch.setattr(machine, "ASKED_SECONDS", 0.05)
    double = Double()
    planned = make.entry().manifests[1]
    double.objects["VirtualMachine", "web"] = planned
    return double


def launcher(cluster: Double) -> None:
    metadata = {"name": "virt-launcher-web", "annotations": {"kubevirt.io/domain": "web"}}
    cluster.put(POD, "virt-launcher-web", metadata=metadata)


def stop(cluster: Any, make: Any) -> None:
    machine.stop(cluster, TargetConfig(kind="kubevirt", stop_seconds=0.05), make.entry())


def test_an_instance_that_outlives_its_machine_s_object_is_not_called_stopped(cluster: Double, make: Any) -> None:
    del cluster.objects[VIRTUAL_MACHINE.name, "web"]
    cluster.put(INSTANCE, "web", status={"phase": "Running"})
    with pytest.raises(TargetUnavailable, match="does not stop"):
        stop(cluster, make)


@pytest.mark.parametrize("deleted", [True, False])
def test_a_pod_that_outlives_its_instance_is_not_called_stopped(cluster: Double, make: Any, deleted: bool) -> None:
    if deleted:
        del cluster.objects[VIRTUAL_MACHINE.name, "web"]
    launcher(cluster)
    with pytest.raises(TargetUnavailable, match="does not stop"):
        stop(cluster, make)


def test_a_machine_that_is_about_to_start_is_not_called_stopped(cluster: Double, make: Any) -> None:
    asked = {"status": {"stateChangeRequests": [{"action": "Start"}]}}
    cluster.objects["VirtualMachine", "web"] = cluster.objects["VirtualMachine", "web"] | asked
    with pytest.raises(TargetUnavailable, match="does not stop") as caught:
        stop(cluster, make)
    assert "asked to start" in caught.value.why
    cluster.put(INSTANCE, "web", status={"phase": "Scheduling"})
    with pytest.raises(TargetUnavailable, match="does not stop"):
        stop(cluster, make)
    assert cluster.asked == ["PUT stop", "PUT stop"]


@pytest.mark.parametrize("why", ["Halted only supports manual stop requests with a shorter graceperiod", "not running"])
def test_a_machine_that_stops_already_need_not_be_asked(
    cluster: Double, make: Any, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """KubeVirt's words where its strategy has stopped it before we could ask."""

    def refuse(_method: str, _path: str, **_more: Any) -> bytes:
        cluster.objects.pop((INSTANCE.name, "web"), None)
        raise Conflict("PUT stop: conflict", why=why)

    monkeypatch.setattr(cluster, "call", refuse)
    cluster.put(INSTANCE, "web", status={"phase": "Running"})
    stop(cluster, make)
    assert (INSTANCE.name, "web") not in cluster.objects


def test_nothing_to_stop_is_no_error(cluster: Double, make: Any) -> None:
    stop(cluster, make)
    assert cluster.asked == []


@pytest.mark.parametrize(("phase", "written"), [("Running", False), ("Scheduling", False), ("Succeeded", True)])
def test_no_room_is_made_on_the_disks_of_a_machine_that_runs(
    cluster: Any, make: Any, phase: str, written: bool
) -> None:
    """A second plan of a machine that has moved would copy the old source over what the machine wrote since."""
    cluster.put(INSTANCE, "web", status={"phase": phase})
    target = KubevirtTarget(TargetConfig(kind="kubevirt"), cluster)
    if written:
        assert set(target.prepare(make.entry(), lambda _thing: None)) == {"vda"}
        assert f"create {CLAIM.name} web-vda" in cluster.asked
        return
    with pytest.raises(TargetRefused, match="runs in the cluster already") as caught:
        target.prepare(make.entry(), lambda _thing: None)
    assert caught.value.fix
    assert cluster.asked == []


@pytest.mark.parametrize(
    ("instance", "pod", "more", "runs"),
    [
        (None, None, {}, False),
        ("Running", "Running", {}, True),
        ("Scheduling", None, {}, True),
        (None, "Running", {}, True),
        ("Succeeded", "Succeeded", {}, False),
        ("Succeeded", "Running", {}, True),
        (None, None, {"status": {"stateChangeRequests": [{"action": "Start"}]}}, True),
        (None, None, {"spec": {"runStrategy": "Always"}}, True),
        (None, None, {"spec": {"runStrategy": "RerunOnFailure"}}, True),
        ("Succeeded", "Succeeded", {"spec": {"runStrategy": "RerunOnFailure"}}, False),
        ("Failed", "Failed", {"spec": {"runStrategy": "RerunOnFailure"}}, True),
    ],
)
def test_what_runs_or_is_about_to_is_said_to_run(
    cluster: Any, make: Any, instance: str | None, pod: str | None, more: Object, runs: bool
) -> None:
    cluster.objects["VirtualMachine", "web"] = cluster.objects["VirtualMachine", "web"] | more
    if instance:
        cluster.put(INSTANCE, "web", status={"phase": instance})
    if pod:
        launcher(cluster)
        cluster.objects[POD.name, "virt-launcher-web"]["status"] = {"phase": pod}
    assert KubevirtTarget(TargetConfig(kind="kubevirt"), cluster).runs(make.entry()) is runs


def test_another_machine_of_its_name_is_not_it_and_what_outlives_its_object_may_be(cluster: Any, make: Any) -> None:
    cluster.put(INSTANCE, "web", status={"phase": "Running"})
    target = KubevirtTarget(TargetConfig(kind="kubevirt"), cluster)
    cluster.put(VIRTUAL_MACHINE, "web", spec={"runStrategy": "Always"})
    assert not target.runs(make.entry())
    del cluster.objects[VIRTUAL_MACHINE.name, "web"]
    assert target.runs(make.entry())
