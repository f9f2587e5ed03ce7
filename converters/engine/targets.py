"""Whose a target is: asked before anything in it is written, by the fingerprints beside it and by what it holds.

A target is ours when a fingerprint or checkpoint names its place, and most of the blocks of data that it is asked for
are there. One that holds nothing is anybody's. Everything else belongs to somebody who may need it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from converters.endpoints import Endpoint, open_target
from converters.engine import checkpoint, earlier
from converters.engine.fingerprint import MAGIC, Fingerprint, sync_folder
from converters.extents import BLOCK_BYTES, block_count
from converters.uris import LOCAL, chain_of, files_of, path_of, scheme_of
from kubeferry import faults
from kubeferry.errors import InputInvalid, IntegrityFailed, Problem, TargetRefused
from kubeferry.values import DiskRef

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
                _cut(path, size)
                return False
    elif scheme_of(target.uri) != "file":
        return False  # it is told when it is opened
    _no_device(path)
    _make(path, size)
    return True


def _cut(path: Path, size: int) -> None:
    """What an earlier, larger disk left behind the end of this one would be read as a part of it."""
    if not path.is_file() or path.stat().st_size <= size:
        return
    try:
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{path} cannot be truncated", error) from error


def _make(path: Path, size: int) -> None:
    """A file for its owner alone: it will hold a guest's bytes."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
    folder = Path(os.path.realpath(path)).parent  # a link that leads nowhere makes its file there
    if folder.is_relative_to(DEVICES) and not folder.is_relative_to(MEMORY):
        raise TargetRefused(
            f"{path} is not there",
            why="a file among the devices would be made in memory, and be gone with the next start",
            fix="Check the device's name; `lsblk` lists those that are there.",
        )


def check_fingerprint(source: DiskRef, target: DiskRef, fingerprint: Path) -> None:
    """Raise InputInvalid unless a copy may keep its digests there: neither a disk nor anything else may lie at that
    place or at the names beside it, but fingerprints of this very target. A damaged one is replaced."""
    disks = [path for ref in (*chain_of(source), target) for path in files_of(ref.uri)]
    for path in (fingerprint, *earlier.beside(fingerprint)):
        if any(os.path.realpath(path) == os.path.realpath(disk) or _same_file(path, disk) for disk in disks):
            raise _no_place(path, "it is one of the disks")
        if not os.path.lexists(path):
            continue
        if not _looks_like_one(path):
            raise _no_place(path, "it is there, and is no fingerprint: it would be lost")
        if not _may_be_of(path, target):
            raise _no_place(path, f"it is the fingerprint of another target than {target.uri}")


def _looks_like_one(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _may_be_of(path: Path, target: DiskRef) -> bool:
    try:
        with Fingerprint.open(path, unchecked=True) as found:
            return names(found, target)
    except (InputInvalid, IntegrityFailed):
        return True


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _no_place(path: Path, what: str) -> InputInvalid:
    fix = "Give another place with --fingerprint; remove what is there if nobody needs it."
    return InputInvalid("the digests cannot be kept there", [Problem(str(path), what, fix)])


def check_end(ref: DiskRef, target: Endpoint, size: int) -> None:
    """Raise TargetRefused where a target goes on with data behind the end of a disk of `size` bytes."""
    if target.size > size and _holds_data(ref, target, size):
        raise TargetRefused(
            f"{ref.uri} is larger than the source, and holds data behind its end",
            why=f"it has {target.size} bytes, the source {size}; whoever reads the target would find a longer disk",
            fix=f"Zero it from {size} on (`blkdiscard --zeroout --offset` for a device), or give another target.",
        )


def check(ref: DiskRef, target: Endpoint, fingerprint: Path, *, damaged: bool = False) -> None:
    """Raise TargetRefused unless a target is ours or holds nothing. Of a device, and of an export that does not tell,
    some places are looked at. `damaged`: nothing need be left of it, if it is the very file."""
    if not is_ours(ref, target, fingerprint, damaged=damaged) and _holds_data(ref, target):
        beside = _has_fingerprint(fingerprint)
        raise TargetRefused(
            f"{ref.uri if scheme_of(ref.uri) not in LOCAL else path_of(ref.uri)} has content that is not ours",
            why=f"it is not what {fingerprint} speaks of"
            if beside
            else f"neither {fingerprint} nor its checkpoint is there",
            fix=INSIST,
        )


def is_ours(ref: DiskRef, target: Endpoint, fingerprint: Path, *, damaged: bool = False) -> bool:
    """Whether one of our copies wrote this target, as far as its fingerprint or checkpoint can tell."""
    a_file = any(path.is_file() for path in files_of(ref.uri))
    for path in (checkpoint.beside(fingerprint), fingerprint):
        try:
            found = Fingerprint.open(path, unchecked=True)
        except (InputInvalid, IntegrityFailed):
            continue
        with found:
            same_file = a_file and found.header.target == checkpoint.target_of(ref)
            if names(found, ref) and ((damaged and same_file) or _speaks_of(found, ref, target)):
                return True
    return False


def names(found: Fingerprint, ref: DiskRef) -> bool:
    """Whether a fingerprint names this target's place; one of an earlier version names none, and fits every place."""
    told = found.header.target
    return told in {checkpoint.NOWHERE, checkpoint.target_of(ref)} or checkpoint.same_place(told, ref)


def _speaks_of(found: Fingerprint, ref: DiskRef, target: Endpoint) -> bool:
    """More than half of the blocks of data that are asked for, up to its end, are there: some may be damaged. Where
    nothing but zeros is known yet, it must be the very file."""
    ends = ((index, index * found.header.block + found.length_of(index)) for index in checkpoint.samples(found))
    asked = [index for index, end in ends if end <= target.size and found.at(index) != found.zero_of(index)]
    if not asked:
        return found.header.target == checkpoint.target_of(ref)
    return sum(checkpoint.holds(found, index, target) for index in asked) * 2 > len(asked)


def _holds_data(ref: DiskRef, target: Endpoint, beyond: int = 0) -> bool:
    found = (extent for extent in target.extents() if not extent.zero and extent.end > beyond)
    data = ((max(extent.offset, beyond), extent.end) for extent in found)
    if target.knows_holes and scheme_of(ref.uri) in LOCAL:
        return next(data, None) is not None
    view = memoryview(bytearray(BLOCK_BYTES))
    for start, stop in _looks(data, max(BLOCK_BYTES, block_count(target.size - beyond, LOOKS))):
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
