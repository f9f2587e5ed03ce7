"""Who else runs with a disk, asked of libvirt's own driver for tests, which needs no daemon and starts no QEMU."""

from __future__ import annotations

from collections.abc import Iterator

import libvirt
import pytest

from kubeferry.model import Machine
from kubeferry.sources.libvirt import sharing
from kubeferry.sources.libvirt.domain.machine import parse_domain

_DOMAIN = """
<domain type="test"><name>{name}</name><memory>8192</memory><os><type>hvm</type></os><devices>
<disk type="file" device="disk"><source file="/images/{file}.img"/><target dev="vda" bus="virtio"/>{said}</disk>
</devices></domain>
"""


@pytest.fixture
def hypervisor() -> Iterator[libvirt.virConnect]:
    connection = libvirt.open("test:///default")
    usual = {one.UUIDString() for one in connection.listAllDomains()}
    yield connection
    for domain in connection.listAllDomains():  # the driver has one set of them for the whole process
        if domain.UUIDString() not in usual:
            domain.destroy() if domain.isActive() else domain.undefine()
    connection.close()


def started(hypervisor: libvirt.virConnect, name: str, file: str, said: str = "") -> libvirt.virDomain:
    return hypervisor.createXML(_DOMAIN.format(name=name, file=file, said=said))


def read(domain: libvirt.virDomain) -> Machine:
    return parse_domain(domain.XMLDesc(), source="kvm")


def found(domain: libvirt.virDomain) -> list[str]:
    machine = read(domain)
    return [one.what for one in sharing.running(machine, machine, domain, read)]


@pytest.mark.parametrize("said", ["", "<shareable/>"])
def test_another_that_runs_with_the_file_writes_to_it_whatever_it_is_called(
    hypervisor: libvirt.virConnect, said: str
) -> None:
    web = started(hypervisor, "web", "one", said)
    started(hypervisor, "clone", "one", said)
    (what,) = found(web)
    assert what == "file:///images/one.img is clone's as well, which is running, and may write to it"


def test_one_that_only_reads_it_or_has_another_or_is_off_does_not(hypervisor: libvirt.virConnect) -> None:
    web = started(hypervisor, "web", "one")
    started(hypervisor, "reader", "one", "<readonly/>")
    started(hypervisor, "other", "two")
    hypervisor.defineXML(_DOMAIN.format(name="off", file="one", said=""))
    assert found(web) == []
