"""What the operating system or a server said, as an error for a person: which side, what, why, what to do."""

from __future__ import annotations

import errno
import os
from enum import StrEnum

from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable, TargetRefused, TargetUnavailable

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
REFUSED = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.EROFS,
        errno.ENXIO,
        errno.ENAMETOOLONG,
    }
)


class Side(StrEnum):
    """Which end of a copy a disk is."""

    SOURCE = "source"
    TARGET = "target"


def refused(side: Side, what: str, *, why: str = "", fix: str = "") -> KubeferryError:
    """A permanent error of this side."""
    kind = SourceRefused if side is Side.SOURCE else TargetRefused
    return kind(what, why=why, fix=fix)


def unavailable(side: Side, what: str, *, why: str = "", fix: str = "") -> KubeferryError:
    """A transient error of this side."""
    kind = SourceUnavailable if side is Side.SOURCE else TargetUnavailable
    return kind(what, why=why, fix=fix)


def of_os(side: Side, what: str, error: OSError) -> KubeferryError:
    """An OSError in the words of this side: no room and no access are permanent, everything else may pass."""
    why = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in NO_ROOM:
        return TargetRefused(
            what, why=why, fix="Make room there (or raise the quota), then run the same again: it goes on where it was."
        )
    if error.errno in REFUSED:
        return refused(side, what, why=why, fix="Check the path and that this user may open it.")
    return unavailable(side, what, why=why, fix="Check the storage below it, then run the same again.")
