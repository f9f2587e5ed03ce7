"""What every source promises, asked of each one that we have. The libvirt source talks to a real libvirtd, the AWS
source to the lab's cloud."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from converters.endpoints import open_source as open_disk
from kubeferry.documents import SourceConfig, StopPolicy
from kubeferry.errors import SourceRefused
from kubeferry.kinds import SOURCES
from kubeferry.ledger import AT_SOURCE, VIEW, External
from kubeferry.model import Cpu, Disk, DiskRef, Machine, Marker, Memory, Power, Severity
from kubeferry.sources import Round, Source, open_source
from kubeferry.sources.ec2.source import Ec2Source
from kubeferry.sources.memory.source import MemorySource
from kubeferry.uris import local_path
from lab import daemons, ova
from lab.bare import Bare, write_inside
from lab.ec2 import Cloud
from lab.vcenter.place import Place, vcenter
from tests.needs import here

MIB = 1 << 20
PIECE = 64 << 10
SIZES = {"vda": 2 * MIB, "vdb": MIB}
GIB = 1 << 30
VOLUMES = {"vda": GIB, "vdb": GIB}  # EC2 has no smaller ones
LOOKED_AT = 4 * MIB
PROGRAMS = {
    "libvirt": ("libvirtd", "virtlogd", "virsh", "tini", "qemu-system-x86_64", "qemu-img"),
    "memory": (),
    "ova": (),
    "aws": (),
    "vmware": ("vcenter", "openssl"),
}
GENTLE = StopPolicy(agent_seconds=0.2, acpi_seconds=0.2)
FORCE = GENTLE.model_copy(update={"force": True})
pytestmark = pytest.mark.xdist_group("libvirt")  # one libvirtd a machine: its tests take turns


def unwritten(thing: External) -> None:
    # A cloud's disks can only be read from snapshots; elsewhere a cold round on this machine makes nothing.
    assert thing.kind == VIEW, f"it wanted to make {thing}"
    assert "/i-" in thing.where, f"it wanted to make {thing}"


def sizes_of(source: Source) -> dict[str, int]:
    return VOLUMES if isinstance(source, Ec2Source) else SIZES


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with daemons.running(tmp_path_factory.mktemp("daemons")):
        yield


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with vcenter(tmp_path_factory.mktemp("vcenter")) as lab:
        yield lab


@pytest.fixture(params=sorted(SOURCES.keys() & PROGRAMS.keys()))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """A source with two machines of two disks each: `on` is running and deaf, `off` is off. Where machines cannot run,
    `on` is off, too."""
    here(*PROGRAMS[request.param])
    if request.param == "libvirt":
        request.getfixturevalue("libvirtd")
    if request.param == "vmware":
        yield from in_vmware(tmp_path, request.getfixturevalue("simulated"))
        return
    makers = {"libvirt": in_libvirt, "memory": in_memory, "ova": in_ovas, "aws": in_aws}
    yield from makers[request.param](tmp_path)


def in_libvirt(folder: Path) -> Iterator[Source]:
    bare = Bare(folder, f"kft-contract{os.getpid()}-")
    try:
        for name in ("off", "on"):
            system = bare.image(f"{name}-vda.qcow2", form="qcow2", size=SIZES["vda"])
            bare.define(name, (system, "qcow2"), (bare.image(f"{name}-vdb.raw", size=SIZES["vdb"]), "raw"))
        daemons.virsh("start", f"{bare.prefix}on")
        opened = open_source("lab", SourceConfig(kind="libvirt", uri=daemons.URI))
        yield opened
        opened.close()
    finally:
        bare.remove()


def in_memory(folder: Path) -> Iterator[Source]:
    machines = []
    for name in ("off", "on"):
        disks = []
        for disk, size in SIZES.items():
            path = folder / f"{name}-{disk}.raw"
            path.write_bytes(bytes(size))
            disks.append(Disk(id=disk, uri=path.as_uri(), source_kind="file", format="raw", capacity_bytes=size))
        machines.append(
            Machine(
                id=f"id-of-{name}",
                name=name,
                source="lab",
                cpu=Cpu(vcpus=1),
                memory=Memory(size_bytes=MIB),
                disks=disks,
            )
        )
    opened = open_source("lab", SourceConfig(kind="memory", uri=f"memory://{folder}"))
    assert isinstance(opened, MemorySource)
    opened.write_machines(*machines)
    opened.write_power("on", Power.RUNNING)
    opened.write_deaf("on")
    yield opened
    opened.close()


def in_vmware(folder: Path, lab: Place) -> Iterator[Source]:
    contents = []
    for disk, size in SIZES.items():
        contents.append(folder / disk)
        contents[-1].write_bytes(bytes(size))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment().items():
            patch.setenv(name, value)
        lab.machine("off", contents)
        lab.relay.rules.deaf.add(lab.machine("on", contents, on=True))
        opened = open_source("lab", lab.config())
        LABS[opened] = lab
        yield opened
        opened.close()
        lab.remove("off", "on")


LABS: dict[Source, Place] = {}
"""The vCenter of a source of ours."""


def ids(machine: Machine) -> dict[str, str]:
    """Our names of the disks -> the source's, in the order in which the machine has them."""
    return dict(zip(SIZES, (disk.id for disk in machine.data_disks), strict=True))


def in_aws(_folder: Path) -> Iterator[Source]:
    with Cloud() as cloud, pytest.MonkeyPatch.context() as patched:
        for name, value in cloud.environment.items():
            patched.setenv(name, value)
        patched.setitem(CLOUDS, "aws", cloud)
        on, off = (cloud.launch(name, {"/dev/vda": 1, "/dev/vdb": 1}) for name in ("on", "off"))
        cloud.client().stop_instances(InstanceIds=[off])
        cloud.faults.deaf.add(on)
        opened = open_source("lab", aws_config(cloud))
        yield opened
        opened.close()


CLOUDS: dict[str, Cloud] = {}
"""The cloud of the test that runs."""


def aws_config(cloud: Cloud) -> SourceConfig:
    return SourceConfig.model_validate({"kind": "aws", "aws": {"endpointUrl": cloud.url}})


def in_ovas(folder: Path) -> Iterator[Source]:
    for name in ("off", "on"):
        disks = [ova.PackedDisk(disk, f"{disk}.vmdk", size, bytes(size)) for disk, size in SIZES.items()]
        ova.export(folder / f"{name}.ova", name, disks, manifest_last=name == "on")
    opened = open_source("lab", SourceConfig(kind="ova", uri=folder.as_uri()))
    yield opened
    opened.close()


def named(source: Source, name: str) -> Machine:
    return next(one for one in source.discover().machines if one.name.endswith(name))


@pytest.fixture
def on(source: Source) -> Machine:
    """The machine that runs."""
    if not source.capabilities.runs:
        pytest.skip("its machines do not run")
    return named(source, "on")


@pytest.fixture
def off(source: Source) -> Machine:
    return named(source, "off")


def write_memory(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
    path = local_path(next(one.uri or "" for one in machine.disks if one.id == disk))
    assert path is not None
    with path.open("r+b") as image:
        image.seek(offset)
        image.write(piece)


def write_volume(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
    volume = next(one.uri or "" for one in machine.disks if one.id == disk).rpartition("/")[2]
    CLOUDS["aws"].write(volume, offset, piece)


def write_libvirt(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
    write_inside(machine.name, f"virtio-disk{'ab'.index(disk[-1])}", offset, piece)


# How a running machine's disk is written to, as its guest would: machine, disk, offset, bytes.
WRITERS = {"libvirt": write_libvirt, "memory": write_memory, "aws": write_volume}


@dataclass
class Warm:
    """A source with warm copies and its running machine; everything that its ledger was told."""

    source: Source
    machine: Machine
    kind: str
    told: list[External] = field(default_factory=list)

    def open(self, since: Marker | None = None, *, final: bool = False, source: Source | None = None) -> Round:
        asked = source or self.source
        return asked.open_round(self.machine, since=since, final=final, remote=False, ledger=self.told.append)

    def write(self, disk: str, offset: int, letter: bytes) -> None:
        if self.kind == "vmware":
            LABS[self.source].write(self.machine.name, list(SIZES).index(disk), offset, letter * PIECE)
        else:
            WRITERS[self.kind](self.machine, disk, offset, letter * PIECE)

    def another(self) -> Source:
        """The source as another process has it."""
        return open_source("lab", self.config())

    def config(self) -> SourceConfig:
        if self.kind == "vmware":
            return LABS[self.source].config()
        if self.kind == "aws":
            return aws_config(CLOUDS["aws"])
        uri = daemons.URI
        if isinstance(self.source, MemorySource):
            uri = f"memory://{self.source.folder}"
        return SourceConfig.model_validate({"kind": self.kind, "uri": uri})


@pytest.fixture
def warm(request: pytest.FixtureRequest, source: Source, on: Machine) -> Warm:
    if not source.capabilities.warm:
        pytest.skip("its machines are copied cold only")
    return Warm(source, on, request.node.callspec.params["source"])


def contents(opened: Round) -> dict[str, tuple[bytes, list[tuple[int, int]]]]:
    """By disk: its bytes, as far as they are written to, and the ranges that are promised to be the same as in the
    round before."""
    found = {}
    for disk, told in ids(opened.machine).items():
        with open_disk(opened.refs[told]) as endpoint:
            view = memoryview(bytearray(min(endpoint.size, LOOKED_AT)))
            endpoint.read_into(0, view)
            same = [(extent.offset, extent.end) for extent in endpoint.extents() if extent.same]
        found[disk] = (bytes(view), same)
    return found


def assert_told_rightly(earlier: Round, before: dict[str, Any], later: Round, after: dict[str, Any]) -> None:
    """What is named `same` is the same; not everything has to be read again."""
    assert later.marker is None or later.marker != earlier.marker
    for disk, (content, same) in after.items():
        assert all(content[start:end] == before[disk][0][start:end] for start, end in same)
    assert any(same for _, same in after.values())


def no_words(_words: dict[str, str], _at: str) -> None:
    raise AssertionError("nobody is there to be heard")


def test_discovery_tells_every_machine_with_its_power_and_the_sizes_of_its_disks(source: Source) -> None:
    inventory = source.discover()
    assert (inventory.source, inventory.unreadable) == ("lab", ())
    machines = {"on": named(source, "on"), "off": named(source, "off")}
    assert machines["on"].power is (Power.RUNNING if source.capabilities.runs else Power.OFF)
    assert machines["off"].power is Power.OFF
    for machine in machines.values():
        assert [disk.capacity_bytes for disk in machine.data_disks] == list(sizes_of(source).values())
        assert machine.source == "lab"


def test_a_machine_that_can_be_moved_raises_no_concern_running_or_not(source: Source) -> None:
    for machine in (named(source, "on"), named(source, "off")):
        assert source.concerns(machine) == []
        assert source.power(machine) is machine.power


def test_what_cannot_run_is_not_started_and_says_why(source: Source, off: Machine) -> None:
    if source.capabilities.runs:
        pytest.skip("its machines run")
    with pytest.raises(SourceRefused, match="cannot be started") as refused:
        source.start(off)
    assert (refused.value.machine, bool(refused.value.fix)) == (off.name, True)
    assert not source.capabilities.force_stop | source.capabilities.warm | source.capabilities.last_words
    assert source.power(off) is Power.OFF


def test_a_round_that_is_opened_for_another_host_is_served_or_refused(source: Source, off: Machine) -> None:
    if source.capabilities.runs:
        pytest.skip("tried where its hypervisor is set up for it")
    with pytest.raises(SourceRefused, match="on this host") as refused:
        source.open_round(off, since=None, final=True, remote=True, ledger=unwritten)
    assert refused.value.machine == off.name


def test_concerns_are_what_a_round_is_refused_for(source: Source, off: Machine) -> None:
    bigger = [disk.model_copy(update={"capacity_bytes": 8 * MIB, "format": "vmdk"}) for disk in off.disks]
    planned = off.model_copy(update={"disks": tuple(bigger)})
    found = source.concerns(planned)
    assert {one.severity for one in found} == {Severity.CRITICAL}
    assert all(any(disk in one.what for one in found) for disk in ids(off).values())
    with pytest.raises(SourceRefused) as refused:
        source.open_round(planned, since=None, final=True, remote=False, ledger=unwritten)
    assert refused.value.machine == off.name
    assert all(one.what.partition(": ")[2] in refused.value.why for one in found)
    assert all(one.fix in refused.value.fix for one in found)


def test_a_round_refers_to_every_data_disk_and_may_be_opened_twice(source: Source, off: Machine) -> None:
    first = source.open_round(off, since=None, final=False, remote=False, ledger=unwritten)
    second = source.open_round(off, since=None, final=True, remote=False, ledger=unwritten)
    assert first.refs == second.refs
    assert first.machine == off
    assert {disk: first.refs[told].size_bytes for disk, told in ids(off).items()} == sizes_of(source)
    assert all(isinstance(ref, DiskRef) and ref.backing is None for ref in first.refs.values())
    source.close_round(first)
    source.close_round(first)
    source.close_round(second)


def test_a_running_machine_has_no_cold_round(source: Source, on: Machine) -> None:
    with pytest.raises(SourceRefused, match="not off") as refused:
        source.open_round(on, since=None, final=True, remote=False, ledger=unwritten)
    assert refused.value.machine == on.name
    assert refused.value.fix


def test_a_marker_that_nobody_knows_names_nothing_or_is_refused(source: Source, off: Machine) -> None:
    strange = Marker(source="lab", token="../round-1", taken_at="2024-01-01T00:00:00Z")  # noqa: S106 (a point in time)
    if source.capabilities.warm:
        opened = source.open_round(off, since=strange, final=True, remote=False, ledger=unwritten)
        assert {ref.changed for ref in opened.refs.values()} == {None}
        return
    with pytest.raises(SourceRefused):
        source.open_round(off, since=strange, final=False, remote=False, ledger=unwritten)


def test_a_machine_that_does_not_stop_is_refused_and_runs_on(source: Source, on: Machine) -> None:
    with pytest.raises(SourceRefused, match="does not stop") as refused:
        source.stop(on, GENTLE, no_words)
    assert "force" in refused.value.fix
    assert source.power(on) is Power.RUNNING


def test_a_forced_stop_a_second_stop_and_a_start_that_is_called_twice(source: Source, on: Machine) -> None:
    assert source.capabilities.force_stop
    assert source.stop(on, FORCE, no_words).how == "forced"
    assert source.power(on) is Power.OFF
    assert source.stop(on, FORCE, no_words).how == "already-off"
    opened = source.open_round(on, since=None, final=True, remote=False, ledger=unwritten)
    assert opened.refs.keys() == set(ids(on).values())
    source.start(on)
    source.start(on)
    assert source.power(on) is Power.RUNNING


def test_stopping_what_is_off_changes_nothing(source: Source, off: Machine) -> None:
    stopped = source.stop(off, GENTLE, no_words)
    assert (stopped.how, stopped.last_answer_at) == ("already-off", None)
    assert source.power(off) is Power.OFF


def test_a_machine_that_the_source_does_not_know_is_refused_by_name(source: Source, off: Machine) -> None:
    stranger = "00000000-1111-4222-8333-444444444444"
    gone = off.model_copy(update={"id": stranger, "uuid": stranger, "name": "gone"})
    for call in (
        lambda: source.power(gone),
        lambda: source.concerns(gone),
        lambda: source.stop(gone, FORCE, no_words),
        lambda: source.start(gone),
        lambda: source.open_round(gone, since=None, final=True, remote=False, ledger=unwritten),
    ):
        with pytest.raises(SourceRefused, match="no such machine") as refused:
            call()
        assert refused.value.machine == "gone"


def test_what_changed_between_two_rounds_is_named_and_what_is_named_the_same_is_the_same(warm: Warm) -> None:
    warm.write("vda", 0, b"a")
    earlier = warm.open()
    assert earlier.consistency in {"frozen", "crash"}
    before = contents(earlier)
    assert before["vda"][0][:PIECE] == b"a" * PIECE
    assert not any(same for _, same in before.values())
    warm.source.close_round(earlier)
    if warm.source.capabilities.live_deltas:
        warm.write("vda", MIB, b"b")
        warm.write("vdb", 3 * PIECE, b"c")
        later = warm.open(earlier.marker)
        warm.write("vda", MIB + 5 * PIECE, b"d")  # into the running machine, not into the view
        after = contents(later)
        assert after["vda"][0][MIB : MIB + PIECE] == b"b" * PIECE
        assert after["vda"][0][MIB + 5 * PIECE :] == before["vda"][0][MIB + 5 * PIECE :]
        assert_told_rightly(earlier, before, later, after)
        warm.source.close_round(later)
        earlier, before = later, after
    warm.write("vda", 7 * PIECE, b"e")
    warm.source.stop(warm.machine, FORCE, no_words)
    last = warm.open(earlier.marker, final=True)
    assert last.consistency == "off"
    assert_told_rightly(earlier, before, last, left := contents(last))
    assert left["vda"][0][7 * PIECE : 8 * PIECE] == b"e" * PIECE
    assert contents(warm.open(earlier.marker, final=True)) == left
    warm.source.close_round(last)
    assert {thing.kind for thing in warm.told} <= AT_SOURCE
    assert warm.source.forget(warm.machine)
    assert warm.source.forget(warm.machine) == []
    assert not any(warm.source.exists(thing) for thing in warm.told)


def test_a_view_that_is_opened_again_elsewhere_is_the_same_until_it_is_closed(warm: Warm) -> None:
    first = warm.open()
    before = contents(first)
    warm.write("vda", PIECE, b"x")
    elsewhere = warm.another()
    again = warm.open(source=elsewhere)
    assert again.marker == first.marker
    assert contents(again) == before
    elsewhere.close_round(again)
    warm.source.close_round(first)
    fresh = warm.open()
    assert fresh.marker != first.marker
    assert contents(fresh)["vda"][0][PIECE : 2 * PIECE] == b"x" * PIECE
    elsewhere.close()
    warm.source.close_round(fresh)
    warm.source.forget(warm.machine)


def test_a_round_from_a_view_that_was_never_closed_is_a_new_one(warm: Warm) -> None:
    first = warm.open()
    before = contents(first)
    warm.write("vda", PIECE, b"x")
    if not warm.source.capabilities.live_deltas:
        warm.source.stop(warm.machine, FORCE, no_words)
    second = warm.open(first.marker, final=not warm.source.capabilities.live_deltas)
    assert_told_rightly(first, before, second, contents(second))
    warm.source.close_round(second)
    warm.source.forget(warm.machine)


def test_after_a_forced_stop_and_a_start_what_changed_is_still_told_rightly(warm: Warm) -> None:
    first = warm.open()
    before = contents(first)
    warm.source.close_round(first)
    warm.write("vda", PIECE, b"x")
    warm.source.stop(warm.machine, FORCE, no_words)
    warm.source.close_round(warm.open(first.marker, final=True))
    warm.source.start(warm.machine)  # a rollback
    warm.write("vda", 3 * PIECE, b"y")
    warm.source.stop(warm.machine, FORCE, no_words)
    last = warm.open(first.marker, final=True)
    assert_told_rightly(first, before, last, contents(last))
    warm.source.close_round(last)
    warm.source.forget(warm.machine)


def test_there_is_nothing_to_forget_after_cold_rounds_and_it_may_be_asked_twice(source: Source, off: Machine) -> None:
    source.open_round(off, since=None, final=True, remote=False, ledger=unwritten)
    assert bool(source.forget(off)) is isinstance(source, Ec2Source)
    assert source.forget(off) == []


def test_a_closed_source_may_be_closed_again(source: Source) -> None:
    source.close()
    source.close()
