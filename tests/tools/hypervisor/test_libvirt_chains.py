"""Overlays of machines that are off, on the real libvirtd of this machine: followed as libvirt follows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.errors import SourceRefused
from kubeferry.model import ChainLink
from kubeferry.outside.process import run
from kubeferry.sources import Source
from lab import daemons
from lab.bare import Bare
from lab.daemons import virsh
from tests.needs import needs
from tests.tools.hypervisor.rounds import MIB, Copy, stop, write

pytestmark = [
    needs(*daemons.PROGRAMS, "qemu-nbd", "root"),
    pytest.mark.xdist_group("libvirt"),  # one libvirtd a machine: its tests take turns
    pytest.mark.timeout(300),
]
EXTENSION_BACKING_FORMAT = b"\xe2\x79\x2a\xca"


@pytest.fixture
def overlay(bare: Bare, source: Source, tmp_path: Path) -> Copy:
    """A machine that is off, on an overlay that names what lies below it by relative names, as linked clones do."""
    (tmp_path / "target").mkdir()
    (tmp_path / "clones").mkdir()
    base = bare.image("golden image.raw", size=4 * MIB)
    base.write_bytes(b"g" * MIB + bytes(3 * MIB))
    for name, below, form in (
        ("middle.qcow2", "./golden image.raw", "raw"),
        ("clones/top.qcow2", "../middle.qcow2", "qcow2"),
    ):
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", form, str(tmp_path / name)], cwd=tmp_path)
    return Copy(source, bare.define("clone", (tmp_path / "clones" / "top.qcow2", "qcow2")), tmp_path / "target")


def test_an_overlay_that_is_off_has_the_chain_that_libvirt_gives_it_at_its_start(overlay: Copy, tmp_path: Path) -> None:
    """Told in the inventory, read whole, and by its bitmap after rounds of the running machine."""
    off = overlay.machine
    folder = tmp_path.as_uri()
    assert off.disks[0].chain == (
        ChainLink(uri=f"{folder}/clones/../middle.qcow2", format="qcow2"),
        ChainLink(uri=f"{folder}/clones/.././golden%20image.raw", format="raw"),
    )
    assert off.disks[0].capacity_bytes == 4 * MIB
    assert overlay.source.concerns(off) == []
    overlay.round(final=True)
    overlay.equals_the_stopped_source()

    virsh("start", overlay.name)
    assert overlay.machine.disks[0].chain == off.disks[0].chain
    write(overlay, "vda", 2 * MIB, b"w")
    first, _ = overlay.round()
    write(overlay, "vda", 3 * MIB, b"x")
    stop(overlay)
    last, done = overlay.round(first.marker, final=True)
    assert last.refs["vda"].changed == f"qemu:dirty-bitmap:{first.marker.token}"
    assert done["vda"].tally.read == MIB
    overlay.equals_the_stopped_source()
    overlay.leaves_nothing()


def test_an_overlay_that_does_not_say_the_format_of_its_base_is_refused_before_anything_stops(
    overlay: Copy, tmp_path: Path
) -> None:
    """And is read once its definition says it."""
    top = tmp_path / "clones" / "top.qcow2"
    content = top.read_bytes()
    assert content.count(EXTENSION_BACKING_FORMAT) == 1
    top.write_bytes(content.replace(EXTENSION_BACKING_FORMAT, b"\0\0\0\1"))
    machine = overlay.machine
    (fact,) = [one for one in machine.unmodelled if one.path == "chain[vda]"]
    assert "does not say which format '../middle.qcow2' has" in fact.value
    (told,) = overlay.source.concerns(machine)
    assert fact.value in told.what
    assert "<backingStore>" in told.fix
    with pytest.raises(SourceRefused, match="as they were planned"):
        overlay.open(final=True, machine=machine)

    below = (
        f"<backingStore type='file'><format type='qcow2'/><source file='{tmp_path}/middle.qcow2'/>"
        f"<backingStore type='file'><format type='raw'/><source file='{tmp_path}/golden image.raw'/><backingStore/>"
        "</backingStore></backingStore>"
    )
    text = virsh("dumpxml", overlay.name).replace("<target dev='vda'", f"{below}<target dev='vda'")
    (tmp_path / "named.xml").write_text(text)
    virsh("define", str(tmp_path / "named.xml"))
    assert overlay.source.concerns(overlay.machine) == []
    overlay.round(final=True)
    assert (overlay.folder / "vda.img").read_bytes() == b"g" * MIB + bytes(3 * MIB)


def test_a_base_that_another_one_took_the_place_of_is_told(overlay: Copy, tmp_path: Path) -> None:
    planned = overlay.machine
    (tmp_path / "middle.qcow2").unlink()
    (told,) = overlay.source.concerns(planned)
    assert "middle.qcow2: No such file or directory" in told.what
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / "middle.qcow2"), "4M"])
    (told,) = overlay.source.concerns(planned)
    assert "its chain of images has changed" in told.what
