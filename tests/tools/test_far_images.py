"""Images on another host, looked at through a real sshd on loopback before anything serves them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.endpoints.nbd import ssh
from kubeferry.documents import SshAccess
from kubeferry.errors import SourceRefused
from kubeferry.images import whole
from kubeferry.model import Cpu, DiskRef, Machine, Memory
from kubeferry.outside import process
from kubeferry.sources.libvirt import far_exports
from kubeferry.sources.libvirt.far_host import FarHost
from tests.needs import needs
from tests.tools.sshd import Hypervisor

MIB = 1 << 20
pytestmark = needs("ssh", "sshd", "qemu-img", "root")


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarHost]:
    hypervisor = Hypervisor(tmp_path)
    (tmp_path / "authorized_keys").write_text((tmp_path / "key.pub").read_text())
    monkeypatch.setenv(ssh.KEY, str(hypervisor.key))
    folder = str(tmp_path / "run")
    access = SshAccess(host="127.0.0.1", port=hypervisor.port, user="root", host_key=hypervisor.pin(), folder=folder)
    with hypervisor.up():
        host = FarHost(access)
        yield host
        host.close()


def chain(folder: Path) -> DiskRef:
    """A packed base, with odd signs in its name, and what is above it."""
    base, top = folder / "base; $(x) 'y'.qcow2", folder / "top.qcow2"
    raw = folder / "raw"
    raw.write_bytes(b"".join(os.urandom(1024) + bytes(1024) for _ in range(4 * 1024)))
    process.run(["qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(base)])
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(top), "8M"])
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 3M", str(top)])
    below = DiskRef(uri=base.as_uri(), format="qcow2")
    return DiskRef(uri=top.as_uri(), format="qcow2", size_bytes=8 * MIB, backing=below)


def test_pieces_and_size_are_those_of_the_file(far: FarHost, tmp_path: Path) -> None:
    path = tmp_path / "a file; $(x)"
    path.write_bytes(os.urandom(300_000))
    content = path.read_bytes()
    assert far.size(path) == len(content)
    assert far.pieces(path, [0, 7, 299_999, 400_000], 70_000) == [
        *(content[at : at + 70_000] for at in (0, 7, 299_999, 400_000)),
    ]
    with pytest.raises(SourceRefused, match="refuses"):
        far.pieces(tmp_path, [0], 1)


@pytest.mark.parametrize("which", ["top", "base"])
def test_one_that_is_cut_off_there_is_served_to_nobody(far: FarHost, tmp_path: Path, which: str) -> None:
    ref = chain(tmp_path)
    whole.check(ref, lambda: None, far)
    (image,) = tmp_path.glob(f"{which}*.qcow2")
    os.truncate(image, image.stat().st_size - (MIB if which == "top" else 1024))
    room = {"cpu": Cpu(vcpus=1), "memory": Memory(size_bytes=MIB)}
    machine = Machine(id="id-web", name="web", source="lab", **room)
    with pytest.raises(SourceRefused, match="is cut off") as refused:
        far_exports.open_all(far, machine, {"vda": ref}, lambda thing: pytest.fail(f"{thing} was made"))
    assert str(image) in refused.value.what
