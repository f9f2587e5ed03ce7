"""The pure parser, word by word: network cards and all other devices, metadata, what is left over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubeferry.model import Machine, Watchdog

Build = Callable[..., Machine]
Facts = Callable[[Machine], dict[str, str]]


# --- network cards ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "source", "network", "mode"),
    [
        ("network", "<source network='n' portid='p' bridge='virbr0'/>", "n", None),
        ("bridge", "<source bridge='br0'/>", "br0", None),
        ("direct", "<source dev='eno1' mode='bridge'/>", "eno1", "bridge"),
        ("user", "", None, None),
        ("ethernet", "", None, None),
        ("vhostuser", "<source type='unix' path='/run/s' mode='server'/>", "/run/s", "server"),
        ("vdpa", "<source dev='/dev/vhost-vdpa-0'/>", "/dev/vhost-vdpa-0", None),
        ("internal", "<source name='n'/>", "n", None),
        (
            "hostdev",
            "<source><address type='pci' domain='0x0000' bus='0x3b' slot='0x02' function='0x1'/></source>",
            "pci 0000:3b:02.1",
            None,
        ),
    ],
)
def test_what_a_card_is_plugged_into(
    machine: Build, kind: str, source: str, network: str | None, mode: str | None
) -> None:
    nic = machine(devices=f"<interface type='{kind}'>{source}</interface>").nics[0]
    assert (nic.network_kind, nic.network, nic.mode) == (kind, network, mode)
    assert (nic.model, nic.mac, nic.link_up, nic.mtu) == (None, None, None, None)


def test_what_a_card_says_of_itself(machine: Build, facts: Facts) -> None:
    found = machine(
        devices="<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='b' /><model type='e1000'/>"
        "<vlan trunk='yes'><tag id='4'/><tag id='5' nativeMode='untagged'/></vlan><link state='down'/>"
        "<mtu size='9000'/><boot order='3'/><bandwidth><inbound average='1'/></bandwidth><filterref filter='f'/>"
        "</interface>"
        "<interface type='network'><source network='n' portgroup='g'/><link state='up'/><target dev='vnet7'/>"
        "</interface>"
    )
    first, second = found.nics
    assert (first.id, second.id) == ("net0", "net1")
    assert (first.mac, first.model, first.vlans, first.link_up) == ("52:54:00:00:00:01", "e1000", (4, 5), False)
    assert (first.mtu, first.boot_order, first.throttled, first.filtered) == (9000, 3, True, True)
    assert (second.portgroup, second.link_up, second.throttled, second.filtered) == ("g", True, False, False)
    assert facts(found) == {
        "devices/interface[net0]/vlan/tag[2]": "nativeMode=untagged",
        "devices/interface[net0]/bandwidth/inbound": "average=1",
        "devices/interface[net0]/filterref": "filter=f",
    }


# --- other devices ---------------------------------------------------------------------------------------------------


def test_the_agent_is_there_only_with_its_own_channel(machine: Build) -> None:
    other = "<channel type='unix'><target type='virtio' name='org.libguestfs.channel.0'/></channel>"
    agent = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>"
    assert machine(devices=other).guest.agent_channel is False
    assert machine(devices=other + agent).guest.agent_channel is True
    assert machine(devices=agent).guest.agent_answers is None


def test_tpm_and_watchdog(machine: Build, facts: Facts) -> None:
    found = machine(
        devices="<tpm model='tpm-crb'><backend type='emulator' version='2.0' persistent_state='yes'/></tpm>"
        "<watchdog model='i6300esb' action='reset'/><watchdog model='itco' action='none'/>"
    )
    assert found.tpm is not None
    assert (found.tpm.model, found.tpm.version, found.tpm.backend, found.tpm.persistent) == (
        "tpm-crb",
        "2.0",
        "emulator",
        True,
    )
    assert found.watchdog == Watchdog(model="i6300esb", action="reset")
    assert facts(found) == {"devices/watchdog[2]": "model=itco action=none"}
    assert (machine().tpm, machine().watchdog) == (None, None)


@pytest.mark.parametrize(
    ("device", "kind", "model", "detail"),
    [
        ("<graphics type='vnc' port='5900' passwd='hunter2'/>", "graphics", "vnc", {"port": "5900"}),
        ("<video><model type='qxl' ram='65536'/></video>", "video", "qxl", {"model.ram": "65536"}),
        ("<sound model='ich9'/>", "sound", "ich9", {}),
        ("<input type='tablet' bus='usb'/>", "input", "tablet", {"bus": "usb"}),
        ("<memballoon model='none'/>", "memballoon", "none", {}),
        ("<panic model='hyperv'/>", "panic", "hyperv", {}),
        ("<vsock model='virtio'><cid auto='yes'/></vsock>", "vsock", "virtio", {"cid.auto": "yes"}),
        ("<shmem name='s'><model type='ivshmem-plain'/></shmem>", "shmem", "ivshmem-plain", {"name": "s"}),
        ("<iommu model='intel'/>", "iommu", "intel", {}),
        ("<redirdev bus='usb' type='spicevmc'/>", "redirdev", "spicevmc", {"bus": "usb"}),
        ("<smartcard mode='host'/>", "smartcard", "host", {}),
        (
            "<rng model='virtio'><backend model='random'>/dev/random</backend></rng>",
            "rng",
            "virtio",
            {"backend.model": "random", "backend": "/dev/random"},
        ),
        (
            "<filesystem type='mount'><driver type='virtiofs'/><source dir='/s'/><target dir='t'/></filesystem>",
            "filesystem",
            "virtiofs",
            {"type": "mount", "source.dir": "/s", "target.dir": "t"},
        ),
        (
            "<hostdev type='usb' mode='subsystem'><source><vendor id='0x1'/><product id='0x2'/></source></hostdev>",
            "hostdev",
            "usb",
            {"mode": "subsystem", "source.vendor.id": "0x1", "source.product.id": "0x2"},
        ),
        ("<emulator>/usr/bin/qemu</emulator>", "emulator", None, {"path": "/usr/bin/qemu"}),
        ("<thing><inside/><inside/></thing>", "thing", None, {"inside": "present", "inside+": "present"}),
    ],
)
def test_every_other_device_is_told_whole(
    machine: Build, device: str, kind: str, model: str | None, detail: dict[str, str]
) -> None:
    found = machine(devices=device)
    one = found.devices[0]
    shown = {key: value for key, value in one.detail.items() if key != "passwd"}
    assert (one.kind, one.model, shown) == (kind, model, detail)
    assert "hunter2" not in found.model_dump_json()
    assert found.unmodelled == ()


def test_pci_bridges_are_counted(machine: Build) -> None:
    port = "<controller type='pci' index='{}' model='pcie-root-port'><address type='pci'/></controller>"
    found = machine(devices="".join(port.format(index) for index in range(14)))
    assert [(one.model, one.detail) for one in found.devices] == [("pcie-root-port", {"type": "pci", "count": "14"})]


def test_metadata_of_other_tools_and_the_name_of_the_system(machine: Build) -> None:
    found = machine(
        "<metadata><l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'>"
        "<l:os id='http://debian.org/debian/12'/></l:libosinfo>"
        "<a:note xmlns:a='urn:a' owner='me' token='t0k'>hello</a:note></metadata>"
    )
    assert found.guest.os_id == "http://debian.org/debian/12"
    assert found.metadata == {
        "urn:a:note.owner": "me",
        "urn:a:note.token": "(not shown: it may be a secret)",
        "urn:a:note": "hello",
    }
    many = "".join(f"<e{index} v='1'/>" for index in range(100))
    assert machine(f"<metadata>{many}</metadata>").metadata["…"] == "36 more entries are not listed"


def test_facts_are_bounded_and_say_so(machine: Build) -> None:
    found = machine("".join(f"<odd{index}>{'x' * 500}</odd{index}>" for index in range(1200)))
    assert len(found.unmodelled) == 1025
    assert found.unmodelled[-1].value == "176 more facts are not listed"
    assert {len(fact.value) for fact in found.unmodelled[:-1]} == {200}


def test_of_too_many_facts_those_stay_that_refuse_a_machine(machine: Build) -> None:
    odd = "<driver name='qemu' type='raw' rerror_policy='stop'/><mirror job='copy'/><product>x</product>"
    disks = "".join(
        f"<disk type='file'>{odd}<source file='/{name}'><slices><slice offset='{name}'/></slices></source>"
        f"<target dev='d{name}'/><vendor>y</vendor><serial odd='1'/></disk>"
        for name in range(250)
    )
    found = machine(f"<devices>{disks}</devices><launchSecurity type='sev'/>")
    paths = [fact.path for fact in found.unmodelled]
    assert paths[-2:] == ["launchSecurity", "…"]
    assert sum(path.endswith("source/slices/slice") for path in paths) == 250


def test_lifecycle_words_are_told_when_they_are_unusual(machine: Build, facts: Facts) -> None:
    usual = "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>restart</on_crash>"
    assert facts(machine(usual)) == {}
    assert facts(machine("<on_crash>preserve</on_crash>")) == {"on_crash": "preserve"}
