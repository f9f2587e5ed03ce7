"""Folders of `aws ec2 describe-…` output: what belongs together is found by content, and what is no JSON is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.errors import InputInvalid
from kubeferry.sources.exported import read_exported

TYPE = {"InstanceType": "m5.large", "MemoryInfo": {"SizeInMiB": 8192}, "VCpuInfo": {"DefaultVCpus": 2}}


def instance(name: str, **more: Any) -> dict[str, Any]:
    return {"InstanceId": name, "InstanceType": "m5.large", **more}


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content))


def reservations(*instances: object) -> dict[str, Any]:
    return {"Reservations": [{"OwnerId": "1", "Instances": [one]} for one in instances]}


def test_instances_are_read_with_what_lies_beside_them(tmp_path: Path) -> None:
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-1"}}]
    write(tmp_path, "one.json", reservations(instance("i-1", BlockDeviceMappings=mapping)))
    write(tmp_path, "two.json", {"InstanceTypes": [TYPE], "Volumes": [{"VolumeId": "vol-1", "Size": 8}]})
    write(tmp_path, "three.json", {"Addresses": [{"AllocationId": "e", "InstanceId": "i-1", "PublicIp": "1.2.3.4"}]})
    inventory = read_exported(tmp_path, "cloud")
    assert inventory.source_kind == "aws-export"
    machine = inventory.machines[0]
    assert (machine.memory.size_bytes, machine.disks[0].capacity_bytes) == (8192 << 20, 8 << 30)
    assert any(one.value == "1.2.3.4" for one in machine.unmodelled)


def test_machines_of_no_known_size_are_told_as_unreadable_and_ended_ones_are_not_there(tmp_path: Path) -> None:
    ended = instance("i-3", State={"Name": "terminated"})
    known = instance("i-2", CpuOptions={"CoreCount": 1, "ThreadsPerCore": 1})
    write(tmp_path, "a.json", reservations(instance("i-1"), known, ended))
    inventory = read_exported(tmp_path, "cloud")
    assert [machine.id for machine in inventory.machines] == ["i-2"]
    assert [one.id for one in inventory.unreadable] == ["machine.unreadable"]
    assert "i-1" in inventory.unreadable[0].what


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "JSON"),
        ("[1]", "neither Reservations"),
        ('{"Buckets": []}', "neither Reservations"),
        ('{"Reservations": [{"Instances": [{"InstanceType": "m5.large"}, 7]}]}', "no InstanceId"),
    ],
)
def test_what_is_nothing_of_ec2_is_refused_with_its_file(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(InputInvalid) as refused:
        read_exported(tmp_path, "cloud")
    assert says in str(refused.value)
    assert "bad.json" in str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_half_a_character_which_no_document_holds_is_refused(tmp_path: Path, encoding: str) -> None:
    for name, tag in (("whole", "\U0001f600 \\ud8"), ("half", "\ud83d")):
        content = json.dumps(reservations(instance("i-1", Tags=[{"Key": "Name", "Value": tag}]), KNOWN))
        (tmp_path / f"{name}.json").write_text(content, encoding=encoding)
        assert r"\ud8" in content, name
    found = read_exported(tmp_path, "cloud")
    assert [one.id for one in found.machines] == ["i-2"]
    assert [one.what.partition(": ")[2][:25] for one in found.unreadable if "half.json" in one.what] == [
        "it holds half a character"
    ]


KNOWN = {"InstanceId": "i-2", "InstanceType": "m5.large", "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}}
PAGES = (reservations(KNOWN), reservations(KNOWN | {"InstanceId": "i-4"}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("concatenated.json", "\n".join(json.dumps(one) for one in PAGES)),
        ("slurped.json", json.dumps(PAGES)),
        ("by-region.json", json.dumps({"eu-west-1": PAGES[0], "us-east-1": {"x": [PAGES[1]]}})),
        ("wrapped.json", json.dumps({"profile": "prod", "output": PAGES})),
        ("query.json", json.dumps([one["Reservations"][0]["Instances"] for one in PAGES])),
        ("reservations.json", json.dumps([one["Reservations"][0] | {"ReservationId": "r"} for one in PAGES])),
        ("pages.YAML", "\n---\n".join(yaml.safe_dump(one) for one in PAGES)),
        ("shell.json", "\ufeff" + json.dumps(PAGES)),
    ],
)
def test_every_form_in_which_people_keep_answers_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).write_text(text)
    write(tmp_path, "TYPES.JSON", [TYPE])
    found = read_exported(tmp_path, "cloud")
    assert [(one.id, one.memory.size_bytes) for one in found.machines] == [("i-2", 8 << 30), ("i-4", 8 << 30)]
    assert found.unreadable == ()


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_an_instance_alone_is_no_answer_about_what_it_names(tmp_path: Path, depth: int) -> None:
    named = KNOWN | {"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "web"}], "Tags": []}
    listed: Any = named
    for _ in range(depth):
        listed = [listed]
    write(tmp_path, "query.json", listed)
    group = {"GroupId": "sg-1", "GroupName": "web", "IpPermissions": [{"IpProtocol": "-1", "UserIdGroupPairs": []}]}
    write(tmp_path, "groups.json", {"SecurityGroups": [group]})
    found = read_exported(tmp_path, "cloud")
    assert [one.id for one in found.machines] == ["i-2"]
    assert found.unreadable == (), "what an instance says of its groups is no other word about them"


def test_a_projection_of_instances_is_told_and_says_nothing_about_what_it_names(tmp_path: Path) -> None:
    write(tmp_path, "a.json", PAGES[0])
    write(tmp_path, "b.json", [{"InstanceId": "i-9", "SecurityGroups": [{"GroupId": "sg-1"}]}])
    found = read_exported(tmp_path, "cloud")
    assert [one.id for one in found.machines] == ["i-2"]
    assert ["b.json" in one.what for one in found.unreadable] == [True]


def test_an_answer_that_goes_on_is_told(tmp_path: Path) -> None:
    write(tmp_path, "a.json", PAGES[0] | {"NextToken": "abc"})
    found = read_exported(tmp_path, "cloud")
    assert len(found.machines) == 1
    assert ["NextToken" in one.what for one in found.unreadable] == [True]


def test_answers_of_something_else_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a.json", PAGES[0])
    group = {"InstanceId": "i-9", "InstanceType": "m5.large", "LifecycleState": "InService"}
    card = {"NetworkInterfaceId": "eni-1", "SubnetId": "s", "Association": {"AllocationId": "e", "PublicIp": "1.2.3.4"}}
    for name, content in (
        ("vpcs", {"Vpcs": [{"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/8"}]}),
        ("scaling", {"AutoScalingGroups": [{"Instances": [group]}]}),
        ("cards", {"NetworkInterfaces": [card | {"Association": {"IpOwnerId": "x", **card["Association"]}}]}),
    ):
        write(tmp_path, f"{name}.json", content)
    found = read_exported(tmp_path, "cloud")
    assert [one.id for one in found.machines] == ["i-2"]
    assert [one.id for one in found.unreadable] == ["file.passed-over"] * 3


def test_two_words_about_one_volume_are_told(tmp_path: Path) -> None:
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-1"}}]
    write(tmp_path, "a.json", reservations(KNOWN | {"BlockDeviceMappings": mapping}))
    for name, size in (("b", 8), ("c", 16)):
        write(tmp_path, f"{name}.json", {"Volumes": [{"VolumeId": "vol-1", "Size": size}]})
    found = read_exported(tmp_path, "cloud")
    assert found.machines[0].disks[0].capacity_bytes == 16 << 30
    assert [one.id for one in found.unreadable] == ["file.doubtful"]


def test_odd_lists_are_none(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"Reservations": {"x": 1}})
    write(tmp_path, "b.json", {"Volumes": "many", "InstanceTypes": [7, {"InstanceType": 8}]})
    assert read_exported(tmp_path, "cloud").machines == ()
