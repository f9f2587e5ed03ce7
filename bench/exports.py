"""How long it takes to read an estate from exported files and to assess it, each from start to end of the command.

The folder holds what `aws ec2 describe-…` prints, in twenty files of instances and as many of their volumes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import commands

FILES = 20


def row(machines: int, rounds: int) -> str:
    """A line for reading, a line for assessing, and how much is written."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        estate(folder / "exports", machines)
        (folder / "kubeferry.yaml").write_text(commands.CONFIG)  # what is waited for being on the disk
        read = _told(folder, ["discover", "--from", "exports"], rounds)
        assessed = _told(folder, ["assess", "inventory.yaml", "--out", "pages"], rounds)
        size = sum(path.stat().st_size for path in (folder / "pages").rglob("*") if path.is_file())
    return (
        f"{machines} machines of EC2 in {FILES * 2 + 1} exported files: `discover --from` {read}; "
        f"`assess` {assessed}, {size / machines / 1024:.0f} KiB of pages for each machine"
    )


def _told(folder: Path, words: list[str], rounds: int) -> str:
    runs = [commands.took([*commands.KUBEFERRY, *words], folder) for _ in range(rounds)]
    seconds, computed, peaks = (list(values) for values in zip(*runs, strict=True))
    return f"{commands.spread(seconds)} s, {commands.spread(computed)} s of CPU, {max(peaks):.0f} MiB"


def estate(folder: Path, machines: int) -> None:
    folder.mkdir()
    share = -(-machines // FILES)
    for number in range(FILES):
        own = range(number * share, min((number + 1) * share, machines))
        reservations = [{"OwnerId": "111122223333", "Instances": [instance(one) for one in own]}]
        _write(folder / f"instances-{number}.json", {"Reservations": reservations})
        volumes = [{"VolumeId": f"vol-{disk}{one:016x}", "Size": 20} for one in own for disk in "ab"]
        _write(folder / f"volumes-{number}.json", {"Volumes": volumes})
    kind = {"InstanceType": "m5.large", "MemoryInfo": {"SizeInMiB": 8192}, "VCpuInfo": {"DefaultVCpus": 2}}
    subnet = {"SubnetId": "subnet-1", "CidrBlock": "10.0.0.0/16"}
    _write(folder / "beside.json", {"InstanceTypes": [kind], "Subnets": [subnet]})


def instance(number: int) -> dict[str, Any]:
    """Two volumes and a card."""
    disks = [{"DeviceName": f"/dev/xvd{disk}", "Ebs": {"VolumeId": f"vol-{disk}{number:016x}"}} for disk in "ab"]
    card = {
        "NetworkInterfaceId": f"eni-{number:017x}",
        "MacAddress": f"06:00:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
        "SubnetId": "subnet-1",
        "PrivateIpAddress": "10.0.0.1",
        "Attachment": {"DeviceIndex": 0},
    }
    return {
        "InstanceId": f"i-{number:017x}",
        "InstanceType": "m5.large",
        "State": {"Name": "running"},
        "Architecture": "x86_64",
        "RootDeviceName": "/dev/xvda",
        "PlatformDetails": "Linux/UNIX",
        "Tags": [{"Key": "Name", "Value": f"web-{number}"}],
        "BlockDeviceMappings": disks,
        "NetworkInterfaces": [card],
    }


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    print(row(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, 3))
