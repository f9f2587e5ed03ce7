"""The three machines of the source estate, and the libvirt domain XML of each: pure."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from lab.guests import DATA_START, Spec

NAMESPACE = "https://kubeferry.io/lab/1"
OSINFO = "http://libosinfo.org/xmlns/libvirt/domain/1.0"
OVMF = Path("/usr/share/OVMF")


@dataclass(frozen=True, slots=True)
class DiskFile:
    """One disk of a machine: the guest's name for it, its file in the estate's folder, and where its ext4 begins."""

    target: str
    bus: Literal["virtio", "ide"]
    file: str
    format: Literal["raw", "qcow2"]
    start: int = DATA_START


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the estate. `layers` maps a disk to the file that a snapshot puts on top of it."""

    name: str
    title: str
    description: str
    guest: Spec
    disks: tuple[DiskFile, ...]
    chipset: Literal["q35", "pc"] = "q35"
    firmware: Literal["bios", "uefi"] = "bios"
    memory_mib: int = 256
    cores: int = 1
    nic: Literal["virtio", "e1000"] = "virtio"
    layers: tuple[tuple[str, str], ...] = ()
    tpm: bool = False

    def top(self, disk: DiskFile) -> str:
        """The file that the guest writes to: the snapshot's layer where there is one."""
        return dict(self.layers).get(disk.target, disk.file)


WEB = Machine(
    "web",
    "Web front end",
    "Serves the start page, and writes all the time. One virtio disk, BIOS.",
    Spec("web", writer=True),
    (DiskFile("vda", "virtio", "web.qcow2", "qcow2"),),
)
DB = Machine(
    "db",
    "Database",
    "UEFI, a system disk that carries a snapshot, a raw data disk.",
    Spec("db", second_disk=True),
    (
        DiskFile("vda", "virtio", "db-system.qcow2", "qcow2"),
        DiskFile("vdb", "virtio", "db-data.raw", "raw", start=0),
    ),
    firmware="uefi",
    memory_mib=320,
    cores=2,
    layers=(("vda", "db-system.before-upgrade.qcow2"),),
)
LEGACY = Machine(
    "legacy",
    "Accounting, 2009",
    "i440fx with an IDE disk and an e1000 card: nobody dares to touch it.",
    Spec("legacy", kernel="generic"),
    (DiskFile("hda", "ide", "legacy.raw", "raw"),),
    chipset="pc",
    nic="e1000",
)
MACHINES = {machine.name: machine for machine in (WEB, DB, LEGACY)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an estate lives: its folder, and what comes before each domain's name."""

    folder: Path
    prefix: str

    def domain(self, machine: Machine) -> str:
        return f"{self.prefix}{machine.name}"


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """What this libvirtd can do: the kind of virtualization that works, and its security models."""

    virtualization: Literal["kvm", "qemu"]
    security: tuple[str, ...]


def xml(machine: Machine, place: Place, hypervisor: Hypervisor) -> str:
    """The domain as it is defined, before the snapshot of its disks (if it has one) is taken."""
    domain = ET.Element("domain", type=hypervisor.virtualization)
    for tag, text in (
        ("name", place.domain(machine)),
        ("uuid", str(identity(machine, place))),
        ("title", machine.title),
        ("description", machine.description),
    ):
        ET.SubElement(domain, tag).text = text
    _metadata(domain, place)
    ET.SubElement(domain, "memory", unit="MiB").text = str(machine.memory_mib)
    ET.SubElement(domain, "vcpu").text = str(machine.cores)
    _firmware(domain, machine, place)
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    cpu = ET.SubElement(domain, "cpu", mode="custom", match="exact")
    ET.SubElement(cpu, "model").text = "qemu64"
    ET.SubElement(cpu, "topology", sockets="1", cores=str(machine.cores), threads="1")
    ET.SubElement(domain, "clock", offset="localtime" if machine is LEGACY else "utc")
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        ET.SubElement(domain, event).text = action
    _devices(domain, machine, place)
    _security(domain, hypervisor)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode")


def owner(domain_xml: str) -> str | None:
    """The folder of the estate that a domain belongs to, None for a domain that is not the lab's."""
    marker = ET.fromstring(domain_xml).find(f"metadata/{{{NAMESPACE}}}estate")  # noqa: S314 (libvirtd's own)
    return None if marker is None else marker.get("folder")


def identity(machine: Machine, place: Place) -> uuid.UUID:
    """The same for the same machine in the same folder: an estate that is made again keeps its identities."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMESPACE}/{place.folder}/{place.domain(machine)}")


def mac(machine: Machine, place: Place) -> str:
    digest = hashlib.sha256(identity(machine, place).bytes).digest()
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *digest[:3]))


def variables(machine: Machine, place: Place) -> Path:
    """Where the UEFI variables of the machine are kept."""
    return place.folder / f"{machine.name}.nvram.fd"


def serial_log(machine: Machine, place: Place) -> Path:
    """What the machine says on its serial line, from its first start on."""
    return place.folder / f"{machine.name}.serial.log"


def _metadata(domain: ET.Element, place: Place) -> None:
    ET.register_namespace("lab", NAMESPACE)
    ET.register_namespace("libosinfo", OSINFO)
    metadata = ET.SubElement(domain, "metadata")
    ET.SubElement(metadata, f"{{{NAMESPACE}}}estate", folder=str(place.folder))
    libosinfo = ET.SubElement(metadata, f"{{{OSINFO}}}libosinfo")
    ET.SubElement(libosinfo, f"{{{OSINFO}}}os", id="http://libosinfo.org/linux/2022")


def _firmware(domain: ET.Element, machine: Machine, place: Place) -> None:
    system = ET.SubElement(domain, "os")
    ET.SubElement(system, "type", arch="x86_64", machine=machine.chipset).text = "hvm"
    if machine.firmware == "uefi":
        ET.SubElement(system, "loader", readonly="yes", type="pflash").text = str(OVMF / "OVMF_CODE_4M.fd")
        template = str(OVMF / "OVMF_VARS_4M.fd")
        ET.SubElement(system, "nvram", template=template).text = str(variables(machine, place))
    ET.SubElement(system, "boot", dev="hd")


def _devices(domain: ET.Element, machine: Machine, place: Place) -> None:
    devices = ET.SubElement(domain, "devices")
    ET.SubElement(devices, "emulator").text = "/usr/bin/qemu-system-x86_64"
    for disk in machine.disks:
        element = ET.SubElement(devices, "disk", type="file", device="disk")
        ET.SubElement(element, "driver", name="qemu", type=disk.format, discard="unmap")
        ET.SubElement(element, "source", file=str(place.folder / disk.file))
        ET.SubElement(element, "target", dev=disk.target, bus=disk.bus)
    # QEMU's own network: it needs neither a bridge nor a firewall of the host.
    nic = ET.SubElement(devices, "interface", type="user")
    ET.SubElement(nic, "mac", address=mac(machine, place))
    ET.SubElement(nic, "model", type=machine.nic)
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=str(serial_log(machine, place)), append="on")
    ET.SubElement(serial, "target", port="0")
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    ET.SubElement(devices, "graphics", type="vnc", port="-1", autoport="yes", listen="127.0.0.1")
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="cirrus" if machine is LEGACY else "vga")
    if machine.tpm:
        tpm = ET.SubElement(devices, "tpm", model="tpm-crb")
        ET.SubElement(tpm, "backend", type="emulator", version="2.0")
    if machine.chipset == "q35":
        rng = ET.SubElement(devices, "rng", model="virtio")
        ET.SubElement(rng, "backend", model="random").text = "/dev/urandom"
    ET.SubElement(devices, "memballoon", model="none" if machine is LEGACY else "virtio")


def _security(domain: ET.Element, hypervisor: Hypervisor) -> None:
    """QEMU runs as the user that libvirtd runs as: a checkout below a private home is closed to all others."""
    for model in hypervisor.security:
        if model == "dac":
            label = ET.SubElement(domain, "seclabel", type="static", model="dac", relabel="no")
            ET.SubElement(label, "label").text = "+0:+0"
        else:
            ET.SubElement(domain, "seclabel", type="none", model=model)
