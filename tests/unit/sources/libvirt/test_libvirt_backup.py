"""The words of libvirt's backup jobs and checkpoints, as we write them and as libvirt tells them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kubeferry.model import DiskRef
from kubeferry.sources.libvirt import backup
from kubeferry.sources.libvirt.backup import Asked, DiskState

NOW = "2026-11-25T13:42:07+00:00"
IMAGES = (("qcow2", "file:///a%20b.qcow2"), ("raw", "file:///base.raw"))
STATES = {"vda": DiskState(8 << 20, IMAGES, ("11 1795977176.49", "12 1795977100.00 1795977101.00 4096"))}


def test_a_name_says_when_and_is_never_the_same() -> None:
    name = backup.new_name(NOW)
    assert name.startswith("kubeferry-20261125T134207Z-")
    assert backup.NAME.fullmatch(name)
    assert backup.taken_at(name) == NOW
    assert name != backup.new_name(NOW)


def test_a_job_of_ours_is_known_by_its_socket() -> None:
    name = backup.new_name(NOW)
    asked = {"vda": Asked(Path("/images/.s1"), "kubeferry-before"), "vdb": Asked(Path("/images/.s2"))}
    xml = backup.backup_xml(name, Path(f"/run/x/{name}.frozen.sock"), asked, ["sda"])
    job = backup.job_of(xml)
    assert (job.name, job.consistency, job.since) == (name, "frozen", {"vda": "kubeferry-before", "vdb": None})
    disks = ET.fromstring(xml).findall("disks/disk")  # noqa: S314 (our own)
    assert [disk.get("backupmode") for disk in disks] == ["incremental", "full", None]
    assert disks[0].get("exportbitmap") == name


@pytest.mark.parametrize(
    "xml",
    [
        "<domainbackup mode='pull'><server transport='unix' socket='/x/theirs.sock'/></domainbackup>",
        "<domainbackup mode='pull'><server transport='tcp' name='::1' port='1'/></domainbackup>",
        "<domainbackup mode='push'><disks><disk name='vda' type='file'/></disks></domainbackup>",
        "<domainbackup mode='push'><server socket='/kubeferry-20261125T134207Z-00000000.crash.sock'/></domainbackup>",
    ],
)
def test_a_job_of_somebody_else_has_no_name(xml: str) -> None:
    assert backup.job_of(xml).name is None


def test_a_checkpoint_says_what_its_disks_were() -> None:
    xml = backup.checkpoint_xml("kubeferry-x", STATES, ["vdb"])
    assert backup.states_of(xml) == STATES
    disks = ET.fromstring(xml).findall("disks/disk")  # noqa: S314 (our own)
    assert [(disk.get("name"), disk.get("checkpoint")) for disk in disks] == [("vda", "bitmap"), ("vdb", "no")]


@pytest.mark.parametrize(
    "description",
    ["", "nightly", "[]", '{"kubeferry": 1}', '{"kubeferry": {"vda": {"size": "x", "images": []}}}',
     '{"kubeferry": {"vda": {"size": 1, "images": "file:///a"}}}', '{"kubeferry": {"vda": {"size": 1}}}',
     '{"kubeferry": {"vda": {"size": 1, "images": [], "files": "11 1"}}}',
     '{"kubeferry": {"vda": {"size": 1, "images": [], "files": [1]}}}'],
)  # fmt: skip
def test_a_description_that_is_not_ours_says_nothing(description: str) -> None:
    xml = f"<domaincheckpoint><name>x</name><description>{description}</description></domaincheckpoint>"
    assert backup.states_of(xml) == {}


def test_what_a_disk_is_now() -> None:
    ref = DiskRef(
        uri="file:///a%20b.qcow2", format="qcow2", size_bytes=8 << 20, backing=DiskRef(uri="file:///base.raw")
    )
    assert backup.state_of(ref, STATES["vda"].files) == STATES["vda"]


def test_a_disk_is_still_the_same_only_where_each_of_its_files_is_known() -> None:
    state = STATES["vda"]
    assert state.is_still(state)
    assert not state.is_still(None)
    assert not state.is_still(replace(state, files=("13 1795977176.49", state.files[1]))), "another file has its name"
    unknown = replace(state, files=("", state.files[1]))
    assert not unknown.is_still(unknown)


def test_a_checkpoint_of_an_earlier_version_does_not_say_which_files_they_were() -> None:
    told = '{"kubeferry": {"vda": {"size": 8388608, "images": [["qcow2", "file:///a"]]}}}'
    xml = f"<domaincheckpoint><name>x</name><description>{told}</description></domaincheckpoint>"
    (earlier,) = backup.states_of(xml).values()
    assert earlier.files == ()
    assert not earlier.is_still(earlier)


@pytest.mark.parametrize(
    ("label", "owner"),
    [
        ("<seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+109</label></seclabel>", (64055, 109)),
        ("<seclabel type='dynamic' model='apparmor'><label>libvirt-x</label></seclabel>", None),
        ("", None),
    ],
)
def test_whose_qemu_it_is(label: str, owner: tuple[int, int] | None) -> None:
    assert backup.owner_of_qemu(f"<domain type='kvm'>{label}</domain>") == owner
