"""A mover on trial in this folder: started as one of ours is, beside the machines, in a folder that goes with it.

One that a killed process left is known by its lock, which nobody holds any more, and goes with the next trial.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kubeferry.documents import Entry, MoverJob
from kubeferry.errors import TargetRefused
from kubeferry.model import Concern, DiskRef
from kubeferry.targets import Reach, alike, error_of
from kubeferry.targets.directory.layout import TargetFolder
from kubeferry.targets.local_movers import tried

PREFIX = ".kubeferry-trial-"
SETTLED_SECONDS = 5.0  # between its making and its lock
IMAGE_BYTES = 1 << 20


def trial(target: TargetFolder, entries: tuple[Entry, ...], reach: Reach) -> dict[str, list[Concern]]:
    """See `kubeferry.targets.Target.trial`: one mover for all machines of a source, since what it does here is the
    same."""
    found: dict[str, list[Concern]] = {}

    def attempt(entry: Entry) -> None:
        try:
            with reach(entry) as way, _folder(target) as place, alike.shared(way):
                _try(entry, way, place)
        except OSError as error:
            fix = "Give the target folder room and write permission, or name another one."
            raise TargetRefused(str(error), fix=fix) from error

    for group in alike.grouped((entry for entry in entries if entry.disks), lambda entry: entry.machine.source):
        found |= alike.tried(group, attempt, "no mover can be tried")
    return found


def _try(entry: Entry, way: DiskRef | None, place: Path) -> None:
    image = place / "disk.img"
    with image.open("wb") as stream:
        stream.truncate(IMAGE_BYTES)
    job = MoverJob(
        name=place.name,
        action="trial",
        machine=entry.name,
        source=way,
        target=DiskRef(uri=image.as_uri(), format="raw", size_bytes=IMAGE_BYTES),
        state_dir=str(place / "state"),
    )
    result = tried(job, place / "report.json")
    if not result.ok:
        raise error_of(job, result)


@contextlib.contextmanager
def _folder(target: TargetFolder) -> Iterator[Path]:
    """A folder on the target's file system, ours for as long as the context lasts."""
    beside = target.root
    while not beside.exists():
        beside = beside.parent
    _sweep(beside)
    place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=beside))
    held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(held)


def _sweep(beside: Path) -> None:
    """What killed processes left."""
    for left in beside.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else sweeps, or uses it
            held = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - left.stat().st_mtime > SETTLED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(held)
