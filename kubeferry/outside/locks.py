"""A lock on an open file that the kernel lets go of when its last descriptor is closed, however its owner ended."""

from __future__ import annotations

import fcntl
import time

from kubeferry.outside import stopping

POLL_SECONDS = 0.1


def locked(fd: int, *, patience: float) -> bool:
    """Lock for us alone; whether that was possible within `patience` seconds. Raises OSError where there are no locks,
    Interrupted."""
    limit = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= limit:
                return False
            stopping.pause(POLL_SECONDS)
        else:
            return True
