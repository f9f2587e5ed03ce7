"""The AWS source on the lab's cloud: rounds with real bytes, and everything that may go wrong at EC2's side."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from converters.engine.disks import Outcome, copy_disk
from converters.engine.transfer import Options
from kubeferry import marks
from kubeferry.documents import SourceConfig, StopPolicy
from kubeferry.errors import InputInvalid, Interrupted, KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.ledger import External
from kubeferry.model import DiskBus, DiskRef, FirmwareKind, Machine, Marker, Power, Severity
from kubeferry.outside import aws, stopping
from kubeferry.sources import Round, Source, open_source
from kubeferry.sources.ec2 import snapshot_sets
from kubeferry.sources.ec2 import source as aws_source
from kubeferry.uris import ebs_snapshot
from lab.ec2 import Cloud
from lab.ec2.cloud import REGION
from lab.ec2.store import BLOCK_BYTES

MIB, GIB = 1 << 20, 1 << 30
STOP = StopPolicy(agent_seconds=0, acpi_seconds=5)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with Cloud() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        for module in (snapshot_sets, aws_source):
            monkeypatch.setattr(module, "FIRST_POLL", 0.02)
        yield made


class Lab:
    """A source on the cloud, and a machine with a system and a data volume."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.folder = folder
        self.instance = cloud.launch("web", {"/dev/xvda": 1, "/dev/sdf": 1})
        self.volumes = {name.removeprefix("/dev/"): volume for name, volume in cloud.volumes(self.instance).items()}
        self.told: list[External] = []
        self.source = self.another()
        self.machine = self.source.discover().machines[0]

    def another(self, **access: Any) -> Source:
        config = {"kind": "aws", "aws": {"endpointUrl": self.cloud.url, **access}}
        return open_source("lab", SourceConfig.model_validate(config))

    def open(self, since: Marker | None = None, *, final: bool = False, remote: bool = False) -> Round:
        return self.source.open_round(self.machine, since=since, final=final, remote=remote, ledger=self.told.append)

    def target(self, disk: str) -> Path:
        path = self.folder / f"{disk}.img"
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(GIB)
        return path

    def copy(self, opened: Round, number: int, since: dict[str, Outcome] | None = None) -> dict[str, Outcome]:
        return {
            disk: copy_disk(
                ref,
                DiskRef(uri=self.target(disk).as_uri()),
                self.folder / f"{disk}.prints",
                copy_id=str(number),
                target_reads_zero=number == 1,
                options=Options(since=since[disk].root if since else None),
            )
            for disk, ref in opened.refs.items()
        }

    def equal(self, disk: str) -> bool:
        """Whether the target has what the volume has now, all of it."""
        store, volume = self.cloud.store, self.volumes[disk]
        with self.target(disk).open("rb") as file:
            pieces = {index * BLOCK_BYTES // MIB for index in store.volumes.get(volume, {})} | held(file.fileno())
            same = all(os.pread(file.fileno(), MIB, at * MIB) == store.read(volume, at * MIB, MIB) for at in pieces)
            return same and os.fstat(file.fileno()).st_size == GIB


def held(file: int) -> set[int]:
    """The numbers of those MiB of a file that are not all hole: holes read as zeros, as what no volume ever held."""
    found: set[int] = set()
    end = 0
    while end < os.fstat(file).st_size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # nothing but hole up to its end
            break
        end = os.lseek(file, start, os.SEEK_HOLE)
        found |= set(range(start // MIB, (end - 1) // MIB + 1))
    return found


@pytest.fixture
def lab(cloud: Cloud, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(cloud, tmp_path)
    yield made
    made.source.close()


def no_words(_words: dict[str, str], _at: str, _said: object = None) -> None:
    raise AssertionError("nobody is there to be heard")


# --- discovery --------------------------------------------------------------------------------------------------------


def test_an_instance_is_told_with_its_sizes_disks_and_cards(lab: Lab) -> None:
    machine = lab.machine
    assert (machine.id, machine.name, machine.power) == (lab.instance, "web", Power.RUNNING)
    assert (machine.cpu.vcpus, machine.memory.size_bytes) == (2, GIB)
    assert machine.firmware.kind is FirmwareKind.BIOS
    assert [(disk.id, disk.boot_order, disk.bus) for disk in machine.disks] == [
        ("xvda", 1, DiskBus.NVME),
        ("sdf", None, DiskBus.NVME),
    ]
    assert machine.nics[0].model == "ena"
    assert machine.nics[0].mac
    assert machine.metadata["aws:region"] == "eu-west-1"


def test_regions_filters_and_tags_say_which_instances_are_asked_for(lab: Lab) -> None:
    lab.cloud.launch("db", {"/dev/xvda": 1}, tags={"team": "data"})
    lab.cloud.launch("far", {"/dev/xvda": 1}, region="us-east-1")
    lab.cloud.client().terminate_instances(InstanceIds=[lab.cloud.launch("gone", {"/dev/xvda": 1})])

    def names(**access: Any) -> list[str]:
        return [machine.name for machine in lab.another(**access).discover().machines]

    assert names() == ["db", "web"]
    assert names(regions=["eu-west-1", "us-east-1"]) == ["db", "far", "web"]
    assert names(tags={"team": "data"}) == ["db"]
    assert names(filters={"tag:Name": ["web", "nobody"]}) == ["web"]


def test_two_machines_of_one_name_get_their_ids_behind_it(lab: Lab) -> None:
    other = lab.cloud.launch("web", {"/dev/xvda": 1})
    names = {machine.name for machine in lab.source.discover().machines}
    assert names == {f"web-{lab.instance}", f"web-{other}"}


def test_more_instances_than_a_page_holds_are_all_there(lab: Lab) -> None:
    lab.cloud.client().run_instances(ImageId="ami-12345678", InstanceType="t3.micro", MinCount=120, MaxCount=120)
    assert len(lab.another(details=False).discover().machines) == 121
    assert lab.cloud.calls["DescribeInstanceAttribute"] == 1  # of the lab's own machine, with details


def test_what_may_not_be_asked_stays_unknown(lab: Lab) -> None:
    lab.cloud.faults.coming("GetConsoleOutput", "forbidden")
    lab.cloud.faults.coming("DescribeInstanceAttribute", "forbidden")
    machine = lab.source.discover().machines[0]
    assert machine.guest.kernel is None
    assert not any(one.path == "ec2/userData" for one in machine.unmodelled)


def test_user_data_is_told_to_be_there_and_nothing_of_it(lab: Lab) -> None:
    ec2 = lab.cloud.client()
    ec2.run_instances(ImageId="ami-1", InstanceType="t3.micro", MinCount=1, MaxCount=1, UserData="password=hunter2")
    inventory = lab.source.discover()
    told = [one.value for machine in inventory.machines for one in machine.unmodelled if one.path == "ec2/userData"]
    assert sorted(told) == ["no", "yes"]
    assert "hunter2" not in inventory.model_dump_json()


def test_a_role_of_another_account_is_entered_with_its_external_id(lab: Lab) -> None:
    role = "arn:aws:iam::111122223333:role/ferry"
    lab.cloud.faults.roles[role] = "for-us"
    assert lab.another(roleArn=role, externalId="for-us").discover().machines == ()
    with pytest.raises(SourceRefused, match="may not"):
        lab.another(roleArn=role, externalId="wrong").discover()


@pytest.mark.parametrize(("kind", "says"), [("stranger", "accept"), ("expired", "run out"), ("forbidden", "may not")])
def test_credentials_that_do_not_do_are_told_as_that(lab: Lab, kind: str, says: str) -> None:
    lab.cloud.faults.coming("DescribeInstances", kind)
    with pytest.raises(SourceRefused, match=says) as refused:
        lab.source.discover()
    assert refused.value.fix


@pytest.mark.parametrize("kind", ["throttle", "error", "unavailable", "html", "cut"])
def test_what_passes_is_tried_again_and_then_given_up(lab: Lab, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    lab.cloud.faults.coming("DescribeInstances", kind)
    assert len(lab.source.discover().machines) == 1
    lab.cloud.faults.coming("DescribeInstances", *[kind] * 6)
    with pytest.raises(SourceUnavailable):
        lab.source.discover()


def test_no_region_at_all_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(InputInvalid, match="no region"):
        lab.another().discover()


# --- rounds -----------------------------------------------------------------------------------------------------------


def test_warm_rounds_end_with_the_volumes_as_they_are_and_nothing_left(lab: Lab) -> None:
    chance = random.Random(3)
    for at in range(0, 900, 100):
        lab.cloud.write(lab.volumes["xvda"], at * MIB, chance.randbytes(MIB))
    lab.cloud.write(lab.volumes["sdf"], 0, chance.randbytes(MIB))
    first = lab.open()
    lab.cloud.write(lab.volumes["xvda"], 500 * MIB, b"written while the first round is copied")
    done = lab.copy(first, 1)
    lab.source.close_round(first)
    assert first.consistency == "crash"
    second = lab.open(first.marker)
    again = lab.copy(second, 2, done)
    lab.source.close_round(second)
    assert again["xvda"].tally.read == MIB
    assert again["sdf"].tally.read == 0
    lab.cloud.write(lab.volumes["xvda"], 700 * MIB, b"written just before the stop")
    assert lab.source.stop(lab.machine, STOP, no_words).how == "acpi"
    last = lab.open(second.marker, final=True)
    assert last.consistency == "off"
    final = lab.copy(last, 3, again)
    lab.source.close_round(last)
    assert final["xvda"].tally.read == MIB
    assert lab.equal("xvda")
    assert lab.equal("sdf")
    assert len(lab.cloud.snapshots()) == 4, "the last two sets"
    assert len(lab.source.forget(lab.machine)) == 4
    assert lab.cloud.snapshots() == []
    assert not any(lab.source.exists(thing) for thing in lab.told)


def test_a_swapped_volume_is_read_whole_and_the_other_is_not(lab: Lab) -> None:
    first = lab.open()
    lab.source.close_round(first)
    lab.volumes["sdf"] = lab.cloud.swap(lab.instance, "/dev/sdf")
    second = lab.open(first.marker)
    assert second.refs["sdf"].changed is None
    assert second.refs["xvda"].changed is not None


def test_volumes_that_change_places_are_read_whole_and_end_as_they_are(lab: Lab) -> None:
    """Each was copied, but not to the disk that it is now."""
    for letter, disk in zip((b"X", b"F"), ("xvda", "sdf"), strict=True):
        lab.cloud.write(lab.volumes[disk], 0, letter * MIB)
        lab.cloud.write(lab.volumes[disk], 600 * MIB, letter * MIB)
    first = lab.open()
    done = lab.copy(first, 1)
    lab.source.close_round(first)
    lab.cloud.exchange(lab.instance, "/dev/xvda", "/dev/sdf")
    lab.volumes = {"xvda": lab.volumes["sdf"], "sdf": lab.volumes["xvda"]}
    lab.cloud.write(lab.volumes["sdf"], 300 * MIB, b"written since")
    second = lab.open(first.marker)
    assert second.marker != first.marker
    assert {ref.changed for ref in second.refs.values()} == {None}
    again = lab.copy(second, 2, done)
    lab.source.close_round(second)
    assert lab.equal("xvda")
    assert lab.equal("sdf")
    lab.cloud.write(lab.volumes["sdf"], 300 * MIB, b"written again")
    third = lab.open(second.marker)
    assert None not in {ref.changed for ref in third.refs.values()}
    lab.copy(third, 3, again)
    assert lab.equal("sdf")


def test_a_view_that_is_open_is_another_one_once_volumes_have_changed_places(lab: Lab) -> None:
    first = lab.open()
    lab.cloud.exchange(lab.instance, "/dev/xvda", "/dev/sdf")
    assert lab.open().marker != first.marker


def test_volumes_that_are_where_they_were_are_told_from_the_round_before(lab: Lab) -> None:
    first = lab.open()
    lab.source.close_round(first)
    for _ in range(2):
        lab.cloud.exchange(lab.instance, "/dev/xvda", "/dev/sdf")
    second = lab.open(first.marker)
    assert None not in {ref.changed for ref in second.refs.values()}


@pytest.mark.parametrize(
    "damage", [lambda token: json.loads(token)["set"], lambda token: token[:-1], lambda _token: "[]"]
)
def test_a_marker_that_does_not_say_which_volumes_were_copied_tells_no_changes(lab: Lab, damage: Any) -> None:
    """One of an earlier version, and damaged ones."""
    first = lab.open()
    assert first.marker is not None
    lab.source.close_round(first)
    marker = first.marker.model_copy(update={"token": damage(first.marker.token)})
    assert {ref.changed for ref in lab.open(marker).refs.values()} == {None}


def test_a_resized_volume_is_refused_until_it_is_planned_and_then_read_whole(lab: Lab) -> None:
    first = lab.open()
    lab.source.close_round(first)
    lab.cloud.resize(lab.volumes["sdf"], 2)
    with pytest.raises(SourceRefused, match="planned") as refused:
        lab.open(first.marker)
    assert "sdf" in refused.value.why
    lab.machine = lab.source.discover().machines[0]
    second = lab.open(first.marker)
    assert second.refs["sdf"].changed is None
    assert second.refs["sdf"].size_bytes == 2 * GIB
    assert second.refs["xvda"].changed is not None


def test_a_snapshot_that_was_deleted_by_somebody_is_a_view_that_is_lost(lab: Lab) -> None:
    first = lab.open()
    place = ebs_snapshot(first.refs["sdf"].uri)
    assert place is not None
    lab.cloud.client().delete_snapshot(SnapshotId=place.snapshot)
    second = lab.open()
    assert second.marker != first.marker
    assert len(lab.cloud.snapshots()) == 2
    third = lab.open(first.marker)
    assert {ref.changed for ref in third.refs.values()} == {None}


def test_a_machine_that_was_started_in_between_is_frozen_anew(lab: Lab) -> None:
    lab.source.stop(lab.machine, STOP, no_words)
    first = lab.open(final=True)
    assert lab.open(final=True).marker == first.marker
    lab.source.start(lab.machine)
    lab.cloud.write(lab.volumes["xvda"], 0, b"written after the rollback")
    lab.source.stop(lab.machine, STOP, no_words)
    assert lab.open(final=True).marker != first.marker


def test_a_live_view_is_no_final_one(lab: Lab) -> None:
    live = lab.open()
    lab.source.stop(lab.machine, STOP, no_words)
    assert lab.open(final=True).marker != live.marker


def test_a_snapshot_that_never_completes_is_given_up_and_waited_for_again(lab: Lab) -> None:
    lab.cloud.faults.pending = None
    lab.source = lab.another(snapshotSeconds=0.2)
    with pytest.raises(SourceUnavailable, match="not completed") as given_up:
        lab.open()
    assert lab.machine.name == given_up.value.machine
    there = lab.cloud.snapshots()
    for snapshot in lab.cloud.store.snapshots.values():
        snapshot.pending = 0
    lab.open()
    assert lab.cloud.snapshots() == there, "the same ones"
    assert len(lab.told) == 1


def test_a_snapshot_that_fails_is_told_and_dropped(lab: Lab) -> None:
    lab.cloud.faults.failing = True
    with pytest.raises(SourceRefused, match="failed"):
        lab.open()
    assert lab.cloud.snapshots() == []
    lab.cloud.faults.failing = False
    assert lab.open().refs.keys() == lab.volumes.keys()


def test_snapshots_whose_answer_was_lost_are_found_and_not_made_twice(lab: Lab) -> None:
    original = Cloud._create_snapshots

    def cut(cloud: Cloud, asked: Any) -> Any:
        original(cloud, asked)
        raise ConnectionAbortedError

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(__import__("lab.ec2.cloud", fromlist=["SPECIAL"]).SPECIAL, "CreateSnapshots", cut)
        with pytest.raises(SourceUnavailable):
            lab.open()
    assert len(lab.cloud.snapshots()) == 2
    lab.open()
    assert len(lab.cloud.snapshots()) == 2
    assert len(lab.told) == 1
    assert lab.source.exists(lab.told[0])


def test_a_stop_of_ours_is_answered_while_a_snapshot_is_waited_for(lab: Lab) -> None:
    lab.cloud.faults.pending = None
    stopping.request()
    try:
        with pytest.raises(Interrupted):
            lab.open()
    finally:
        stopping.reset()
    assert lab.source.forget(lab.machine)
    assert lab.cloud.snapshots() == []


def test_references_for_movers_elsewhere_name_a_secret_and_no_profile(lab: Lab) -> None:
    refs = lab.open(remote=True).refs
    assert {ref.credential for ref in refs.values()} == {"kubeferry-aws"}
    places = [ebs_snapshot(ref.uri) for ref in refs.values()]
    assert all(place is not None and place.profile is None for place in places)


def test_other_peoples_snapshots_are_left_alone(lab: Lab) -> None:
    theirs = lab.cloud.client().create_snapshot(VolumeId=lab.volumes["sdf"])["SnapshotId"]
    lab.open()
    lab.source.forget(lab.machine)
    assert lab.cloud.snapshots() == [theirs]


# --- power ------------------------------------------------------------------------------------------------------------


def test_a_machine_that_vanished_is_refused_by_name_and_what_is_ours_still_goes(lab: Lab) -> None:
    lab.open()
    lab.cloud.client().terminate_instances(InstanceIds=[lab.instance])
    calls: list[Callable[[], object]] = [
        lambda: lab.source.concerns(lab.machine),
        lab.open,
        lambda: lab.source.stop(lab.machine, STOP, no_words),
        lambda: lab.source.start(lab.machine),
    ]
    for call in calls:
        with pytest.raises(SourceRefused, match="no such machine") as refused:
            call()
        assert refused.value.machine == "web"
    assert lab.source.forget(lab.machine)
    assert lab.cloud.snapshots() == []


def test_a_machine_that_hibernates_is_not_read(lab: Lab) -> None:
    lab.cloud.client().stop_instances(InstanceIds=[lab.instance])
    lab.cloud.extras[lab.instance]["stateReason"] = "<code>Client.UserInitiatedHibernate</code><message>x</message>"
    assert any("hibernates" in one.what for one in lab.source.concerns(lab.machine))
    with pytest.raises(SourceRefused) as refused:
        lab.open(final=True)
    assert "hibernates" in refused.value.why


def test_a_root_in_the_instance_store_keeps_a_machine_from_being_stopped(lab: Lab) -> None:
    lab.cloud.extras[lab.instance]["rootDeviceType"] = "instance-store"
    assert any("instance store" in one.what for one in lab.source.concerns(lab.machine))
    with pytest.raises(SourceRefused, match="stopped safely"):
        lab.source.stop(lab.machine, STOP, no_words)


def test_a_role_that_may_not_stop_it_is_a_concern(lab: Lab) -> None:
    lab.cloud.faults.coming("StopInstances", "forbidden")
    found = lab.source.concerns(lab.machine)
    assert ["may not be stopped" in one.what for one in found] == [True]
    assert lab.source.concerns(lab.machine) == []
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_a_role_that_may_not_tag_it_leaves_no_mark_and_says_so(lab: Lab) -> None:
    when = "2026-01-01T00:00:00Z"
    mark = marks.StopMark("0" * 12, Power.RUNNING, when, "0" * 64, when, "", "wave 1")
    assert lab.source.concerns(lab.machine) == []
    assert lab.source.discover().machines[0].metadata == lab.machine.metadata, "asked without doing it"
    lab.cloud.faults.coming("CreateTags", "forbidden", "forbidden")
    (found,) = lab.source.concerns(lab.machine)
    assert (found.severity, "may not mark it" in found.what) == (Severity.WARNING, True)
    with pytest.raises(SourceRefused, match="our role may not do that") as told:
        lab.source.mark(lab.machine, mark, lab.told.append)
    assert "docs/operations.md" in told.value.fix
    assert not any(lab.source.exists(thing) for thing in lab.told)
    lab.source.mark(lab.machine, mark, lab.told.append)
    assert lab.source.discover().machines[0].metadata["Name"] == "web", "its owner's tags stay"
    lab.cloud.faults.coming("DeleteTags", "forbidden")
    with pytest.raises(SourceRefused, match="our role may not do that"):
        lab.source.unmark(lab.machine)
    assert lab.source.marked(lab.machine) == mark
    lab.cloud.client().terminate_instances(InstanceIds=[lab.instance])
    assert not any(lab.source.exists(thing) for thing in lab.told)
    assert lab.source.forget(lab.machine) == []


def test_a_role_that_may_not_start_it_again_is_a_concern(lab: Lab) -> None:
    lab.cloud.faults.coming("StartInstances", "forbidden")
    found = lab.source.concerns(lab.machine)
    assert ["may not be started again" in one.what for one in found] == [True]
    assert found[0].severity is Severity.CRITICAL
    assert lab.source.concerns(lab.machine) == []
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_an_instance_that_is_protected_against_a_stop_is_a_concern(lab: Lab) -> None:
    lab.cloud.client().modify_instance_attribute(InstanceId=lab.instance, DisableApiStop={"Value": True})
    found = lab.source.concerns(lab.machine)
    assert ["it is protected against being stopped" in one.what for one in found] == [True]
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_a_group_that_ends_what_is_stopped_is_a_concern(lab: Lab) -> None:
    group = "<item><key>aws:autoscaling:groupName</key><value>web-fleet</value></item>"
    lab.cloud.extras[lab.instance]["tagSet"] = group
    (found,) = lab.source.concerns(lab.machine)
    assert "the Auto Scaling group web-fleet ends what is stopped" in found.what
    with pytest.raises(SourceRefused, match="stopped safely"):
        lab.source.stop(lab.machine, STOP, no_words)
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_a_spot_instance_of_one_time_is_a_concern_and_any_other_a_warning(lab: Lab) -> None:
    lab.cloud.extras[lab.instance]["instanceLifecycle"] = "spot"
    found = lab.source.concerns(lab.machine)
    assert [one.severity for one in found] == [Severity.CRITICAL, Severity.WARNING]
    assert "one-time request, which cannot be stopped" in found[0].what
    assert "only where it has capacity" in found[1].what


def test_a_shutdown_that_ends_an_instance_is_a_warning(lab: Lab) -> None:
    lab.cloud.launch("batch", {"/dev/xvda": 1}, InstanceInitiatedShutdownBehavior="terminate")
    batch = next(one for one in lab.source.discover().machines if one.name == "batch")
    (found,) = lab.source.concerns(batch)
    assert (found.id, found.severity) == ("source.way-back", Severity.WARNING)
    assert "a shutdown from inside the guest ends it for good" in found.what


def encrypted(lab: Lab) -> str:
    """The key with which the machine's root is said to be encrypted."""
    key = str(lab.cloud.client("kms").create_key()["KeyMetadata"]["KeyId"])
    lab.cloud._backend(REGION).volumes[lab.volumes["xvda"]].kms_key_id = key
    return key


def test_a_key_that_cannot_be_used_bars_the_way_back(lab: Lab) -> None:
    key, kms = encrypted(lab), lab.cloud.client("kms")
    assert lab.source.concerns(lab.machine) == []
    kms.disable_key(KeyId=key)
    (found,) = lab.source.concerns(lab.machine)
    assert (found.id, found.severity) == ("source.way-back", Severity.CRITICAL)
    assert "it cannot be started again: the key of vol-" in found.what
    assert "Disabled" in found.what


def test_a_key_that_nobody_may_ask_about_is_a_warning(lab: Lab) -> None:
    encrypted(lab)
    lab.cloud._backend(REGION).volumes[lab.volumes["xvda"]].kms_key_id = "no-such-key"
    (found,) = lab.source.concerns(lab.machine)
    assert found.severity is Severity.WARNING
    assert "kms:CreateGrant" in found.fix


def test_of_a_machine_that_is_off_nobody_asks_for_the_way_back(lab: Lab) -> None:
    lab.cloud.client().stop_instances(InstanceIds=[lab.instance])
    calls = lab.cloud.calls["StartInstances"]
    lab.cloud.faults.coming("StartInstances", "forbidden")
    assert lab.source.concerns(lab.machine) == []
    assert lab.cloud.calls["StartInstances"] == calls


def test_a_trial_reads_a_snapshot_that_is_there_and_makes_none(lab: Lab) -> None:
    with lab.source.way(lab.machine, remote=True) as way:
        assert way is None
    assert lab.cloud.snapshots() == []
    opened = lab.open()
    with lab.source.way(lab.machine, remote=True) as way:
        assert way is not None
        place = ebs_snapshot(way.uri)
        assert place is not None
        assert place.snapshot in {ebs_snapshot(ref.uri).snapshot for ref in opened.refs.values()}  # type: ignore[union-attr]
        assert way.credential
    assert len(lab.cloud.snapshots()) == 2


def test_a_machine_of_no_known_region_is_refused(lab: Lab) -> None:
    nowhere: Machine = lab.machine.model_copy(update={"metadata": {}})
    with pytest.raises(KubeferryError, match="region"):
        lab.source.power(nowhere)


def test_no_secret_stands_in_an_error(lab: Lab) -> None:
    lab.cloud.faults.keys.clear()
    with pytest.raises(KubeferryError) as refused:
        lab.source.discover()
    assert aws.LOGIN in str(refused.value)
    assert lab.cloud.environment["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)
