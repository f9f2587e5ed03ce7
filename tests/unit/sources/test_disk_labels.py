"""What people call a disk at its source: the word by which a policy may name it, where the source has one."""

from __future__ import annotations

from kubeferry.sources.ec2.disks import read_disks as read_volumes
from kubeferry.sources.ec2.facts import Facts
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.vsphere.disks import LABEL_LIMIT, read_disks
from kubeferry.sources.vsphere.plain import Plain


def device(key: int, **more: object) -> Plain:
    return {
        "_type": "VirtualDisk",
        "key": key,
        "capacityInBytes": 1 << 30,
        "backing": {"fileName": "[s] w.vmdk"},
        **more,
    }


def test_vsphere_has_the_label_of_the_device() -> None:
    told = [
        device(2000, deviceInfo={"label": "Hard disk 1", "summary": "1,048,576 KB"}),
        device(2001),
        device(2002, deviceInfo={"label": ""}),
        device(2003, deviceInfo={"label": "x" * 1000}),
    ]
    labels = [disk.label for disk in read_disks(told, told_serial=False, boot={})]
    assert labels == ["Hard disk 1", None, None, "x" * LABEL_LIMIT]


def test_aws_has_the_name_of_the_volume() -> None:
    volumes: dict[str, dict[str, object]] = {
        "vol-1": {"Size": 8, "Tags": [{"Key": "owner", "Value": "Ada"}, {"Key": "Name", "Value": "web scratch"}]},
        "vol-2": {"Size": 8, "Tags": [{"Key": "Name", "Value": ""}]},
    }
    mappings = [{"DeviceName": f"/dev/sd{at}", "Ebs": {"VolumeId": f"vol-{at}"}} for at in (1, 2)]
    instance: dict[str, object] = {"RootDeviceName": "/dev/sd1", "BlockDeviceMappings": mappings}
    told = Told(instance=instance, region="eu-west-1", volumes=volumes)
    labels = [disk.label for disk in read_volumes(Facts(instance), Facts(None), told)]
    assert labels == ["web scratch", None]
