"""What can come between two rounds of a machine on the real libvirtd, and what somebody else did there."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from converters.endpoints import open_source as open_disk
from kubeferry.errors import SourceRefused
from kubeferry.model import Power
from kubeferry.outside.process import child, run
from lab import daemons
from lab.bare import Bare
from lab.daemons import URI, virsh
from tests.needs import needs
from tests.tools.hypervisor.rounds import MIB, PIECE, Copy, bitmaps, checkpoints, domain, kill_qemu, stop, until, write

pytestmark = [
    needs(*daemons.PROGRAMS, "qemu-nbd", "root"),
    pytest.mark.xdist_group("libvirt"),  # one libvirtd a machine: its tests take turns
    pytest.mark.timeout(300),  # every byte is compared
]


def test_a_killed_process_leaves_a_view_that_the_next_one_reads_on(copy: Copy, tmp_path: Path) -> None:
    write(copy, "vda", 0, b"a")
    script = (
        "import sys, time; from kubeferry.documents import SourceConfig; from kubeferry.sources import open_source\n"
        "source = open_source('lab', SourceConfig(kind='libvirt', uri=sys.argv[1]))\n"
        "machine = next(one for one in source.discover().machines if one.name == sys.argv[2])\n"
        "opened = source.open_round(machine, since=None, final=False, remote=False, ledger=lambda _thing: None)\n"
        "print(opened.marker.token, flush=True); time.sleep(600)\n"
    )
    log = tmp_path / "log"
    with child([sys.executable, "-c", script, URI, copy.name], log=log, env={"PYTHONPATH": str(Path.cwd())}) as other:
        until(lambda: log.read_text().endswith("\n"))
        os.kill(other.pid, signal.SIGKILL)
    write(copy, "vda", 0, b"b")
    opened = copy.open()
    assert opened.marker is not None
    assert opened.marker.token == log.read_text().strip()
    with open_disk(opened.refs["vda"]) as view:
        piece = memoryview(bytearray(PIECE))
        view.read_into(0, piece)
        assert piece == b"a" * PIECE
    copy.source.close_round(opened)
    stop(copy)
    copy.leaves_nothing()


def test_a_view_of_ours_that_nobody_wants_any_more_is_ended(copy: Copy) -> None:
    first, _ = copy.round()
    abandoned = copy.open(first.marker)  # a delta was begun, and given up for a whole copy
    whole = copy.open()
    assert whole.marker != abandoned.marker
    assert {ref.changed for ref in whole.refs.values()} == {None}
    assert checkpoints(copy.name) == [whole.marker.token]
    stop(copy)  # with the job running
    last, _ = copy.round(first.marker, final=True)
    assert last.refs["vda"].changed is None
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


def test_a_backup_of_somebody_else_is_refused_and_left_alone(copy: Copy, tmp_path: Path) -> None:
    xml = (
        f"<domainbackup mode='pull'><server transport='unix' socket='{tmp_path}/theirs.sock'/><disks>"
        f"<disk name='vda' backup='yes' type='file'><scratch file='{tmp_path}/theirs.scratch'/></disk>"
        "<disk name='vdb' backup='no'/></disks></domainbackup>"
    )
    domain(copy.name).backupBegin(xml, None)
    with pytest.raises(SourceRefused, match="another backup") as refused:
        copy.open()
    assert refused.value.machine == copy.name
    assert "theirs.sock" in refused.value.why
    copy.source.forget(copy.machine)
    assert "theirs.sock" in virsh("backup-dumpxml", copy.name)
    virsh("domjobabort", copy.name)


def test_checkpoints_of_somebody_else_stay(copy: Copy) -> None:
    virsh("checkpoint-create-as", copy.name, "nightly", "--diskspec", "vda", "--diskspec", "vdb,checkpoint=no")
    first, _ = copy.round()
    write(copy, "vda", MIB, b"x")
    second, _ = copy.round(first.marker)
    assert second.refs["vda"].changed is not None
    virsh("checkpoint-create-as", copy.name, "nightly2", "--diskspec", "vda", "--diskspec", "vdb,checkpoint=no")
    write(copy, "vda", 2 * MIB, b"y")
    third, _ = copy.round(second.marker)
    assert set(checkpoints(copy.name)) == {"nightly", "nightly2", second.marker.token, third.marker.token}
    stop(copy)
    copy.round(third.marker, final=True)
    copy.equals_the_stopped_source()
    machine = copy.machine
    copy.source.forget(machine)
    assert sorted(checkpoints(copy.name)) == ["nightly", "nightly2"]
    assert sorted(bitmaps(copy.folder.parent / "vda.qcow2")) == ["nightly", "nightly2"]
    copy.source.start(machine)
    assert machine.power is Power.OFF
    assert copy.source.power(machine) is Power.RUNNING


@pytest.mark.parametrize("how", ["dropped", "forgotten", "taken out"])
def test_a_checkpoint_that_somebody_took_away(copy: Copy, how: str) -> None:
    first, _ = copy.round()
    write(copy, "vda", MIB, b"x")
    image = copy.folder.parent / "vda.qcow2"
    if how == "taken out":  # the bitmap, with libvirt's books as they were
        stop(copy)
        run(["qemu-img", "bitmap", "--remove", str(image), first.marker.token])
        virsh("start", copy.name)
    else:
        virsh("checkpoint-delete", copy.name, first.marker.token, *(["--metadata"] if how == "forgotten" else []))
    write(copy, "vda", 2 * MIB, b"y")
    second, _ = copy.round(first.marker)
    assert second.refs["vda"].changed is None
    assert checkpoints(copy.name) == [second.marker.token]
    stop(copy)
    if how == "taken out":
        run(["qemu-img", "bitmap", "--remove", str(image), second.marker.token])
    else:
        name = ["--metadata"] if how == "forgotten" else ["--metadata", "--children"]
        virsh("checkpoint-delete", copy.name, second.marker.token, *name)
    last, _ = copy.round(second.marker, final=True)
    assert last.refs["vda"].changed is None
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


@pytest.mark.parametrize("goes_on", [True, False], ids=["started again", "off"])
def test_a_bitmap_that_was_never_put_away_tells_nothing(copy: Copy, goes_on: bool) -> None:
    first, _ = copy.round()
    write(copy, "vda", MIB, b"x")
    write(copy, "vdb", MIB, b"y")
    kill_qemu(copy)
    marker = first.marker
    if goes_on:
        virsh("start", copy.name)
        write(copy, "vda", 2 * MIB, b"z")
        second, _ = copy.round(marker)
        assert second.refs["vda"].changed is None
        marker = second.marker
        assert checkpoints(copy.name) == [marker.token]
        stop(copy)
    last, _ = copy.round(marker, final=True)
    assert (last.refs["vda"].changed is None) is not goes_on
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


def test_a_view_that_died_with_its_machine_leaves_nothing(copy: Copy) -> None:
    first, _ = copy.round()
    lost = copy.open(first.marker)
    kill_qemu(copy)
    virsh("start", copy.name)
    again = copy.open(first.marker)
    assert again.marker not in {first.marker, lost.marker}
    copy.source.close_round(again)
    stop(copy)
    copy.round(again.marker, final=True)
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is off"])
def test_a_disk_that_was_resized_is_read_whole(copy: Copy, running: bool) -> None:
    first, _ = copy.round()
    planned = copy.machine
    if running:
        virsh("blockresize", copy.name, "vda", f"{9 * MIB}B")
    else:
        stop(copy)
        run(["qemu-img", "resize", "-q", "-f", "qcow2", str(copy.folder.parent / "vda.qcow2"), str(9 * MIB)])
    with pytest.raises(SourceRefused, match="as they were planned"):
        copy.open(first.marker, final=not running, machine=planned)
    opened = copy.open(first.marker, final=not running)
    assert opened.refs["vda"].changed is None
    assert opened.refs["vda"].size_bytes == 9 * MIB
    copy.source.close_round(opened)
    if running:
        stop(copy)
    copy.leaves_nothing()


def test_a_snapshot_between_two_rounds_and_its_merge(copy: Copy) -> None:
    first, _ = copy.round()
    write(copy, "vda", MIB, b"x")
    layer = copy.folder.parent / "layer.qcow2"
    specs = ["--diskspec", f"vda,snapshot=external,file={layer}", "--diskspec", "vdb,snapshot=no"]
    virsh("snapshot-create-as", copy.name, "s1", "--disk-only", "--no-metadata", *specs)
    write(copy, "vda", 2 * MIB, b"y")
    second, _ = copy.round(first.marker)
    assert second.refs["vda"].changed is None
    write(copy, "vda", 3 * MIB, b"z")
    third, _ = copy.round(second.marker)
    assert third.refs["vda"].changed is not None
    virsh("blockcommit", copy.name, "vda", "--active", "--pivot", "--wait")
    write(copy, "vda", 4 * MIB, b"w")
    fourth, _ = copy.round(third.marker)
    assert fourth.refs["vda"].changed is None
    layer.unlink()
    # Away and there again under the same name: the notes of one disk are in two images.
    virsh("snapshot-create-as", copy.name, "s2", "--disk-only", "--no-metadata", *specs)
    fifth, _ = copy.round(fourth.marker)
    write(copy, "vda", 5 * MIB, b"v")
    virsh("blockcommit", copy.name, "vda", "--active", "--pivot", "--wait")
    layer.unlink()
    virsh("snapshot-create-as", copy.name, "s3", "--disk-only", "--no-metadata", *specs)
    running = copy.machine
    stop(copy)
    last = copy.open(fifth.marker, final=True, machine=running)
    assert last.refs["vda"].changed is None
    copy.fetch("vda", last.refs["vda"])
    copy.source.close_round(last)
    copy.equals_the_stopped_source()
    copy.leaves_nothing()
    assert bitmaps(copy.folder.parent / "vda.qcow2") == []


def test_a_snapshot_that_was_reverted(copy: Copy) -> None:
    """QEMU refuses to go back while the image keeps notes; who takes them out to do it all the same is found out."""
    stop(copy)
    image = copy.folder.parent / "vda.qcow2"
    run(["qemu-img", "snapshot", "-c", "before", str(image)])
    virsh("start", copy.name)
    write(copy, "vda", 0, b"a")
    first, _ = copy.round()
    write(copy, "vda", MIB, b"b")
    stop(copy)
    refused = run(["qemu-img", "snapshot", "-a", "before", str(image)], check=False)
    assert "bitmaps" in refused.err
    run(["qemu-img", "bitmap", "--remove", str(image), first.marker.token])
    run(["qemu-img", "snapshot", "-a", "before", str(image)])
    last, _ = copy.round(first.marker, final=True)
    assert last.refs["vda"].changed is None
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


def test_a_machine_with_a_disk_that_its_definition_does_not_have(copy: Copy, bare: Bare) -> None:
    extra = bare.image("extra.raw")
    virsh("attach-disk", copy.name, str(extra), "vdc", "--live", "--subdriver", "raw")
    with pytest.raises(SourceRefused, match="other disks than it starts with") as refused:
        copy.open()
    assert "vdc" in refused.value.why


def test_a_rollback_with_notes_left_starts_and_is_told_rightly_the_next_time(copy: Copy) -> None:
    first, _ = copy.round()
    write(copy, "vda", MIB, b"x")
    stop(copy)
    copy.round(first.marker, final=True)
    copy.source.start(copy.machine)
    write(copy, "vda", 2 * MIB, b"y")
    copy.source.forget(copy.machine)
    assert checkpoints(copy.name) == []
    fresh, _ = copy.round(first.marker)
    assert fresh.refs["vda"].changed is None
    stop(copy)
    copy.round(fresh.marker, final=True)
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


def test_an_undefined_machine_is_forgotten_all_the_same(copy: Copy) -> None:
    copy.round()
    machine = copy.machine
    stop(copy)
    virsh("undefine", copy.name, "--checkpoints-metadata")
    image = copy.folder.parent / "vda.qcow2"
    assert len(bitmaps(image)) == 1
    with contextlib.suppress(SourceRefused):
        copy.source.forget(machine)
    assert bitmaps(image) == []
    assert not any(copy.source.exists(thing) for thing in copy.told)
