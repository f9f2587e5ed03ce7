"""A private folder for a program of ours and its socket, and a name for it that is short enough for a socket."""

from __future__ import annotations

import contextlib
import fcntl
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

    It is `work/.kubeferry-NAME`: what a killed run left there is replaced, not piled up. Without `work`, where another
    run uses that one now, or where its file system has no sockets (some network ones do not), it lies in the system's
    place for temporary files.
    """
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(_ours(work / f".kubeferry-{name}")) if work is not None else None
        if folder is None or not _takes_sockets(folder):
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"kubeferry-{name}-")))
        yield folder


@contextlib.contextmanager
def _ours(folder: Path) -> Iterator[Path | None]:
    """The folder, made or emptied, and removed in the end; None where another run holds it, or it is no folder."""
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700)
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(fd, 0o700)
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    except OSError:
        os.close(fd)
        yield None
        return
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(fd)


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
            (folder / "trial").unlink()
        except OSError:
            return False
        return True
