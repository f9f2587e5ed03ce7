"""Disks that are named by pool and volume, and images that name others, on the real libvirtd of this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.documents import StopPolicy
from kubeferry.ledger import External
from kubeferry.model import Machine, Power
from kubeferry.outside.process import ProgramFailed
from kubeferry.sources import Source
from lab import daemons
from lab.bare import Bare
from lab.daemons import virsh
from tests.needs import needs

pytestmark = [needs(*daemons.PROGRAMS, "root"), pytest.mark.xdist_group("libvirt")]

MIB = 1 << 20
FORCE = StopPolicy(agent_seconds=0.3, acpi_seconds=0.3, force=True)


def found(source: Source, name: str) -> Machine:
    return next(machine for machine in source.discover().machines if machine.name == name)


def unwritten(thing: External) -> None:
    raise AssertionError(f"a cold round on this machine makes nothing, and wanted to make {thing}")


@pytest.fixture
def pool(bare: Bare) -> Iterator[str]:
    name = f"kft-{os.getpid()}"
    virsh("pool-create-as", name, "dir", "--target", str(bare.folder))
    yield name
    with contextlib.suppress(ProgramFailed):  # a test may have ended it
        virsh("pool-destroy", name)


def of_a_pool(bare: Bare, pool: str, image: Path) -> str:
    """A machine whose disk is a volume of the pool."""
    virsh("pool-refresh", pool)
    text = bare.xml("volume", (image, "raw"))
    text = text.replace("type='file'", "type='volume'")
    text = text.replace(f'file="{image}"', f"pool='{pool}' volume='{image.name}'")
    bare.names.append(bare.prefix + "volume")
    (bare.folder / "volume.xml").write_text(text)
    virsh("define", str(bare.folder / "volume.xml"))
    return bare.prefix + "volume"


def named(bare: Bare, name: str, top: Path, base: Path) -> str:
    """A machine whose definition names the base of its disk."""
    text = bare.xml(name, (top, "qcow2")).replace(
        "<target dev='vda'",
        f"<backingStore type='file'><format type='raw'/><source file='{base}'/><backingStore/></backingStore>"
        "<target dev='vda'",
    )
    bare.names.append(bare.prefix + name)
    (bare.folder / f"{name}.xml").write_text(text)
    virsh("define", str(bare.folder / f"{name}.xml"))
    return bare.prefix + name


def test_a_volume_is_the_file_that_its_pool_says(bare: Bare, source: Source, pool: str) -> None:
    """With its size; stopped, and running, when libvirt says again where it lies."""
    image = bare.image("disk one.raw", size=3 * MIB)
    name = of_a_pool(bare, pool, image)
    machine = found(source, name)
    (disk,) = machine.disks
    assert (disk.source_kind, disk.uri, disk.capacity_bytes) == ("file", image.as_uri(), 3 * MIB)
    assert source.concerns(machine) == []
    virsh("start", name)
    running = found(source, name)
    assert running.power is Power.RUNNING
    assert running.disks[0].uri == image.as_uri()
    assert source.concerns(machine) == []
    source.stop(machine, FORCE, lambda _words, _at: None)
    (ref,) = source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten).refs.values()
    assert (ref.uri, ref.format) == (image.as_uri(), "raw")


def test_a_volume_of_a_pool_that_is_gone_stays_one(bare: Bare, source: Source, pool: str) -> None:
    name = of_a_pool(bare, pool, bare.image("disk.raw"))
    virsh("pool-destroy", pool)
    (disk,) = found(source, name).disks
    assert (disk.source_kind, disk.uri) == ("volume", f"volume://{pool}/disk.raw")


def test_an_image_that_names_another_one_than_its_definition_is_told_before_its_machine_stops(
    bare: Bare, source: Source
) -> None:
    """libvirt takes what the definition names, whatever the image says: nobody here chooses between the two."""
    base, other = bare.image("base.raw"), bare.image("other.raw")
    top = bare.image("top.qcow2", form="qcow2", backing=(base, "raw"))
    machine = found(source, named(bare, "overlay", top, other))
    (concern,) = source.concerns(machine)
    assert f"{top} names the backing file" in concern.what
    assert "name what lies below it where the machine is defined" in concern.fix


def test_a_chain_that_the_definition_names_is_read(bare: Bare, source: Source) -> None:
    base = bare.image("base.raw")
    top = bare.image("top.qcow2", form="qcow2", backing=(base, "raw"))
    machine = found(source, named(bare, "named", top, base))
    assert source.concerns(machine) == []
