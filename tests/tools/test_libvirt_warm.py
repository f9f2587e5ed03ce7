"""Rounds of running machines on the real libvirtd: a booted guest that writes all the time, and all that can come
between two rounds. Where a guest would only cost time, bare machines are written to by QEMU itself."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import libvirt
import pytest

from converters import ssh
from converters.disks import Outcome, copy_disk, parse_ref, prepare_target, verify_disk
from converters.endpoints import open_source as open_disk
from converters.transfer import Options
from kubeferry.documents import SourceConfig, SshAccess, StopPolicy
from kubeferry.errors import HostileImage, SourceRefused, SourceUnavailable
from kubeferry.ledger import AT_SOURCE, External
from kubeferry.model import DiskRef, Machine, Marker, Power
from kubeferry.process import child, run
from kubeferry.sources import Round, Source, open_source
from kubeferry.sources.far_host import FarHost
from kubeferry.sources.libvirt_guest import ask
from kubeferry.uris import local_path, nbd_ssh
from lab import daemons, guests
from lab.bare import Bare, write_inside
from lab.daemons import URI, virsh
from tests.tools.test_nbd_ssh import Hypervisor, free_port, make_key

NEEDED = (
    "libvirtd",
    "virtlogd",
    "virsh",
    "tini",
    "qemu-system-x86_64",
    "qemu-img",
    "qemu-nbd",
    "mkfs.ext4",
    "syslinux",
)
MISSING = [program for program in NEEDED if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]
if os.geteuid() != 0:
    MISSING.append("root")
if MISSING and os.environ.get("CI") == "true":
    raise RuntimeError(f"missing, and CI must not skip: {MISSING}")
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)}"),
    pytest.mark.xdist_group("libvirt"),  # one libvirtd a machine: its tests take turns
    pytest.mark.timeout(600),  # guests boot, and every byte is compared
]

MIB = 1 << 20
PIECE = 64 << 10
BOOT_SECONDS = 120
GENTLE = StopPolicy(agent_seconds=30, acpi_seconds=30)
FORCE = StopPolicy(agent_seconds=0.2, acpi_seconds=0.2, force=True)
AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"


@pytest.fixture(scope="module", autouse=True)
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("daemons")
    daemons.start(folder)
    yield
    daemons.stop(folder)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    machines = Bare(tmp_path, f"kft-warm{os.getpid()}-")
    yield machines
    machines.remove()


@pytest.fixture
def source() -> Iterator[Source]:
    opened = open_source("lab", SourceConfig(kind="libvirt", uri=URI))
    yield opened
    opened.close()


@dataclass
class Copy:
    """A machine that is copied round by round, each round proven against the view that it was made of."""

    source: Source
    name: str
    folder: Path
    told: list[External] = field(default_factory=list)
    roots: dict[str, str] = field(default_factory=dict)
    number: int = 0

    @property
    def machine(self) -> Machine:
        return next(one for one in self.source.discover().machines if one.name == self.name)

    def open(
        self,
        since: Marker | None = None,
        *,
        final: bool = False,
        remote: bool = False,
        machine: Machine | None = None,
    ) -> Round:
        return self.source.open_round(
            machine or self.machine, since=since, final=final, remote=remote, ledger=self.told.append
        )

    def round(
        self, since: Marker | None = None, *, final: bool = False, remote: bool = False
    ) -> tuple[Round, dict[str, Outcome]]:
        opened = self.open(since, final=final, remote=remote)
        done = {disk: self.fetch(disk, ref) for disk, ref in opened.refs.items()}
        self.number += 1
        self.source.close_round(opened)
        return opened, done

    def fetch(self, disk: str, ref: DiskRef) -> Outcome:
        """Copy one disk as the engine does, and compare all of it with its view, read whole."""
        target, fingerprint = parse_ref(str(self.folder / f"{disk}.img")), self.folder / f"{disk}.kff"
        with open_disk(ref) as view:
            zero = prepare_target(target, view.size, fingerprint) if disk not in self.roots else False
        options = Options(since=self.roots.get(disk))
        outcome = copy_disk(ref, target, fingerprint, copy_id=str(self.number), target_reads_zero=zero, options=options)
        self.roots[disk] = outcome.root
        assert not verify_disk(target, fingerprint).differing
        with open_disk(ref) as view, (self.folder / f"{disk}.img").open("rb") as copied:
            buffer = memoryview(bytearray(MIB))
            for offset in range(0, view.size, MIB):
                piece = buffer[: min(MIB, view.size - offset)]
                view.read_into(offset, piece)
                assert copied.read(len(piece)) == piece, f"{disk} differs at {offset}"
        return outcome

    def equals_the_stopped_source(self) -> None:
        for disk, image, form in self.images():
            run(["qemu-img", "compare", "-f", form, "-F", "raw", str(image), str(self.folder / f"{disk}.img")])

    def images(self) -> list[tuple[str, Path, str]]:
        """The disks of the machine: name, image and format."""
        disks = self.machine.data_disks
        return [(disk.id, local_path(disk.uri or "") or Path(), disk.format or "") for disk in disks]

    def leaves_nothing(self) -> None:
        """The machine is off, and nothing at the source tells of us."""
        assert {thing.kind for thing in self.told} <= AT_SOURCE
        machine = self.machine
        assert machine.power is Power.OFF
        self.source.forget(machine)
        assert self.source.forget(machine) == []
        assert virsh("checkpoint-list", self.name, "--name").strip() == ""
        assert not any(self.source.exists(thing) for thing in self.told)
        assert all(bitmaps(image) == [] for _, image, _ in self.images())
        assert not list(self.folder.parent.rglob(".kubeferry*"))
        assert not Path("/run/kubeferry").exists()


def bitmaps(image: Path) -> list[str]:
    told = json.loads(run(["qemu-img", "info", "--output=json", str(image)]).out)
    return [one["name"] for one in told.get("format-specific", {}).get("data", {}).get("bitmaps", [])]


def checkpoints(name: str) -> list[str]:
    return virsh("checkpoint-list", name, "--name").split()


def domain(name: str) -> libvirt.virDomain:
    return libvirt.open(URI).lookupByName(name)


def no_words(_words: dict[str, str], _at: str) -> None:
    """Whatever the guest said is of no interest here."""


@pytest.fixture
def copy(bare: Bare, source: Source, tmp_path: Path) -> Copy:
    """A machine without a system: a qcow2 disk and a raw one."""
    folder = tmp_path / "target"
    folder.mkdir()
    system = bare.image("vda.qcow2", form="qcow2", size=8 * MIB)
    name = bare.define("bare", (system, "qcow2"), (bare.image("vdb.raw", size=4 * MIB), "raw"))
    virsh("start", name)
    return Copy(source, name, folder)


def write(copy: Copy, disk: str, offset: int, letter: bytes) -> None:
    write_inside(copy.name, f"virtio-disk{'ab'.index(disk[-1])}", offset, letter * PIECE)


def stop(copy: Copy) -> None:
    copy.source.stop(copy.machine, FORCE, no_words)


# --- a guest that writes ----------------------------------------------------------------------------------------------


def booted(bare: Bare, devices: str) -> str:
    """A guest with a qcow2 disk and a raw one that has written for a while."""
    raw = guests.build_guest(
        guests.Spec("busy", size=192 * MIB, payload=8 * MIB, second_disk=True, writer=True), bare.folder / "s.raw"
    )
    system = bare.folder / "system.qcow2"
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(system)])
    raw.unlink()
    data = guests.build_data_disk("busy", bare.folder / "data.raw", size=96 * MIB, payload=8 * MIB)
    serial = f"<serial type='pty'><log file='{bare.folder}/serial.log'/><target port='0'/></serial>"
    name = bare.define("busy", (system, "qcow2"), (data, "raw"), devices=f"{serial}{RNG}{devices}", mib=256)
    virsh("start", name)
    ready(bare, 1)
    return name


def ready(bare: Bare, boots: int) -> None:
    until(lambda: f"READY name=busy boots={boots}" in (bare.folder / "serial.log").read_text(errors="replace"))


def until(holds: Callable[[], bool], seconds: float = BOOT_SECONDS) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.1)


def answers_if(devices: str, name: str) -> None:
    running = domain(name)
    until(lambda: not devices or ask(running, "guest-ping") is not None)


@pytest.mark.parametrize("devices", [AGENT, ""], ids=["agent", "no agent"])
def test_a_guest_that_writes_all_the_time_is_copied_round_by_round(
    bare: Bare, source: Source, tmp_path: Path, devices: str
) -> None:
    (tmp_path / "target").mkdir()
    copy = Copy(source, booted(bare, devices), tmp_path / "target")
    answers_if(devices, copy.name)
    first, _ = copy.round()
    assert first.consistency == ("frozen" if devices else "crash")
    marker = first.marker
    for number in range(3):
        time.sleep(1)
        if number == 1:
            virsh("reset", copy.name)  # its file systems are as after a loss of power, and go on
            ready(bare, 2)
            answers_if(devices, copy.name)
        opened, done = copy.round(marker)
        assert (opened.refs["vda"].changed, opened.refs["vdb"].changed) == (
            f"qemu:dirty-bitmap:{opened.marker.token}",
            None,
        )
        assert 0 < done["vda"].tally.read < 64 * MIB
        assert opened.consistency == first.consistency
        assert set(checkpoints(copy.name)) == {marker.token, opened.marker.token}
        assert opened.marker != marker
        marker = opened.marker
    stopped = source.stop(copy.machine, GENTLE, no_words)
    assert stopped.how == ("agent" if devices else "acpi")
    last, done = copy.round(marker, final=True)
    assert last.consistency == "off"
    assert last.refs["vda"].changed == f"qemu:dirty-bitmap:{marker.token}"
    assert done["vda"].tally.read < 64 * MIB
    copy.equals_the_stopped_source()
    copy.leaves_nothing()
    assert guests.boot_count(tmp_path / "target" / "vda.img") == 2


@pytest.mark.slow
def test_a_guest_is_let_go_when_the_process_that_holds_it_still_is_killed(bare: Bare, tmp_path: Path) -> None:
    name = booted(bare, AGENT)
    running = domain(name)
    answers_if(AGENT, name)
    script = (
        "import sys, time, libvirt; from pathlib import Path; from kubeferry.sources.libvirt_freeze import frozen\n"
        "domain = libvirt.open(sys.argv[1]).lookupByName(sys.argv[2])\n"
        "with frozen(domain, sys.argv[1], Path(sys.argv[3])): time.sleep(600)\n"
    )
    argv = [sys.executable, "-c", script, URI, name, str(tmp_path / "guard.pid")]
    with child(argv, log=tmp_path / "log", env={"PYTHONPATH": str(Path.cwd())}) as holding:
        until(lambda: ask(running, "guest-fsfreeze-status") == "frozen")
        os.kill(holding.pid, signal.SIGKILL)
        until(lambda: ask(running, "guest-fsfreeze-status") == "thawed", 30)


# --- what can come between two rounds ---------------------------------------------------------------------------------


def test_raw_and_qcow2_disks_side_by_side(copy: Copy) -> None:
    write(copy, "vda", 0, b"a")
    write(copy, "vdb", 0, b"b")
    first, _ = copy.round()
    assert {ref.changed for ref in first.refs.values()} == {None}
    write(copy, "vda", MIB, b"c")
    write(copy, "vdb", MIB, b"d")
    second, done = copy.round(first.marker)
    assert second.refs["vda"].changed is not None
    assert second.refs["vdb"].changed is None
    assert done["vda"].tally.read == MIB  # the block that holds what was written
    write(copy, "vdb", 2 * MIB, b"e")
    stop(copy)
    last, done = copy.round(second.marker, final=True)
    assert [last.refs[disk].changed is None for disk in ("vda", "vdb")] == [False, True]
    assert done["vda"].tally.read == 0
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


def test_a_machine_of_raw_disks_only_has_full_rounds(bare: Bare, source: Source, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    old = bare.image("old.qcow2", form="qcow2")
    run(["qemu-img", "amend", "-f", "qcow2", "-o", "compat=0.10", str(old)])
    copy = Copy(source, bare.define("raw", (bare.image("a.raw"), "raw"), (old, "qcow2")), tmp_path / "target")
    virsh("start", copy.name)
    first, _ = copy.round()
    write(copy, "vda", 0, b"x")
    write(copy, "vdb", 0, b"y")
    second, _ = copy.round(first.marker)
    assert second.marker != first.marker
    assert {ref.changed for ref in second.refs.values()} == {None}
    assert checkpoints(copy.name) == []
    stop(copy)
    copy.round(second.marker, final=True)
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


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


def kill_qemu(copy: Copy) -> None:
    pid = int(Path(f"/run/libvirt/qemu/{copy.name}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: copy.source.power(copy.machine) is not Power.RUNNING)


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


# --- who may read it --------------------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that QEMU's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="kubeferry-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


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
            yield Away(far, open_folder, Copy(source, name, open_folder / "target"), access)
            source.close()
            assert not list(Path(tempfile.gettempdir()).glob("kubeferry-host-*"))
    finally:
        bare.remove()


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
