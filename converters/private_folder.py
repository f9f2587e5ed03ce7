"""A private folder for a program of ours and its socket, and a name for it that is short enough for a socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOCKET = "socket"
SOCKET_PATH_LIMIT_BYTES = 100  # the kernel's is 108


@contextlib.contextmanager
def private_folder(work: Path | None, name: str) -> Iterator[Path]:
    """A folder that only we may enter, for as long as the block lasts.

    It is `work/name`: what a killed run left there is replaced, not piled up. Without `work`, or where its file system
    has no sockets (some network ones do not), it lies in the system's place for temporary files.
    """
    folder = work / name if work is not None else None
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    try:
        if folder is not None and _takes_sockets(folder):
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix=f"kubeferry-{name}-") as made:
            yield Path(made)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def reachable(folder: Path) -> Iterator[Path]:
    """The folder by a name that is short enough for a socket's address: through a descriptor of ours if need be."""
    if len(os.fsencode(folder / SOCKET)) <= SOCKET_PATH_LIMIT_BYTES:
        yield folder
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _takes_sockets(folder: Path) -> bool:
    with reachable(folder) as near, socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.bind(str(near / "trial"))
        except OSError:
            return False
        (folder / "trial").unlink()
        return True
