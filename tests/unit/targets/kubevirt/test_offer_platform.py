"""What a cluster tells of its KubeVirt, for a plan to be made for it."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import OfferedPreference, OfferedType, Platform
from kubeferry.errors import TargetRefused
from kubeferry.targets.kubevirt import instancetypes
from kubeferry.targets.kubevirt.kinds import Kind
from kubeferry.targets.kubevirt.offer import platform_of


def told(version: str | None, **developer: list[str]) -> list[dict[str, Any]]:
    status = {"observedKubeVirtVersion": version} if version else {}
    return [{"spec": {"configuration": {"developerConfiguration": developer}}, "status": status}]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], None),
        (told("v1.6.3"), Platform(version="1.6")),
        (told("v1.9.0-rc.2"), Platform(version="1.9")),
        (told("d923fdb8-by-hand"), Platform()),
        (told(None), Platform()),
        ([{}], Platform()),
        (
            [{"spec": {"configuration": {"instancetype": {"referencePolicy": "expandAll"}}}}],
            Platform(expands_types=True),
        ),
        ([{"spec": {"configuration": {"instancetype": {"referencePolicy": "reference"}}}}], Platform()),
        (
            told("v1.8.0", featureGates=["VSOCK"], disabledFeatureGates=["VideoConfig"]),
            Platform(version="1.8", gates_on=("VSOCK",), gates_off=("VideoConfig",)),
        ),
    ],
)
def test_version_and_gates_are_those_of_the_object(found: list[dict[str, Any]], expected: Platform | None) -> None:
    assert platform_of(found) == expected


def test_an_instance_type_is_what_its_object_gives_and_decides() -> None:
    spec = {
        "cpu": {"guest": 4, "dedicatedCPUPlacement": True, "model": "Haswell"},
        "memory": {"guest": "8Gi", "hugepages": {"pageSize": "1Gi"}},
        "nodeSelector": {"pool": "pinned"},
        "ioThreadsPolicy": "auto",
    }
    assert instancetypes.type_of(
        {"metadata": {"name": "cx1.xlarge", "namespace": "shop"}, "spec": spec}
    ) == OfferedType(
        name="cx1.xlarge",
        namespace="shop",
        vcpus=4,
        memory_bytes=8 << 30,
        hugepages="1Gi",
        dedicated_cpus=True,
        node_selector={"pool": "pinned"},
        sets=("cpu.dedicatedCPUPlacement", "cpu.model", "ioThreadsPolicy", "memory.hugepages", "nodeSelector"),
    )
    assert instancetypes.type_of({"metadata": {"name": "odd"}, "spec": {"cpu": {"guest": 1}}}) is None


def test_a_preference_is_what_it_fills_in_not_what_it_requires() -> None:
    spec = {
        "devices": {"preferredDiskBus": "virtio", "preferredRng": {}},
        "requirements": {"cpu": {"guest": 2}, "memory": {"guest": "4Gi"}},
        "annotations": {"a": "b"},
        "volumes": {"preferredStorageClassName": "fast"},
        "preferredTerminationGracePeriodSeconds": 60,
    }
    assert instancetypes.preference_of({"metadata": {"name": "fedora"}, "spec": spec}) == OfferedPreference(
        name="fedora",
        sets=("devices.preferredDiskBus", "devices.preferredRng", "preferredTerminationGracePeriodSeconds"),
        needs_vcpus=2,
        needs_memory_bytes=4 << 30,
    )


class Lists:
    """Stands in for a cluster: it lists one object of each kind that it may, and does nothing else."""

    def __init__(self, *forbidden: str) -> None:
        self._forbidden = forbidden

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        if kind.name in self._forbidden:
            raise TargetRefused("forbidden", fix="")
        spec = {"cpu": {"guest": 1}, "memory": {"guest": "1Gi"}}
        return [{"metadata": {"name": "one"} | ({"namespace": "shop"} if kind.namespaced else {}), "spec": spec}]


def test_half_of_what_there_is_would_be_no_answer() -> None:
    """Where only one of the two kinds may be listed, nobody can say that a name is not there."""
    types, preferences = instancetypes.offered(Lists())  # type: ignore[arg-type]
    assert [one.namespace for one in types or ()] == [None, "shop"]
    assert [one.namespace for one in preferences or ()] == [None, "shop"]
    types, preferences = instancetypes.offered(Lists("VirtualMachineInstancetype"))  # type: ignore[arg-type]
    assert types is None
    assert preferences is not None
