"""What this host remembers of a file or device, and having it forgotten, so that the next read is of the storage."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time

BLKFLSBUF = 0x1261  # drop what the host has of a device, also where others hold it open
TRIES, PAUSE_SECONDS = 20, 0.005


def drop(fd: int) -> None:
    """Drop all pages that are on the storage already. Of a device only root may; without it pages in use stay."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, BLKFLSBUF)


def drop_page(fd: int, offset: int) -> None:
    """Drop the page at an offset. All are named: one of which only a part is named would be kept, and so would those
    beside it. One that the kernel moves about in that moment stays, so it is looked whether it went."""
    for _ in range(TRIES):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if not has(fd, offset):
            return
        time.sleep(PAUSE_SECONDS)


def has(fd: int, offset: int) -> bool:
    """Whether the byte at an offset is remembered, as far as the file system tells."""
    try:
        return os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT) > 0
    except OSError:  # it is not, or nobody tells
        return False
