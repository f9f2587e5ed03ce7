"""The pure parser, word by word: disks and their chains."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubeferry.model import ChainLink, DiskBus, DiskDevice, Machine
from kubeferry.sources.disks import local_disks
from kubeferry.sources.libvirt.domain import network

Build = Callable[..., Machine]
Facts = Callable[[Machine], dict[str, str]]


def disk(inside: str, attributes: str = "type='file' device='disk'") -> str:
    return f"<disk {attributes}>{inside}<target dev='vda' bus='virtio'/></disk>"


def link(path: str, form: str, below: str) -> str:
    return f"<backingStore type='file'><format type='{form}'/><source file='{path}'/>{below}</backingStore>"


@pytest.mark.parametrize(
    ("kind", "source", "uri"),
    [
        ("file", "<source file='/images/a b#1.img'/>", "file:///images/a%20b%231.img"),
        ("file", "<source file='relative.img'/>", "file:relative.img"),
        ("file", "<source/>", None),
        ("file", "", None),
        ("block", "<source dev='/dev/vg/lv'/>", "block:///dev/vg/lv"),
        ("dir", "<source dir='/srv'/>", "dir:///srv"),
        ("volume", "<source pool='fast' volume='a b'/>", "volume://fast/a%20b"),
        ("vhostuser", "<source type='unix' path='/run/v.sock'/>", "vhostuser:///run/v.sock"),
        (
            "nvme",
            "<source namespace='1'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>",
            "nvme://0000:01:00.0/1",
        ),
        (
            "network",
            "<source protocol='rbd' name='pool/image'><host name='m1' port='6789'/><host name='fd00::1'/></source>",
            "rbd://m1:6789,[fd00::1]/pool/image",
        ),
        (
            "network",
            "<source protocol='rbd' name='pool/image'><host name='m'/><snapshot name='a b/c'/></source>",
            "rbd://m/pool/image?snapshot=a%20b%2Fc",
        ),
        (
            "network",
            "<source protocol='nbd' name='x'><host transport='unix' socket='/run/n b'/></source>",
            "nbd+unix:///x?socket=/run/n%20b",
        ),
        ("network", "<source protocol='nbd'><host name='h'/></source>", "nbd://h/"),
        ("network", "<source protocol='iscsi' name='iqn.a:b/2'><host name='h'/></source>", "iscsi://h/iqn.a%3Ab/2"),
        ("network", "<source protocol='https' name='i.iso' query='sig=1'><host name='h'/></source>", "https://h/i.iso"),
        ("network", "<source/>", None),
    ],
)
def test_where_an_image_lies(machine: Build, kind: str, source: str, uri: str | None) -> None:
    found = machine(devices=disk(source, f"type='{kind}' device='disk'")).disks[0]
    assert (found.uri, found.source_kind) == (uri, kind)


@pytest.mark.parametrize("bus", [*DiskBus])
def test_every_bus(machine: Build, facts: Facts, bus: DiskBus) -> None:
    found = machine(devices=f"<disk type='file'><target dev='x' bus='{bus}'/></disk>")
    assert found.disks[0].bus == bus
    assert (bus == DiskBus.UNKNOWN) == bool(facts(found))


def test_what_a_disk_says_of_itself(machine: Build, facts: Facts) -> None:
    found = machine(
        devices=disk(
            "<driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap' queues='4' iothread='2'"
            " error_policy='report'/><blockio logical_block_size='4096' physical_block_size='8192'"
            " discard_granularity='65536'/><serial>S1</serial>"
            "<wwn>5000c50015ea71aa</wwn><shareable/><readonly/><transient/><boot order='2'/><iotune><read_iops_sec>9"
            "</read_iops_sec></iotune><vendor>ACME</vendor>"
        )
    )
    one = found.disks[0]
    assert (one.format, one.cache, one.io, one.discard) == ("qcow2", "none", "native", "unmap")
    assert (one.queues, one.io_thread, one.error_policy) == (4, True, "report")
    assert (one.logical_block_bytes, one.physical_block_bytes) == (4096, 8192)
    assert one.discard_granularity_bytes == 65536
    assert (one.serial, one.wwn, one.boot_order, one.chain) == ("S1", "5000c50015ea71aa", 2, None)
    assert one.shareable
    assert one.readonly
    assert one.transient
    assert one.throttled
    assert not one.encrypted
    assert facts(found) == {
        "devices/disk[vda]/iotune/read_iops_sec": "9",
        "devices/disk[vda]/vendor": "ACME",
    }


def test_the_generation_of_a_virtio_disk_is_read_and_another_word_stays_a_fact(machine: Build, facts: Facts) -> None:
    old = machine(devices=disk("", "type='file' device='disk' model='virtio-transitional'"))
    assert old.disks[0].virtio == "virtio-transitional"
    odd = machine(devices=disk("", "type='file' device='disk' model='floppy'"))
    assert odd.disks[0].virtio is None
    assert facts(odd) == {"devices/disk[vda]": "model=floppy"}


def test_a_format_that_is_not_stated_is_not_assumed(machine: Build) -> None:
    assert machine(devices=disk("<source file='/a.img'/>")).disks[0].format is None


@pytest.mark.parametrize("device", [*DiskDevice])
def test_kinds_of_drives(machine: Build, device: DiskDevice) -> None:
    assert machine(devices=disk("", f"type='file' device='{device}'")).disks[0].device == device


def test_removable_and_encrypted_wherever_it_says_so(machine: Build) -> None:
    usb = "<disk type='file'><target dev='sda' bus='usb' removable='on'/></disk>"
    assert machine(devices=usb).disks[0].removable
    locked = "<encryption format='luks'><secret type='passphrase' uuid='u'/></encryption>"
    below = link("/b", "raw", f"{locked}<backingStore/>")
    for inside in (locked, f"<source file='/a'>{locked}</source>", below):
        assert machine(devices=disk(inside)).disks[0].encrypted


@pytest.mark.parametrize(("part", "form"), [("slices", "slice of raw"), ("dataStore", "external raw")])
def test_an_image_below_that_is_not_what_its_file_holds_has_a_format_that_nothing_reads(
    machine: Build, part: str, form: str
) -> None:
    below = f"<backingStore type='file'><format type='raw'/><source file='/b'><{part}/></source></backingStore>"
    (found,) = machine(devices=disk(f"<driver type='qcow2'/>{below}")).disks
    assert found.chain == (ChainLink(uri="file:///b", format=form),)
    assert form not in local_disks.FORMATS


@pytest.mark.parametrize(
    ("inside", "chain"),
    [
        ("", None),
        ("<backingStore/>", ()),
        (link("/b", "qcow2", "<backingStore/>"), (ChainLink(uri="file:///b", format="qcow2"),)),
        (
            link("/b", "qcow2", link("/c", "raw", "<backingStore/>")),
            (ChainLink(uri="file:///b", format="qcow2"), ChainLink(uri="file:///c", format="raw")),
        ),
        # a raw image has nothing below it, whether that is said or not
        (link("/b", "raw", ""), (ChainLink(uri="file:///b", format="raw"),)),
        # but of another one nobody knows
        (link("/b", "qcow2", ""), None),
    ],
)
def test_chains(machine: Build, inside: str, chain: tuple[ChainLink, ...] | None) -> None:
    assert machine(devices=disk(f"<driver type='qcow2'/>{inside}")).disks[0].chain == chain


def test_a_chain_without_an_end_is_told_as_facts(machine: Build, facts: Facts) -> None:
    told = facts(machine(devices=disk(link("/b", "qcow2", ""))))
    assert told["devices/disk[vda]/backingStore/source"] == "file=/b"


def test_the_longest_chain_that_libvirt_knows(machine: Build) -> None:
    inside = "<backingStore/>"
    for index in range(200):
        inside = link(f"/{index}", "qcow2", inside)
    chain = machine(devices=disk(inside)).disks[0].chain
    assert chain is not None
    assert [one.uri for one in chain[:2]] == ["file:///199", "file:///198"]


def test_the_scsi_controller_is_the_one_of_the_address(machine: Build, facts: Facts) -> None:
    one = "<controller type='scsi' index='0' model='virtio-scsi'/>"
    controllers = f"{one}<controller type='scsi' index='1' model='lsilogic'/>"
    at = "<disk type='file'><target dev='sda' bus='scsi'/><address type='drive' controller='1' unit='3'/></disk>"
    assert machine(devices=controllers + at).disks[0].controller_model == "lsilogic"
    nowhere = "<disk type='file'><target dev='sda' bus='scsi'/></disk>"
    assert machine(devices=controllers + nowhere).disks[0].controller_model is None
    assert machine(devices=nowhere + one).disks[0].controller_model == "virtio-scsi"
    assert facts(machine(devices=controllers + at)) == {"devices/disk[sda]/address": "drive 1:0:0:3"}


AUTH = "<auth username='%s'><secret type='%s' %s/></auth>"


@pytest.mark.parametrize("inside", [True, False])
def test_how_the_hypervisor_is_let_in_is_told_apart_from_the_machine(
    machine: Build, facts: Facts, inside: bool
) -> None:
    """In the disk, as older definitions have it, and in its source; neither is a fact of the machine."""
    auth = AUTH % ("chap", "iscsi", "usage='for the lun'")
    source = (
        "<source protocol='iscsi' name='iqn.a:b/2'><host name='h'/>"
        f"<initiator><iqn name='iqn.c:d'/></initiator>{auth if inside else ''}</source>"
    )
    ceph = (
        "<disk type='network'><source protocol='rbd' name='p/i'><config file='/etc/ceph/x.conf'/>"
        "<auth username='admin'><secret type='ceph' uuid='U-1'/></auth></source>"
        "<target dev='vdb' bus='virtio'/></disk>"
    )
    devices = disk(source + ("" if inside else auth), "type='network' device='disk'") + ceph
    found = machine(devices=devices)
    assert facts(found) == {}
    assert not any(word in found.model_dump_json() for word in ("chap", "lun", "iqn.c:d", "admin", "U-1", "x.conf"))
    assert network.accesses(f"<domain><devices>{devices}</devices></domain>") == {
        "vda": network.Access(initiator="iqn.c:d", user="chap", kind="iscsi", usage="for the lun"),
        "vdb": network.Access(config="/etc/ceph/x.conf", user="admin", kind="ceph", uuid="U-1"),
    }


def test_a_login_to_a_server_that_is_not_read_stays_a_fact(machine: Build, facts: Facts) -> None:
    source = "<source protocol='nbd' name='x'><host name='h'/></source>"
    found = machine(devices=disk(source + AUTH % ("u", "tls", "uuid='U'"), "type='network' device='disk'"))
    assert any(path.endswith("/auth") for path in facts(found))
