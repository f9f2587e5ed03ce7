"""Who writes to an image, or wrote to it: what its file system, its device and QEMU's locks tell.

A time of last change can be set back by anybody, the time of the last change of the inode cannot. A device has no
times, but counts what was written to it since it is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

# QEMU holds a lock on one byte for each thing that it does with a file, and for each that it lets nobody else do.
DOES, FORBIDS = 100, 200
READ, WRITE, WRITE_UNCHANGED, RESIZE = range(4)
BYTES = 4
_FLOCK = struct.Struct("hhqqi4x")  # type, whence, start, length, process
WRITTEN, DISCARDED = 6, 13  # sectors, of the fields of /sys/dev/block/NUMBER/stat


def state(path: Path) -> tuple[int, ...]:
    """What a file or device is known by: as long as it is the same, so are the bytes. Raises OSError.

    What the host holds of a device is written first: only then it is counted.
    """
    found = path.stat()
    if not stat.S_ISBLK(found.st_mode):
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with contextlib.suppress(OSError):
            os.fsync(fd)
        size = os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)
    return size, *_counted(found.st_rdev)


def _counted(device: int) -> tuple[int, ...]:
    told = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    try:
        fields = [int(word) for word in told.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return ()
    return tuple(fields[at] for at in (WRITTEN, DISCARDED) if at < len(fields))


def written_by_qemu(fd: int) -> bool:
    """Whether a QEMU has this image open to write to it, or lets nobody read it."""
    does = any(_is_locked(fd, DOES + what) for what in (WRITE, WRITE_UNCHANGED, RESIZE))
    return does or _is_locked(fd, FORBIDS + READ)


def used_by_qemu(fd: int) -> bool:
    """Whether a QEMU has this image open at all."""
    return _is_locked(fd, DOES, BYTES) or _is_locked(fd, FORBIDS, BYTES)


@contextlib.contextmanager
def read_by_us(path: Path) -> Iterator[bool]:
    """Hold QEMU's locks on an image as a QEMU that reads it does: one that would write to it does not start meanwhile.
    False where one has it open to write, or lets nobody read it; where there are no locks nobody is kept out. Raises
    OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        for at in (DOES + READ, FORBIDS + WRITE, FORBIDS + RESIZE):
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, at, 1, 0))
        yield not written_by_qemu(fd)  # asked with our own held: of two that come at once, one sees the other
    finally:
        os.close(fd)


def _is_locked(fd: int, first: int, count: int = 1) -> bool:
    """Whether somebody holds a lock that would keep a writer out of some bytes."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, count, 0)
    try:
        told = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
    except OSError:  # no locks there
        return False
    return bool(_FLOCK.unpack(told)[0] != fcntl.F_UNLCK)
