"""A LUN that asks for a password, and the secret of libvirt that has it."""

from __future__ import annotations

import base64
import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubeferry.outside.process import ProgramFailed
from lab import iscsi
from lab.daemons import virsh
from tests.tools.hypervisor.rounds import MIB, PIECE

SIZE = 4 * MIB
USAGE = f"kft-{os.getpid()}"
PASSWORD = "correct horse 7"  # noqa: S105 (of a target that lives for one test)


@dataclass
class Storage:
    """A target that asks for a password, the secret of libvirt that has it, and the file behind its LUN 1."""

    target: iscsi.Target
    secret: str
    image: Path

    @property
    def uri(self) -> str:
        return f"iscsi://127.0.0.1:{self.target.port}/{self.target.name.replace(':', '%3A')}/1"

    def disk(self, name: str = "vdb", *, by_usage: bool = False) -> str:
        """The LUN as a device of a domain, which names the secret by its number, or by what it is for."""
        secret = f"usage='{USAGE}'" if by_usage else f"uuid='{self.secret}'"
        return (
            "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
            f"<source protocol='iscsi' name='{self.target.name}/1'><host name='127.0.0.1' port='{self.target.port}'/>"
            f"<auth username='lab'><secret type='iscsi' {secret}/></auth>"
            "<initiator><iqn name='iqn.2026-01.io.kubeferry.lab:client'/></initiator></source>"
            f"<target dev='{name}' bus='virtio'/></disk>"
        )

    def replace(self, image: Path) -> None:
        """The LUN is another one, under its old name."""
        self.target.take_away(1)
        self.target.lun(1, image)
        self.image = image


def forget(identity: str) -> None:
    with contextlib.suppress(ProgramFailed):  # there is none
        virsh("secret-undefine", identity)


def keep(folder: Path, identity: str, value: bytes, usage: str, *, private: bool = False) -> None:
    """Have libvirt keep a secret, to itself or not; `usage` is its element for what it is for."""
    forget(identity)
    words = f"private='{'yes' if private else 'no'}' ephemeral='no'"
    file = folder / "secret.xml"
    file.write_text(f"<secret {words}><uuid>{identity}</uuid>{usage}</secret>")
    virsh("secret-define", str(file))
    file.write_bytes(base64.b64encode(value))
    virsh("secret-set-value", identity, "--file", str(file))
    file.unlink()


def keep_password(folder: Path, identity: str, *, private: bool = False) -> None:
    """Have libvirt keep the target's password."""
    keep(folder, identity, PASSWORD.encode(), f"<usage type='iscsi'><target>{USAGE}</target></usage>", private=private)


@contextlib.contextmanager
def storage(folder: Path) -> Iterator[Storage]:
    """A target with one LUN, gone with the block, as is the secret."""
    image = folder / "lun.img"
    image.write_bytes(b"L" * PIECE + bytes(SIZE - PIECE))
    secret = str(uuid.uuid4())
    keep_password(folder, secret)
    try:
        with iscsi.serving(folder) as target:
            target.want("lab", PASSWORD)
            target.lun(1, image)
            yield Storage(target, secret, image)
    finally:
        forget(secret)
