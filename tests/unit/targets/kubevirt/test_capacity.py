"""How much room a cluster has, in sums, from its nodes and quotas."""

from __future__ import annotations

from typing import Any

from kubeferry.documents.offer import ClusterRoom
from kubeferry.targets.kubevirt.capacity import room_of

GIB = 1 << 30


def node(name: str, *, memory: str = "16Gi", cpu: str = "7500m", ready: str = "True", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubevirt.io/schedulable": "true"} | more.pop("labels", {})},
        "spec": more,
        "status": {"allocatable": {"memory": memory, "cpu": cpu}, "conditions": [{"type": "Ready", "status": ready}]},
    }


def quota(hard: dict[str, str], used: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": "team"}, "spec": spec, "status": {"hard": hard, "used": used}}


def test_only_nodes_that_take_machines_are_counted() -> None:
    nodes = [
        node("a"),
        node("b"),
        node("cordoned", unschedulable=True),
        node("down", ready="False"),
        node("control", labels={"kubevirt.io/schedulable": "false"}),
    ]
    assert room_of(nodes, None) == ClusterRoom(nodes=2, cpus=15, memory_bytes=32 * GIB, quotas=None)


def test_nobody_could_ask_or_nothing_is_there() -> None:
    assert room_of(None, []) is None
    assert room_of([], []) is None
    assert room_of([node("a", ready="Unknown")], []) is None


def test_a_quota_tells_what_it_leaves_by_the_usual_names() -> None:
    found = room_of([node("a")], [quota({"memory": "8Gi", "requests.storage": "1Ti"}, {"memory": "6Gi"})])
    assert found is not None
    assert found.quotas is not None
    assert {room.resource: room.left for room in found.quotas} == {
        "requests.memory": 2 * GIB,
        "requests.storage": 1024 * GIB,
    }


def test_a_quota_that_does_not_count_us_and_one_that_is_overdrawn() -> None:
    others = quota({"memory": "1Gi"}, {}, scopes=["BestEffort"])
    overdrawn = quota({"memory": "1Gi"}, {"memory": "3Gi"})
    found = room_of([node("a")], [others, overdrawn])
    assert found is not None
    assert [room.left for room in found.quotas or ()] == [0]
