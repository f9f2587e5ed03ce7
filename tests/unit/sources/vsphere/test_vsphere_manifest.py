"""A lease's manifest against a machine's disks and what came of their streams."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.sources.vsphere.leases import contradiction

SIZE = 1 << 30
GOOD, BAD = "ab" * 20, "cd" * 20
DEVICES: list[dict[str, Any]] = [
    {"_type": "ParaVirtualSCSIController", "key": 1000, "busNumber": 0},
    {"_type": "VirtualDisk", "key": 2000, "controllerKey": 1000, "unitNumber": 0, "capacityInBytes": SIZE},
    {"_type": "VirtualDisk", "key": 2001, "controllerKey": 1000, "unitNumber": 1, "capacityInBytes": SIZE},
]
SEEN = {"2001": f"sha1:{GOOD}"}


def entry(unit: int = 1, **told: Any) -> dict[str, Any]:
    return {"key": f"/vm-12/ParaVirtualSCSIController0:{unit}", "disk": True, "capacity": SIZE, "sha1": GOOD, **told}


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        [entry()],
        [entry(sha1=GOOD.upper())],
        [entry(sha1="")],
        [entry(sha1="", checksum=BAD * 2, checksumType="sha256")],
        [entry(0, sha1=BAD)],
        [entry(key="/vm-12/nvram", disk=False, sha1=BAD)],
        [entry(key="/vm-12/VirtualAHCIController0:1", sha1=BAD)],
    ],
    ids=["none", "equal", "capitals", "no sha1", "another kind", "not read", "no disk", "nobody's"],
)
def test_what_does_not_contradict(manifest: list[dict[str, Any]]) -> None:
    assert contradiction(manifest, DEVICES, SEEN) is None


@pytest.mark.parametrize(
    ("manifest", "disk", "what"),
    [
        ([entry(0), entry(sha1=BAD)], "2001", BAD),
        ([entry(0, capacity=SIZE - 512), entry()], "2000", str(SIZE - 512)),
    ],
)
def test_what_contradicts_names_its_disk(manifest: list[dict[str, Any]], disk: str, what: str) -> None:
    found = contradiction(manifest, DEVICES, SEEN)
    assert found
    assert found.where == disk
    assert what in found.what
