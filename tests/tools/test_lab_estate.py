"""The demo's source estate on the real libvirtd of this machine, under names of its own so that it meets no other."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kubeferry.errors import InputInvalid, SourceUnavailable
from kubeferry.outside.process import ProgramFailed
from lab import daemons, domains, estate, guests
from lab.daemons import virsh
from tests.needs import needs

needs_libvirt = needs(*daemons.PROGRAMS, *guests.PROGRAMS, "root")
pytestmark = pytest.mark.xdist_group("libvirt")  # one libvirtd a machine: its tests take turns

PREFIX = f"labtest{os.getpid()}-"
PLACE = domains.Place(Path("/estate"), "")
HYPERVISOR = domains.Hypervisor("qemu", ("dac",))


@pytest.fixture(scope="module")
def risen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, float]]:
    """An estate that runs, in a folder that only root can enter, as a checkout below /root is; the seconds it took."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o700)
    place = closed / "source"
    try:
        began = time.monotonic()
        estate.up(place, prefix=PREFIX)
        yield place, time.monotonic() - began
    finally:
        estate.down(place)


@pytest.fixture(scope="module")
def folder(risen: tuple[Path, float]) -> Path:
    return risen[0]


def parsed(domain_xml: str) -> ET.Element:
    return ET.fromstring(domain_xml)  # noqa: S314 (libvirtd's own, or ours)


def commands() -> Iterator[str]:
    """The command line of every process of this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().decode(errors="replace")


def until_off(domain: str, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while virsh("domstate", domain).strip() != "shut off":
        assert time.monotonic() < limit, f"{domain} still runs after {seconds} s"
        time.sleep(0.2)


@needs_libvirt
def test_the_estate_runs_stops_by_itself_and_counts(
    folder: Path, risen: tuple[Path, float], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    estate.up(folder, prefix=PREFIX)
    said = capsys.readouterr().out
    assert "built" not in said
    assert time.monotonic() - began < risen[1]  # nothing boots
    assert sorted(estate.status(folder)) == [f"{PREFIX}{name}: running, boots 1" for name in sorted(domains.MACHINES)]
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        estate.boots(folder, "legacy")  # a running guest's disk says nothing yet

    for name in ("web", "db"):
        with contextlib.suppress(ProgramFailed):  # an agent that is ended before it has answered has done it, too
            virsh("shutdown", f"{PREFIX}{name}", "--mode", "agent")
    virsh("shutdown", f"{PREFIX}legacy", "--mode", "acpi")
    for name in domains.MACHINES:
        until_off(f"{PREFIX}{name}", 60)
        assert estate.boots(folder, name) == 1

    system = parsed(virsh("dumpxml", f"{PREFIX}db")).find("devices/disk")
    assert system.find("source").get("file") == str(folder / "db-system.before-upgrade.qcow2")
    assert guests.boot_count(folder / "db-system.qcow2", format="qcow2") == 0  # the snapshot holds what was before

    estate.up(folder, start=False, prefix=PREFIX)
    assert virsh("domstate", f"{PREFIX}web").strip() == "shut off"
    assert estate.boots(folder, "web") == 1


@needs_libvirt
def test_a_domain_of_somebody_else_is_refused_and_kept(folder: Path, tmp_path: Path) -> None:
    foreign = f"foreign{os.getpid()}-db"
    description = tmp_path / "foreign.xml"
    system = "<os><type arch='x86_64'>hvm</type></os>"
    description.write_text(f"<domain type='qemu'><name>{foreign}</name><memory>65536</memory>{system}</domain>")
    virsh("define", str(description))
    try:
        with pytest.raises(InputInvalid, match=f"domain {foreign}: it exists already and was not made by this lab"):
            estate.up(tmp_path / "source", prefix=f"foreign{os.getpid()}-")
        assert f"foreign{os.getpid()}-web" not in virsh("list", "--all", "--name")
        with pytest.raises(InputInvalid, match=f"belongs to the estate in {folder}"):
            estate.up(tmp_path / "source", prefix=PREFIX)
        assert estate.down(tmp_path / "source") == []
        assert virsh("domstate", foreign).strip() == "shut off"
    finally:
        virsh("undefine", foreign)


@needs_libvirt
def test_down_leaves_neither_machines_nor_daemons_of_ours(folder: Path) -> None:
    lines = estate.down(folder)
    for name in domains.MACHINES:
        assert f"machine {PREFIX}{name} removed" in lines
    assert not (folder / "db.nvram.fd").exists()
    assert not list(folder.glob("*.pid"))
    sockets = Path("/proc/net/unix").read_text()
    assert PREFIX not in sockets
    if "libvirtd ended" in lines:
        assert "/libvirt/libvirt-sock" not in sockets
        assert not daemons.answers()
    assert not [command for command in commands() if PREFIX in command and "qemu" in command]
    assert estate.down(folder) == []


def test_each_machine_is_defined_as_the_demo_promises() -> None:
    trees = {name: parsed(domains.xml(machine, PLACE, HYPERVISOR)) for name, machine in domains.MACHINES.items()}
    assert trees["web"].find("os/loader") is None
    assert trees["db"].find("os/loader").get("type") == "pflash"
    assert len(trees["db"].findall("devices/disk")) == 2
    assert trees["legacy"].find("os/type").get("machine") == "pc"
    assert trees["legacy"].find("devices/disk/target").get("bus") == "ide"
    assert trees["legacy"].find("devices/interface/model").get("type") == "e1000"
    for tree in trees.values():
        assert tree.find("devices/channel/target").get("name") == "org.qemu.guest_agent.0"
        assert tree.find("seclabel").get("model") == "dac"
    macs = {tree.find("devices/interface/mac").get("address") for tree in trees.values()}
    assert len(macs) == len(trees)


def test_the_owner_of_a_domain_is_read_from_its_marker() -> None:
    assert domains.owner(domains.xml(domains.WEB, PLACE, HYPERVISOR)) == "/estate"
    assert domains.owner("<domain><metadata/></domain>") is None
    assert domains.owner("<domain/>") is None


def test_identities_stay_and_differ_between_estates() -> None:
    other = domains.Place(Path("/elsewhere"), "")
    assert domains.mac(domains.WEB, PLACE) == domains.mac(domains.WEB, domains.Place(Path("/estate"), ""))
    assert domains.mac(domains.WEB, PLACE) != domains.mac(domains.WEB, other)
    assert domains.identity(domains.WEB, PLACE) != domains.identity(domains.WEB, other)


@needs_libvirt
def test_the_kvm_device_gets_its_group_and_later_its_own_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "kvm"
    device.touch(mode=0o600)
    monkeypatch.setattr(daemons, "KVM_DEVICE", device)
    daemons._open_kvm(tmp_path)
    assert device.group() == "kvm"
    assert stat.S_IMODE(device.stat().st_mode) == 0o660
    daemons._open_kvm(tmp_path)  # a second start must not take the lent group for the device's own
    assert len(daemons._close_kvm(tmp_path)) == 1
    assert device.group() == "root"
    assert stat.S_IMODE(device.stat().st_mode) == 0o600
    assert daemons._close_kvm(tmp_path) == []
