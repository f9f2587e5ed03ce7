"""A disk image with its chain, served read-only by qemu-nbd on a private socket for as long as a `with` block lasts.

QEMU is told everything: each image's path and format, and that the chain ends where the source says that it ends. It
probes nothing and follows no name in an image. It runs without network and without privileges beyond reading.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from converters.endpoints.nbd.client import Nbd
from converters.endpoints.nbd.private_folder import SOCKET, private_folder, reachable
from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.faults import Side
from kubeferry.images import whole
from kubeferry.images.nodes import SERVER_ENV, bitmap_of, block_options, check, confinement
from kubeferry.outside import stopping
from kubeferry.outside.process import Child, child
from kubeferry.values import DiskRef

START_SECONDS = 30


@contextlib.contextmanager
def served(ref: DiskRef, *, work: Path | None = None) -> Iterator[Nbd]:
    """The disk as an endpoint. `work` is a folder of ours for the socket; without it a private one is made.

    Raises what `check` raises; SourceRefused when an image is cut off or QEMU does not open it, SourceUnavailable when
    it does not come up.
    """
    check(ref)
    whole.check(ref, stopping.check)
    with (
        private_folder(work, "nbd") as folder,
        reachable(folder) as near,
        child([*confinement(), *_command(ref, folder)], log=folder / "log", env=SERVER_ENV) as server,
        _connected(near / SOCKET, server, ref.changed) as endpoint,
    ):
        yield endpoint


def _command(ref: DiskRef, folder: Path) -> list[str]:
    """The server, started in `folder`; its socket is named through the folder it is in, which is never too long."""
    image = "json:" + json.dumps(block_options(ref))
    bitmap = bitmap_of(ref)
    options = ["--read-only", "--persistent", "--shared=0", *([f"--bitmap={bitmap}"] if bitmap else [])]
    place = ["env", f"--chdir={folder.absolute()}"]
    return [*place, "qemu-nbd", *options, "--socket=/proc/self/cwd/socket", image]


def _connected(path: Path, server: Child, changed: str | None) -> Nbd:
    """Wait until the server answers. It binds its socket before it opens the images, and may then fail on them."""
    limit = time.monotonic() + START_SECONDS
    while True:
        try:
            return Nbd(str(path), "", Side.SOURCE, changed)
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
