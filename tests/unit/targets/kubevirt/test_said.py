"""What KubeVirt keeps of the agent's answers, as what the system said."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.inside.said import CardSaid, MountSaid, Said
from kubeferry.targets.kubevirt import observing
from kubeferry.targets.kubevirt.said import told

KEPT = {
    "hostname": "web",
    "timezone": "CET, 3600",
    "fsInfo": {
        "disks": [
            {"diskName": "vda1", "mountPoint": "/", "fileSystemType": "ext4", "usedBytes": 1, "totalBytes": 2**30}
        ]
    },
}
STATUS = {
    "interfaces": [
        {
            "name": "lan",
            "mac": "52:54:00:aa:00:01",
            "interfaceName": "enp1s0",
            "ipAddress": "192.0.2.7",
            "ipAddresses": ["192.0.2.7", "fe80::1"],
            "infoSource": "domain, guest-agent",
        },
        {"name": "san", "mac": "52:54:00:aa:00:02", "infoSource": "domain"},
    ]
}


def test_all_of_it() -> None:
    assert told(KEPT, {"status": STATUS}) == Said(
        hostname="web",
        cards=(CardSaid(name="enp1s0", mac="52:54:00:aa:00:01", addresses=("192.0.2.7",)),),
        mounts=(MountSaid(where="/", kind="ext4", size_bytes=2**30),),
        time_zone="CET, UTC+01:00",
    )


@pytest.mark.parametrize("kept", [{}, {"timezone": ", 0", "fsInfo": {}, "hostname": 7}, {"timezone": "x"}])
def test_what_is_not_told_is_not_made_up(kept: dict[str, Any]) -> None:
    assert told(kept, {}) == Said()


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([], ""),
        ([{"type": "LiveMigratable", "status": "True"}], "possible"),
        (
            [
                {
                    "type": "LiveMigratable",
                    "status": "False",
                    "reason": "DisksNotLiveMigratable",
                    "message": "not shared",
                }
            ],
            "not possible: DisksNotLiveMigratable: not shared",
        ),
    ],
)
def test_whether_it_can_leave_its_node(conditions: list[dict[str, Any]], words: str) -> None:
    assert observing.live_migration(conditions) == words
