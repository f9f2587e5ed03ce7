"""Instances of EC2: known by what only EC2 tells, with an identity that cloud-init does not take for EC2's, on a bus
that their kernel has a driver for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import MachinePolicy, Policy
from kubeferry.model import Cpu, Disk, DiskBus, Guest, Machine, Memory, SourceFact
from kubeferry.sources.ec2.cost import dollars, dollars_out, most_calls
from mappings.choices import choices_for
from mappings.disks import target_bus
from mappings.ec2 import is_ec2, looks_like_ec2, new_uuid
from mappings.firmware import target_uuid

TIB = 1 << 40
TOLD = (SourceFact(path="ec2/RootDeviceType", value="ebs"),)


def instance(name: str = "i-0123456789abcdef0", bus: str = "nvme", **more: object) -> Machine:
    facts = {"cpu": Cpu(vcpus=1), "memory": Memory(size_bytes=1 << 30), "unmodelled": TOLD}
    facts["disks"] = (Disk(id="xvda", bus=DiskBus(bus), uri="ebs://r/v", source_kind="ebs", format="raw"),)
    return Machine.model_validate({"id": name, "name": "web", "source": "lab"} | facts | more)


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("ec2e1916-9099-7caf-fd21-012345abcdef", True),
        ("EC2E1916-9099-7CAF-FD21-012345ABCDEF", True),
        ("45e12aec-dcd1-b213-94ed-012345abcdef", True),
        ("45e13aec-dcd1-b213-94ed-012345abcdef", False),
        ("11ec2222-dcd1-b213-94ed-012345abcdef", False),
    ],
)
def test_uuids_that_cloud_init_takes_for_ec2s(text: str, alike: bool) -> None:
    assert looks_like_ec2(text) is alike


@given(st.integers(0, 16**17 - 1))
def test_an_instance_gets_a_uuid_of_its_own_that_stays(number: int) -> None:
    machine = instance(f"i-{number:017x}")
    assert is_ec2(machine)
    assert target_uuid(machine) == new_uuid(machine) == new_uuid(machine)
    assert not looks_like_ec2(new_uuid(machine))


def test_other_machines_keep_theirs(machine: Callable[..., Machine]) -> None:
    assert not is_ec2(machine())
    assert target_uuid(machine()) == machine().uuid
    exported = machine(id="i-0123456789abcdef0")  # an image of it, called like it
    assert not is_ec2(exported)


def test_an_instance_is_known_by_what_only_ec2_tells_whatever_its_id_is() -> None:
    assert is_ec2(instance("i-xxxxxxxxxxxxxxx01"))
    assert is_ec2(instance("i-xxxxxxxxxxxxxxx01", unmodelled=()))
    assert is_ec2(instance("i-xxxxxxxxxxxxxxx01", disks=()))
    assert is_ec2(instance("i-xxxxxxxxxxxxxxx01", disks=(), unmodelled=(), metadata={"aws:account": "1"}))


@pytest.mark.parametrize(
    ("guest", "policy", "bus", "expected"),
    [
        ({"os_name": "Linux/UNIX"}, {}, "nvme", "virtio"),
        ({"os_name": "Red Hat Enterprise Linux"}, {}, "xen", "virtio"),
        ({}, {}, "unknown", "virtio"),
        ({"os_name": "Windows with SQL Server"}, {}, "nvme", "sata"),
        ({"os_name": "Linux/UNIX", "kernel": "2.6.32-754.el6.x86_64"}, {}, "xen", "sata"),
        ({"os_name": "Linux/UNIX"}, {"legacy_disk_bus": "sata"}, "nvme", "sata"),
        ({"os_name": "Linux/UNIX"}, {"machines": {"web": MachinePolicy(disk_bus="scsi")}}, "nvme", "scsi"),
    ],
)
def test_disks_of_what_was_made_for_a_cloud_are_where_its_kernel_finds_them(
    guest: dict[str, str], policy: dict[str, object], bus: str, expected: str
) -> None:
    machine = instance(bus=bus, guest=Guest(**guest))
    assert target_bus(machine.disks[0], choices_for(machine, Policy.model_validate(policy))) == expected


def test_disks_of_other_machines_go_where_they_went(machine: Callable[..., Machine], disk: Callable[..., Disk]) -> None:
    other = machine(disks=(disk("nvme0", bus="nvme"),))
    assert target_bus(other.disks[0], choices_for(other, Policy())) == "sata"


def test_the_cost_of_a_full_tebibyte_is_what_aws_documents() -> None:
    calls = most_calls([TIB])
    assert calls["GetSnapshotBlock"] == 2_097_152
    assert dollars(calls) == pytest.approx(6.29, abs=0.01)
    assert dollars({}) == 0
    assert dollars({"ListChangedBlocks": 1000}) == pytest.approx(0.0006)
    assert dollars_out(TIB) == pytest.approx(92.16)
