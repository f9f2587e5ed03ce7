"""Errors of the file system as errors of the target: a full disk refuses, anything else may pass."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from kubeferry.documents import Entry, MoverJob
from kubeferry.errors import KubeferryError, TargetRefused, TargetUnavailable


@contextlib.contextmanager
def answering(entry: Entry) -> Iterator[None]:
    """What is done for a machine."""
    try:
        yield
    except OSError as error:
        raise _translated(error, entry.name, "") from error


@contextlib.contextmanager
def answering_job(job: MoverJob) -> Iterator[None]:
    """What is done for a job."""
    try:
        yield
    except OSError as error:
        raise _translated(error, job.machine, job.disk) from error


def _translated(error: OSError, machine: str, disk: str) -> KubeferryError:
    what = f"{error.filename or 'the target folder'}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}:
        fix = "Give the target folder room and write permission, or name another one."
        return TargetRefused(what, fix=fix, machine=machine, disk=disk)
    return TargetUnavailable(what, fix="Run the same command again.", machine=machine, disk=disk)
