"""Whose a target is: asked before anything in it is written, by the fingerprints beside it and by what it holds.

A target is ours when a fingerprint or checkpoint names its place, and most of the blocks of data that it is asked for
are there. One that holds nothing is anybody's. Everything else belongs to somebody who may need it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from converters.endpoints import Endpoint, open_target
from converters.engine import checkpoint
from converters.engine.fingerprint import Fingerprint, sync_folder
from converters.extents import BLOCK_BYTES, block_count
from converters.uris import LOCAL, path_of, scheme_of
from kubeferry import faults
from kubeferry.errors import InputInvalid, IntegrityFailed, TargetRefused
from kubeferry.model import DiskRef

LOOKS = 64  # places in which a device or an export is looked at for data
INSIST = "Give another target; or --overwrite, if what it holds may be lost."
DEVICES = Path("/dev")
MEMORY = Path("/dev/shm")  # noqa: S108 (of /dev the one folder for files)


def prepare_target(target: DiskRef, size: int, fingerprint: Path, *, overwrite: bool = False) -> bool:
    """Make a raw file for a copy, or find that a file or device is ours or empty. Returns whether it reads as zeros.

    What a server has is looked at when it is opened (`check`). Raises TargetRefused for content that no copy of ours is
    known to have put there, unless `overwrite` says that it may be lost, and for a file where devices are.
    """
    if scheme_of(target.uri) not in LOCAL:
        return False
    path = path_of(target.uri)
    if path.exists():
        with open_target(target) as there:
            ours = _has_fingerprint(fingerprint)
            if not overwrite:
                check(target, there, fingerprint)
            if ours or overwrite or path.is_block_device():
                return False
    elif scheme_of(target.uri) != "file":
        return False  # it is told when it is opened
    _no_device(path)
    _make(path, size)
    return True


def _make(path: Path, size: int) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if os.fstat(fd).st_size < size:
                os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(path.parent)
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{path} cannot be made", error) from error


def _no_device(path: Path) -> None:
    folder = path.parent.resolve()
    if folder.is_relative_to(DEVICES) and not folder.is_relative_to(MEMORY):
        raise TargetRefused(
            f"{path} is not there",
            why="a file among the devices would be made in memory, and be gone with the next start",
            fix="Check the device's name; `lsblk` lists those that are there.",
        )


def check(ref: DiskRef, target: Endpoint, fingerprint: Path) -> None:
    """Raise TargetRefused unless a target is ours or holds nothing. Of a device, and of an export that does not tell,
    some places are looked at."""
    if not is_ours(ref, target, fingerprint) and _holds_data(ref, target):
        beside = _has_fingerprint(fingerprint)
        raise TargetRefused(
            f"{ref.uri if scheme_of(ref.uri) not in LOCAL else path_of(ref.uri)} has content that is not ours",
            why=f"it is not what {fingerprint} speaks of"
            if beside
            else f"neither {fingerprint} nor its checkpoint is there",
            fix=INSIST,
        )


def is_ours(ref: DiskRef, target: Endpoint, fingerprint: Path) -> bool:
    """Whether one of our copies wrote this target, as far as its fingerprint or checkpoint can tell."""
    for path in (checkpoint.beside(fingerprint), fingerprint):
        try:
            found = Fingerprint.open(path)
        except (InputInvalid, IntegrityFailed):
            continue
        with found:
            if names(found, ref) and _speaks_of(found, ref, target):
                return True
    return False


def names(found: Fingerprint, ref: DiskRef) -> bool:
    """Whether a fingerprint names this target's place; one of an earlier version names none, and fits every place."""
    told = found.header.target
    return told in {checkpoint.NOWHERE, checkpoint.target_of(ref)} or checkpoint.same_place(told, ref)


def _speaks_of(found: Fingerprint, ref: DiskRef, target: Endpoint) -> bool:
    """More than half of the blocks of data that are asked for are there: some may be damaged. Where nothing but zeros
    is known yet, it must be the very file."""
    if target.size < found.header.size and scheme_of(ref.uri) not in LOCAL:
        return False
    asked = [index for index in checkpoint.samples(found) if found.at(index) != found.zero_of(index)]
    if not asked:
        return found.header.target == checkpoint.target_of(ref)
    inside = [index for index in asked if index * found.header.block + found.length_of(index) <= target.size]
    held = sum(checkpoint.holds(found, index, target) for index in inside)
    return held * 2 > len(asked)


def _holds_data(ref: DiskRef, target: Endpoint) -> bool:
    data = ((extent.offset, extent.end) for extent in target.extents() if not extent.zero)
    if target.knows_holes and scheme_of(ref.uri) in LOCAL:
        return next(data, None) is not None
    view = memoryview(bytearray(BLOCK_BYTES))
    for start, stop in _looks(data, max(BLOCK_BYTES, block_count(target.size, LOOKS))):
        piece = view[: stop - start]
        target.read_into(start, piece)
        if bytes(piece).count(0) != len(piece):
            return True
    return False


def _looks(data: Iterator[tuple[int, int]], step: int) -> Iterator[tuple[int, int]]:
    """A block of data in each step of a disk, and the last one of all."""
    following, last = 0, (0, 0)
    for start, stop in data:
        position = max(start, following)
        while position < stop:
            yield position, min(position + BLOCK_BYTES, stop)
            following = position - position % step + step
            position = following
        last = max(start, stop - BLOCK_BYTES), stop
    if last[1]:
        yield last


def _has_fingerprint(fingerprint: Path) -> bool:
    return fingerprint.exists() or checkpoint.beside(fingerprint).exists()
