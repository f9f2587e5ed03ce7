"""OVAs in the layout that VMware's tools write: descriptor, manifest, disks as streamOptimized VMDKs.

What it does not do: every word of the OVF standard. It makes machines that can be moved, for tests and demonstrations.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from lab.vmdk import write_stream

STREAM = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
MIB = 1 << 20
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope vmw:buildId="build-1" xmlns="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:vmw="http://www.vmware.com/schema/ovf"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
"""


@dataclass(frozen=True, slots=True)
class PackedDisk:
    """A disk of a machine: its id in the OVF, its file there, and the raw bytes that go into it."""

    id: str
    href: str
    capacity: int
    raw: Path | bytes


def descriptor(
    name: str,
    disks: list[PackedDisk],
    sizes: Mapping[str, int],
    *,
    vcpus: int = 1,
    memory_mib: int = 256,
    firmware: str = "bios",
    networks: tuple[str, ...] = ("VM Network",),
) -> str:
    """An OVF of one machine. `sizes` are those of the files."""
    files = "".join(
        f"<File ovf:href={quoteattr(disk.href)} ovf:id={quoteattr('file-' + disk.id)} ovf:size='{sizes[disk.href]}'/>"
        for disk in disks
    )
    told = "".join(
        f"<Disk ovf:diskId={quoteattr(disk.id)} ovf:fileRef={quoteattr('file-' + disk.id)}"
        f" ovf:capacity='{disk.capacity}' ovf:capacityAllocationUnits='byte' ovf:format='{STREAM}'/>"
        for disk in disks
    )
    nets = "".join(
        f"<Network ovf:name={quoteattr(one)}><Description>a network</Description></Network>"
        for one in dict.fromkeys(networks)
    )
    items = [_item(1, 3, VirtualQuantity=vcpus, AllocationUnits="hertz * 10^6")]
    items.append(_item(2, 4, VirtualQuantity=memory_mib, AllocationUnits="byte * 2^20"))
    items.append(_item(3, 20, ResourceSubType="vmware.sata.ahci"))
    items += [
        _item(10 + at, 17, HostResource=f"ovf:/disk/{disk.id}", Parent=3, AddressOnParent=at)
        for at, disk in enumerate(disks)
    ]
    items += [_item(50 + at, 10, Connection=one, ResourceSubType="E1000") for at, one in enumerate(networks)]
    return (
        f"{_HEAD}<References>{files}</References><DiskSection><Info>disks</Info>{told}</DiskSection>"
        f"<NetworkSection><Info>networks</Info>{nets}</NetworkSection>"
        f"<VirtualSystem ovf:id={quoteattr(name)}><Info>a machine</Info><Name>{escape(name)}</Name>"
        "<OperatingSystemSection ovf:id='101' vmw:osType='otherLinux64Guest'><Info>os</Info>"
        "<Description>Other Linux (64-bit)</Description></OperatingSystemSection>"
        "<VirtualHardwareSection><Info>hardware</Info><System><vssd:ElementName>family</vssd:ElementName>"
        "<vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemType>vmx-19</vssd:VirtualSystemType></System>"
        f"{''.join(items)}<vmw:Config ovf:required='false' vmw:key='firmware' vmw:value='{firmware}'/>"
        "</VirtualHardwareSection></VirtualSystem></Envelope>"
    )


def _item(instance: int, kind: int, **values: object) -> str:
    """Elements in the order of the alphabet, as the standard wants them."""
    told = {"InstanceID": instance, "ElementName": f"item {instance}", "ResourceType": kind, **values}
    return f"<Item>{''.join(f'<rasd:{key}>{escape(str(told[key]))}</rasd:{key}>' for key in sorted(told))}</Item>"


def packed(disk: PackedDisk) -> bytes:
    """A disk as a streamOptimized VMDK."""
    out = io.BytesIO()
    if isinstance(disk.raw, bytes):
        write_stream(io.BytesIO(disk.raw), out, disk.capacity, name=disk.href)
    else:
        with disk.raw.open("rb") as raw:
            write_stream(raw, out, disk.capacity, name=disk.href)
    return out.getvalue()


def manifest(files: Mapping[str, bytes], algorithm: str = "sha256") -> str:
    """A line for each file."""
    digests = {name: hashlib.new(algorithm, content, usedforsecurity=False) for name, content in files.items()}
    return "".join(f"{algorithm.upper()}({name})= {digest.hexdigest()}\n" for name, digest in digests.items())


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar of these files, in their order."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    return path


def export(path: Path, name: str, disks: list[PackedDisk], *, manifest_last: bool = False, **hardware: object) -> Path:
    """An OVA of one machine at `path`, its manifest behind the descriptor or at the end. `hardware` as `descriptor`."""
    files = {disk.href: packed(disk) for disk in disks}
    sizes = {href: len(content) for href, content in files.items()}
    text = descriptor(name, disks, sizes, **hardware).encode()  # type: ignore[arg-type]
    ovf, mf = f"{path.stem}.ovf", f"{path.stem}.mf"
    told = manifest({ovf: text, **files}).encode()
    order = {ovf: text, **files, mf: told} if manifest_last else {ovf: text, mf: told, **files}
    return archive(path, order)
