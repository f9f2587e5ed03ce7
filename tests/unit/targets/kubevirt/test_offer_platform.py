"""What a cluster tells of its KubeVirt, for a plan to be made for it."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import Platform
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
            told("v1.8.0", featureGates=["VSOCK"], disabledFeatureGates=["VideoConfig"]),
            Platform(version="1.8", gates_on=("VSOCK",), gates_off=("VideoConfig",)),
        ),
    ],
)
def test_version_and_gates_are_those_of_the_object(found: list[dict[str, Any]], expected: Platform | None) -> None:
    assert platform_of(found) == expected
