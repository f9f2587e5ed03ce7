"""What may become of a machine's disks between two rounds, at each source that we have, as it happens there.

    swap      two disks of one size change places           revert    all disks go back to an older state
    replace   another disk has the place of the second      grow      the second disk is larger
    detach    the second disk is taken away, and is back    rename    the machine has another name

Each in the ways in which its source can have it done. An export is written anew for it, since nothing runs there; EC2
lets no volume hold an older state again, so there another one, made of that, takes its place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from kubeferry.model import Machine, Power
from kubeferry.outside.process import run
from kubeferry.uris import local_path
from lab.bare import Bare
from lab.daemons import virsh
from lab.ec2 import Cloud
from lab.vcenter.place import Place
from tests.contract.stands import EVEN, MIB, OURS, Exports, Stand

Do = Callable[[Stand, Machine], None]
BOTH = ("vda", "vdb")
NEW_NAME = "renamed"
LARGER = 3 * MIB


@dataclass(frozen=True)
class Change:
    """One way to make a change; for one that goes back, `keep` remembers to what. In the round after it all is read of
    the disks in `whole`, and less than all of those in `told`, where the source knows what changed. `misleads`: nothing
    at the source tells of it, and what is called the same is not; the copy has to find that out."""

    make: Do
    keep: Do | None = None
    whole: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    misleads: bool = False


def images(machine: Machine) -> dict[str, Path]:
    """Where the disks are that a source has in files."""
    return {disk.id: local_path(disk.uri or "") or Path() for disk in machine.data_disks}


def moved(one: Path, other: Path) -> None:
    """Two files change names."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def contents_swapped(_stand: Stand, machine: Machine) -> None:
    one, other = images(machine).values()
    had = one.read_bytes(), other.read_bytes()
    other.write_bytes(had[0])
    one.write_bytes(had[1])


# --- libvirt ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _off(name: str) -> Iterator[None]:
    runs = virsh("domstate", name).strip() == "running"
    if runs:
        virsh("destroy", name, "--graceful")
    yield
    if runs:
        virsh("start", name)


def _defined(stand: Stand, machine: Machine, edit: Callable[[dict[str, ET.Element], ET.Element], None]) -> None:
    """Define a machine that is off anew, its disks by name."""
    bare: Bare = stand.place
    root = ET.fromstring(virsh("dumpxml", machine.name, "--inactive"))  # noqa: S314 (libvirt's own)
    devices = root.find("devices")
    assert devices is not None
    edit({disk.find("target").get("dev", ""): disk for disk in devices.findall("disk")}, devices)  # type: ignore[union-attr]
    file = bare.folder / "again.xml"
    file.write_text(ET.tostring(root, encoding="unicode"), encoding="utf-8")
    virsh("define", str(file))


def _files_swapped(_stand: Stand, machine: Machine) -> None:
    with _off(machine.name):
        moved(*images(machine).values())


def _file_contents_swapped(stand: Stand, machine: Machine) -> None:
    """Their notes of what changed go with them, and nothing else tells."""
    with _off(machine.name):
        contents_swapped(stand, machine)


def _definition_swapped(stand: Stand, machine: Machine) -> None:
    def edit(disks: dict[str, ET.Element], _devices: ET.Element) -> None:
        one, other = (disks[name].find("source") for name in BOTH)
        assert one is not None
        assert other is not None
        one.attrib["file"], other.attrib["file"] = other.attrib["file"], one.attrib["file"]

    with _off(machine.name):
        _defined(stand, machine, edit)


def _file_replaced(_stand: Stand, machine: Machine) -> None:
    image = images(machine)["vdb"]
    with _off(machine.name):
        image.unlink()
        run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), str(EVEN["vdb"])])


def _definition_replaced(stand: Stand, machine: Machine) -> None:
    bare: Bare = stand.place
    other = bare.image("other.qcow2", form="qcow2", size=EVEN["vdb"])

    def edit(disks: dict[str, ET.Element], _devices: ET.Element) -> None:
        disks["vdb"].find("source").attrib["file"] = str(other)  # type: ignore[union-attr]

    with _off(machine.name):
        _defined(stand, machine, edit)


def _domain_without(stand: Stand, machine: Machine) -> None:
    bare: Bare = stand.place
    before = bare.folder / "before.xml"
    with _off(machine.name):
        before.write_text(virsh("dumpxml", machine.name, "--inactive"), encoding="utf-8")
        _defined(stand, machine, lambda disks, devices: devices.remove(disks["vdb"]))
    with _off(machine.name):
        virsh("define", str(before))


def _images_kept(stand: Stand, machine: Machine) -> None:
    with _off(machine.name):
        stand.kept = {path: shutil.copyfile(path, path.with_suffix(".kept")) for path in images(machine).values()}


def _images_back_in_place(stand: Stand, machine: Machine) -> None:
    with _off(machine.name):
        for path, kept in stand.kept.items():
            shutil.copyfile(kept, path)


def _images_back_as_others(stand: Stand, machine: Machine) -> None:
    with _off(machine.name):
        for path, kept in stand.kept.items():
            kept.rename(path)


def _grown_while_it_runs(_stand: Stand, machine: Machine) -> None:
    virsh("blockresize", machine.name, "vdb", f"{LARGER}B")


def _grown_while_it_is_off(_stand: Stand, machine: Machine) -> None:
    with _off(machine.name):
        run(["qemu-img", "resize", "-q", "-f", "qcow2", str(images(machine)["vdb"]), str(LARGER)])


def _domain_renamed(stand: Stand, machine: Machine) -> None:
    """libvirt renames none with checkpoints: who does it all the same defines it anew, and they are gone."""
    bare: Bare = stand.place
    virsh("destroy", machine.name, "--graceful")
    text = virsh("dumpxml", machine.name, "--inactive")
    virsh("undefine", machine.name, "--checkpoints-metadata")
    file = bare.folder / "renamed.xml"
    file.write_text(text.replace(f"<name>{machine.name}<", f"<name>{OURS}{NEW_NAME}<"), encoding="utf-8")
    virsh("define", str(file))
    bare.names.append(f"{OURS}{NEW_NAME}")
    virsh("start", f"{OURS}{NEW_NAME}")


LIBVIRT = {
    "swap": {
        "of the files": Change(_files_swapped, whole=BOTH),
        "in the definition": Change(_definition_swapped, whole=BOTH),
        "of what is in the files": Change(_file_contents_swapped, misleads=True),
    },
    "replace": {
        "under its name": Change(_file_replaced, whole=("vdb",), told=("vda",)),
        "in the definition": Change(_definition_replaced, whole=("vdb",), told=("vda",)),
    },
    "detach": {"and defined again": Change(_domain_without, told=BOTH)},
    "revert": {
        "into the same files": Change(_images_back_in_place, _images_kept),
        "as other files": Change(_images_back_as_others, _images_kept, whole=BOTH),
    },
    "grow": {
        "while it runs": Change(_grown_while_it_runs, whole=("vdb",), told=("vda",)),
        "while it is off": Change(_grown_while_it_is_off, whole=("vdb",), told=("vda",)),
    },
    "rename": {"and defined again": Change(_domain_renamed, whole=BOTH)},
}


# --- the double in a folder: what differs is found by comparing, byte by byte ----------------------------------------


def _listed(stand: Stand, machine: Machine, **facts: Any) -> None:
    """Let this machine be another one in the list."""
    known = stand.place.discover().machines
    stand.place.write_machines(*(one.model_copy(update=facts) if one.id == machine.id else one for one in known))


def _list_swapped(stand: Stand, machine: Machine) -> None:
    one, other = machine.disks
    swapped = (one.model_copy(update={"uri": other.uri}), other.model_copy(update={"uri": one.uri}))
    _listed(stand, machine, disks=swapped)


def _emptied(_stand: Stand, machine: Machine) -> None:
    images(machine)["vdb"].write_bytes(bytes(EVEN["vdb"]))


def _unlisted(stand: Stand, machine: Machine) -> None:
    _listed(stand, machine, disks=machine.disks[:1])
    _listed(stand, machine, disks=machine.disks)


def _bytes_kept(stand: Stand, machine: Machine) -> None:
    stand.kept = {path: path.read_bytes() for path in images(machine).values()}


def _bytes_back(stand: Stand, _machine: Machine) -> None:
    for path, content in stand.kept.items():
        path.write_bytes(content)


def _file_grown(stand: Stand, machine: Machine) -> None:
    os.truncate(images(machine)["vdb"], LARGER)
    grown = machine.disks[1].model_copy(update={"capacity_bytes": LARGER})
    _listed(stand, machine, disks=(machine.disks[0], grown))


def _list_renamed(stand: Stand, machine: Machine) -> None:
    _listed(stand, machine, name=NEW_NAME)
    stand.place.write_power(NEW_NAME, Power.RUNNING)


MEMORY = {
    "swap": {"of the files": Change(contents_swapped), "in the list": Change(_list_swapped)},
    "replace": {"under its name": Change(_emptied, told=("vda",))},
    "detach": {"and listed again": Change(_unlisted, told=BOTH)},
    "revert": {"into the same files": Change(_bytes_back, _bytes_kept)},
    "grow": {"and listed": Change(_file_grown, whole=("vdb",), told=("vda",))},
    "rename": {"in the list": Change(_list_renamed, told=BOTH)},
}


# --- EC2 -------------------------------------------------------------------------------------------------------------


def _reattached(stand: Stand, machine: Machine) -> None:
    cloud: Cloud = stand.place
    cloud.attach(machine.id, "/dev/vdb", cloud.detach(machine.id, "/dev/vdb"))


def _volumes_kept(stand: Stand, machine: Machine) -> None:
    cloud: Cloud = stand.place
    held = cloud.store.volumes
    stand.kept = {device: dict(held.get(name, {})) for device, name in cloud.volumes(machine.id).items()}


def _volumes_back(stand: Stand, machine: Machine) -> None:
    for device, blocks in stand.kept.items():
        stand.place.revert(machine.id, device, blocks)


def _volume_grown(stand: Stand, machine: Machine) -> None:
    cloud: Cloud = stand.place
    cloud.resize(cloud.volumes(machine.id)["/dev/vdb"], 2)


def _instance_renamed(stand: Stand, machine: Machine) -> None:
    stand.place.client().create_tags(Resources=[machine.id], Tags=[{"Key": "Name", "Value": NEW_NAME}])


AWS = {
    "swap": {
        "of the volumes": Change(lambda stand, one: stand.place.exchange(one.id, "/dev/vda", "/dev/vdb"), whole=BOTH)
    },
    "replace": {
        "by another volume": Change(
            lambda stand, one: stand.place.swap(one.id, "/dev/vdb"), whole=("vdb",), told=("vda",)
        )
    },
    "detach": {"and attached again": Change(_reattached, told=BOTH)},
    "revert": {"to volumes made of snapshots": Change(_volumes_back, _volumes_kept, whole=BOTH)},
    "grow": {"while it runs": Change(_volume_grown, whole=("vdb",), told=("vda",))},
    "rename": {"by its tag": Change(_instance_renamed, told=BOTH)},
}


# --- vSphere ---------------------------------------------------------------------------------------------------------


def _disks_exchanged(stand: Stand, machine: Machine) -> None:
    lab: Place = stand.place
    with lab.off(machine.name):
        lab.exchange(machine.name, 0, 1)


def _disk_replaced(stand: Stand, machine: Machine) -> None:
    lab: Place = stand.place
    empty = lab.folder / "empty"
    empty.write_bytes(bytes(EVEN["vdb"]))
    with lab.off(machine.name):
        lab.replace(machine.name, 1, empty)


def _disk_reattached(stand: Stand, machine: Machine) -> None:
    lab: Place = stand.place
    with lab.off(machine.name):
        lab.attach(machine.name, lab.detach(machine.name, 1))


def _disks_kept(stand: Stand, machine: Machine) -> None:
    stand.kept = [file.path.read_bytes() for file in stand.place.disks(machine.name)]


def _disks_reverted(stand: Stand, machine: Machine) -> None:
    with stand.place.off(machine.name):
        stand.place.revert(machine.name, stand.kept)


VMWARE = {
    "swap": {"of the units": Change(_disks_exchanged, whole=BOTH)},
    "replace": {"by another disk": Change(_disk_replaced, whole=("vdb",), told=("vda",))},
    "detach": {"and added again": Change(_disk_reattached, told=BOTH)},
    "revert": {"to a snapshot": Change(_disks_reverted, _disks_kept, whole=BOTH)},
    "grow": {
        "while it runs": Change(lambda stand, one: stand.place.grow(one.name, 1, LARGER), whole=("vdb",), told=("vda",))
    },
    "rename": {"in the inventory": Change(lambda stand, one: stand.place.rename(one.name, NEW_NAME), told=BOTH)},
}


# --- exports: one round, always of all ------------------------------------------------------------------------------


def _file_of(machine: Machine) -> str:
    return machine.id.partition(".ova#")[0]


def _exported(change: Callable[[list[bytearray]], None]) -> Do:
    """The machine is exported anew, with other disks."""

    def make(stand: Stand, machine: Machine) -> None:
        exports: Exports = stand.place
        change(exports.disks[_file_of(machine)])
        exports.export(_file_of(machine))

    return make


def _second_emptied(disks: list[bytearray]) -> None:
    disks[1] = bytearray(EVEN["vdb"])


def _in_two_exports(stand: Stand, machine: Machine) -> None:
    exports: Exports = stand.place
    taken = exports.disks[_file_of(machine)].pop()
    exports.export(_file_of(machine))
    exports.disks[_file_of(machine)].append(taken)
    exports.export(_file_of(machine))


def _export_kept(stand: Stand, machine: Machine) -> None:
    stand.kept = [bytes(disk) for disk in stand.place.disks[_file_of(machine)]]


def _export_back(stand: Stand, machine: Machine) -> None:
    stand.place.disks[_file_of(machine)] = [bytearray(disk) for disk in stand.kept]
    stand.place.export(_file_of(machine))


def _system_renamed(stand: Stand, machine: Machine) -> None:
    stand.place.names[_file_of(machine)] = NEW_NAME
    stand.place.export(_file_of(machine))


def _export_renamed(stand: Stand, machine: Machine) -> None:
    exports: Exports = stand.place
    file = _file_of(machine)
    (exports.folder / f"{file}.ova").unlink()
    exports.disks[NEW_NAME] = exports.disks.pop(file)
    exports.names[NEW_NAME] = file
    exports.export(NEW_NAME)


OVA = {
    "swap": {"in its export": Change(_exported(lambda disks: disks.reverse()), whole=BOTH)},
    "replace": {"in its export": Change(_exported(_second_emptied), whole=BOTH)},
    "detach": {"in two exports": Change(_in_two_exports, whole=BOTH)},
    "revert": {"by an older export": Change(_export_back, _export_kept, whole=BOTH)},
    "grow": {"in its export": Change(_exported(lambda disks: disks[1].extend(bytes(MIB))), whole=BOTH)},
    "rename": {
        "of the system": Change(_system_renamed, whole=BOTH),
        "of the file": Change(_export_renamed, whole=BOTH),
    },
}

CHANGES: dict[str, dict[str, dict[str, Change]]] = {
    "libvirt": LIBVIRT,
    "memory": MEMORY,
    "ova": OVA,
    "aws": AWS,
    "vmware": VMWARE,
}
"""By kind of source, and by what happens: each way in which it happens there."""
