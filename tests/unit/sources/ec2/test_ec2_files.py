"""Folders of `aws ec2 describe-…` output: what belongs together is found by content, and what is no JSON is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.errors import InputInvalid
from kubeferry.sources.exported import read_and_count, read_exported

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
    assert [one.id for one in inventory.unreadable] == ["machine.unreadable", "machine.ended"]
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


ID = "i-0123456789abcdef0"


@pytest.mark.parametrize(
    "content",
    [
        [[ID, "m5.large"]],
        [ID],
        [{"Id": ID, "Type": "m5.large"}],
        {"Id": ID, "Type": "m5.large"},
        {"eu-west-1": [[ID]]},
        {"Instances": [{"Id": ID}]},
        [{"InstanceId": "i-9", "Tags": [{"Key": "Name", "Value": "web"}]}],
        [PAGES[0], [{"Id": ID}]],
    ],
)
def test_a_projection_that_names_instances_is_left_out(tmp_path: Path, content: object) -> None:
    write(tmp_path, "a.json", PAGES[0])
    write(tmp_path, "b.json", content)
    inventory, left_out = read_and_count(tmp_path, "cloud")
    assert [one.id for one in inventory.machines] == ["i-2"]
    (one,) = (one for one in inventory.unreadable if one.id == "machine.unreadable")
    assert ("b.json: it names instances (i-" in one.what, "--query" in one.fix, left_out) == (True, True, 1)


@pytest.mark.parametrize(
    "content",
    [
        {"InstanceStatuses": [{"InstanceId": ID}]},
        {"NetworkInterfaces": [{"Attachment": {"InstanceId": ID}}], "NextToken": "x"},
        {"Tags": [{"ResourceId": ID}]},
    ],
)
def test_another_answer_that_names_instances_is_passed_over(tmp_path: Path, content: object) -> None:
    write(tmp_path, "a.json", PAGES[0])
    write(tmp_path, "b.json", content)
    inventory, left_out = read_and_count(tmp_path, "cloud")
    assert ([one.id for one in inventory.unreadable], left_out) == (["file.passed-over"], 0)


@pytest.mark.parametrize(("depth", "machines", "missing"), [(7, 2, 0), (40, 2, 0), (60, 1, 1)])
def test_answers_are_found_however_they_are_nested_or_that_is_told(
    tmp_path: Path, depth: int, machines: int, missing: int
) -> None:
    write(tmp_path, "a.json", PAGES[0])
    nested: Any = PAGES[1]
    for number in range(depth):
        nested = {"x": nested} if number % 2 else [nested]
    write(tmp_path, "b.json", nested)
    inventory, left_out = read_and_count(tmp_path, "cloud")
    assert (len(inventory.machines), left_out) == (machines, missing)
    assert all("nested deeper" in one.what for one in inventory.unreadable)


ON: dict[str, Any] = {"NextToken": "abc"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("slurped.json", json.dumps([PAGES[0] | ON, PAGES[1]])),
        ("concatenated.json", json.dumps(PAGES[0] | ON) + json.dumps(PAGES[1])),
        ("by-region.json", json.dumps({"a": [PAGES[0] | ON, PAGES[1]]})),
        ("pages.yaml", yaml.safe_dump(PAGES[0] | ON) + "---\n" + yaml.safe_dump(PAGES[1])),
    ],
)
def test_pages_that_are_all_there_are_none_that_is_missing(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    inventory, left_out = read_and_count(tmp_path, "cloud")
    assert ([one.id for one in inventory.machines], left_out) == (["i-2", "i-4"], 0)
    assert not any("goes on" in one.what for one in inventory.unreadable)


@pytest.mark.parametrize(
    "content",
    [
        [PAGES[0] | ON, PAGES[1] | ON],
        {"eu": PAGES[0] | ON, "us": PAGES[1]},
        [PAGES[0] | ON, {"Volumes": []}],
    ],
)
def test_a_last_page_that_goes_on_is_told_once(tmp_path: Path, content: object) -> None:
    write(tmp_path, "a.json", content)
    inventory, left_out = read_and_count(tmp_path, "cloud")
    told = [one.id for one in inventory.unreadable if "goes on" in one.what]
    assert told == ["machine.unreadable"]
    assert left_out >= 1


def test_pages_in_files_of_their_own_may_be_all_there(tmp_path: Path) -> None:
    for number, page in enumerate((PAGES[0] | ON, PAGES[1] | ON, reservations(KNOWN | {"InstanceId": "i-5"}))):
        write(tmp_path, f"{number}.json", page)
    inventory, left_out = read_and_count(tmp_path, "cloud")
    (one,) = (one for one in inventory.unreadable if "goes on" in one.what)
    assert (one.id, left_out) == ("file.doubtful", 0)
    assert "1 other file" in one.what
    assert "unless the rest is in another file" in one.what


def test_instances_that_ended_are_counted_and_told(tmp_path: Path) -> None:
    ended = [instance(f"i-{at}", State={"Name": "terminated"}) for at in (7, 8)]
    write(tmp_path, "a.json", reservations(KNOWN, *ended))
    inventory, left_out = read_and_count(tmp_path, "cloud")
    assert [one.what.partition(": ")[2] for one in inventory.unreadable] == [
        "it holds 2 instances that ended: nothing is left there to move"
    ]
    assert (inventory.unreadable[0].severity, left_out) == ("info", 0)


def test_an_id_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, "a.json", reservations(KNOWN, instance("i-1")))
    (one,) = read_exported(tmp_path, "cloud").unreadable
    assert one.what.startswith(f"{tmp_path}/a.json: i-1: how many processors")


def test_aliases_are_refused_before_they_are_much(tmp_path: Path) -> None:
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    levels = "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairs)
    (tmp_path / "a.yaml").write_text("a: &a [x]\n" + levels)
    with pytest.raises(InputInvalid, match="aliases"):
        read_exported(tmp_path, "aws")


def test_reservations_in_any_form_are_read_or_told(tmp_path: Path) -> None:
    one, two, three = (instance(name) for name in ("i-1", "i-2", "i-3"))
    write(tmp_path, "nested.json", {"Reservations": [[{"Instances": [one]}], [{"Instances": [two]}]]})
    write(tmp_path, "alone.json", {"Reservations": {"Instances": [three]}})
    write(tmp_path, "odd.json", {"Reservations": ["i-4"]})
    write(tmp_path, "types.json", {"InstanceTypes": [TYPE]})
    found, missing = read_and_count(tmp_path, "aws")
    assert sorted(machine.id for machine in found.machines) == ["i-1", "i-2", "i-3"]
    assert missing == 1


def test_a_projection_beside_what_is_described_is_told(tmp_path: Path) -> None:
    projected = [{"InstanceId": "i-0123456789abcdef0", "State": "running"}]
    write(tmp_path, "all.json", {"prod": {"Reservations": [{"Instances": [instance("i-1")]}]}, "dev": projected})
    write(tmp_path, "types.json", {"InstanceTypes": [TYPE]})
    found, missing = read_and_count(tmp_path, "aws")
    assert ([machine.id for machine in found.machines], missing) == (["i-1"], 1)
