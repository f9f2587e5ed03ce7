"""Rounds for readers elsewhere and of a hypervisor elsewhere: through a real sshd, QEMU under a user of its own."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from converters.endpoints import open_source as open_disk
from converters.endpoints.nbd import ssh
from flows.serving.ports import free_port
from kubeferry import marks
from kubeferry.documents import SourceConfig, SshAccess
from kubeferry.errors import HostileImage, SourceRefused, SourceUnavailable
from kubeferry.model import Power
from kubeferry.outside.process import run
from kubeferry.sources import open_source
from kubeferry.sources.libvirt.far_host import FarHost
from kubeferry.uris import nbd_ssh
from lab import daemons, iscsi
from lab.bare import Bare
from lab.daemons import URI, virsh
from tests.needs import needs
from tests.tools.hypervisor.luns import PASSWORD, SIZE, Storage
from tests.tools.hypervisor.rounds import MIB, Copy, kill_qemu, stop, write
from tests.tools.sshd import Hypervisor, make_key

pytestmark = [
    needs(*daemons.PROGRAMS, "qemu-nbd", "ssh", "sshd", "root"),
    pytest.mark.xdist_group("libvirt"),  # one libvirtd a machine: its tests take turns
    pytest.mark.timeout(300),  # every byte is compared
]

WHEN = "2026-01-01T00:00:00Z"
CONNECTS = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1]); "
    "sys.exit(s.recv(8) != b'NBDMAGIC')"
)


def may_connect(path: Path, *, group: str) -> bool:
    become = ["setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups", "--"]
    return run([*become, "/usr/bin/python3", "-c", CONNECTS, str(path)], check=False).code == 0


def test_a_round_for_movers_elsewhere_goes_through_ssh_and_outlives_us(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU has its own user here, as it has on every hypervisor; who logs in is only a member of a group."""
    far = Hypervisor(tmp_path)
    monkeypatch.setenv(ssh.KEY, str(far.key))
    access = SshAccess(
        host="127.0.0.1", port=far.port, user="root", host_key=far.pin(), folder=str(open_folder / "run")
    )
    (open_folder / "target").mkdir()
    bare = Bare(open_folder, f"kft-remote{os.getpid()}-", label="")
    source = open_source("lab", SourceConfig(kind="libvirt", uri=URI, ssh=access))
    try:
        system = bare.image("vda.qcow2", form="qcow2", size=4 * MIB)
        copy = Copy(
            source, bare.define("far", (system, "qcow2"), (bare.image("vdb.raw"), "raw")), open_folder / "target"
        )
        virsh("start", copy.name)
        with far.up():
            write(copy, "vda", 0, b"a")
            first = copy.open(remote=True)
            assert {ref.credential for ref in first.refs.values()} == {"kubeferry-ssh"}
            place = nbd_ssh(first.refs["vda"].uri)
            assert place is not None
            assert place.export == "vda"
            assert may_connect(Path(place.socket), group="libvirt-qemu")
            assert not may_connect(Path(place.socket), group="nogroup")
            source.close()  # a Job reads on
            for disk, ref in first.refs.items():
                copy.fetch(disk, ref)
            again = copy.open(remote=True)
            assert again == dataclasses.replace(first, machine=again.machine)
            source.close_round(again)
            assert not Path(place.socket).exists()
            write(copy, "vda", 2 * MIB, b"b")
            second, done = copy.round(first.marker, remote=True)
            assert second.refs["vda"].changed == f"qemu:dirty-bitmap:{second.marker.token}"
            assert done["vda"].tally.read == MIB
            write(copy, "vda", 3 * MIB, b"c")
            stop(copy)
            last, done = copy.round(second.marker, final=True, remote=True)
            assert last.refs["vda"].uri.startswith("nbd+ssh:")
            assert last.refs["vda"].changed == f"qemu:dirty-bitmap:{second.marker.token}"
            assert done["vda"].tally.read == MIB
        copy.equals_the_stopped_source()
        copy.leaves_nothing()
        assert list((open_folder / "run").glob("*")) == []
    finally:
        source.close()
        bare.remove()


# --- a hypervisor that is another host --------------------------------------------------------------------------------


@dataclass
class Away:
    """This machine's libvirtd, as one that is reached through an sshd only."""

    far: Hypervisor
    folder: Path
    copy: Copy
    access: SshAccess
    uri: str

    @property
    def left(self) -> list[Path]:
        return [*self.folder.glob("run/*"), *self.folder.glob(".kubeferry*")]


@pytest.fixture
def away(open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    far = Hypervisor(tmp_path)
    (tmp_path / "authorized_keys").write_text((tmp_path / "key.pub").read_text())
    monkeypatch.setenv(ssh.KEY, str(far.key))
    access = SshAccess(
        host="127.0.0.1", port=far.port, user="root", host_key=far.pin(), folder=str(open_folder / "run")
    )
    uri = f"qemu+ssh://root@127.0.0.1:{far.port}/system?keyfile={far.key}&no_verify=1&no_tty=1"
    (open_folder / "target").mkdir()
    bare = Bare(open_folder, f"kft-away{os.getpid()}-", label="")
    source = open_source("lab", SourceConfig(kind="libvirt", uri=uri, ssh=access))
    try:
        system = bare.image("v d'a.qcow2", form="qcow2", size=4 * MIB)
        name = bare.define("away", (system, "qcow2"), (bare.image("vdb.raw"), "raw"))
        virsh("start", name)
        with far.up():
            yield Away(far, open_folder, Copy(source, name, open_folder / "target"), access, uri)
            source.close()
            assert not list(Path(tempfile.gettempdir()).glob("kubeferry-host-*"))
    finally:
        bare.remove()


def test_a_hypervisor_elsewhere_tells_each_start_through_ssh_and_takes_marks(away: Away) -> None:
    """Without `ssh` it does not: the log of that name on this host would be another machine's."""
    source, machine = away.copy.source, away.copy.machine
    first = source.last_start(machine)
    mark = marks.StopMark("0" * 12, Power.RUNNING, WHEN, "0" * 64, WHEN, marks.short(first), "wave 1")
    source.mark(machine, mark, lambda _thing: None)
    stop(away.copy)
    assert (first != "", source.last_start(machine)) == (True, first)
    assert source.marked(machine) == mark
    source.start(machine)
    assert source.last_start(machine) > first
    assert not mark.holds(source.last_start(machine))
    source.unmark(machine)
    assert "kubeferry:stopped" not in virsh("dumpxml", away.copy.name)
    blind = open_source("lab", SourceConfig(kind="libvirt", uri=away.uri))
    assert blind.last_start(machine) == ""
    blind.close()


@pytest.mark.slow
def test_a_hypervisor_elsewhere_is_copied_through_ssh_running_and_off(away: Away) -> None:
    copy = away.copy
    assert copy.source.concerns(copy.machine) == []
    write(copy, "vda", 0, b"a")
    first, _ = copy.round()
    write(copy, "vda", 2 * MIB, b"b")
    second, done = copy.round(first.marker)
    assert {ref.uri.partition(":")[0] for ref in second.refs.values()} == {"nbd+ssh"}
    assert done["vda"].tally.read == MIB
    write(copy, "vda", 3 * MIB, b"c")
    stop(copy)
    last = copy.open(second.marker, final=True)
    assert last.refs["vda"].changed == f"qemu:dirty-bitmap:{second.marker.token}"
    assert copy.open(second.marker, final=True).refs == last.refs  # found again, not made again
    assert len(list(away.folder.glob("run/*/*.sock"))) == 2
    for disk, ref in last.refs.items():
        copy.fetch(disk, ref)
    copy.source.start(copy.machine)  # a rollback: what is served is ended first
    stop(copy)
    copy.round(second.marker, final=True)
    copy.equals_the_stopped_source()
    copy.leaves_nothing()
    assert away.left == []


@needs(*iscsi.PROGRAMS, "qemu-block-extra")
def test_a_lun_and_an_overlay_of_a_hypervisor_elsewhere_are_read_there(away: Away, storage: Storage) -> None:
    """The password goes through SSH to the program that asks for it, and lies nowhere."""
    copy, folder = away.copy, away.folder
    virsh("destroy", copy.name)
    bare = Bare(folder, "")
    top = bare.image("o ver.qcow2", form="qcow2", backing=(folder / "v d'a.qcow2", "qcow2"))
    virsh("detach-disk", copy.name, "vda", "--config")
    virsh("attach-disk", copy.name, str(top), "vda", "--subdriver", "qcow2", "--config")
    (folder / "lun.xml").write_text(storage.disk("vdc", by_usage=True))
    virsh("attach-device", copy.name, str(folder / "lun.xml"), "--config")
    machine = copy.machine
    disks = {disk.id: disk for disk in machine.disks}
    assert [link.format for link in disks["vda"].chain or ()] == ["qcow2"]
    assert (disks["vdc"].uri, disks["vdc"].capacity_bytes) == (storage.uri, SIZE)
    assert copy.source.concerns(machine) == []
    last = copy.open(final=True)
    files = [path for path in (folder / "run").rglob("*") if path.is_file()]
    assert files
    for path in [*files, *Path("/proc").glob("[0-9]*/cmdline")]:
        with contextlib.suppress(OSError):
            assert not any(
                word in path.read_bytes() for word in (PASSWORD.encode(), base64.b64encode(PASSWORD.encode()))
            )
    for disk, ref in last.refs.items():
        assert ref.uri.startswith("nbd+ssh:")
        copy.fetch(disk, ref)
    copy.source.close_round(last)
    copy.equals_the_stopped_source()
    assert (copy.folder / "vdc.img").read_bytes() == storage.image.read_bytes()
    copy.leaves_nothing()
    assert away.left == []


def test_a_trial_goes_the_way_of_a_round_and_serves_no_disk_of_the_machine(away: Away) -> None:
    copy = away.copy
    assert copy.source.concerns(copy.machine) == []
    with copy.source.way(copy.machine, remote=True) as way:
        assert way is not None
        assert way.credential == away.access.secret
        with open_disk(way, work=away.folder) as served:
            view = memoryview(bytearray(b"\xff" * served.size))
            served.read_into(0, view)
            assert not any(view)
    assert away.left == []
    lost = copy.source.way(copy.machine, remote=True)
    lost.__enter__()  # its process was killed
    with copy.source.way(copy.machine, remote=True) as again, open_disk(again, work=away.folder) as served:  # type: ignore[arg-type]
        assert served.size == MIB
    assert away.left == []


def test_a_trial_here_is_served_for_who_comes_by_ssh(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Hypervisor(tmp_path)
    monkeypatch.setenv(ssh.KEY, str(far.key))
    access = SshAccess(
        host="127.0.0.1", port=far.port, user="root", host_key=far.pin(), folder=str(open_folder / "run")
    )
    bare = Bare(open_folder, f"kft-way{os.getpid()}-", label="")
    source = open_source("lab", SourceConfig(kind="libvirt", uri=URI, ssh=access))
    try:
        name = bare.define("way", (bare.image("vda.raw"), "raw"))
        virsh("start", name)
        machine = next(one for one in source.discover().machines if one.name == name)
        with source.way(machine, remote=True) as way, far.up():
            assert way is not None
            place = nbd_ssh(way.uri)
            assert place is not None
            assert may_connect(Path(place.socket), group="libvirt-qemu")
            assert not may_connect(Path(place.socket), group="nogroup")
            with open_disk(way, work=tmp_path) as served:
                assert served.size == MIB
        assert list((open_folder / "run").glob("*")) == []
    finally:
        source.close()
        bare.remove()


def test_a_view_elsewhere_that_died_with_its_machine_leaves_nothing(away: Away) -> None:
    copy = away.copy
    lost = copy.open()
    kill_qemu(copy)
    assert away.left != []
    opened, _ = copy.round(lost.marker, final=True)
    assert opened.refs["vda"].changed is None
    copy.equals_the_stopped_source()
    copy.leaves_nothing()
    assert away.left == []


def test_a_hypervisor_elsewhere_that_is_not_there_or_lets_nobody_in(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = away.copy
    stop(copy)
    machine = copy.machine
    (away.folder / "vdb.raw").rename(away.folder / "gone.raw")
    with pytest.raises(SourceRefused, match="as they were planned") as refused:
        copy.open(final=True, machine=machine)
    assert "No such file" in refused.value.why
    (away.folder / "gone.raw").rename(away.folder / "vdb.raw")
    with (away.folder / "v d'a.qcow2").open("r+b") as image:
        image.write(b"no image")
    with pytest.raises(HostileImage):
        copy.open(final=True, machine=machine)
    (away.far.folder / "authorized_keys").write_text("")
    key = make_key(away.folder / "k").with_suffix(".pub").read_text().strip()
    stranger = FarHost(away.access.model_copy(update={"host_key": key}))
    with pytest.raises(SourceRefused, match="no way to the hypervisor") as other:
        stranger.run(["true"])
    assert "Host key verification failed" in other.value.why
    barred = FarHost(away.access)
    with pytest.raises(SourceRefused, match="no way to the hypervisor") as closed:
        barred.run(["true"])
    assert "Permission denied" in closed.value.why
    nowhere = FarHost(away.access.model_copy(update={"port": free_port()}))
    with pytest.raises(SourceUnavailable, match="no way to the hypervisor"):
        nowhere.run(["true"])
    for host in (stranger, barred, nowhere):
        host.close()
    monkeypatch.delenv(ssh.KEY)
    with pytest.raises(SourceRefused, match="no private key"):
        copy.open(final=True, machine=machine)


def test_a_hypervisor_elsewhere_without_ssh_in_the_configuration_is_refused(away: Away) -> None:
    uri = f"qemu+ssh://root@127.0.0.1:{away.far.port}/system?keyfile={away.far.key}&no_verify=1&no_tty=1"
    alone = open_source("lab", SourceConfig(kind="libvirt", uri=uri))
    assert [concern.id for concern in alone.concerns(away.copy.machine)] == ["source.refused"]
    with pytest.raises(SourceRefused, match="cannot be read") as refused:
        dataclasses.replace(away.copy, source=alone).open()
    assert "hostKey" in refused.value.fix
    alone.close()
