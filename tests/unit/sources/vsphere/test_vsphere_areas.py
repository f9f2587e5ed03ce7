"""What changed since a marker: only where it can be known, and all of it, however many answers it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.errors import SourceRefused
from kubeferry.model import Marker
from kubeferry.ranges import ranges_of
from kubeferry.sources.vsphere.areas import Point, Untold, changed, marker_of, points_in, points_of, still_told
from kubeferry.sources.vsphere.leases import key_of, streams_of

SIZE = 1 << 20
POINT = Point("52 de/7", SIZE, "6000")


def device(key: int = 2000, **backing: Any) -> dict[str, Any]:
    told = {"changeId": "52 de/7", "uuid": "6000"} | backing
    return {"_type": "VirtualDisk", "key": key, "capacityInBytes": SIZE, "controllerKey": 1000, "backing": told}


def test_a_marker_gives_back_the_points_it_was_made_of() -> None:
    points = points_of([device(), device(2001, changeId=None), {"_type": "VirtualCdrom", "key": 3000}])
    assert points == {"2000": POINT}
    marker = marker_of("vc", "vm-1", points, "2026-01-01T00:00:00Z")
    assert marker
    assert points_in(marker, "vc", "vm-1") == points
    assert points_in(marker, "vc", "vm-2") == {}
    assert points_in(marker, "other", "vm-1") == {}
    assert marker_of("vc", "vm-1", {}, "now") is None


@pytest.mark.parametrize("token", ["", "{}", "[]", "null", '{"machine":"vm-1","disks":[1]}', "../round", "x" * 300_000])
def test_a_damaged_marker_holds_nothing(token: str) -> None:
    assert points_in(Marker(source="vc", token=token, taken_at="now"), "vc", "vm-1") == {}


@pytest.mark.parametrize(
    ("earlier", "now", "why"),
    [
        (None, POINT, "no earlier point"),
        (POINT, None, "not tracked now"),
        (POINT, Point("52 de/9", 2 * SIZE, "6000"), "resized"),
        (POINT, Point("52 de/9", SIZE, "6001"), "another disk"),
        (POINT, Point("66 ff/1", SIZE, "6000"), "tracked anew"),
        (POINT, Point("52 de/6", SIZE, "6000"), "older state"),
    ],
)
def test_a_disk_that_cannot_tell_says_why(earlier: Point | None, now: Point | None, why: str) -> None:
    assert why in (still_told(earlier, now) or "")


def test_a_disk_that_is_still_the_same_can_tell() -> None:
    assert still_told(POINT, Point("52 de/9", SIZE, "6000")) is None
    assert still_told(POINT, Point("52 de/10", SIZE, "6000")) is None


@given(st.sets(st.integers(0, 15)), st.integers(1, 5))
def test_areas_of_many_answers_are_one_set(blocks: set[int], most: int) -> None:
    unit = SIZE // 16
    areas = [(block * unit, unit) for block in sorted(blocks)]

    def ask(start: int) -> tuple[int, int, list[tuple[int, int]]]:
        left = [one for one in areas if sum(one) > start]
        page, rest = left[:most], left[most:]
        stop = rest[0][0] if rest else SIZE
        return start, stop - start, page

    told = {at for start, end in ranges_of(changed(SIZE, ask)) for at in range(start, end, unit)}
    assert told == {at for start, count in areas for at in range(start, start + count, unit)}


@pytest.mark.parametrize(
    "answer",
    [
        (0, 0, []),
        (0, -1, []),
        (SIZE, SIZE, []),
        (0, SIZE, [(0, SIZE + 1)]),
        (0, SIZE, [(-512, 512)]),
        (0, SIZE, [(SIZE, 512)]),
        (0, SIZE, [(0, 0)]),
    ],
)
def test_answers_that_contradict_the_disk_are_not_believed(answer: tuple[int, int, list[tuple[int, int]]]) -> None:
    with pytest.raises(Untold):
        changed(SIZE, lambda _start: answer)


def test_answers_without_end_are_given_up() -> None:
    with pytest.raises(Untold, match="more than"):
        changed(1 << 40, lambda start: (start, 1, []))


CONTROLLERS = [
    {"_type": "ParaVirtualSCSIController", "key": 1000, "busNumber": 0},
    {"_type": "VirtualAHCIController", "key": 15000, "busNumber": 0},
]
DISKS = [device() | {"unitNumber": 0}, device(16000) | {"unitNumber": 0, "controllerKey": 15000}]


def stream(name: str, **changes: Any) -> dict[str, Any]:
    return {"key": f"/vm-12/{name}", "url": f"https://esx1/nfc/5/{name}.vmdk", "disk": True} | changes


def test_a_stream_is_known_by_the_place_of_its_disk() -> None:
    devices = [*CONTROLLERS, *DISKS]
    assert key_of("/vm-12/ParaVirtualSCSIController0:0", devices) == "2000"
    assert key_of("/vm-12/VirtualAHCIController0:0", devices) == "16000"
    assert key_of("/vm-12/VirtualAHCIController0:1", devices) is None
    urls = [
        stream("VirtualAHCIController0:0", sslThumbprint="AA:BB"),
        stream("ParaVirtualSCSIController0:0", url="https://*/nfc/5/disk.vmdk?x=1"),
        stream("nvram", disk=False),
    ]
    found = streams_of({"deviceUrl": urls}, devices, "vc", 443)
    assert (found["16000"].host, found["16000"].thumbprint) == ("esx1", "AA:BB")
    assert (found["2000"].host, found["2000"].path, found["2000"].thumbprint) == ("vc", "/nfc/5/disk.vmdk?x=1", None)


@pytest.mark.parametrize("names", [["disk:0"], ["VirtualAHCIController0:0", "VirtualAHCIController0:0"], [""]])
def test_a_stream_that_could_be_any_disk_is_refused(names: list[str]) -> None:
    with pytest.raises(SourceRefused, match="not clear which disk"):
        streams_of({"deviceUrl": [stream(name) for name in names]}, [*CONTROLLERS, *DISKS], "vc", 443)
