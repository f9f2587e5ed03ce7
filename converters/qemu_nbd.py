"""A disk image with its chain, served read-only by qemu-nbd on a private socket for as long as a `with` block lasts.

QEMU is told everything: each image's path and format, and that the chain ends where the source says that it ends. It
probes nothing and follows no name in an image. It runs without network and without privileges beyond reading.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from converters import qcow2
from converters.faults import Side
from converters.nbd import Nbd
from converters.uris import path_of, scheme_of
from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.model import DiskRef
from kubeferry.process import Child, child

FORMATS = frozenset({"qcow2"})  # served here; raw disks are read directly
START_SECONDS = 30
SOCKET_PATH_LIMIT_BYTES = 100  # the kernel's is 108
CHAIN_LIMIT = 200  # QEMU itself becomes slow long before
CAP_SETPCAP, CAP_SYS_ADMIN = 8, 21


def chain_of(ref: DiskRef) -> list[DiskRef]:
    """The top image first. Raises SourceRefused for a chain that is too long or has formats that are not read."""
    chain: list[DiskRef] = []
    link: DiskRef | None = ref
    while link is not None:
        if len(chain) == CHAIN_LIMIT:
            fix = "Commit or pull some of its snapshots at the source first."
            raise SourceRefused(f"{ref.uri} has a chain of more than {CHAIN_LIMIT} images", fix=fix)
        if link.format not in FORMATS | {"raw"} or (link.format == "raw" and link.backing is not None):
            why = f"{link.uri} has the format {link.format!r}" + (" and a backing file" if link.backing else "")
            fix = "Chains of qcow2 on qcow2 or raw are read; convert the disk with `qemu-img convert` first."
            raise SourceRefused(f"{ref.uri} has a chain that cannot be read", why=why, fix=fix)
        chain.append(link)
        link = link.backing
    return chain


def check(ref: DiskRef) -> None:
    """Read the header of every image in the chain before QEMU does. Raises HostileImage, SourceRefused."""
    for link in chain_of(ref):
        if link.format != "qcow2":
            qcow2.read_head(path_of(link.uri))
            continue
        below = link.backing
        qcow2.check(path_of(link.uri), path_of(below.uri) if below else None, below.format if below else "")


def block_options(ref: DiskRef) -> dict[str, object]:
    """The chain in QEMU's words: every driver explicit, the end of the chain explicit."""
    protocol = "host_device" if scheme_of(ref.uri) == "block" else "file"
    node: dict[str, object] = {
        "driver": ref.format,
        "read-only": True,
        "file": {"driver": protocol, "filename": str(path_of(ref.uri)), "read-only": True},
    }
    if ref.format != "raw":
        node["backing"] = block_options(ref.backing) if ref.backing else None
    return node


@contextlib.contextmanager
def served(ref: DiskRef, *, work: Path | None = None) -> Iterator[Nbd]:
    """The disk as an endpoint. `work` is a folder of ours for the socket; without it a private one is made.

    Raises what `check` raises; SourceRefused when QEMU does not open it, SourceUnavailable when it does not come up.
    """
    check(ref)
    with (
        _folder(work) as folder,
        _reachable(folder) as near,
        child([*_confinement(), *_command(ref, folder)], log=folder / "log") as server,
        _connected(near / "socket", server) as endpoint,
    ):
        yield endpoint


def _command(ref: DiskRef, folder: Path) -> list[str]:
    """The server, started in `folder`; its socket is named through the folder it is in, which is never too long."""
    image = "json:" + json.dumps(block_options(ref))
    place = ["env", f"--chdir={folder.absolute()}"]
    return [*place, "qemu-nbd", "--read-only", "--persistent", "--shared=0", "--socket=/proc/self/cwd/socket", image]


@contextlib.contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    """A private folder. In a work folder its name is fixed: what a killed run left there is replaced, not piled up."""
    if work is None:
        with tempfile.TemporaryDirectory(prefix="kubeferry-nbd-") as made:
            yield Path(made)
        return
    folder = work / "nbd"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[Path]:
    """The folder by a name that is short enough for a socket's address: through a descriptor of ours if need be."""
    if len(os.fsencode(folder / "socket")) <= SOCKET_PATH_LIMIT_BYTES:
        yield folder
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _connected(path: Path, server: Child) -> Nbd:
    """Wait until the server answers. It binds its socket before it opens the images, and may then fail on them."""
    limit = time.monotonic() + START_SECONDS
    while True:
        try:
            return Nbd(str(path), "", Side.SOURCE)
        except (SourceRefused, SourceUnavailable) as error:
            if server.wait(0.005) is not None:
                raise SourceRefused(
                    "QEMU does not open the disk",
                    why=server.tail().strip() or f"qemu-nbd ended with {server.poll()}",
                    fix="If it says that a lock cannot be had, something uses the disk: stop that machine first.",
                ) from error
            if time.monotonic() > limit:
                what = f"qemu-nbd did not answer within {START_SECONDS} s"
                raise SourceUnavailable(what, why=server.tail().strip(), fix="Run the same again.") from error


def _confinement() -> list[str]:
    """What to put before a program that reads hostile input: no network, no new privileges, root only to read."""
    held = _capabilities()
    prefix = ["unshare", "--net", "--"] if held & 1 << CAP_SYS_ADMIN else []
    prefix += ["setpriv", "--no-new-privs"]
    if held & 1 << CAP_SETPCAP:
        prefix += ["--bounding-set=-all,+dac_read_search", "--inh-caps=-all"]
    return [*prefix, "--"]


def _capabilities() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    held = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return int(held[0], 16) if held else 0
