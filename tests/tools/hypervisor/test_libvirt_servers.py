"""Disks that a server has, on the real libvirtd of this machine: LUNs of a real iSCSI target and images of a real Ceph,
let in by secrets."""

from __future__ import annotations

import base64
import contextlib
import uuid
from pathlib import Path

import pytest

from kubeferry.errors import SourceRefused
from kubeferry.model import Machine, Power
from kubeferry.sources import Source
from lab import ceph, daemons, iscsi
from lab.bare import Bare
from lab.daemons import virsh
from tests.needs import needs
from tests.tools.hypervisor.luns import PASSWORD, SIZE, Storage, forget, keep, keep_password
from tests.tools.hypervisor.rounds import MIB, PIECE, RUN, Copy, stop, write

pytestmark = [
    needs(*daemons.PROGRAMS, *iscsi.PROGRAMS, "qemu-nbd", "qemu-block-extra", "root"),
    pytest.mark.xdist_group("libvirt"),  # one libvirtd a machine: its tests take turns
    pytest.mark.timeout(300),
]


@pytest.fixture
def lun(bare: Bare, source: Source, storage: Storage, tmp_path: Path) -> Copy:
    """A machine without a system: a qcow2 disk, and a LUN."""
    (tmp_path / "target").mkdir()
    name = bare.define("lun", (bare.image("vda.qcow2", form="qcow2"), "qcow2"), devices=storage.disk())
    return Copy(source, name, tmp_path / "target")


def assert_equal(copy: Copy, storage: Storage) -> None:
    assert (copy.folder / "vdb.img").read_bytes() == storage.image.read_bytes()


def assert_kept_secret(copy: Copy, machine: Machine) -> None:
    """The password stands in no document of ours, in no file of an export, and in nobody's command line."""
    assert PASSWORD not in machine.model_dump_json()
    assert PASSWORD not in repr(copy.told)
    files = [path for path in RUN.rglob("*") if path.is_file()]
    assert files, "an export says what it serves"
    for path in [*files, *Path("/proc").glob("[0-9]*/cmdline")]:
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            assert PASSWORD.encode() not in content
            assert base64.b64encode(PASSWORD.encode()) not in content


def test_a_lun_is_copied_in_rounds_while_its_machine_runs_and_whole_when_it_is_off(lun: Copy, storage: Storage) -> None:
    machine = lun.machine
    disk = machine.disks[1]
    assert (machine.power, disk.uri, disk.format, disk.capacity_bytes) == (Power.OFF, storage.uri, "raw", SIZE)
    assert {fact.path for fact in machine.unmodelled if "disk[vdb]" in fact.path} == {"devices/disk[vdb]/address"}
    assert lun.source.concerns(machine) == []

    virsh("start", lun.name)
    assert lun.source.concerns(machine) == []
    write(lun, "vdb", MIB, b"a")
    first, _ = lun.round()
    write(lun, "vdb", 2 * MIB, b"b")
    second, done = lun.round(first.marker)
    assert second.refs["vdb"].changed is None, "a LUN keeps no notes of what changed"
    assert done["vdb"].tally.read == SIZE
    write(lun, "vdb", 3 * MIB, b"c")
    stop(lun)
    last = lun.open(second.marker, final=True)
    assert last.served
    assert last.refs["vdb"].uri.startswith("nbd+unix:///?socket=")
    assert lun.open(second.marker, final=True).refs == last.refs, "found again, not made again"
    assert_kept_secret(lun, machine)
    for name, ref in last.refs.items():
        lun.fetch(name, ref)
    lun.source.close_round(last)
    assert_equal(lun, storage)
    assert storage.image.read_bytes()[3 * MIB : 3 * MIB + PIECE] == b"c" * PIECE
    lun.leaves_nothing()


def test_a_lun_that_became_another_one_between_rounds_is_read_whole(
    lun: Copy, storage: Storage, tmp_path: Path
) -> None:
    """Storage gives a LUN's number to another volume of the same size: nothing of the old one stays in the copy."""
    virsh("start", lun.name)
    first, _ = lun.round()
    stop(lun)
    other = tmp_path / "other.img"
    other.write_bytes(b"O" * SIZE)
    storage.replace(other)
    lun.round(first.marker, final=True)
    assert_equal(lun, storage)
    lun.leaves_nothing()


def test_what_cannot_be_had_of_a_lun_is_told_before_its_machine_stops(
    lun: Copy, storage: Storage, tmp_path: Path
) -> None:
    machine = lun.machine
    virsh("start", lun.name)
    keep_password(tmp_path, storage.secret, private=True)
    (told,) = lun.source.concerns(machine)
    assert "libvirt does not give the secret that vdb is opened with" in told.what
    assert "private" in told.fix
    stop(lun)
    with pytest.raises(SourceRefused, match="does not give the secret"):
        lun.open(final=True, machine=machine)
    keep_password(tmp_path, storage.secret)
    storage.target.take_away(1)
    (told,) = lun.source.concerns(machine)
    assert f"{storage.uri} cannot be opened on its hypervisor" in told.what
    with pytest.raises(SourceRefused, match="QEMU does not open the disk"):
        lun.open(final=True, machine=machine)
    assert lun.machine.disks[1].capacity_bytes is None, "unknown, and no reason to fail"
    grown = tmp_path / "grown.img"
    grown.write_bytes(bytes(2 * SIZE))
    storage.target.lun(1, grown)
    assert [f"its size is now {2 * SIZE} bytes" in one.what for one in lun.source.concerns(machine)] == [True]


@needs(*ceph.PROGRAMS)
@pytest.mark.parametrize("snapshot", ["", "<snapshot name='then'/>"])
def test_an_image_of_ceph_is_copied_while_its_machine_runs_and_when_it_is_off(
    bare: Bare, source: Source, tmp_path: Path, snapshot: str
) -> None:
    """A snapshot of an image is another disk than the image, and one that nobody writes to."""
    key, (folder, image) = str(uuid.uuid4()), (tmp_path / "target", tmp_path / "image")
    folder.mkdir()
    image.write_bytes(b"R" * MIB + bytes(SIZE - MIB))
    with ceph.serving(tmp_path / "ceph") as server, contextlib.ExitStack() as secrets:
        server.store("root", image)
        server.ask("rbd", "snap", "create", "--no-progress", f"{ceph.POOL}/root@then")
        keep(tmp_path, key, base64.b64decode(server.key), f"<usage type='ceph'><name>{key}</name></usage>")
        secrets.callback(forget, key)
        disk = (
            "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
            f"<auth username='admin'><secret type='ceph' uuid='{key}'/></auth>"
            f"<source protocol='rbd' name='{ceph.POOL}/root'><host name='127.0.0.1' port='{server.port}'/>{snapshot}"
            f"</source><target dev='vda' bus='virtio'/>{'<readonly/>' if snapshot else ''}</disk>"
        )
        copy = Copy(source, bare.define("ceph", devices=disk), folder)
        asked = "?snapshot=then" if snapshot else ""
        assert copy.machine.disks[0].uri == f"rbd://127.0.0.1:{server.port}/{ceph.POOL}/root{asked}"
        assert copy.machine.disks[0].capacity_bytes == SIZE
        virsh("start", copy.name)
        assert source.concerns(copy.machine) == []
        first, _ = copy.round()
        if not snapshot:
            write(copy, "vda", 2 * MIB, b"w")
        stop(copy)
        if snapshot:
            server.ask("rbd", "bench", "--io-type", "write", "--io-total", "1M", f"{ceph.POOL}/root")
        copy.round(first.marker, final=True)
        assert (folder / "vda.img").read_bytes() == server.fetch(f"root{'@then' if snapshot else ''}", tmp_path / "now")
        assert ((folder / "vda.img").read_bytes() == image.read_bytes()) is bool(snapshot)
        copy.leaves_nothing()
