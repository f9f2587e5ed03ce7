"""The AWS source on the lab's cloud: rounds with real bytes, and everything that may go wrong at EC2's side."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from converters.engine.disks import Outcome, copy_disk
from converters.engine.transfer import Options
from kubeferry import marks
from kubeferry.documents import SourceConfig, StopPolicy
from kubeferry.errors import (
    InputInvalid,
    Interrupted,
    KubeferryError,
    LoginLost,
    SourceGone,
    SourceRefused,
    SourceUnavailable,
)
from kubeferry.images.variables import Variable, variables_of
from kubeferry.ledger import External
from kubeferry.model import DiskBus, DiskRef, FirmwareKind, Machine, Marker, Power, Severity, TrafficFilter
from kubeferry.outside import aws, stopping
from kubeferry.sources import DETACH, SCALING_GROUP, Round, Source, open_source
from kubeferry.sources.ec2 import power, snapshot_sets
from kubeferry.uris import ebs_snapshot
from lab.ec2 import Cloud
from lab.ec2.cloud import REGION
from lab.ec2.faults import KEY, SECRET
from lab.ec2.store import BLOCK_BYTES
from lab.ec2.uefi import answer

MIB, GIB = 1 << 20, 1 << 30
STOP = StopPolicy(agent_seconds=0, acpi_seconds=5)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with Cloud() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        for module in (snapshot_sets, power):
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

    def another(self, name: str = "lab", journal: str = "", **access: Any) -> Source:
        config = {"kind": "aws", "aws": {"endpointUrl": self.cloud.url, **access}}
        return open_source(name, SourceConfig.model_validate(config), journal=journal)

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
    assert isinstance(refused.value, LoginLost) is (kind != "forbidden")


def test_credentials_that_have_run_out_are_named_with_the_time_since_when(lab: Lab) -> None:
    lab.cloud.faults.expired.add(KEY)
    with pytest.raises(LoginLost, match="run out") as refused:
        lab.source.discover()
    assert re.search(rf"ends in {KEY[-4:]}, from the environment, since \d{{4}}-\d\d-\d\d \d\d:", refused.value.why)
    assert "nothing is lost" not in str(refused.value)


def test_credentials_that_somebody_renewed_are_found_in_the_midst_of_a_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, other = tmp_path / "credentials", KEY.replace("LAB", "NEW")

    def written(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n")

    written(KEY)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    source = lab.another()
    machine = source.discover().machines[0]
    lab.cloud.faults.expired.add(KEY)
    with pytest.raises(LoginLost, match="run out") as refused:
        source.power(machine)
    assert "from the credentials file" in refused.value.why
    written(other)
    lab.cloud.faults.keys.add(other)
    assert source.power(machine) is Power.RUNNING


@pytest.mark.parametrize("ahead", [1200, -1200])
def test_a_wrong_clock_is_called_one_with_both_times(lab: Lab, ahead: float) -> None:
    opened = lab.open()
    lab.cloud.faults.clock_ahead = ahead
    with pytest.raises(LoginLost, match="our clock is wrong") as refused:
        lab.source.discover()
    here, there = map(datetime.fromisoformat, re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", refused.value.why))
    assert (there - here).total_seconds() == pytest.approx(ahead, abs=3)
    with pytest.raises(LoginLost, match="our clock is wrong"):
        lab.copy(opened, 1)


def test_who_is_in_a_security_group_is_told_also_where_it_is_no_instance(lab: Lab) -> None:
    ec2 = lab.cloud.client()
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    front, back = (
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"] for name in ("front", "back")
    )
    ec2.authorize_security_group_ingress(
        GroupId=back,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": front}]},
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
            {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
        ],
    )
    one = lab.cloud.launch("front", {"/dev/xvda": 1}, SecurityGroupIds=[front], SubnetId=subnet)
    other = lab.cloud.launch("back", {"/dev/xvda": 1}, SecurityGroupIds=[back], SubnetId=subnet)

    def filters() -> dict[str, TrafficFilter]:
        machines = {machine.id: machine for machine in lab.source.discover().machines}
        return {name: (machines[name].nics[0].filters or ())[0] for name in (one, other)}

    told = filters()
    assert (told[one].name, told[one].title, told[one].members) == (front, "front", 1)
    assert [(rule.inward, rule.line, rule.beyond) for rule in told[other].rules or ()] == [
        (True, f"tcp 5432 from {front}", None),
        (True, "tcp 22 from 10.0.0.0/8", None),
        (True, "icmp from 10.0.0.0/8", "the protocol icmp"),
        (False, "everything to 0.0.0.0/0", None),
    ]
    ec2.create_network_interface(SubnetId=subnet, Groups=[front])  # as a load balancer has it
    assert filters()[one].members == 2
    assert filters()[other].members is None, "no line names it"


@pytest.mark.parametrize(
    ("operation", "kind", "costs"),
    [
        ("DescribeInstanceTypes", "forbidden", "memory and processors"),
        ("DescribeVolumes", "forbidden", "sizes of disks"),
        ("DescribeImages", "forbidden", "what image"),
        ("DescribeSubnets", "stranger", "subnets"),
        ("DescribeSecurityGroups", "forbidden", "security groups"),
        ("DescribeAddresses", "forbidden", "elastic addresses"),
        ("GetConsoleOutput", "throttle", "the kernel"),
        ("DescribeInstanceAttribute", "forbidden", "user data"),
    ],
)
def test_a_question_that_is_not_answered_costs_what_it_would_have_told_and_is_told(
    lab: Lab, operation: str, kind: str, costs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    lab.cloud.launch("db", {"/dev/xvda": 1}, CpuOptions={"CoreCount": 1, "ThreadsPerCore": 2})
    lab.cloud.extras[lab.instance]["cpuOptions"] = "<coreCount>1</coreCount><threadsPerCore>2</threadsPerCore>"
    lab.cloud.faults.coming(operation, *[kind] * 6)
    inventory = lab.source.discover()
    assert lab.instance in {machine.id for machine in inventory.machines}
    (told,) = [one for one in inventory.unreadable if one.id == "source.unanswered"]
    assert operation in told.what
    assert costs in told.what
    lab.cloud.faults.next.clear()
    assert lab.source.discover().unreadable == ()


def test_a_question_that_fails_again_and_again_is_not_put_to_all(lab: Lab) -> None:
    names = [lab.cloud.launch(f"w{number}", {"/dev/xvda": 1}) for number in range(9)]
    lab.cloud.faults.coming("GetConsoleOutput", *["forbidden"] * 50)
    before = lab.cloud.calls["GetConsoleOutput"]
    inventory = lab.source.discover()
    assert {machine.id for machine in inventory.machines} == {lab.instance, *names}
    assert lab.cloud.calls["GetConsoleOutput"] - before == 3
    assert "10 instances" in inventory.unreadable[0].what


def test_a_region_that_does_not_answer_is_told_beside_those_that_do(lab: Lab) -> None:
    lab.cloud.faults.off.add("me-south-1")
    inventory = lab.another(regions=["me-south-1", "eu-west-1"]).discover()
    assert [machine.id for machine in inventory.machines] == [lab.instance]
    (told,) = inventory.unreadable
    assert "me-south-1" in told.what
    assert "Switch me-south-1 on" in told.fix
    with pytest.raises(LoginLost):
        lab.another(regions=["me-south-1"]).discover()


def test_a_region_that_is_named_twice_is_asked_once(lab: Lab) -> None:
    assert len(lab.another(regions=["eu-west-1", "eu-west-1"]).discover().machines) == 1


def test_a_type_that_nobody_knows_any_more_is_that_machine_s_alone(lab: Lab) -> None:
    lab.cloud.launch("old", {"/dev/xvda": 1}, kind="m0.retired")
    inventory = lab.source.discover()
    assert [machine.id for machine in inventory.machines] == [lab.instance]
    assert "m0.retired" in inventory.unreadable[0].what


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


@pytest.mark.parametrize("theirs", [{"name": "prod"}, {"journal": "0123456789ab"}], ids=["source", "journal"])
def test_what_another_installation_has_made_is_neither_used_nor_dropped(lab: Lab, theirs: dict[str, str]) -> None:
    def opened(source: Source, since: Marker | None = None) -> Round:
        return source.open_round(lab.machine, since=since, final=True, remote=False, ledger=lab.told.append)

    lab.source.stop(lab.machine, STOP, no_words)
    lab.source.journal = "ba9876543210"
    other = lab.another(**theirs)
    foreign = opened(other)
    mine = opened(lab.source)
    assert mine.marker != foreign.marker
    lab.source.close_round(mine)
    opened(lab.source, mine.marker)
    assert opened(other).marker == foreign.marker, "it is still there, and found again"
    assert lab.source.forget(lab.machine)
    assert opened(other).marker == foreign.marker
    assert len(other.forget(lab.machine)) == 2
    assert not any(lab.source.exists(thing) for thing in lab.told)


def test_a_snapshot_that_may_not_be_deleted_keeps_none_of_the_others(lab: Lab) -> None:
    lab.open()
    lab.cloud.faults.coming("DeleteSnapshot", "forbidden")
    with pytest.raises(SourceRefused, match="may not"):
        lab.source.forget(lab.machine)
    assert len(lab.cloud.snapshots()) == 1
    assert len(lab.source.forget(lab.machine)) == 1


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
    calls.remove(lab.open)  # of which a view is there
    for call in calls:
        with pytest.raises(SourceGone, match="ended the machine") as ended:
            call()
        assert ended.value.machine == "web"
        assert all(name in ended.value.why for name in lab.cloud.snapshots())
    with pytest.raises(SourceGone):  # who asks beforehand has no journal
        lab.another(journal="0123456789ab").concerns(lab.machine)
    assert lab.source.forget(lab.machine)
    assert lab.cloud.snapshots() == []
    for call in [*calls, lab.open]:
        with pytest.raises(SourceRefused, match="no such machine") as refused:
            call()
        assert refused.value.machine == "web"
        assert not isinstance(refused.value, SourceGone), "other credentials see none of it, either"


def test_a_machine_that_was_ended_is_read_to_the_end_from_the_view_of_its_stopped_self(lab: Lab) -> None:
    lab.cloud.write(lab.volumes["xvda"], 0, b"live")
    live = lab.open()
    lab.copy(live, 1)
    lab.source.close_round(live)
    lab.cloud.write(lab.volumes["xvda"], MIB, b"last")
    lab.source.stop(lab.machine, STOP, no_words)
    final = lab.open(live.marker, final=True)
    lab.cloud.client().terminate_instances(InstanceIds=[lab.instance])
    again = lab.open(live.marker, final=True)
    assert (again.marker, again.only_copy, again.consistency) == (final.marker, True, "off")
    lab.copy(again, 2)
    assert lab.equal("xvda")
    lab.source.close_round(again)
    assert lab.open(live.marker, final=True).marker == final.marker, "given back, it is there"


def test_a_view_of_a_running_machine_is_no_final_one_of_an_ended_one(lab: Lab) -> None:
    live = lab.open()
    lab.cloud.client().terminate_instances(InstanceIds=[lab.instance])
    again = lab.open()
    assert (again.marker, again.only_copy, again.consistency) == (live.marker, True, "crash")
    with pytest.raises(SourceGone):
        lab.open(final=True)
    assert len(lab.cloud.snapshots()) == 2, "nothing is dropped"


def test_whose_the_last_snapshots_of_an_ended_machine_are_is_told(lab: Lab) -> None:
    lab.source.journal = "ba9876543210"
    lab.open()
    lab.cloud.client().terminate_instances(InstanceIds=[lab.instance])
    with pytest.raises(SourceGone) as ours:
        lab.source.power(lab.machine)
    lab.source.journal = "0123456789ab"
    with pytest.raises(SourceGone) as theirs:
        lab.source.power(lab.machine)
    assert "in snapshots of ours" in ours.value.why
    assert "made with another journal" in theirs.value.why
    assert "`kubeferry release --everything` with that journal" in theirs.value.fix


@pytest.mark.parametrize("change", ["places", "another"])
def test_the_last_view_of_an_ended_machine_shows_the_volumes_that_its_disks_were_then(lab: Lab, change: str) -> None:
    """Not those of the plan: what changes between the two is read whole, and no reason to lose the last copy."""
    if change == "places":
        lab.cloud.exchange(lab.instance, "/dev/xvda", "/dev/sdf")
        lab.volumes = {"xvda": lab.volumes["sdf"], "sdf": lab.volumes["xvda"]}
    else:
        lab.volumes["sdf"] = lab.cloud.swap(lab.instance, "/dev/sdf")
    lab.cloud.write(lab.volumes["sdf"], MIB, b"last")
    lab.source.stop(lab.machine, STOP, no_words)
    final = lab.open(final=True)
    lab.cloud.client().terminate_instances(InstanceIds=[lab.instance])
    again = lab.open(final=True)
    assert (again.marker, again.only_copy) == (final.marker, True)
    lab.copy(again, 1)
    assert lab.equal("sdf")
    assert lab.equal("xvda")


def test_the_last_view_of_an_ended_machine_is_called_what_it_is(lab: Lab) -> None:
    """One of a machine that ran is as after a loss of power, and no copy goes on from it to an end."""
    live = lab.open()
    lab.cloud.client().terminate_instances(InstanceIds=[lab.instance])
    with pytest.raises(SourceGone) as ended:
        lab.source.power(lab.machine)
    assert "it ran then, so they are as after a loss of power, and what was written since is lost" in ended.value.why
    assert ended.value.fix.startswith("Make volumes of them.")
    lab.source.close_round(live)
    with pytest.raises(SourceGone, match="loss of power"):
        lab.open(live.marker)


def test_of_a_machine_that_was_off_when_it_was_ended_the_last_view_has_all(lab: Lab) -> None:
    lab.source.stop(lab.machine, STOP, no_words)
    lab.open(final=True)
    lab.cloud.client().terminate_instances(InstanceIds=[lab.instance])
    with pytest.raises(SourceGone) as ended:
        lab.source.power(lab.machine)
    assert "lost" not in ended.value.why
    assert "goes on from there" in ended.value.fix


def test_a_volume_that_others_write_to_is_copied_for_the_last_time_once_they_are_off(lab: Lab) -> None:
    other = lab.cloud.launch("other", {"/dev/xvda": 1})
    lab.cloud.shared[lab.volumes["sdf"]] = [other]
    (told,) = lab.source.concerns(lab.machine)
    assert (told.id, told.severity) == ("source.shared-writer", Severity.WARNING)
    assert f"{lab.volumes['sdf']} is {other}'s as well, which is running, and may write to it" in told.what
    assert lab.open().consistency == "crash"
    lab.source.stop(lab.machine, STOP, no_words)
    with pytest.raises(SourceRefused, match="last copy cannot be made yet") as refused:
        lab.open(final=True)
    assert other in refused.value.fix
    meanwhile = lab.open()
    assert meanwhile.consistency == "crash", "this machine is off, and the other one is not"
    lab.cloud.client().stop_instances(InstanceIds=[other])
    last = lab.open(final=True)
    assert (last.consistency, last.marker == meanwhile.marker) == ("off", False)
    lab.cloud.client().start_instances(InstanceIds=[other])
    lab.cloud.client().stop_instances(InstanceIds=[other])
    assert lab.open(final=True).marker != last.marker, "it has run since"


def test_a_volume_that_is_left_out_may_be_written_by_anybody(lab: Lab) -> None:
    lab.cloud.shared[lab.volumes["sdf"]] = [lab.cloud.launch("other", {"/dev/xvda": 1})]
    lab.source.stop(lab.machine, STOP, no_words)
    kept, _left = lab.machine.disks
    lab.machine = lab.machine.model_copy(update={"disks": (kept,), "left_out": ("sdf",)})
    assert lab.source.concerns(lab.machine) == []
    assert lab.open(final=True).consistency == "off"


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


@pytest.mark.parametrize(
    ("code", "kind", "fix"),
    [
        ("Client.InternalError", SourceRefused, "kms:CreateGrant"),
        ("Server.InsufficientInstanceCapacity", SourceUnavailable, "another type"),
        ("Client.Odd", SourceRefused, "console"),
    ],
)
def test_a_start_that_falls_back_is_told_within_seconds_with_the_reason(
    lab: Lab, code: str, kind: type[KubeferryError], fix: str
) -> None:
    lab.source.stop(lab.machine, STOP, no_words)
    lab.cloud.faults.falls_back[lab.instance] = (code, f"{code}: as EC2 puts it")
    begun = time.monotonic()
    with pytest.raises(kind, match="fell back to stopped") as refused:
        lab.source.start(lab.machine)
    assert time.monotonic() - begun < 5
    assert refused.value.why == f"EC2 says {code}: as EC2 puts it"
    assert fix in refused.value.fix
    lab.cloud.faults.falls_back.clear()
    lab.source.start(lab.machine)
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_a_role_that_may_not_start_it_again_is_a_concern(lab: Lab) -> None:
    lab.cloud.faults.coming("StartInstances", "forbidden")
    found = lab.source.concerns(lab.machine)
    assert ["may not be started again" in one.what for one in found] == [True]
    assert found[0].severity is Severity.CRITICAL
    assert lab.source.concerns(lab.machine) == []
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_a_role_that_may_make_no_snapshots_is_a_concern_before_the_stop(lab: Lab) -> None:
    lab.cloud.faults.coming("CreateSnapshots", "forbidden")
    (found,) = lab.source.concerns(lab.machine)
    assert (found.severity, "no snapshots may be made of it" in found.what) == (Severity.CRITICAL, True)
    assert lab.source.concerns(lab.machine) == []
    assert lab.cloud.snapshots() == [], "asked without doing it"


def test_a_role_that_may_tag_only_what_it_makes_moves_a_machine_that_is_off(lab: Lab) -> None:
    """Its last round is given back unmarked, and found again; one of a machine that runs must be marked."""
    lab.cloud.faults.coming("CreateTags", "forbidden")
    with pytest.raises(SourceRefused, match="a round cannot be closed"):
        lab.source.close_round(lab.open())
    lab.source.stop(lab.machine, STOP, no_words)
    final = lab.open(final=True)
    lab.cloud.faults.coming("CreateTags", "forbidden")
    lab.source.close_round(final)
    assert lab.open(final=True).marker == final.marker


def test_a_throttle_while_snapshots_are_made_is_worth_another_try_and_leaves_none_twice(lab: Lab) -> None:
    lab.source.stop(lab.machine, STOP, no_words)
    lab.cloud.faults.coming("CreateSnapshots", "throttle")
    with pytest.raises(SourceUnavailable):
        lab.open(final=True)
    lab.open(final=True)
    assert len(lab.cloud.snapshots()) == len(lab.volumes)


def test_a_start_that_is_refused_for_capacity_is_tried_on_and_told(lab: Lab) -> None:
    lab.source.stop(lab.machine, STOP, no_words)
    lab.cloud.faults.coming("StartInstances", "capacity")
    lab.source.start(lab.machine)
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_no_room_for_snapshots_is_told_with_what_to_do(lab: Lab) -> None:
    lab.cloud.faults.coming("CreateSnapshots", "full")
    with pytest.raises(SourceRefused, match="SnapshotLimitExceeded") as refused:
        lab.open()
    assert "higher quota" in refused.value.fix


def test_an_instance_that_is_protected_against_a_stop_is_a_concern(lab: Lab) -> None:
    lab.cloud.client().modify_instance_attribute(InstanceId=lab.instance, DisableApiStop={"Value": True})
    found = lab.source.concerns(lab.machine)
    assert ["it is protected against being stopped" in one.what for one in found] == [True]
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_a_group_that_ends_what_is_stopped_is_a_concern(lab: Lab) -> None:
    lab.cloud.group("web-fleet", lab.instance)
    (found,) = lab.source.concerns(lab.machine)
    assert (found.id, found.severity) == (SCALING_GROUP, Severity.CRITICAL)
    assert "the Auto Scaling group web-fleet ends what is stopped" in found.what
    assert "stop.scalingGroup: detach" in found.fix
    with pytest.raises(SourceRefused, match="stopped safely"):
        lab.source.stop(lab.machine, STOP, no_words)
    assert lab.source.power(lab.machine) is Power.RUNNING


def test_a_machine_is_taken_out_of_its_group_which_wants_one_less_and_is_put_back_as_it_was(lab: Lab) -> None:
    groups = lab.cloud.group("web-fleet", lab.instance, protected=True)

    def shape() -> tuple[int, list[tuple[str, bool]]]:
        (one,) = groups.describe_auto_scaling_groups(AutoScalingGroupNames=["web-fleet"])["AutoScalingGroups"]
        return one["DesiredCapacity"], [(m["InstanceId"], m["ProtectedFromScaleIn"]) for m in one["Instances"]]

    before, told = shape(), lab.source.autostart(lab.machine)
    assert told is not None
    assert (told.words, before) == ("by the Auto Scaling group web-fleet", (1, [(lab.instance, True)]))
    lab.source.set_autostart(lab.machine, None)
    assert (shape(), lab.source.concerns(lab.machine)) == ((0, []), [])
    lab.source.stop(lab.machine, STOP, no_words)
    with pytest.raises(SourceRefused, match="not running"):
        lab.source.set_autostart(lab.machine, told)
    lab.source.start(lab.machine)
    lab.source.set_autostart(lab.machine, told)
    assert shape() == before


@pytest.mark.parametrize(
    ("least", "denied", "expected"),
    [
        (1, (), "wants 1, and must not want less"),
        (0, ("DescribeAutoScalingGroups",), "web-fleet may not be asked"),
        (0, ("DetachInstances",), "may not be taken out of its Auto Scaling group"),
        (0, ("AttachInstances",), "may not be put back into its Auto Scaling group"),
        (0, ("SetInstanceProtection",), "may not be protected in its Auto Scaling group"),
    ],
)
def test_what_keeps_a_machine_in_its_group_is_known_before_it_is_taken_out(
    lab: Lab, least: int, denied: tuple[str, ...], expected: str
) -> None:
    groups = lab.cloud.group("web-fleet", lab.instance, least=least)
    for operation in denied:
        lab.cloud.faults.coming(operation, "forbidden")
    first, told = lab.source.concerns(lab.machine)
    assert (first.id, told.id, told.severity) == (SCALING_GROUP, DETACH, Severity.CRITICAL)
    assert expected in told.what
    assert told.fix
    (one,) = groups.describe_auto_scaling_groups(AutoScalingGroupNames=["web-fleet"])["AutoScalingGroups"]
    assert (one["DesiredCapacity"], len(one["Instances"])) == (1, 1), "asked without doing it"


def test_an_instance_that_a_service_manages_is_a_concern(lab: Lab) -> None:
    lab.cloud.extras[lab.instance]["operator"] = "<managed>true</managed><principal>eks.amazonaws.com</principal>"
    (found,) = lab.source.concerns(lab.machine)
    assert found.severity is Severity.CRITICAL
    assert "eks.amazonaws.com manages it" in found.what
    with pytest.raises(SourceRefused, match="stopped safely"):
        lab.source.stop(lab.machine, STOP, no_words)


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


# --- UEFI variables --------------------------------------------------------------------------------------------------

MARK = Variable("LabMark", UUID("0b5f4a3e-6d2c-4f8e-9a71-c0ffee000001"), 7, b"set at the source")


def by_uefi(lab: Lab, told: str | None) -> Machine:
    """The lab's machine as one that boots by UEFI, of which EC2 tells this."""
    lab.cloud.extras[lab.instance]["currentInstanceBootMode"] = "uefi"
    if told is not None:
        lab.cloud.uefi[lab.instance] = told
    (machine,) = lab.source.discover().machines
    assert (machine.firmware.kind, machine.firmware.nvram_format) == (FirmwareKind.UEFI, "uefi-data")
    return machine


def test_uefi_variables_are_those_that_ec2_hands_over(lab: Lab) -> None:
    machine = by_uefi(lab, answer(MARK))
    store = lab.source.variables(machine)
    assert store is not None
    assert variables_of(store) == (MARK,)
    assert [one.id for one in lab.source.concerns(machine) if one.id == "source.variables"] == []


def test_a_machine_with_a_bios_is_not_asked_for_any(lab: Lab) -> None:
    assert lab.source.variables(lab.machine) is None
    assert lab.cloud.calls["GetInstanceUefiData"] == 0


@pytest.mark.parametrize(
    ("told", "fault", "why"),
    [
        (answer(MARK), "forbidden", "as a test asked for"),
        (None, None, "no UEFI data"),
        ("QU1aTlVFRkk=", None, "fewer than a header"),
    ],
    ids=["forbidden", "none", "damaged"],
)
def test_variables_that_cannot_be_had_are_told_while_it_runs(
    lab: Lab, told: str | None, fault: str | None, why: str
) -> None:
    machine = by_uefi(lab, told)
    lab.cloud.faults.coming("GetInstanceUefiData", *([fault, fault] if fault else []))
    with pytest.raises(SourceRefused, match=why) as refused:
        lab.source.variables(machine)
    assert "keepVariables" in refused.value.fix
    (concern,) = [one for one in lab.source.concerns(machine) if one.id == "source.variables"]
    assert why in concern.what


def test_a_cloud_that_does_not_answer_is_asked_again(lab: Lab) -> None:
    machine = by_uefi(lab, answer(MARK))
    lab.cloud.faults.coming("GetInstanceUefiData", *["unavailable"] * 20)
    with pytest.raises(SourceUnavailable):
        lab.source.variables(machine)
