"""Volumes that nobody wants are not frozen: a snapshot of them would cost money, and time to wait for."""

from __future__ import annotations

from kubeferry.sources.ec2.snapshot_sets import Snapshot, SnapshotSet, without

INSTANCE = {
    "RootDeviceName": "/dev/xvda",
    "BlockDeviceMappings": [
        {"DeviceName": f"/dev/xvd{letter}", "Ebs": {"VolumeId": f"vol-{letter}"}} for letter in "abc"
    ],
}
VOLUMES: dict[str, dict[str, object]] = {f"vol-{letter}": {} for letter in "abc"}


def a_set(*volumes: str) -> SnapshotSet:
    found = tuple(Snapshot(f"snap-{name}", name, 1, "completed", "", "") for name in volumes)
    return SnapshotSet("token", "stamp", closed=False, snapshots=found)


def test_data_volumes_are_named_and_the_root_has_a_word_of_its_own() -> None:
    assert without(INSTANCE, VOLUMES, VOLUMES) == {}
    assert without(INSTANCE, VOLUMES, ["vol-a"]) == {"ExcludeDataVolumeIds": ["vol-b", "vol-c"]}
    assert without(INSTANCE, VOLUMES, ["vol-b"]) == {"ExcludeBootVolume": True, "ExcludeDataVolumeIds": ["vol-c"]}


def test_a_set_serves_that_holds_all_that_is_wanted_once_and_nothing_that_is_not_attached() -> None:
    wanted, attached = ["vol-a", "vol-b"], [*VOLUMES]
    assert a_set("vol-a", "vol-b").covers(wanted, attached)
    assert a_set("vol-a", "vol-b", "vol-c").covers(wanted, attached)
    assert not a_set("vol-a").covers(wanted, attached)
    assert not a_set("vol-a", "vol-b", "vol-b").covers(wanted, attached)
    assert not a_set("vol-a", "vol-b", "vol-z").covers(wanted, attached)
