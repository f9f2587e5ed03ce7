"""What runs an instance, and where: its hypervisor or none, its zone, its metadata service, who may stop it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubeferry.model import SourceFact
from kubeferry.sources.ec2.facts import Facts

# What AWS bills a system by, where it names the system itself nowhere: only those of Windows, which no driver fits.
_WINDOWS_USAGE = re.compile(r"RunInstances:(?:0002|0006|0102|0202|0800)")
_WAVELENGTH = re.compile(r"-wl\d+-")
_LOCAL = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d+-[a-z]+-\d+[a-z]")
_BARE = re.compile(r"\.metal(?:-|$)")
# Switches that are off on a usual instance: nothing is lost with them.
_USUALLY_OFF = {"HibernationOptions": "Configured", "EnclaveOptions": "Enabled", "Operator": "Managed"}


def system_of(instance: Facts, image: Facts) -> str | None:
    """The system in AWS's words. Exports from before 2020 and selected fields say no more than that it is Windows."""
    details = instance.text("PlatformDetails") or image.text("PlatformDetails")
    usage = instance.text("UsageOperation") or image.text("UsageOperation")
    windows = "windows" in {(one.text("Platform") or "").lower() for one in (instance, image)}
    if details is None and (windows or _WINDOWS_USAGE.fullmatch(usage or "")):
        return "Windows"
    return details


def is_bare_metal(instance: Facts, kind: Facts) -> bool:
    """As its type says; by its name where the type is not described: there is no other way to call one."""
    told = kind.flag("BareMetal")
    return told if told is not None else bool(_BARE.search(instance.text("InstanceType") or ""))


def unmodelled(instance: Facts, kind: Facts, image: Facts) -> Iterator[SourceFact]:
    """Facts of an instance's hypervisor, system and place."""
    yield from _system(instance, kind, image)
    if edge := _edge(instance):
        yield SourceFact(path="ec2/edge", value=edge)
    if service := _metadata_service(instance.child("MetadataOptions")):
        yield SourceFact(path="ec2/metadataService", value=service)
    for key, switch in _USUALLY_OFF.items():
        if instance.child(key).flag(switch):
            yield SourceFact(path=f"ec2/{key}/{switch}", value="yes")


def _system(instance: Facts, kind: Facts, image: Facts) -> Iterator[SourceFact]:
    if hypervisor := kind.text("Hypervisor"):
        instance.skip("Hypervisor")
        yield SourceFact(path="ec2/Hypervisor", value=hypervisor)
    if is_bare_metal(instance, kind):
        instance.skip("Hypervisor")
        yield SourceFact(path="ec2/bareMetal", value=instance.text("InstanceType") or "yes")
    if system := system_of(instance, image):
        yield SourceFact(path="ec2/PlatformDetails", value=system)
    for key in ("Platform", "UsageOperation"):
        if said := instance.text(key):
            yield SourceFact(path=f"ec2/{key}", value=said)
    if instance.child("CpuOptions").text("AmdSevSnp") == "enabled":
        yield SourceFact(path="ec2/launchSecurity", value="AMD SEV-SNP")


def _edge(instance: Facts) -> str | None:
    """Where an instance is in no availability zone of its region."""
    zone, outpost = instance.child("Placement").text("AvailabilityZone") or "", instance.text("OutpostArn")
    if outpost:
        return f"the Outpost {outpost}"
    if _WAVELENGTH.search(zone):
        return f"the Wavelength Zone {zone}"
    return f"the Local Zone {zone}" if _LOCAL.fullmatch(zone) else None


def _metadata_service(options: Facts) -> str | None:
    options.skip("State", "HttpProtocolIpv6", "HttpPutResponseHopLimit", "InstanceMetadataTags")
    endpoint, tokens = options.text("HttpEndpoint"), options.text("HttpTokens") or ""
    return "off" if endpoint == "disabled" else {"required": "IMDSv2 only", "optional": "IMDSv1 and IMDSv2"}.get(tokens)
