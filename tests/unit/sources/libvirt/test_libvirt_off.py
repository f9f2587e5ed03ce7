"""Which images are looked into for bitmaps of ours, and which are not: the rest is asked of a real libvirtd."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from kubeferry.model import ChainLink, Cpu, Disk, Machine, Memory
from kubeferry.outside.process import Completed
from kubeferry.sources.libvirt import off
from kubeferry.sources.libvirt.hosts import Here

OURS = "kubeferry-20261125T134207Z-0a1b2c3d"


class Recording(Here):
    """This host, which writes nothing: what would be run is kept."""

    def __init__(self) -> None:
        super().__init__("lab", None)
        self.asked: list[Sequence[str]] = []

    def run(self, argv: Sequence[str]) -> Completed:
        self.asked.append(argv)
        return Completed(tuple(argv), 0, "", "")


def image(path: Path, *names: str, features: int = 0) -> Path:
    """A qcow2 header with a directory of bitmaps."""
    entries = b""
    for name in names:
        entry = struct.pack(">QIIBBHI", 0x50000, 1, 2, 1, 16, len(name), 0) + name.encode()
        entries += entry.ljust(-(-len(entry) // 8) * 8, b"\0")
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1 << 20, 0, 1, 0x30000, 0x10000, 1, 0, 0)
    head += struct.pack(">QQQII", features, 0, 1, 4, 104)
    head += struct.pack(">IIIIQQ", 0x23852875, 24, len(names), 0, len(entries), 0x10000)
    path.write_bytes(head.ljust(0x10000, b"\0") + entries)
    return path


def machine(*disks: Disk) -> Machine:
    return Machine(id="1", name="web", source="lab", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=1), disks=disks)


def test_only_our_bitmaps_of_qcow2_images_are_taken_out(tmp_path: Path) -> None:
    top, base = image(tmp_path / "top.qcow2", OURS, "nightly", "kubeferry-mine"), image(tmp_path / "base.qcow2", OURS)
    # A guest wrote this into its raw disk: taken for an image, it would name a file of the host.
    lie = image(tmp_path / "lie.raw", OURS)
    elsewhere = image(tmp_path / "data.qcow2", OURS, features=4)
    link = ChainLink(uri=base.as_uri(), format="qcow2")
    web = machine(
        Disk(id="vda", uri=top.as_uri(), format="qcow2", chain=(link, ChainLink(uri=lie.as_uri(), format="raw"))),
        Disk(id="vdb", uri=lie.as_uri(), format="raw"),
        Disk(id="vdc", uri=elsewhere.as_uri(), format="qcow2"),
        Disk(id="vdd", uri=(tmp_path / "gone.qcow2").as_uri(), format="qcow2"),
        Disk(id="vde", uri="nbd://host/x", format="qcow2"),
    )
    host = Recording()
    said = off.take_out(off.images_of(web), web, host)
    assert sorted(said) == [f"bitmap {OURS} of {base}", f"bitmap {OURS} of {top}"]
    assert [argv[:3] for argv in host.asked] == [["qemu-img", "bitmap", "--remove"]] * 2
    assert all('"backing": null' in argv[3] and argv[4] == OURS for argv in host.asked)


def test_an_image_that_anybody_calls_raw_is_never_opened_as_qcow2(tmp_path: Path) -> None:
    path = image(tmp_path / "a", OURS)
    planned = machine(Disk(id="vda", uri=path.as_uri(), format="qcow2"))
    current = machine(Disk(id="vda", uri=path.as_uri(), format="raw"))
    assert off.images_of(planned, current) == set()


def test_a_disk_on_a_device_is_opened_as_a_device(tmp_path: Path) -> None:
    uri = image(tmp_path / "a", OURS).as_uri().replace("file:", "block:")
    web, host = machine(Disk(id="vda", uri=uri, format="qcow2")), Recording()
    off.take_out({uri}, web, host)
    assert '"driver": "host_device"' in host.asked[0][3]
