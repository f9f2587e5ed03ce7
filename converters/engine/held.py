"""One copy at a time may keep its digests at a place: two would each record as theirs what the other one wrote."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from kubeferry import faults
from kubeferry.errors import TargetUnavailable
from kubeferry.outside.locks import locked

NO_LOCKS = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK})


@contextlib.contextmanager
def held(fingerprint: Path) -> Iterator[None]:
    """Keep others away from a fingerprint and what lies beside it. The kernel lets go however we end; a file that a
    killed run left is taken over.

    Raises TargetUnavailable while another copy runs, TargetRefused where nothing can be written.
    """
    place = fingerprint.with_name(f".{fingerprint.name}.lock")
    fd = _taken(place)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            place.unlink()
        os.close(fd)


def _taken(place: Path) -> int:
    while True:
        try:
            fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise faults.of_os(faults.Side.TARGET, f"{place} cannot be made", error) from error
        if not _locked(fd):
            os.close(fd)
            raise TargetUnavailable(
                "another copy keeps its digests there",
                why=f"it holds the lock {place}",
                fix="Wait for it to end, or give each copy a --fingerprint of its own.",
            )
        if _is(fd, place):
            return fd
        os.close(fd)  # its owner ended and removed it after we had opened it


def _locked(fd: int) -> bool:
    try:
        return locked(fd, patience=0)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return True  # where there are no locks, nobody is kept out


def _is(fd: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), place.lstat())
    except FileNotFoundError:
        return False
