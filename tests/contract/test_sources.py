"""What every source promises, asked of each one that we have. The libvirt source talks to a real libvirtd."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.documents import SourceConfig, StopPolicy
from kubeferry.errors import SourceRefused
from kubeferry.ledger import External
from kubeferry.model import Cpu, Disk, DiskRef, Machine, Marker, Memory, Power, Severity
from kubeferry.sources import MODULES, Source, open_source
from kubeferry.sources.memory import MemorySource
from lab import daemons
from lab.bare import Bare

MIB = 1 << 20
SIZES = {"vda": 2 * MIB, "vdb": MIB}
PROGRAMS = {"libvirt": ("libvirtd", "virtlogd", "virsh", "tini", "qemu-system-x86_64", "qemu-img"), "memory": ()}
GENTLE = StopPolicy(agent_seconds=0.2, acpi_seconds=0.2)
FORCE = GENTLE.model_copy(update={"force": True})
pytestmark = pytest.mark.xdist_group("libvirt")  # one libvirtd a machine: its tests take turns


def unwritten(thing: External) -> None:
    raise AssertionError(f"a cold round on this machine makes nothing, and wanted to make {thing}")


def not_here(kind: str) -> list[str]:
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [program for program in PROGRAMS[kind] if shutil.which(program, path=path) is None]
    return missing + (["root"] if kind == "libvirt" and os.geteuid() != 0 else [])


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("daemons")
    daemons.start(folder)
    yield
    daemons.stop(folder)


@pytest.fixture(params=sorted(MODULES.keys() & PROGRAMS.keys()))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """A source with two machines of two disks each: `on` is running and deaf, `off` is off."""
    if missing := not_here(request.param):
        assert os.environ.get("CI") != "true", f"missing: {missing}"
        pytest.skip(f"missing: {', '.join(missing)}")
    if request.param == "libvirt":
        request.getfixturevalue("libvirtd")
    yield from {"libvirt": in_libvirt, "memory": in_memory}[request.param](tmp_path)


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


def named(source: Source, name: str) -> Machine:
    return next(one for one in source.discover().machines if one.name.endswith(name))


@pytest.fixture
def on(source: Source) -> Machine:
    return named(source, "on")


@pytest.fixture
def off(source: Source) -> Machine:
    return named(source, "off")


def no_words(_words: dict[str, str], _at: str) -> None:
    raise AssertionError("nobody is there to be heard")


def test_discovery_tells_every_machine_with_its_power_and_the_sizes_of_its_disks(source: Source) -> None:
    inventory = source.discover()
    assert (inventory.source, inventory.unreadable) == ("lab", ())
    machines = {"on": named(source, "on"), "off": named(source, "off")}
    assert [machines["on"].power, machines["off"].power] == [Power.RUNNING, Power.OFF]
    for machine in machines.values():
        assert {disk.id: disk.capacity_bytes for disk in machine.data_disks} == SIZES
        assert machine.source == "lab"


def test_a_machine_that_can_be_moved_raises_no_concern_running_or_not(
    source: Source, on: Machine, off: Machine
) -> None:
    assert source.concerns(on) == []
    assert source.concerns(off) == []
    assert source.power(on) is Power.RUNNING


def test_concerns_are_what_a_round_is_refused_for(source: Source, off: Machine) -> None:
    bigger = [disk.model_copy(update={"capacity_bytes": 8 * MIB, "format": "vmdk"}) for disk in off.disks]
    planned = off.model_copy(update={"disks": tuple(bigger)})
    found = source.concerns(planned)
    assert {one.severity for one in found} == {Severity.CRITICAL}
    assert all(any(disk in one.what for one in found) for disk in SIZES)
    with pytest.raises(SourceRefused) as refused:
        source.open_round(planned, since=None, final=True, remote=False, ledger=unwritten)
    assert refused.value.machine == off.name
    assert all(one.what.partition(": ")[2] in refused.value.why for one in found)
    assert all(one.fix in refused.value.fix for one in found)


def test_a_round_refers_to_every_data_disk_and_may_be_opened_twice(source: Source, off: Machine) -> None:
    first = source.open_round(off, since=None, final=False, remote=False, ledger=unwritten)
    second = source.open_round(off, since=None, final=True, remote=False, ledger=unwritten)
    assert first.refs == second.refs
    assert first.machine == off.name
    assert {disk: ref.size_bytes for disk, ref in first.refs.items()} == SIZES
    assert all(isinstance(ref, DiskRef) and ref.backing is None for ref in first.refs.values())
    source.close_round(first)
    source.close_round(first)
    source.close_round(second)


def test_a_running_machine_has_no_cold_round(source: Source, on: Machine) -> None:
    with pytest.raises(SourceRefused, match="not off") as refused:
        source.open_round(on, since=None, final=True, remote=False, ledger=unwritten)
    assert refused.value.machine == on.name
    assert refused.value.fix


def test_a_source_without_warm_copies_refuses_a_marker(source: Source, off: Machine) -> None:
    assert not source.capabilities.warm
    earlier = Marker(source="lab", token="round-1", taken_at="2024-01-01T00:00:00Z")  # noqa: S106 (a point in time)
    with pytest.raises(SourceRefused):
        source.open_round(off, since=earlier, final=False, remote=False, ledger=unwritten)


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
    assert source.open_round(on, since=None, final=True, remote=False, ledger=unwritten).refs.keys() == SIZES.keys()
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


def test_there_is_nothing_to_forget_after_cold_rounds_and_it_may_be_asked_twice(source: Source, off: Machine) -> None:
    source.open_round(off, since=None, final=True, remote=False, ledger=unwritten)
    assert source.forget(off) == []
    assert source.forget(off) == []


def test_a_closed_source_may_be_closed_again(source: Source) -> None:
    source.close()
    source.close()
