"""Sets of EBS snapshots: all volumes of an instance frozen at one instant, found again by their tags.

A set is written down before it is made, and its tags are part of its making: whatever dies in between, it is found and
dropped. `stamp` is a digest of what the instance was at that moment (off or not, since when, which volumes of which
size, and when others were started that have them, too): while it is the same, a set of a machine that is off still
shows what its volumes hold.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kubeferry.errors import SourceGone, SourceRefused, SourceUnavailable
from kubeferry.ledger import VIEW, External, Ledger
from kubeferry.model import Machine
from kubeferry.outside import aws, stopping
from kubeferry.sources.ec2.instance import REGION

SOURCE, JOURNAL, MACHINE, SET, STAMP, OFF, CLOSED, VOLUMES = (
    f"kubeferry.io/{name}" for name in ("source", "journal", "machine", "set", "stamp", "off", "closed", "volumes")
)
TAG_LIMIT = 256
FIRST_POLL, LONGEST_POLL = 0.2, 15.0
SETTLE_SECONDS = 60.0  # a new snapshot may be unknown to the next call for a while
NOT_THERE = "InvalidSnapshot.NotFound"
ENDED = ("error", "recoverable", "recovering")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who makes sets: a source, by its name, and the journal that records them. Other installations may move machines
    of the same account, and call their source alike. Sets of earlier versions name no journal: they are the source's.
    """

    source: str
    journal: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    id: str
    volume: str
    gib: int
    state: str
    message: str
    started: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What an instance is when a set is made of it: its stamp, whether it is off, and the volumes of its disks."""

    stamp: str
    off: bool
    volumes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SnapshotSet:
    """`snapshots` are as EC2 last described them. `off`: the machine was, when they were made. `volumes` are those of
    its disks then, by the disks' ids; empty where there were more than a tag can tell."""

    token: str
    stamp: str
    closed: bool
    snapshots: tuple[Snapshot, ...]
    off: bool = False
    volumes: Mapping[str, str] = field(default_factory=dict)

    @property
    def taken_at(self) -> str:
        return min((one.started for one in self.snapshots), default="")

    def covers(self, wanted: Iterable[str], attached: Iterable[str]) -> bool:
        """Whether it holds each volume that is wanted exactly once, and none that is not attached."""
        held = [one.volume for one in self.snapshots]
        return len(set(held)) == len(held) and {*wanted} <= {*held} <= {*attached}

    def of(self, volume: str) -> Snapshot | None:
        return next((one for one in self.snapshots if one.volume == volume), None)


def ended(machine: str, last: SnapshotSet, *, ours: bool) -> SourceGone:
    """The error for a machine that is gone for good, of which this set is the newest that there is: `ours`, or made for
    a source of this name with another journal. One of a machine that ran is no last state of it."""
    names = ", ".join(f"{one.id} of {one.volume}" for one in last.snapshots)
    lost = "" if last.off else "; it ran then, so they are as after a loss of power, and what was written since is lost"
    whose = "snapshots of ours" if ours else "snapshots that were made with another journal"
    again = "A copy that was begun after its stop goes on from there: run the same command again. Else make"
    make = again if last.off and ours else "Make"
    there = "" if ours else " with that journal"
    return SourceGone(
        "somebody has ended the machine at its source",
        why=f"what it was at {last.taken_at} is in {whose}, and those are the last of it: {names}{lost}",
        fix=f"{make} volumes of them. `kubeferry release --everything`{there} deletes them for good.",
        machine=machine,
    )


def stamp_of(instances: list[dict[str, Any]], volumes: dict[str, dict[str, Any]], *, off: bool) -> str:
    """What the instance is at this moment, as a digest; behind it, those that have volumes in common with it."""
    parts = ["off" if off else "on", *(str(one.get("LaunchTime", "")) for one in instances)]
    for name, volume in sorted(volumes.items()):
        attached = [str(one.get("AttachTime", "")) for one in volume.get("Attachments", [])]
        parts.append(f"{name} {volume.get('Size')} {' '.join(sorted(attached))}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def sets_of(ec2: Any, machine: str, owner: Owner) -> dict[str, SnapshotSet]:
    """An owner's sets of an instance, by their token."""
    found = _sets(ec2, {MACHINE: machine, SOURCE: owner.source})
    return {
        name: _set(name, snapshots)
        for name, snapshots in found.items()
        if all(_tags(one).get(JOURNAL) in {None, owner.journal} for one in snapshots)
    }


def newest(ec2: Any, machine: str, source: str) -> SnapshotSet | None:
    """The newest set of an instance that any journal has made of it for a source of this name; None for none."""
    found = _sets(ec2, {MACHINE: machine, SOURCE: source})
    sets = [_set(name, snapshots) for name, snapshots in found.items()]
    return max(sets, key=lambda one: one.taken_at, default=None)


def is_there(ec2: Any, machine: str, token: str) -> bool:
    """Whether anything of a set is there, whoever has made it."""
    return bool(_sets(ec2, {MACHINE: machine, SET: token}))


def _sets(ec2: Any, tags: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
    held: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for page in ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=filters):
        for snapshot in page.get("Snapshots", []):
            held[_tags(snapshot).get(SET, "")].append(snapshot)
    return held


def standing(ec2: Any, volumes: list[str]) -> Snapshot | None:
    """The newest snapshot of our account of any of these volumes that is complete, whoever made it; None for none."""
    filters = [{"Name": "volume-id", "Values": volumes}, {"Name": "status", "Values": ["completed"]}]
    pages = ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=filters) if volumes else ()
    found = [one for page in pages for one in page.get("Snapshots", [])]
    newest = max(found, key=lambda one: str(one.get("StartTime", "")), default=None)
    return None if newest is None else _snapshot(newest)


def _set(token: str, snapshots: list[dict[str, Any]]) -> SnapshotSet:
    tags = [_tags(one) for one in snapshots]
    return SnapshotSet(
        token=token,
        stamp=tags[0].get(STAMP, "") if len({one.get(STAMP) for one in tags}) == 1 else "",
        closed=any(CLOSED in one for one in tags),
        snapshots=tuple(_snapshot(one) for one in snapshots),
        off=all(OFF in one for one in tags),
        volumes=_shown(tags[0].get(VOLUMES, "")),
    )


def _shown(told: str) -> dict[str, str]:
    pairs = (one.rpartition("=") for one in told.split() if "=" in one)
    return {disk: volume for disk, _, volume in pairs}


def _tags(snapshot: dict[str, Any]) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in snapshot.get("Tags", [])}


def _snapshot(told: dict[str, Any]) -> Snapshot:
    started = told.get("StartTime")
    return Snapshot(
        id=told["SnapshotId"],
        volume=told.get("VolumeId", ""),
        gib=int(told.get("VolumeSize") or 0),
        state=told.get("State", "unknown"),
        message=told.get("StateMessage", ""),
        started=started.isoformat() if started is not None else "",
    )


def without(instance: dict[str, Any], volumes: dict[str, dict[str, Any]], wanted: Iterable[str]) -> dict[str, Any]:
    """What of an instance's volumes is not frozen, in the words of CreateSnapshots: those that nobody wants. A root
    volume has a word of its own."""
    spare = sorted(set(volumes) - set(wanted))
    root = {
        mapping.get("Ebs", {}).get("VolumeId")
        for mapping in instance.get("BlockDeviceMappings", [])
        if mapping.get("DeviceName") == instance.get("RootDeviceName")
    }
    said = {
        "ExcludeBootVolume": bool(root & set(spare)),
        "ExcludeDataVolumeIds": [one for one in spare if one not in root],
    }
    return {key: value for key, value in said.items() if value}


def make(
    ec2: Any,
    machine: Machine,
    moment: Moment,
    excluded: dict[str, Any],
    *,
    owner: Owner,
    ledger: Ledger,
) -> SnapshotSet:
    """Freeze all volumes of an instance at one instant, but for those that are `excluded`. `ec2` must not repeat a call
    by itself: there would be two."""
    token = secrets.token_hex(8)
    ledger(External(VIEW, token, f"{machine.metadata[REGION]}/{machine.id}"))
    tags = {
        "Name": f"kubeferry {machine.name}"[:200],
        SOURCE: owner.source,
        MACHINE: machine.id,
        SET: token,
        STAMP: moment.stamp,
    }
    tags |= {JOURNAL: owner.journal} if owner.journal else {}
    tags |= {OFF: "yes"} if moment.off else {}
    told = " ".join(f"{disk}={volume}" for disk, volume in sorted(moment.volumes.items()))
    tags |= {VOLUMES: told} if len(told) <= TAG_LIMIT else {}
    made = ec2.create_snapshots(
        InstanceSpecification={"InstanceId": machine.id} | excluded,
        Description=f"kubeferry: a round of {machine.id}",
        TagSpecifications=[
            {"ResourceType": "snapshot", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )
    snapshots = [one | {"State": one.get("State", "pending")} for one in made.get("Snapshots", [])]
    frozen = tuple(_snapshot(one) for one in snapshots)
    return SnapshotSet(token, moment.stamp, closed=False, snapshots=frozen, off=moment.off, volumes=moment.volumes)


def completed(ec2: Any, found: SnapshotSet, machine: Machine, seconds: float) -> SnapshotSet:
    """Wait until all snapshots of a set are completed.

    Raises SourceRefused when one fails, with the set dropped: the next call makes a new one; SourceUnavailable when
    `seconds` are not enough: the next call waits on; Interrupted.
    """
    begun, pause = time.monotonic(), FIRST_POLL
    while True:
        now = _described(ec2, found, patient=time.monotonic() - begun < SETTLE_SECONDS)
        failed = [one for one in now.snapshots if one.state in ENDED]
        if failed:
            drop(ec2, now)
            raise SourceRefused(
                f"the snapshot {failed[0].id} of {failed[0].volume} failed",
                why=failed[0].message or f"AWS calls it {failed[0].state}",
                fix="Check that our role may use the volume's KMS key; then run the same command again.",
                machine=machine.name,
            )
        if all(one.state == "completed" for one in now.snapshots):
            return now
        if time.monotonic() - begun > seconds:
            waiting = ", ".join(one.id for one in now.snapshots if one.state != "completed")
            raise SourceUnavailable(
                f"snapshots are not completed after {seconds:.0f} s",
                why=f"{waiting}: still pending",
                fix="Run the same command again: it waits on for the same ones. aws.snapshotSeconds is the limit.",
                machine=machine.name,
            )
        stopping.pause(pause)
        pause = min(LONGEST_POLL, pause * 1.5)


def _described(ec2: Any, found: SnapshotSet, *, patient: bool) -> SnapshotSet:
    try:
        told = ec2.describe_snapshots(SnapshotIds=[one.id for one in found.snapshots])["Snapshots"]
    except aws.failures() as error:
        if patient and aws.code_of(error) == NOT_THERE:
            return found
        raise
    return replace(found, snapshots=tuple(_snapshot(one) for one in told))


def close(ec2: Any, snapshots: list[str], *, needed: bool) -> None:
    """Mark these as given back: they are kept for their marker alone. Those that are gone are no error; nor is, where
    the mark is not `needed`, that we may not write it: a set of a machine that was off shows what it was as long as
    that stays off, given back or not."""
    try:
        ec2.create_tags(Resources=snapshots, Tags=[{"Key": CLOSED, "Value": "yes"}])
    except aws.failures() as error:
        if aws.code_of(error) != NOT_THERE and (needed or aws.code_of(error) not in aws.FORBIDDEN):
            raise


def drop(ec2: Any, found: SnapshotSet) -> list[str]:
    """Delete the snapshots of a set; returns what was dropped, in words. One that cannot be deleted keeps none of the
    others: its error is raised at the end."""
    dropped, failed = [], list[Exception]()
    for one in found.snapshots:
        try:
            ec2.delete_snapshot(SnapshotId=one.id)
        except aws.failures() as error:
            if aws.code_of(error) != NOT_THERE:
                failed.append(error)
        else:
            dropped.append(f"snapshot {one.id} of {one.volume}")
    if failed:
        raise failed[0]
    return dropped
