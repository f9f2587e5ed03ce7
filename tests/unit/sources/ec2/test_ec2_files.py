"""Folders of `aws ec2 describe-…` output: what belongs together is found by content, and what is no JSON is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kubeferry.errors import InputInvalid
from kubeferry.sources.ec2.files import read_machines
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
        ("[1]", "no JSON object"),
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


def test_half_a_character_which_no_document_holds_is_refused(tmp_path: Path) -> None:
    for name, tag in (("whole", "\U0001f600 \\ud8"), ("half", "\ud83d")):
        write(tmp_path, "instances.json", reservations(instance("i-1", Tags=[{"Key": "Name", "Value": tag}])))
        assert rb"\ud8" in (tmp_path / "instances.json").read_bytes(), name
        if name == "half":
            with pytest.raises(InputInvalid, match="surrogates"):
                read_machines(tmp_path / "instances.json", "cloud")
        else:
            assert read_machines(tmp_path / "instances.json", "cloud")


def test_odd_lists_are_none(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"Reservations": {"x": 1}})
    write(tmp_path, "b.json", {"Volumes": "many", "InstanceTypes": [7, {"InstanceType": 8}]})
    assert read_exported(tmp_path, "cloud").machines == ()
