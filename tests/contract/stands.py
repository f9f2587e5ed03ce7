"""What the sources of the contract suite stand on: a real libvirtd, the lab's cloud, the vCenter simulator, files.

Each opens a source with two machines of two disks each: `on` is running and deaf, `off` is off. Where machines cannot
run, `on` is off, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import SourceConfig
from kubeferry.model import Cpu, Disk, Machine, Memory, Power
from kubeferry.sources import Source, open_source
from kubeferry.sources.memory.source import MemorySource
from kubeferry.uris import local_path
from lab import daemons, ova, vmx
from lab.bare import Bare, write_inside
from lab.ec2 import Cloud
from lab.vcenter.place import Place

MIB = 1 << 20
GIB = 1 << 30
SIZES = {"vda": 2 * MIB, "vdb": MIB}

# One libvirtd a machine: its tests take turns. And one simulator for all that need it.
TURNS = {"libvirt": "libvirt", "vmware": "vcenter"}

OURS = f"kft-contract{os.getpid()}-"  # the machines of a libvirtd that others use, too

Exchange = Callable[[Machine], None]
"""What is behind the disks vda and vdb of a machine changes places."""
Write = Callable[[Machine, str, int, bytes], None]
"""Writes to a running machine's disk as its guest would: machine, disk, offset, bytes."""


@dataclass
class Stand:
    """An opened source, the configuration that opens it again, and how a test reaches what is behind it. `sizes` are
    those of its machines' disks; `cold_leaves` says that even a cold round leaves something at the source to forget."""

    source: Source
    config: SourceConfig
    write: Write | None = None
    exchange: Exchange | None = None
    sizes: dict[str, int] = field(default_factory=lambda: dict(SIZES))
    cold_leaves: bool = False


def a_stand(kind: str) -> Any:
    """The kind as a parameter, in the group of tests that take turns where it has one."""
    return pytest.param(kind, marks=[pytest.mark.xdist_group(TURNS[kind])] if kind in TURNS else [])


def named(source: Source, name: str) -> Machine:
    return next(one for one in source.discover().machines if one.name in (name, OURS + name))


def on_libvirt(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    request.getfixturevalue("libvirtd")
    bare = Bare(folder, OURS)
    try:
        for name in ("off", "on"):
            system = bare.image(f"{name}-vda.qcow2", form="qcow2", size=SIZES["vda"])
            bare.define(name, (system, "qcow2"), (bare.image(f"{name}-vdb.raw", size=SIZES["vdb"]), "raw"))
        daemons.virsh("start", f"{bare.prefix}on")
        yield from _opened(SourceConfig(kind="libvirt", uri=daemons.URI), write=_write_libvirt)
    finally:
        bare.remove()


def on_files(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    machines = []
    for name in ("off", "on"):
        disks = []
        for disk, size in SIZES.items():
            path = folder / f"{name}-{disk}.raw"
            path.write_bytes(bytes(size))
            disks.append(Disk(id=disk, uri=path.as_uri(), source_kind="file", format="raw", capacity_bytes=size))
        room = {"cpu": Cpu(vcpus=1), "memory": Memory(size_bytes=MIB)}
        machines.append(Machine(id=f"id-of-{name}", name=name, source="lab", disks=tuple(disks), **room))
    for stand in _opened(SourceConfig(kind="memory", uri=f"memory://{folder}"), write=_write_file):
        assert isinstance(stand.source, MemorySource)
        stand.source.write_machines(*machines)
        stand.source.write_power("on", Power.RUNNING)
        stand.source.write_deaf("on")
        stand.exchange = _exchange_files
        yield stand


def on_vcenter(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    lab: Place = request.getfixturevalue("simulated")
    contents = []
    for disk, size in SIZES.items():
        contents.append(folder / disk)
        contents[-1].write_bytes(bytes(size))

    def write(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
        lab.write(machine.name, list(SIZES).index(disk), offset, piece)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment().items():
            patch.setenv(name, value)
        lab.machine("off", contents)
        lab.relay.rules.deaf.add(lab.machine("on", contents, on=True))
        yield from _opened(lab.config(), write=write)
        lab.remove("off", "on")


def on_a_cloud(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Stand]:
    with Cloud() as cloud, pytest.MonkeyPatch.context() as patched:

        def write(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
            volume = next(one.uri or "" for one in machine.disks if one.id == disk).rpartition("/")[2]
            cloud.write(volume, offset, piece)

        for name, value in cloud.environment.items():
            patched.setenv(name, value)
        on, off = (cloud.launch(name, {"/dev/vda": 1, "/dev/vdb": 1}) for name in ("on", "off"))
        cloud.client().stop_instances(InstanceIds=[off])
        cloud.faults.deaf.add(on)
        config = SourceConfig.model_validate({"kind": "aws", "aws": {"endpointUrl": cloud.url}})
        # EC2 has no smaller volumes.
        for stand in _opened(config, write=write, sizes={"vda": GIB, "vdb": GIB}, cold_leaves=True):
            stand.exchange = lambda machine: cloud.exchange(machine.id, "/dev/vda", "/dev/vdb")
            yield stand


def on_exports(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    for name in ("off", "on"):
        disks = [ova.PackedDisk(disk, f"{disk}.vmdk", size, bytes(size)) for disk, size in SIZES.items()]
        ova.export(folder / f"{name}.ova", name, disks, manifest_last=name == "on")
    yield from _opened(SourceConfig(kind="ova", uri=folder.as_uri()))


def on_a_datastore(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    """VMware's own files of machines, as they are copied out of a datastore."""
    for number, name in enumerate(("off", "on")):
        card = {"ethernet0__generatedAddress": f"00:0c:29:00:00:0{number}"}
        vmx.machine(folder / name, name, {disk: bytes(size) for disk, size in SIZES.items()}, **card)
    yield from _opened(SourceConfig(kind="ova", uri=folder.as_uri()))


def _opened(
    config: SourceConfig, *, write: Write | None = None, sizes: dict[str, int] = SIZES, cold_leaves: bool = False
) -> Iterator[Stand]:
    source = open_source("lab", config)
    yield Stand(source, config, write, sizes=dict(sizes), cold_leaves=cold_leaves)
    source.close()


def _write_libvirt(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
    write_inside(machine.name, f"virtio-disk{'ab'.index(disk[-1])}", offset, piece)


def _exchange_files(machine: Machine) -> None:
    """As far as both go: the sizes stay, since a file of another size is refused."""
    paths = [local_path(disk.uri or "") or Path() for disk in machine.disks]
    least = min(path.stat().st_size for path in paths)
    heads = [path.read_bytes()[:least] for path in paths]
    for path, head in zip(paths, reversed(heads), strict=True):
        with path.open("r+b") as image:
            image.write(head)


def _write_file(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
    path = local_path(next(one.uri or "" for one in machine.disks if one.id == disk))
    assert path is not None
    with path.open("r+b") as image:
        image.seek(offset)
        image.write(piece)


STANDS: dict[str, tuple[Callable[[pytest.FixtureRequest, Path], Iterator[Stand]], tuple[str, ...]]] = {
    "libvirt": (on_libvirt, ("libvirtd", "virtlogd", "virsh", "tini", "qemu-system-x86_64", "qemu-img")),
    "memory": (on_files, ()),
    "ova": (on_exports, ()),
    "vmx": (on_a_datastore, ()),
    "aws": (on_a_cloud, ()),
    "vmware": (on_vcenter, ("vcenter", "openssl")),
}
"""Each kind of source, and what else one of them reads; what its stand needs of this machine: `tests.needs` knows the
words."""
