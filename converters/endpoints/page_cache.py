"""What this host remembers of a file or device, and having it forgotten, so that the next read is of the storage."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import stat
import time

BLKFLSBUF = 0x1261  # drop what the host has of a device, also where others hold it open
TRIES, PAUSE_SECONDS = 20, 0.005
_mincore = ctypes.CDLL(None, use_errno=True).mincore
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_ubyte))


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
    """Whether the page at an offset is remembered. Only looks: a read that is not to wait has the page fetched."""
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    try:
        with mmap.mmap(fd, offset + 1 - start, access=mmap.ACCESS_COPY, offset=start) as seen:
            first = ctypes.c_char.from_buffer(seen)
            pages = (ctypes.c_ubyte * (len(seen) // mmap.PAGESIZE + 1))()
            failed = _mincore(ctypes.addressof(first), len(seen), pages)
            del first  # else the mapping cannot be given back
    except (OSError, ValueError):  # it has no pages
        return False
    return not failed and bool(pages[(offset - start) // mmap.PAGESIZE] & 1)
