"""What changed since a marker: which disks can tell, and what they tell, as byte ranges. Pure.

A marker holds a change id of each disk (`UUID/SEQUENCE`), with the disk's size and its own UUID. It counts only for a
disk that is still the same and still tracked by the same run of the tracker: storage vMotion, a revert, a crash of the
host begin another run, and then all of the disk is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kubeferry.model import Marker
from kubeferry.ranges import LIMIT, Range, joined, range_set
from kubeferry.sources.vsphere.disks import DISK
from kubeferry.sources.vsphere.plain import Plain

MAX_TOKEN = 200_000
MAX_PAGES = 10_000  # of up to 2,000 areas each


@dataclass(frozen=True, slots=True)
class Point:
    """One disk at one moment."""

    change: str
    size: int
    uuid: str


class Untold(Exception):
    """What changed cannot be known; the message says why. All of the disk is read then."""


Ask = Callable[[int], tuple[int, int, list[tuple[int, int]]]]
"""Ask the server from an offset on: start and length of what the answer covers, and start and length of each area."""


def points_of(devices: Iterable[Plain]) -> dict[str, Point]:
    """The points of all disks by their key; a disk that is not tracked has none."""
    found = {}
    for device in devices:
        backing: Plain = device.get("backing", {})
        change, size = backing.get("changeId"), device.get("capacityInBytes")
        if device["_type"] == DISK and change and size:
            found[str(device["key"])] = Point(change, size, backing.get("uuid", ""))
    return found


def marker_of(source: str, machine: str, points: dict[str, Point], taken_at: str) -> Marker | None:
    """The marker of these points, None where no disk is tracked."""
    if not points:
        return None
    told = {key: [point.change, point.size, point.uuid] for key, point in sorted(points.items())}
    token = json.dumps({"machine": machine, "disks": told}, separators=(",", ":"))
    return Marker(source=source, token=token, taken_at=taken_at)


def points_in(marker: Marker, source: str, machine: str) -> dict[str, Point]:
    """The points that a marker holds; none for one that is damaged, or of another machine or source."""
    if marker.source != source or len(marker.token) > MAX_TOKEN:
        return {}
    try:
        told = json.loads(marker.token)
        if told["machine"] != machine:
            return {}
        return {key: Point(str(change), int(size), str(uuid)) for key, (change, size, uuid) in told["disks"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def still_told(earlier: Point | None, now: Point | None) -> str | None:
    """Why a disk cannot say what changed since an earlier point; None when it can be asked."""
    if earlier is None:
        return "there is no earlier point of it"
    if now is None:
        return "its changes are not tracked now"
    if (earlier.size, earlier.uuid) != (now.size, now.uuid):
        return "it is another disk, or was resized"
    (tracker, _, number), (tracker_now, _, number_now) = earlier.change.rpartition("/"), now.change.rpartition("/")
    if tracker != tracker_now:
        return "its changes have been tracked anew since (storage vMotion, a revert, a crash of its host)"
    if number.isdecimal() and number_now.isdecimal() and int(number_now) < int(number):
        return "it went back to an older state, with its tracker's file"
    return None


def changed(size: int, ask: Ask) -> str:
    """All areas of a disk as one set of byte ranges, however many answers they take. Raises Untold when the answers do
    not cover the disk, or contradict it."""
    found: list[Range] = []
    position = 0
    for _ in range(MAX_PAGES):
        if position >= size:
            return range_set(found)
        start, length, areas = ask(position)
        stop = start + length
        if start > position or stop <= position:
            raise Untold(f"the answer for offset {position} covers {start} to {stop}")
        for begin, count in areas:
            # An area may begin before what was asked for; one that lies outside of the disk is of another disk.
            if begin < 0 or count <= 0 or begin + count > size:
                raise Untold(f"an area of {count} bytes at {begin} is outside of the disk's {size}")
            found.append((begin, begin + count))
        if len(found) > 2 * LIMIT:
            found = joined(found)
        position = stop
    raise Untold(f"its areas take more than {MAX_PAGES} answers")
