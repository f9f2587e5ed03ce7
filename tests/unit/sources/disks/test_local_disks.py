"""What is refused before a stopped machine's disks are read, and what is handed over if nothing speaks against it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubeferry.errors import SourceRefused
from kubeferry.model import ChainLink, Cpu, Disk, DiskDevice, DiskRef, Machine, Memory, Severity, SourceFact
from kubeferry.sources.disks import local_disks
from kubeferry.sources.disks.drift import as_concerns
from kubeferry.sources.disks.local_disks import problems, refs

MIB = 1 << 20


@dataclass(frozen=True)
class Folder:
    """A folder with images; `disk` names one of them as libvirt would."""

    path: Path

    def image(self, name: str) -> str:
        (self.path / name).write_bytes(b"\0")
        return (self.path / name).as_uri()

    def disk(self, name: str, **facts: Any) -> Disk:
        known = {"uri": self.image(f"{name}.img"), "source_kind": "file", "format": "raw", "capacity_bytes": MIB}
        return Disk.model_validate({"id": name, **known, **facts})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def machine(*disks: Disk) -> Machine:
    return Machine(id="1", name="web", source="lab", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=MIB), disks=disks)


def told(planned: Disk | Machine, current: Disk | Machine) -> list[tuple[str, str]]:
    was, now = (one if isinstance(one, Machine) else machine(one) for one in (planned, current))
    return [(one.where, one.what) for one in problems(was, now)]


def test_a_disk_as_planned_is_referred_to_with_its_chain(folder: Folder) -> None:
    links = (
        ChainLink(uri=folder.image("day 1 #x.qcow2"), format="qcow2"),
        ChainLink(uri=folder.image("base.raw"), format="raw"),
    )
    disk = folder.disk("vda", format="qcow2", chain=links)
    base = DiskRef(uri=links[1].uri, format="raw")
    middle = DiskRef(uri=links[0].uri, format="qcow2", backing=base)
    assert refs(machine(disk), machine(disk)) == {
        "vda": DiskRef(uri=disk.uri, format="qcow2", size_bytes=MIB, backing=middle)
    }


@pytest.mark.parametrize("chain", [None, ()])
def test_a_disk_without_a_chain_has_nothing_below_it(folder: Folder, chain: tuple[()] | None) -> None:
    disk = folder.disk("vda", format="qcow2", chain=chain)
    assert refs(machine(disk), machine(disk))["vda"].backing is None


def test_a_stopped_machine_that_tells_no_chain_has_the_one_that_it_had_running(folder: Folder) -> None:
    link = ChainLink(uri=folder.image("base.raw"), format="raw")
    planned = folder.disk("vda", format="qcow2", chain=(link,))
    current = planned.model_copy(update={"chain": None})
    assert refs(machine(planned), machine(current))["vda"].backing == DiskRef(uri=link.uri, format="raw")


def test_drives_without_data_are_not_looked_at(folder: Folder) -> None:
    disk = folder.disk("vda")
    empty = Disk(id="sda", device=DiskDevice.CDROM)
    lost = Disk(id="sdb", device=DiskDevice.CDROM, uri="file:///nowhere.iso", format="raw")
    floppy = Disk(id="fda", device=DiskDevice.FLOPPY, uri="file:///nowhere.vfd")
    assert refs(machine(disk, empty), machine(disk, lost, floppy)).keys() == {"vda"}


def test_an_unknown_size_is_no_other_size(folder: Folder) -> None:
    disk = folder.disk("vda")
    unknown = disk.model_copy(update={"capacity_bytes": None})
    assert refs(machine(unknown), machine(disk))["vda"].size_bytes == MIB
    assert refs(machine(disk), machine(unknown))["vda"].size_bytes is None


def test_disks_that_came_and_went_are_told(folder: Folder) -> None:
    stays, gone, new = folder.disk("vda"), folder.disk("vdb"), folder.disk("vdc")
    assert told(machine(stays, gone), machine(stays, new)) == [
        ("vdc", "it was attached after the inventory was made"),
        ("vdb", "it is not attached any more"),
    ]


def test_another_image_is_not_the_planned_disk(folder: Folder) -> None:
    planned = folder.disk("vda")
    other = planned.model_copy(update={"uri": folder.image("other.img")})
    assert told(planned, other) == [("vda", f"its image is now {other.uri}, and was {planned.uri}")]


def test_another_format_is_not_the_planned_disk(folder: Folder) -> None:
    planned = folder.disk("vda")
    assert told(planned, planned.model_copy(update={"format": "qcow2"})) == [
        ("vda", "its format is now qcow2, and was raw")
    ]


def test_another_size_is_not_the_planned_disk(folder: Folder) -> None:
    planned = folder.disk("vda")
    assert told(planned, planned.model_copy(update={"capacity_bytes": 2 * MIB})) == [
        ("vda", f"its size is now {2 * MIB} bytes, and was {MIB}")
    ]


@pytest.mark.parametrize("missing", ["was", "now"])
def test_a_link_more_or_less_is_a_changed_chain(folder: Folder, missing: str) -> None:
    with_link = folder.disk("vda", format="qcow2", chain=(ChainLink(uri=folder.image("base.raw"), format="raw"),))
    without = with_link.model_copy(update={"chain": ()})
    was, now = (without, with_link) if missing == "was" else (with_link, without)
    assert told(was, now) == [("vda", "its chain of images has changed: a snapshot was made or removed")]


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        (None, "its format is not stated, and is never guessed"),
        ("vmdk", "its format is vmdk"),
        ("luks", "its format is luks"),
    ],
)
def test_only_stated_formats_that_are_known_are_read(folder: Folder, stated: str | None, what: str) -> None:
    disk = folder.disk("vda", format=stated)
    assert told(disk, disk) == [("vda", what)]
    assert "raw, qcow2" in problems(machine(disk), machine(disk))[0].fix


def test_a_format_in_the_chain_must_be_known_too(folder: Folder) -> None:
    link = ChainLink(uri=folder.image("base.vmdk"), format="unknown")
    disk = folder.disk("vda", format="qcow2", chain=(link,))
    assert told(disk, disk) == [("vda", f"{link.uri} in its chain has the format unknown")]


def test_an_encrypted_disk_is_refused(folder: Folder) -> None:
    disk = folder.disk("vda", encrypted=True)
    assert told(disk, disk) == [("vda", "it is encrypted by the hypervisor")]


@pytest.mark.parametrize(
    "uri",
    [
        "rbd://ceph:6789/pool/image",
        "nbd://host/x",
        "volume://default/a",
        "file://otherhost/a.raw",
        "file:from/where/we/stand.raw",
        "file:///a%00b",
        "/just/a/path",
    ],
)
def test_a_disk_that_is_not_of_this_host_is_refused(folder: Folder, uri: str) -> None:
    disk = folder.disk("vda", uri=uri)
    assert told(disk, disk) == [("vda", f"{uri} is not a file or device of this host")]


def test_a_disk_without_any_image_is_refused(folder: Folder) -> None:
    disk = folder.disk("vda", uri=None)
    assert told(disk, disk) == [("vda", "an image without a name is not a file or device of this host")]


def test_missing_files_are_told_at_every_depth(folder: Folder) -> None:
    link = ChainLink(uri="file:///no/such/base.raw", format="raw")
    disk = folder.disk("vda", format="qcow2", uri="file:///no/such/top.qcow2", chain=(link,))
    assert told(disk, disk) == [
        ("vda", "/no/such/top.qcow2: No such file or directory"),
        ("vda", "/no/such/base.raw: No such file or directory"),
    ]


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_neither_file_nor_block_device_is_refused(folder: Folder, kind: str) -> None:
    path = folder.path / "odd"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    disk = folder.disk("vda", uri=path.as_uri())
    assert told(disk, disk) == [("vda", f"{path} is neither a file nor a block device")]


def test_a_file_that_may_not_be_read_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = folder.disk("vda")
    if os.geteuid() == 0:  # root reads everything: the answer that another user would get
        monkeypatch.setattr(local_disks.os, "access", lambda _path, _mode: False)
    else:
        (folder.path / "vda.img").chmod(0)
    assert told(disk, disk) == [("vda", f"{folder.path}/vda.img may not be read")]


def test_everything_is_refused_at_once(folder: Folder) -> None:
    gone, bigger, sealed, remote = (folder.disk(name) for name in ("vda", "vdb", "vdc", "vdd"))
    new = folder.disk("vde")
    planned = machine(gone, bigger, sealed, remote)
    current = machine(
        bigger.model_copy(update={"capacity_bytes": 2 * MIB, "format": None}),
        sealed.model_copy(update={"encrypted": True}),
        remote.model_copy(update={"uri": "nbd://elsewhere/x"}),
        new,
    )
    with pytest.raises(SourceRefused) as refused:
        refs(planned, current)
    found = problems(planned, current)
    assert len(found) == 8
    assert refused.value.machine == "web"
    for problem in found:
        assert f"{problem.where}: {problem.what}" in refused.value.why
        assert problem.fix in refused.value.fix
        assert refused.value.fix.count(problem.fix) == 1


def test_problems_become_critical_concerns(folder: Folder) -> None:
    disk = folder.disk("vda", encrypted=True)
    (concern,) = as_concerns(machine(disk), problems(machine(disk), machine(disk)))
    assert concern.severity is Severity.CRITICAL
    assert concern.what == "web: vda: it is encrypted by the hypervisor"
    assert concern.fix


@pytest.mark.parametrize("part", ["slices/slice", "dataStore"])
def test_a_disk_that_is_not_what_its_image_holds_is_refused(folder: Folder, part: str) -> None:
    planned = machine(folder.disk("vda"), folder.disk("vdb"))
    fact = SourceFact(path=f"devices/disk[vdb]/source/{part}", value="type=storage offset=0 size=512")
    assert told(planned, planned) == []
    assert [where for where, _ in told(planned, planned.model_copy(update={"unmodelled": (fact,)}))] == ["vdb"]


def test_a_chain_that_is_put_together_otherwise_is_the_same_chain(folder: Folder) -> None:
    base = folder.image("base.raw")
    planned = folder.disk("vda", format="qcow2", chain=(ChainLink(uri=base, format="raw"),))
    dotted = (ChainLink(uri=base.replace("/base", "/./x/../base"), format="raw"),)
    (folder.path / "x").mkdir()
    assert told(planned, planned.model_copy(update={"chain": dotted})) == []


@pytest.mark.parametrize("path", [local_disks.BROKEN_CHAIN, local_disks.UNSEEN_CHAIN])
def test_a_chain_that_cannot_be_followed_is_refused_unless_it_was_told_before(folder: Folder, path: str) -> None:
    """libvirt tells more while a machine runs: the header of each image is held against that."""
    fact = SourceFact(path=path.format("vda"), value="it ends nowhere")
    untold = folder.disk("vda", format="qcow2", chain=None)
    now = machine(untold).model_copy(update={"unmodelled": (fact,)})
    assert told(machine(untold), now) == [("vda", "its chain of images cannot be followed: it ends nowhere")]
    link = ChainLink(uri=folder.image("base.raw"), format="raw")
    planned = machine(untold.model_copy(update={"chain": (link,)}))
    assert told(planned, now) == []
    assert refs(planned, now)["vda"].backing == DiskRef(uri=link.uri, format="raw")


def test_a_disk_on_a_server_is_left_to_a_source_that_reads_such() -> None:
    lun = Disk(id="vda", uri="iscsi://h/iqn.a%3Ab/1", source_kind="network", format="raw", capacity_bytes=MIB)
    assert problems(machine(lun), machine(lun), network=True) == []
    assert refs(machine(lun), machine(lun), network=True) == {"vda": DiskRef(uri=lun.uri or "", size_bytes=MIB)}
    assert told(lun, lun) == [("vda", f"{lun.uri} is not a file or device of this host")]
    packed = lun.model_copy(update={"format": "qcow2"})
    (problem,) = problems(machine(packed), machine(packed), network=True)
    assert problem.what == "it is qcow2 on a server, where raw disks are read"
    far = lun.model_copy(update={"uri": "nbd://h/x"})
    assert [one.where for one in problems(machine(far), machine(far), network=True)] == ["vda"]
