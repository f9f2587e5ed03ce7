"""What the sources of the contract suite stand on: a real libvirtd, the lab's cloud, the vCenter simulator, files.

Each opens a source with two machines of two disks each: `on` is running and deaf, `off` is off. Where machines cannot
run, `on` is off, too. What can become of their disks there stands in `changes.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Config, SourceConfig
from kubeferry.model import Cpu, Disk, Machine, Memory, Power
from kubeferry.sources import Source, open_named, open_source
from kubeferry.sources.memory.source import MemorySource
from kubeferry.uris import local_path
from lab import daemons, ova, vmx
from lab.bare import Bare, write_inside
from lab.ec2 import Cloud
from lab.vcenter.place import Place

MIB = 1 << 20
GIB = 1 << 30
SIZES = {"vda": 2 * MIB, "vdb": MIB}
EVEN = dict.fromkeys(SIZES, 2 * MIB)

# One libvirtd a machine: its tests take turns. And one simulator for all that need it.
TURNS = {"libvirt": "libvirt", "vmware": "vcenter"}

OURS = f"kft-contract{os.getpid()}-"  # the machines of a libvirtd that others use, too

Start = Callable[["Stand", Machine], None]
"""Lets a machine be started by itself, as its owner would."""
Write = Callable[[Machine, str, int, bytes], None]
"""Writes to a running machine's disk as its guest would: machine, disk, offset, bytes."""


@dataclass
class Stand:
    """An opened source, the configuration that opens it again, and how a test reaches what is behind it: `place` is the
    hypervisor, cloud or folder. `sizes` are those of its machines' disks; `cold_leaves` says that even a cold round
    leaves something at the source to forget. `kept` is what a change will go back to. `named` is the source that its
    machines are of, and `again` opens an estate once more."""

    source: Source
    config: SourceConfig
    place: Any
    write: Write
    sizes: dict[str, int] = field(default_factory=lambda: dict(SIZES))
    cold_leaves: bool = False
    start_by_itself: Start = lambda _stand, _machine: None
    kept: Any = None
    again: Callable[[], Source] | None = None
    named: str = "lab"

    def another(self) -> Source:
        """The source as another process has it."""
        return self.again() if self.again is not None else open_source("lab", self.config)


@dataclass
class Exports:
    """A folder of OVAs, each made anew when its machine is said to be another one. `disks` are the raw bytes by
    machine, and by the place of the disk."""

    folder: Path
    disks: dict[str, list[bytearray]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def export(self, file: str) -> None:
        """Write the OVA of this file, whose machine is called like it unless `names` says otherwise."""
        parts = [
            ova.PackedDisk(f"vd{'abc'[at]}", f"vd{'abc'[at]}.vmdk", len(raw), bytes(raw))
            for at, raw in enumerate(self.disks[file])
        ]
        ova.export(self.folder / f"{file}.ova", self.names.get(file, file), parts, manifest_last=file == "on")


def a_stand(kind: str) -> Any:
    """The kind as a parameter, in the group of tests that take turns where it has one."""
    return pytest.param(kind, marks=[pytest.mark.xdist_group(TURNS[kind])] if kind in TURNS else [])


def named(source: Source, name: str) -> Machine:
    return next(one for one in source.discover().machines if one.name in (name, OURS + name))


def on_libvirt(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    request.getfixturevalue("libvirtd")
    bare, sizes = Bare(folder, OURS), sizes_of(request)
    form = "qcow2" if sizes is EVEN else "raw"
    try:
        for name in ("off", "on"):
            system = bare.image(f"{name}-vda.qcow2", form="qcow2", size=sizes["vda"])
            data = bare.image(f"{name}-vdb.{form}", form=form, size=sizes["vdb"])
            bare.define(name, (system, "qcow2"), (data, form))
        daemons.virsh("start", f"{bare.prefix}on")
        config = SourceConfig(kind="libvirt", uri=daemons.URI)
        yield from _opened(config, bare, write=_write_libvirt, sizes=sizes)
    finally:
        bare.remove()


def on_files(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    machines, sizes = [], sizes_of(request)
    for name in ("off", "on"):
        disks = []
        for disk, size in sizes.items():
            path = folder / f"{name}-{disk}.raw"
            path.write_bytes(bytes(size))
            disks.append(Disk(id=disk, uri=path.as_uri(), source_kind="file", format="raw", capacity_bytes=size))
        room = {"cpu": Cpu(vcpus=1), "memory": Memory(size_bytes=MIB)}
        machines.append(Machine(id=f"id-of-{name}", name=name, source="lab", disks=tuple(disks), **room))
    made = MemorySource("lab", folder)
    made.write_machines(*machines)
    made.write_power("on", Power.RUNNING)
    made.write_deaf("on")
    yield from _opened(SourceConfig(kind="memory", uri=f"memory://{folder}"), made, write=_write_file, sizes=sizes)


def on_an_estate(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    """Files as a source of an estate, which has another one of the kind, and no machine in that."""
    for name in ("here", "there"):
        (folder / name).mkdir()
    MemorySource("there", folder / "there").write_machines()
    members = {one: {"kind": "memory", "uri": f"memory://{folder}/{one}"} for one in ("here", "there")}
    config = Config.model_validate(
        {"sources": members, "estates": {"lab": ["there", "here"]}, "target": {"kind": "memory"}}
    )
    for stand in on_files(request, folder / "here"):
        again = partial(open_named, config, "lab")
        opened = again()
        yield replace(stand, source=opened, again=again, named="here")
        opened.close()


def on_vcenter(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    lab: Place = request.getfixturevalue("simulated")
    contents, sizes = [], sizes_of(request)
    for disk, size in sizes.items():
        contents.append(folder / disk)
        contents[-1].write_bytes(bytes(size))

    def write(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
        lab.write(machine.name, list(sizes).index(disk), offset, piece)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment().items():
            patch.setenv(name, value)
        lab.machine("off", contents)
        lab.relay.rules.deaf.add(lab.machine("on", contents, on=True))
        yield from _opened(lab.config(), lab, write=write, sizes=sizes)
        lab.remove(*lab.names)


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
        sizes = {"vda": GIB, "vdb": GIB}
        yield from _opened(config, cloud, write=write, sizes=sizes, cold_leaves=True)


def on_exports(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    sizes, exports = sizes_of(request), Exports(folder)
    for name in ("off", "on"):
        exports.disks[name] = [bytearray(size) for size in sizes.values()]
        exports.export(name)

    def write(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
        file = machine.id.partition(".ova#")[0]
        exports.disks[file][list(sizes).index(disk)][offset : offset + len(piece)] = piece
        exports.export(file)

    yield from _opened(SourceConfig(kind="ova", uri=folder.as_uri()), exports, write=write, sizes=sizes)


def sizes_of(request: pytest.FixtureRequest) -> dict[str, int]:
    """The sizes that a test asks for, by the fixture `sizes`."""
    found: dict[str, int] = request.getfixturevalue("sizes")
    return found


def on_a_datastore(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stand]:
    """VMware's own files of machines, as they are copied out of a datastore."""
    sizes = sizes_of(request)
    for number, name in enumerate(("off", "on")):
        card = {"ethernet0__generatedAddress": f"00:0c:29:00:00:0{number}"}
        vmx.machine(folder / name, name, {disk: bytes(size) for disk, size in sizes.items()}, **card)

    def write(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
        _write_at(folder / machine.name / f"{disk}-flat.vmdk", offset, piece)

    yield from _opened(SourceConfig(kind="ova", uri=folder.as_uri()), folder, write=write, sizes=sizes)


def _opened(
    config: SourceConfig, place: object, *, write: Write, sizes: dict[str, int], cold_leaves: bool = False
) -> Iterator[Stand]:
    source = open_source("lab", config)
    start = _STARTS.get(config.kind, lambda _stand, _machine: None)
    yield Stand(source, config, place, write, sizes=dict(sizes), cold_leaves=cold_leaves, start_by_itself=start)
    source.close()


def _write_libvirt(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
    write_inside(machine.name, f"virtio-disk{'ab'.index(disk[-1])}", offset, piece)


def _write_file(machine: Machine, disk: str, offset: int, piece: bytes) -> None:
    path = local_path(next(one.uri or "" for one in machine.disks if one.id == disk))
    assert path is not None
    _write_at(path, offset, piece)


def _write_at(path: Path, offset: int, piece: bytes) -> None:
    with path.open("r+b") as image:
        image.seek(offset)
        image.write(piece)


_STARTS: dict[str, Start] = {
    "libvirt": lambda _stand, machine: daemons.virsh("autostart", machine.name),
    "memory": lambda stand, machine: stand.place.write_autostart(machine.name, order="3"),
    "vmware": lambda stand, machine: stand.place.start_with_host(machine.name, order=3),
    "aws": lambda stand, machine: stand.place.group("fleet", machine.id, protected=True),
}

STANDS: dict[str, tuple[Callable[[pytest.FixtureRequest, Path], Iterator[Stand]], tuple[str, ...]]] = {
    "libvirt": (on_libvirt, ("libvirtd", "virtlogd", "virsh", "tini", "qemu-system-x86_64", "qemu-img")),
    "memory": (on_files, ()),
    "estate": (on_an_estate, ()),
    "ova": (on_exports, ()),
    "vmx": (on_a_datastore, ()),
    "aws": (on_a_cloud, ()),
    "vmware": (on_vcenter, ("vcenter", "openssl")),
}
"""Each kind of source, several as one, and what else one of them reads; what its stand needs of this machine:
`tests.needs` knows the words."""
