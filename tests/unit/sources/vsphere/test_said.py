"""What VMware Tools tell of a guest, as the API's plain values hold it."""

from __future__ import annotations

from kubeferry.inside.said import CardSaid, MountSaid, Said
from kubeferry.sources.vsphere.said import said


def test_what_tools_tell() -> None:
    props = {
        "guest.hostName": "web.example",
        "guest.net": [
            {
                "_type": "GuestNicInfo",
                "network": "VM Network",
                "macAddress": "00:50:56:AA:00:01",
                "ipAddress": ["192.0.2.7", "fe80::250:56ff:feaa:1"],
                "connected": True,
                "deviceConfigId": 4000,
            }
        ],
        "guest.disk": [
            {"_type": "GuestDiskInfo", "diskPath": "/srv", "capacity": 2**30, "filesystemType": "xfs"},
            {"_type": "GuestDiskInfo", "diskPath": "/", "capacity": 2**31},
        ],
    }
    assert said(props) == Said(
        hostname="web.example",
        cards=(CardSaid(mac="00:50:56:aa:00:01", addresses=("192.0.2.7",)),),
        mounts=(MountSaid(where="/"), MountSaid(where="/srv", kind="xfs")),
    )


def test_tools_that_tell_nothing() -> None:
    assert said({}) == Said()
