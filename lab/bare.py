"""Machines without a system on the local libvirtd: for tests of what libvirt says and does, where no guest is needed.

They run the firmware, find nothing to boot, and hear neither agent nor ACPI. They are emulated, so that no test depends
on KVM, and run as root, so that their disks may lie in any folder.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from kubeferry.errors import SourceUnavailable
from kubeferry.outside.process import ProgramFailed, run
from lab.daemons import virsh

AS_ROOT = "<seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel>"


@dataclass(slots=True)
class Bare:
    """The bare machines of one test, with a prefix of their own; `remove` leaves none of them. Without `label` QEMU has
    the user that libvirt gives it."""

    folder: Path
    prefix: str
    names: list[str] = field(default_factory=list)
    label: str = AS_ROOT

    def image(
        self, name: str, *, form: str = "raw", size: int = 1 << 20, backing: tuple[Path, str] | None = None
    ) -> Path:
        """An image of `size` bytes, or a layer above another image."""
        path = self.folder / name
        below = ["-b", str(backing[0]), "-F", backing[1]] if backing else []
        run(["qemu-img", "create", "-q", "-f", form, *below, str(path), *([] if backing else [str(size)])], timeout=30)
        return path

    def xml(self, name: str, *disks: tuple[Path, str], devices: str = "", more: str = "", mib: int = 32) -> str:
        """The definition of a machine with these images, as vda, vdb, …"""
        drives = "".join(
            f"<disk type='file' device='disk'><driver name='qemu' type={quoteattr(form)}/>"
            f"<source file={quoteattr(str(path))}/><target dev='vd{letter}' bus='virtio'/></disk>"
            for letter, (path, form) in zip("abcdefgh", disks, strict=False)
        )
        return (
            f"<domain type='qemu'><name>{escape(self.prefix + name)}</name><memory unit='MiB'>{mib}</memory>"
            "<vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>"
            f"<devices>{drives}<memballoon model='none'/>{devices}</devices>{more}"
            f"{self.label}</domain>"
        )

    def define(self, name: str, *disks: tuple[Path, str], devices: str = "", mib: int = 32) -> str:
        """Make a machine that stays defined, with `mib` of memory; returns its whole name."""
        return self._give("define", name, self.xml(name, *disks, devices=devices, mib=mib))

    def create(self, name: str, *disks: tuple[Path, str]) -> str:
        """Start a transient machine; returns its whole name."""
        return self._give("create", name, self.xml(name, *disks))

    def remove(self) -> None:
        """Every machine made here is gone, running or not."""
        for name in self.names:
            for words in (
                ("destroy", name),
                ("undefine", name, "--managed-save", "--snapshots-metadata", "--nvram", "--checkpoints-metadata"),
            ):
                with contextlib.suppress(ProgramFailed):  # already off, or gone
                    virsh(*words)
        self.names.clear()

    def _give(self, verb: str, name: str, xml: str) -> str:
        file = self.folder / f"{len(self.names)}.xml"
        file.write_text(xml, encoding="utf-8")
        self.names.append(self.prefix + name)
        virsh(verb, str(file))
        return self.prefix + name


def write_inside(name: str, device: str, offset: int, piece: bytes) -> None:
    """Write to a running machine's disk as a guest would: `piece` is one byte, repeated. `device` is QEMU's name."""
    words = f"write -P {piece[0]:#x} {offset} {len(piece)}"
    said = virsh(
        "qemu-monitor-command", name, "--hmp", f'qemu-io -d /machine/peripheral/{device}/virtio-backend "{words}"'
    )
    if said.strip():
        raise SourceUnavailable(f"{name} was not written to", why=said.strip())
