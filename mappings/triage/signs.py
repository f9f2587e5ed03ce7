"""What speaks for which place: a sign finds facts of the inventory, and says what they mean for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kubeferry.documents.triage import Place
from kubeferry.model import FirmwareKind, Guest, Machine
from mappings.ec2 import fact
from mappings.firmware import ARCHITECTURES
from mappings.systems import is_linux, is_windows, out_of_support
from mappings.triage.services import Service, services

Found = Iterable[tuple[str, str]]
"""What it means, and the fact that says so."""

# What usually answers there, and keeps what it is told on its disks.
_KEEPS_STATE = {
    25: "a mail server",
    53: "a name server",
    88: "a directory service",
    389: "a directory service",
    445: "a file server",
    636: "a directory service",
    1433: "SQL Server",
    1521: "Oracle",
    2049: "a file server",
    3306: "MySQL",
    5432: "PostgreSQL",
    9200: "Elasticsearch",
    27017: "MongoDB",
}
_STATELESS = {80: "a web server", 443: "a web server", 8080: "a web application", 8443: "a web application"}
_ROLE_KEYS = ("role", "service", "function", "tier")


@dataclass(frozen=True, slots=True)
class Sign:
    """`about` says what it looks for, `find` yields what it means, and the fact, for each such thing."""

    id: str
    speaks_for: Place
    about: str
    find: Callable[[Machine], Found]


def _fact(path: str, means: Callable[[str], str]) -> Callable[[Machine], Found]:
    """A fact of EC2's that has any value but no."""

    def find(machine: Machine) -> Found:
        value = fact(machine, path)
        if value is not None and value != "no":
            yield means(value), f"ec2/{path}: {value}"

    return find


def _source_fact(path: str, means: Callable[[str], str]) -> Callable[[Machine], Found]:
    def find(machine: Machine) -> Found:
        for one in machine.unmodelled:
            if one.path == path:
                yield means(one.value), f"{path}: {one.value}"

    return find


def _architecture(machine: Machine) -> Found:
    if machine.arch is not None and machine.arch not in ARCHITECTURES:
        yield "Manifests are made for processors of x86 alone.", f"arch: {machine.arch}"


def _paravirtual(machine: Machine) -> Found:
    if fact(machine, "VirtualizationType") == "paravirtual":
        yield "Its kernel may start under Xen alone.", "ec2/VirtualizationType: paravirtual"


def _devices(machine: Machine) -> Iterator[tuple[str, str]]:
    for number, device in enumerate(machine.devices):
        told = f"devices[{number}:{device.kind}]: {device.model or device.kind}"
        if device.kind == "hostdev":
            yield "It drives a device of its host; what replaces that at the target is to be decided first.", told
        elif device.kind == "filesystem":
            yield "It uses a folder of its host, which does not move.", told


def _router(machine: Machine) -> Found:
    if fact(machine, "SourceDestCheck") == "no":
        yield "It passes on traffic that is not meant for it; a pod's network gives it none.", "ec2/SourceDestCheck: no"


def _system(machine: Machine) -> Found:
    guest = machine.guest
    if is_windows(guest):
        yield "It runs Windows, which a Linux node starts as a VM only.", _os(machine)
    elif linux(machine)[0] is False:
        yield "Its system is no Linux, so a container has no kernel for it.", linux(machine)[1]


def _old(machine: Machine) -> Found:
    if out_of_support(machine.guest):
        yield (
            "Nobody maintains its system any more: there is no current base image of it, and it moves as it is.",
            _os(machine),
        )


def _firmware(machine: Machine) -> Iterator[tuple[str, str]]:
    if machine.firmware.kind is FirmwareKind.UEFI and machine.firmware.secure_boot:
        yield "It boots by secure boot, which proves a kernel of its own.", "firmware.secureBoot: yes"
    if machine.tpm is not None:
        yield "It has a TPM, which a container has not.", f"tpm.version: {machine.tpm.version or 'not told'}"
    if machine.cpu.nested:
        yield "It runs virtual machines of its own.", "cpu.nested: yes"


def _cards(machine: Machine) -> Found:
    if len(machine.nics) > 1:
        yield "It is in several networks; a pod has one card.", f"nics: {len(machine.nics)}"


def _disks(machine: Machine) -> Found:
    if len(machine.data_disks) > 1:
        yield "It has disks beside that of its system, so it keeps something.", f"disks: {len(machine.data_disks)}"


def _several(machine: Machine) -> Found:
    found = services(machine) or ()
    if len(found) > 1:
        ports = ", ".join(f"{one.protocol} {one.port}" for one in found)
        yield f"It serves on several ports ({ports}): several services would be several images.", _lines(found)


def _stateful(machine: Machine) -> Found:
    for one in services(machine) or ():
        if what := _KEEPS_STATE.get(one.port):
            yield (
                f"On {one.protocol} {one.port} there is usually {what}, which keeps its state on its disks.",
                _line(one),
            )


def _one_service(machine: Machine) -> Found:
    found = services(machine) or ()
    known, told = linux(machine)
    if len(found) == 1 and known and found[0].port not in _KEEPS_STATE:
        one = found[0]
        usual = f", usually {_STATELESS[one.port]}" if one.port in _STATELESS else ""
        what = f"It is a Linux that serves on one port ({one.protocol} {one.port}{usual}): a candidate for an image."
        yield what, f"{_line(one)}; {told}"


def _alike(machine: Machine) -> Found:
    group = machine.metadata.get("aws:autoscaling:groupName")
    if group is not None:
        what = f"The Auto Scaling group {group} makes and ends machines like it at any time, so it keeps nothing."
        yield what, f"metadata.aws:autoscaling:groupName: {group}"


def linux(machine: Machine) -> tuple[bool | None, str]:
    """Whether its system is a Linux, and the fact that says so: what is known of the guest, else of the image that it
    was made from. None where neither tells."""
    images = ((path, fact(machine, path)) for path in ("image/Name", "image/Description"))
    told = [(machine.guest, _os(machine))]
    told += [(Guest(os_name=name), f"ec2/{path}: {name}") for path, name in images if name]
    return next(((known, what) for guest, what in told if (known := is_linux(guest)) is not None), (None, ""))


def role(machine: Machine) -> str | None:
    """What its people say that it is for, as a fact; None where they do not."""
    said = (
        f"metadata.{key}: {value}" for key, value in machine.metadata.items() if key.lower() in _ROLE_KEYS and value
    )
    return next(said, None)


def _os(machine: Machine) -> str:
    said = {"guest.osName": machine.guest.os_name, "guest.osId": machine.guest.os_id}
    return "; ".join(f"{key}: {value}" for key, value in said.items() if value)


def _line(one: Service) -> str:
    return f"{one.where}: {one.line}"


def _lines(found: Iterable[Service]) -> str:
    return "; ".join(map(_line, found))


SIGNS = (
    Sign(
        "stay.managed",
        "stay",
        "an instance that a service of AWS's manages",
        _fact("Operator/Managed", lambda _: "A service of AWS's manages it, and replaces what is moved away."),
    ),
    Sign(
        "stay.bare-metal",
        "stay",
        "a bare metal instance",
        _fact("bareMetal", lambda kind: f"It is a machine of its own ({kind}), and may drive the host's hardware."),
    ),
    Sign(
        "stay.enclave",
        "stay",
        "Nitro enclaves",
        _fact("EnclaveOptions/Enabled", lambda _: "It may run Nitro enclaves, which are nowhere else."),
    ),
    Sign(
        "stay.fault-tolerance",
        "stay",
        "fault tolerance of vSphere's",
        _source_fact(
            "faultTolerance", lambda state: f"vSphere runs it twice (fault tolerance is {state}); KubeVirt does not."
        ),
    ),
    Sign(
        "stay.appliance",
        "stay",
        "a machine that a product manages",
        _source_fact(
            "managedBy", lambda who: f"{who} manages it, and makes it anew; move its workload by that product."
        ),
    ),
    Sign("stay.paravirtual", "stay", "a kernel for Xen alone", _paravirtual),
    Sign("stay.architecture", "stay", "processors that no manifest is made for", _architecture),
    Sign("stay.host-device", "stay", "devices and folders of the host", _devices),
    Sign("stay.router", "stay", "a router, a NAT or a VPN", _router),
    Sign("vm.system", "vm", "a system that is no Linux", _system),
    Sign("vm.age", "vm", "a system that nobody maintains any more", _old),
    Sign("vm.hardware", "vm", "secure boot, a TPM, nested virtualization", _firmware),
    Sign("vm.cards", "vm", "several network cards", _cards),
    Sign("vm.disks", "vm", "several disks", _disks),
    Sign("vm.services", "vm", "several services", _several),
    Sign("vm.state", "vm", "a service that keeps state", _stateful),
    Sign("container.alike", "container", "an instance of an Auto Scaling group", _alike),
    Sign("container.one-service", "container", "a Linux with one service on a port", _one_service),
)
"""In the order in which they are told; the first place of these that any speaks for is the verdict."""
