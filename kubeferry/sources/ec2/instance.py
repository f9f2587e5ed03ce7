"""An instance with what belongs to it, as a Machine. What the model has no word for is told in `unmodelled`, as
`ec2/…`; what AWS does not say stays unknown. Sizes come from the instance's type as the API describes it, never from
its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from kubeferry.errors import InputInvalid, Problem
from kubeferry.images.uefi_data import FORM
from kubeferry.model import (
    Cpu,
    Device,
    Firmware,
    FirmwareKind,
    Guest,
    Machine,
    Memory,
    Power,
    SourceFact,
    Tpm,
)
from kubeferry.sources.ec2 import console, disks, marks, nics, placement
from kubeferry.sources.ec2.facts import Facts, flattened
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.facts.lists import bounded

MIB = 1 << 20
REGION, ACCOUNT, ZONE = "aws:region", "aws:account", "aws:zone"
"""Keys of a machine's metadata, beside its tags: users' tags cannot begin with `aws:`."""

_POWER = {
    "pending": Power.RUNNING,
    "running": Power.RUNNING,
    "stopping": Power.RUNNING,  # until it is confirmed off
    "shutting-down": Power.RUNNING,
    "stopped": Power.OFF,
    "terminated": Power.OFF,
}
GONE = frozenset({"terminated", "shutting-down"})
# Of this moment or of this run only; or said elsewhere.
_PASSING = (
    "State",
    "StateTransitionReason",
    "LaunchTime",
    "AmiLaunchIndex",
    "ClientToken",
    "UsageOperationUpdateTime",
    "Monitoring",
    "PrivateDnsName",
    "PublicDnsName",
    "PrivateIpAddress",
    "SecurityGroups",
    "SubnetId",
    "RootDeviceName",
    "EbsOptimized",
    "CapacityReservationSpecification",
    "NetworkPerformanceOptions",
    "MaintenanceOptions",
    "PrivateDnsNameOptions",
    "ReservationId",
    "Groups",
    "PublicIpAddress",
)
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]+")  # eu-west-1, us-isob-east-1, eusc-de-east-1
_ACCELERATORS = {
    "GpuInfo": "Gpus",
    "FpgaInfo": "Fpgas",
    "InferenceAcceleratorInfo": "Accelerators",
    "NeuronInfo": "NeuronDevices",
    "MediaAcceleratorInfo": "Accelerators",
}


def power_of(instance: object) -> Power:
    """The power state of an instance, as the API describes it."""
    return _POWER.get(Facts(instance).child("State").text("Name") or "", Power.UNKNOWN)


def parse_instance(told: Told, *, source: str) -> Machine:
    """The machine. Raises InputInvalid for what is no instance, and where nobody says how many processors it has."""
    instance, kind, image = Facts(told.instance), Facts(told.kind), Facts(told.image)
    zone = instance.child("Placement").text("AvailabilityZone")
    told = told if told.region else replace(told, region=region_of(zone))
    name = instance.text("InstanceId")
    if name is None:
        fix = "Give what `aws ec2 describe-instances` prints."
        raise InputInvalid("this is no instance", [Problem("InstanceId", "it has none", fix)])
    tags = {one.text("Key") or "": one.text("Value") or "" for one in instance.all("Tags")}
    for one in instance.all("Tags"):
        one.skip("Key", "Value")
    instance.skip(*_PASSING)
    text = console.read(told.console)
    return Machine(
        id=name,
        name=tags.get("Name") or name,
        source=source,
        power=power_of(told.instance),
        arch=instance.text("Architecture"),
        machine_type=instance.text("InstanceType"),
        firmware=_firmware(instance, kind, image),
        cpu=_cpu(name, instance, kind),
        memory=Memory(size_bytes=(kind.child("MemoryInfo").number("SizeInMiB") or 0) * MIB),
        disks=disks.read_disks(instance, kind, told),
        nics=nics.read_nics(instance, told),
        tpm=_tpm(instance),
        devices=(*_accelerators(kind), *nics.fabric_devices(instance)),
        guest=Guest(
            os_name=text.system or placement.system_of(instance, image),
            kernel=text.kernel,
            agent_channel=False,  # EC2 has no such channel
        ),
        snapshots=0,  # those of volumes are things of their own
        metadata=_metadata(told, zone) | marks.told_apart(tags),
        unmodelled=bounded(_unmodelled(told, instance, kind, image)),
    )


def region_of(zone: str | None) -> str | None:
    """The region of a zone; of a local zone, too, whose name goes on behind it."""
    found = _REGION.match(zone or "")
    return found[0] if found else None


def _metadata(told: Told, zone: str | None) -> dict[str, str]:
    known = {REGION: told.region, ACCOUNT: told.account, ZONE: zone}
    return {key: value for key, value in known.items() if value}


def _firmware(instance: Facts, kind: Facts, image: Facts) -> Firmware:
    """The mode in which it runs; where that is not told, the one that AWS documents for its image and type."""
    runs, asked = instance.text("CurrentInstanceBootMode"), instance.text("BootMode") or image.text("BootMode")
    able = set(kind.words("SupportedBootModes"))
    mode = runs or (next(iter(able)) if len(able) == 1 else None)
    if mode is None and instance.text("Architecture") == "arm64":
        mode = "uefi"
    if mode is None and asked in {"uefi", "legacy-bios"}:
        mode = asked
    if mode is None and asked == "uefi-preferred" and able:
        mode = "uefi" if "uefi" in able else "legacy-bios"
    if mode is None and asked is None and image:  # an image without a word on it
        mode = "legacy-bios"
    known = {"legacy-bios": FirmwareKind.BIOS, "uefi": FirmwareKind.UEFI}
    kept = {"nvram": "GetInstanceUefiData", "nvram_format": FORM} if mode == "uefi" else {}
    return Firmware(kind=known.get(mode or "", FirmwareKind.UNKNOWN), **kept)


def _cpu(name: str, instance: Facts, kind: Facts) -> Cpu:
    options, usual = instance.child("CpuOptions"), kind.child("VCpuInfo")
    cores = options.number("CoreCount") or usual.number("DefaultCores")
    threads = options.number("ThreadsPerCore") or usual.number("DefaultThreadsPerCore")
    count = cores * threads if cores and threads else usual.number("DefaultVCpus")
    if not count:
        kind_of_it = instance.text("InstanceType")
        fix = "Put what `aws ec2 describe-instance-types` prints beside it, as describe-instance-types.json."
        what = f"how many processors its type {kind_of_it} has is not told, and never guessed"
        if kind_of_it is None:
            fix = "Export it again: `aws ec2 describe-instances`, without a --query that leaves types out."
            what = "it has no InstanceType, so how many processors it has is not known"
        raise InputInvalid(f"{name} cannot be read", [Problem(name, what, fix)])
    nested = options.text("NestedVirtualization")
    return Cpu(vcpus=count, cores=cores, threads=threads, nested=nested == "enabled" if nested else None)


def _tpm(instance: Facts) -> Tpm | None:
    version = instance.text("TpmSupport")
    return Tpm(version=version.removeprefix("v"), backend="nitro", persistent=True) if version else None


def _accelerators(kind: Facts) -> Iterator[Device]:
    for info, items in _ACCELERATORS.items():
        for one in kind.child(info).all(items):
            made = {"manufacturer": one.text("Manufacturer"), "count": str(one.number("Count") or 1)}
            detail = {key: value for key, value in made.items() if value}
            yield Device(kind="hostdev", model=one.text("Name") or info, detail=detail)


def _unmodelled(told: Told, instance: Facts, kind: Facts, image: Facts) -> Iterator[SourceFact]:
    if told.user_data is not None:
        yield SourceFact(path="ec2/userData", value="yes" if told.user_data else "no")
    store = kind.child("InstanceStorageInfo")
    if size := store.number("TotalSizeInGB"):
        count = sum(one.number("Count") or 0 for one in store.all("Disks"))
        yield SourceFact(path="ec2/instanceStore", value=f"{size} GB on {count or 'some'} disks")
    for key in ("Name", "Description"):
        if text := image.text(key):
            yield SourceFact(path=f"ec2/image/{key}", value=text)
    yield from placement.unmodelled(instance, kind, image)
    if instance.flag("SourceDestCheck") is False:  # it passes on what is not meant for it: a router, a NAT, a VPN
        yield SourceFact(path="ec2/SourceDestCheck", value="no")
    yield from nics.unmodelled(instance, told)
    yield from disks.unmodelled(told, instance)
    yield from instance.left("ec2")
    for address in told.addresses:
        yield from flattened("ec2/elasticAddress", {key: address.get(key) for key in ("PublicIp", "AllocationId")})
