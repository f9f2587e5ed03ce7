"""What is read from the API's words, one fact at a time; what is not said stays unknown, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid
from kubeferry.model import DiskBus, FirmwareKind, Machine, Power
from kubeferry.sources.ec2 import console
from kubeferry.sources.ec2.facts import Facts, flattened
from kubeferry.sources.ec2.instance import parse_instance, power_of, region_of
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.facts.single_names import named

GIB = 1 << 30
INSTANCE = {"InstanceId": "i-0123456789abcdef0", "InstanceType": "m5.large", "Architecture": "x86_64"}
KIND = {
    "InstanceType": "m5.large",
    "VCpuInfo": {"DefaultVCpus": 2, "DefaultCores": 1, "DefaultThreadsPerCore": 2},
    "MemoryInfo": {"SizeInMiB": 8192},
    "Hypervisor": "nitro",
}


def parsed(instance: dict[str, Any] | None = None, kind: dict[str, Any] | None = None, **more: Any) -> Machine:
    return parse_instance(Told(INSTANCE | (instance or {}), kind=KIND | (kind or {}), **more), source="cloud")


def zone(name: str) -> dict[str, Any]:
    return {"Placement": {"AvailabilityZone": name}}


def metadata(**options: str) -> dict[str, Any]:
    return {"MetadataOptions": options}


def told(machine: Machine) -> dict[str, str]:
    return {one.path: one.value for one in machine.unmodelled}


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        ({}, {}, (2, 1, 2)),
        ({"CoreCount": 4, "ThreadsPerCore": 1}, {}, (4, 4, 1)),
        ({}, {"VCpuInfo": {"DefaultVCpus": 8}}, (8, None, None)),
        ({"CoreCount": "4", "ThreadsPerCore": True}, {}, (2, 1, 2)),
    ],
    ids=["type", "fewer cores", "count only", "nonsense"],
)
def test_processors_are_those_of_the_options_then_of_the_type(
    options: dict[str, Any], kind: dict[str, Any], expected: tuple[int, int | None, int | None]
) -> None:
    cpu = parsed({"CpuOptions": options}, kind).cpu
    assert (cpu.vcpus, cpu.cores, cpu.threads) == expected


def test_without_its_type_memory_is_unknown_and_processors_are_not_guessed() -> None:
    machine = parse_instance(Told(INSTANCE | {"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 2}}), source="cloud")
    assert (machine.cpu.vcpus, machine.memory.size_bytes) == (2, 0)
    with pytest.raises(InputInvalid, match="cannot be read") as refused:
        parse_instance(Told(INSTANCE), source="cloud")
    assert "m5.large" in refused.value.why
    assert "describe-instance-types" in refused.value.fix


@pytest.mark.parametrize(
    ("instance", "kind", "image", "expected"),
    [
        ({"CurrentInstanceBootMode": "uefi"}, {}, None, "uefi"),
        ({"CurrentInstanceBootMode": "legacy-bios", "BootMode": "uefi-preferred"}, {}, None, "bios"),
        ({}, {"SupportedBootModes": ["legacy-bios"]}, {"BootMode": "uefi-preferred"}, "bios"),
        ({"BootMode": "uefi-preferred"}, {"SupportedBootModes": ["legacy-bios", "uefi"]}, None, "uefi"),
        ({"BootMode": "uefi-preferred"}, {}, None, "unknown"),
        ({}, {}, {"BootMode": "uefi"}, "uefi"),
        ({}, {}, {"ImageId": "ami-1"}, "bios"),
        ({"Architecture": "arm64"}, {}, None, "uefi"),
        ({}, {}, None, "unknown"),
    ],
)
def test_firmware_is_how_it_runs_and_else_what_aws_documents(
    instance: dict[str, Any], kind: dict[str, Any], image: dict[str, Any] | None, expected: str
) -> None:
    assert parsed(instance, kind, image=image).firmware.kind is FirmwareKind(expected)


@pytest.mark.parametrize(
    ("state", "power"),
    [("running", "running"), ("stopping", "running"), ("pending", "running"), ("stopped", "off"), ("odd", "unknown")],
)
def test_a_machine_is_off_only_when_it_has_stopped(state: str, power: str) -> None:
    assert power_of({"State": {"Name": state}}) is Power(power)
    assert power_of(None) is Power.UNKNOWN


def test_disks_are_called_like_their_devices_the_root_first() -> None:
    instance = {
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeId": "vol-2"}},
            {"DeviceName": "xvdf", "Ebs": {"VolumeId": "vol-3"}},
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-1"}},
            {"DeviceName": "/dev/sdz"},
        ],
    }
    volumes = {"vol-1": {"Size": 8}, "vol-2": {"Size": 0, "MultiAttachEnabled": True}}
    disks = parsed(instance, region="eu-west-1", volumes=volumes).disks
    assert [(one.id, one.capacity_bytes, one.boot_order, one.shareable) for one in disks] == [
        ("xvda", 8 * GIB, 1, False),
        ("sdb", None, None, True),
        ("xvdf", None, None, False),
    ]
    assert disks[0].uri == "ebs://eu-west-1/vol-1"
    assert (disks[0].bus, disks[0].serial) == (DiskBus.NVME, "vol1")
    xen = parsed(instance, {"Hypervisor": "xen"}, volumes=volumes).disks[0]
    assert (xen.bus, xen.serial) == (DiskBus.XEN, None)


def test_cards_are_in_the_order_of_their_index_with_the_driver_that_the_guest_has() -> None:
    cards = [
        {"NetworkInterfaceId": "eni-2", "Attachment": {"DeviceIndex": 1}, "InterfaceType": "efa"},
        {
            "NetworkInterfaceId": "eni-1",
            "Attachment": {"DeviceIndex": 0},
            "MacAddress": "06:00:00:00:00:01",
            "SubnetId": "subnet-1",
            "Groups": [{"GroupId": "sg-1", "GroupName": "web"}],
            "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.1", "Association": {"PublicIp": "203.0.113.1"}}],
            "Ipv6Addresses": [{"Ipv6Address": "2001:db8::1"}],
        },
    ]
    machine = parsed(
        {"EnaSupport": True, "NetworkInterfaces": cards}, subnets={"subnet-1": {"CidrBlock": "10.0.0.0/24"}}
    )
    assert [(one.id, one.model, one.network, one.filtered) for one in machine.nics] == [
        ("eni-1", "ena", "subnet-1", True),
        ("eni-2", "efa", None, False),
    ]
    facts = told(machine)
    assert facts["ec2/interface[eni-2]/InterfaceType"] == "efa"
    assert "ec2/interface[eni-1]/InterfaceType" not in facts
    assert facts["ec2/interface[eni-1]/addresses"] == "10.0.0.1, 2001:db8::1, 203.0.113.1 (public)"
    assert facts["ec2/interface[eni-1]/subnet"] == "10.0.0.0/24"
    assert facts["ec2/securityGroup[sg-1]"] == "web"


def test_an_interface_that_is_no_card_becomes_none() -> None:
    cards = [
        {"NetworkInterfaceId": "eni-1", "Attachment": {"DeviceIndex": 0}, "InterfaceType": "interface"},
        {"NetworkInterfaceId": "eni-2", "Attachment": {"NetworkCardIndex": 1}, "InterfaceType": "efa-only"},
        {"NetworkInterfaceId": "eni-3", "Attachment": {"NetworkCardIndex": 2}, "InterfaceType": "trunk"},
    ]
    machine = parsed({"EnaSupport": True, "NetworkInterfaces": cards})
    assert [nic.id for nic in machine.nics] == ["eni-1", "eni-3"]
    assert [(one.kind, one.model, one.detail) for one in machine.devices] == [("fabric", "efa-only", {"id": "eni-2"})]
    assert told(machine)["ec2/interface[eni-2]/InterfaceType"] == "efa-only"


def test_every_address_that_others_know_a_card_by_is_told_once() -> None:
    given = {"PublicIp": "203.0.113.1", "CarrierIp": "198.51.100.7", "CustomerOwnedIp": "192.0.2.9", "IpOwnerId": "1"}
    own = {"PrivateIpAddress": "10.0.0.5", "Primary": True, "Association": given}
    for card in (
        {"PrivateIpAddresses": [own], "Association": given},
        {"PrivateIpAddress": "10.0.0.5", "Association": given},
    ):
        facts = told(parsed({"NetworkInterfaces": [{"NetworkInterfaceId": "eni-1"} | card]}))
        assert facts["ec2/interface[eni-1]/addresses"] == (
            "10.0.0.5, 203.0.113.1 (public), 198.51.100.7 (carrier), 192.0.2.9 (customer-owned)"
        )


def test_rules_of_a_security_group_are_counted_as_its_quota_counts_them() -> None:
    permission = {
        "IpProtocol": "tcp",
        "IpRanges": [{"CidrIp": f"10.{number}.0.0/16"} for number in range(50)],
        "UserIdGroupPairs": [{"GroupId": "sg-2"}],
    }
    card = {"NetworkInterfaceId": "eni-1", "Groups": [{"GroupId": "sg-1", "GroupName": "web"}]}
    group = {"IpPermissions": [permission, {"PrefixListIds": [{"PrefixListId": "pl-1"}]}], "IpPermissionsEgress": []}
    facts = told(parsed({"NetworkInterfaces": [card]}, groups={"sg-1": group}))
    assert facts["ec2/securityGroup[sg-1]"] == "web: 52 rules in, 0 out"


@pytest.mark.parametrize(
    ("instance", "image", "system"),
    [
        ({"Platform": "windows"}, None, "Windows"),
        ({"Platform": "Windows"}, None, "Windows"),
        ({}, {"Platform": "windows"}, "Windows"),
        ({"UsageOperation": "RunInstances:0002"}, None, "Windows"),
        ({"UsageOperation": "RunInstances"}, None, None),
        ({"Platform": "windows", "PlatformDetails": "Windows BYOL"}, None, "Windows BYOL"),
        ({}, {"PlatformDetails": "Red Hat Enterprise Linux"}, "Red Hat Enterprise Linux"),
        ({}, None, None),
    ],
)
def test_the_system_is_what_aws_bills_or_at_least_whether_it_is_windows(
    instance: dict[str, Any], image: dict[str, Any] | None, system: str | None
) -> None:
    machine = parsed(instance, image=image)
    assert machine.guest.os_name == system
    assert told(machine).get("ec2/PlatformDetails") == system


@pytest.mark.parametrize(
    ("instance", "kind", "path", "value"),
    [
        ({"CpuOptions": {"AmdSevSnp": "enabled"}}, {}, "launchSecurity", "AMD SEV-SNP"),
        ({"CpuOptions": {"AmdSevSnp": "disabled"}}, {}, "launchSecurity", None),
        ({}, {"BareMetal": True, "Hypervisor": None}, "bareMetal", "m5.large"),
        ({"InstanceType": "c7i.metal-24xl"}, {}, "bareMetal", "c7i.metal-24xl"),
        ({"InstanceType": "m5.metal"}, {"BareMetal": False}, "bareMetal", None),
        ({"OutpostArn": "arn:1"}, {}, "edge", "the Outpost arn:1"),
        (zone("us-east-1-wl1-bos-wlz-1"), {}, "edge", "the Wavelength Zone us-east-1-wl1-bos-wlz-1"),
        (zone("us-west-2-lax-1a"), {}, "edge", "the Local Zone us-west-2-lax-1a"),
        (zone("us-gov-west-1a"), {}, "edge", None),
        (metadata(HttpTokens="required", HttpEndpoint="enabled"), {}, "metadataService", "IMDSv2 only"),
        (metadata(HttpTokens="optional"), {}, "metadataService", "IMDSv1 and IMDSv2"),
        (metadata(HttpTokens="required", HttpEndpoint="disabled"), {}, "metadataService", "off"),
        ({"Operator": {"Managed": True, "Principal": "eks.amazonaws.com"}}, {}, "Operator/Managed", "yes"),
        ({"Operator": {"Managed": False}}, {}, "Operator/Managed", None),
        ({"HibernationOptions": {"Configured": False}}, {}, "HibernationOptions/Configured", None),
    ],
)
def test_what_runs_an_instance_and_where_is_told_and_what_is_off_is_not(
    instance: dict[str, Any], kind: dict[str, Any], path: str, value: str | None
) -> None:
    machine = parsed(instance, kind)
    assert told(machine).get(f"ec2/{path}") == value
    assert not any(one in path for path in told(machine) for one in ("HttpTokens", "AmdSevSnp"))


def test_a_bare_metal_instance_has_its_volumes_on_nvme() -> None:
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-1"}}]
    assert (
        parsed({"BlockDeviceMappings": mapping}, {"BareMetal": True, "Hypervisor": None}).disks[0].bus is DiskBus.NVME
    )


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ({"Attachments": [{"InstanceId": INSTANCE["InstanceId"], "Device": "/dev/sdf"}], "State": "in-use"}, None),
        ({"Attachments": [{"InstanceId": "i-2", "Device": "/dev/sdf"}, {"Device": "sdf"}]}, None),
        ({"Attachments": [{"InstanceId": "i-2", "Device": "/dev/sdf"}]}, "attached to i-2 as /dev/sdf"),
        ({"Attachments": [{"Device": "/dev/sdg"}]}, f"attached to {INSTANCE['InstanceId']} as /dev/sdg"),
        ({"Attachments": [], "State": "available"}, "attached to nothing"),
        ({}, None),
    ],
)
def test_a_volume_that_says_otherwise_than_its_instance_is_told(volume: dict[str, Any], says: str | None) -> None:
    mapping = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeId": "vol-1"}}]
    machine = parsed({"BlockDeviceMappings": mapping}, volumes={"vol-1": {"VolumeId": "vol-1", "Size": 8} | volume})
    assert told(machine).get("ec2/volume[sdf]/elsewhere") == says


def test_what_the_model_has_no_word_for_is_told_and_what_is_of_this_moment_is_not() -> None:
    machine = parsed(
        {
            "LaunchTime": "2026-01-01",
            "Licenses": [{"LicenseConfigurationArn": "arn:1"}, {"LicenseConfigurationArn": "arn:2"}],
            "SomethingNew": {"Deep": [1, 2], "Empty": {}},
            "HibernationOptions": {"Configured": True},
        },
        {"InstanceStorageInfo": {"TotalSizeInGB": 75, "Disks": [{"Count": 1}]}},
        user_data=True,
        addresses=({"PublicIp": "203.0.113.1", "AllocationId": "eipalloc-1"},),
    )
    facts = told(machine)
    assert facts["ec2/SomethingNew/Deep"] == "1, 2"
    assert facts["ec2/HibernationOptions/Configured"] == "yes"
    assert facts["ec2/Licenses[0]/LicenseConfigurationArn"] == "arn:1"
    assert facts["ec2/instanceStore"] == "75 GB on 1 disks"
    assert facts["ec2/userData"] == "yes"
    assert facts["ec2/elasticAddress/PublicIp"] == "203.0.113.1"
    assert not any("LaunchTime" in path or "Empty" in path for path in facts)


def test_an_instance_with_many_volumes_still_says_what_refuses_it() -> None:
    names = [f"vol-{number}" for number in range(120)]
    said = {"VolumeType": "gp3", "Iops": 3000, "Throughput": 125, "KmsKeyId": "arn:aws:kms:1"}
    mapped = [{"DeviceName": f"/dev/{name}", "Ebs": {"VolumeId": name}} for name in names]
    machine = parsed(
        {"BlockDeviceMappings": mapped, "VirtualizationType": "paravirtual"}, volumes=dict.fromkeys(names, said)
    )
    assert told(machine)["ec2/VirtualizationType"] == "paravirtual"
    more = parsed({"SomethingNew": [{"Deep": number} for number in range(1100)], "Zone": "1"})
    assert told(more)["ec2/Zone"] == "1"
    assert told(more)["…"].endswith(" more facts are not listed")


def test_a_machine_that_routes_is_told_as_one() -> None:
    def paths(check: bool) -> set[str]:
        card = {"NetworkInterfaceId": "eni-1", "SourceDestCheck": check}
        return {
            path for path in told(parsed({"SourceDestCheck": check, "NetworkInterfaces": [card]})) if "Check" in path
        }

    assert paths(True) == set()
    assert paths(False) == {"ec2/SourceDestCheck", "ec2/interface[eni-1]/SourceDestCheck"}


def test_tags_and_place_are_metadata_and_names_are_made_single() -> None:
    tags = [{"Key": "Name", "Value": "web"}, {"Key": "team", "Value": "data"}]
    machine = parsed({"Tags": tags, "Placement": {"AvailabilityZone": "us-west-2-lax-1a"}}, account="1")
    assert machine.name == "web"
    assert machine.metadata == {
        "aws:region": "us-west-2",
        "aws:account": "1",
        "aws:zone": "us-west-2-lax-1a",
        "Name": "web",
        "team": "data",
    }
    other = machine.model_copy(update={"id": "i-2"})
    lone = machine.model_copy(update={"id": "i-3", "name": "db"})
    assert [one.name for one in named([machine, other, lone])] == ["web-i-0123456789abcdef0", "web-i-2", "db"]
    assert parsed().name == "i-0123456789abcdef0"


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("eu-west-1a", "eu-west-1"),
        ("us-gov-east-1b", "us-gov-east-1"),
        ("cn-northwest-1c", "cn-northwest-1"),
        ("us-isob-east-1a", "us-isob-east-1"),
        ("eusc-de-east-1a", "eusc-de-east-1"),
        ("us-east-1-wl1-bos-wlz-1", "us-east-1"),
        ("us-west-2-lax-1a", "us-west-2"),
        ("", None),
        (None, None),
    ],
)
def test_a_zone_lies_in_a_region(zone: str | None, region: str | None) -> None:
    assert region_of(zone) == region


def test_the_console_tells_kernel_and_system_and_nothing_of_it_is_kept() -> None:
    text = (
        "[    0.000000] Linux version 6.1.0-18-cloud-amd64 (debian-kernel@lists.debian.org)\n"
        "Welcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!\n"
        "root password is hunter2\n"
    )
    machine = parsed(console=text)
    assert (machine.guest.kernel, machine.guest.os_name) == (
        "6.1.0-18-cloud-amd64",
        "Debian GNU/Linux 12 (bookworm)",
    )
    assert "hunter2" not in machine.model_dump_json()
    assert console.read("") == console.read(None) == console.Console()


def test_accelerators_are_devices_of_the_host() -> None:
    kind = {"GpuInfo": {"Gpus": [{"Name": "T4", "Manufacturer": "NVIDIA", "Count": 4}]}}
    device = parsed(kind=kind).devices[0]
    assert (device.kind, device.model, device.detail) == ("hostdev", "T4", {"manufacturer": "NVIDIA", "count": "4"})


def test_a_thing_without_an_id_is_no_instance() -> None:
    with pytest.raises(InputInvalid, match="no instance"):
        parse_instance(Told({"InstanceId": 7}), source="cloud")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["State", "Tags", "CpuOptions", "BlockDeviceMappings", "NetworkInterfaces", "Placement", "TpmSupport", "Odd"]
)


@given(st.dictionaries(KEYS, JSON), JSON)
def test_values_of_any_kind_are_read_or_left(instance: dict[str, Any], other: Any) -> None:
    machine = parse_instance(
        Told(INSTANCE | instance, kind=KIND | {"InstanceStorageInfo": other, "GpuInfo": other}), source="cloud"
    )
    assert machine.cpu.vcpus >= 1


def test_facts_are_bounded() -> None:
    nested: Any = "deep"
    for _ in range(50):
        nested = {"in": nested}
    assert list(flattened("x", nested)) == []
    assert len(next(iter(flattened("x", "a" * 5000))).value) == 1000
    assert Facts({"n": 1 << 80}).number("n") is None
    many = parsed({"Odd": {str(number): "x" for number in range(5000)}})
    assert len(many.unmodelled) == 1025
    endless = parsed({"Odd": {str(number): "x" for number in range(60_000)}})
    assert endless.unmodelled[-1].value == "at least 48976 more facts are not listed"
