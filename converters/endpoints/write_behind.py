"""What was written to a file or device, on its way to the disk: started soon, waited for in turn, and let go of.

The kernel would gather gigabytes first, and then stop everybody. So each group is started as soon as it is whole, a
few are on their way at once, and the page cache forgets them once they are there: the host's memory stays with its
guests, and the flush at the end has little left to do. It is faster than writes past the page cache, which wait for
each other where a file system gives them room (`make bench`).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections import deque

GROUP_BYTES = 1 << 20  # no group goes beyond a multiple of it
ON_THEIR_WAY = 8  # groups of one writer
_START = 2  # SYNC_FILE_RANGE_WRITE
_WAIT = 7  # ...WAIT_BEFORE | WRITE | WAIT_AFTER
CANNOT = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV})
"""What a file system or device says to a call that it does not have."""

_sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class WriteBehind:
    """The writes of one writer. What it has not started is left to a flush."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._group = (0, 0)
        self._started: deque[tuple[int, int]] = deque()

    def wrote(self, offset: int, length: int) -> None:
        """Bytes that the page cache has taken. Raises OSError when an earlier write did not arrive: told now, it ends
        the copy now. The flush must hear of it, too, by a descriptor that was opened apart: the kernel tells of a
        failed write once per open file."""
        start, end = self._group
        if start < end and offset // GROUP_BYTES == start // GROUP_BYTES:
            start, end = min(start, offset), max(end, offset + length)
        else:
            self._start(start, end)
            start, end = offset, offset + length
        if end % GROUP_BYTES == 0:
            self._start(start, end)
            start = end
        self._group = start, end

    def _start(self, start: int, end: int) -> None:
        if start == end:
            return
        _sync_file_range(self._fd, start, end - start, _START)
        self._started.append((start, end - start))
        if len(self._started) > ON_THEIR_WAY:
            self._arrived(*self._started.popleft())

    def _arrived(self, offset: int, length: int) -> None:
        if _sync_file_range(self._fd, offset, length, _WAIT) and ctypes.get_errno() not in CANNOT:
            raise OSError(ctypes.get_errno(), "sync_file_range")
        os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_DONTNEED)
