"""The durable memory of a copy that has not ended: a fingerprint whose digests stand for blocks that were flushed.

It belongs to one copy: its label holds digests of the copy's name (plan, round, view), and of the source (place, chain,
what its bytes are known by) and the target. Another copy, source or target does not go on from it. That it exists at
all says that the target was written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import stat
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.endpoints import Endpoint
from converters.engine import digest
from converters.engine.fingerprint import UNKNOWN, Fingerprint, Header
from converters.extents import block_count
from converters.uris import chain_of, files_of
from kubeferry.errors import InputInvalid, IntegrityFailed, TargetRefused, TargetUnavailable
from kubeferry.model import DiskRef
from kubeferry.uris import view_of

NAME_BYTES = 16
PLACE_BYTES = 8
FS_IOC_GETVERSION = 0x80087601
NOWHERE = bytes(16)
SAMPLES = 16  # blocks of the target, at most, that are read before a checkpoint is believed


@dataclass(frozen=True, slots=True)
class Start:
    """How a copy begins: its checkpoint, whether that holds work already done, and whether the target was written."""

    checkpoint: Fingerprint
    resumed: bool
    touched: bool


def beside(fingerprint: Path) -> Path:
    """Where the checkpoint of the copy lies that ends in `fingerprint`."""
    return fingerprint.with_name(f"checkpoint-{fingerprint.name}")


def label(source: DiskRef, known: list[object], target: DiskRef, copy_id: str) -> bytes:
    """What a copy is of: equal for the next attempt of the same copy, different when source or target changed. Its
    first half is that of `name_of`; `known` is what the source's bytes are known by."""
    parts = [*_places(source), known, "to", *_places(target), *_nodes(target)]
    return name_of(copy_id) + hashlib.sha256(json.dumps(parts).encode()).digest()[:NAME_BYTES]


def name_of(copy_id: str) -> bytes:
    """The half of a label that says which copy it is, whatever its source and target look like."""
    return hashlib.sha256(copy_id.encode()).digest()[:NAME_BYTES]


def target_of(ref: DiskRef) -> bytes:
    """What a target is known by: its place, and the file that is there now."""
    nodes = [(path.stat().st_ino, _generation(path)) for path in files_of(ref.uri) if path.is_file()]
    return _place(ref) + hashlib.sha256(json.dumps([ref.uri, nodes]).encode()).digest()[:PLACE_BYTES]


def _generation(path: Path) -> int:
    """Which of the files it is that had this inode's number one after another; 0 where that is not told."""
    told = array("L", [0])
    with contextlib.suppress(OSError), path.open("rb") as file:
        fcntl.ioctl(file, FS_IOC_GETVERSION, told)
    return told[0]


def same_place(target: bytes, ref: DiskRef) -> bool:
    """Whether what a target is known by is of this place, whichever file is there."""
    return target[:PLACE_BYTES] == _place(ref)


def _place(ref: DiskRef) -> bytes:
    names = [str(path) for path in files_of(ref.uri)] or [ref.uri]
    return hashlib.sha256(json.dumps(names).encode()).digest()[:PLACE_BYTES]


def _places(ref: DiskRef) -> Iterator[object]:
    return ([view_of(link.uri) or link.uri, link.format, link.size_bytes] for link in chain_of(ref))


def _nodes(target: DiskRef) -> Iterator[object]:
    # A device's node is made anew for every pod: its number says nothing.
    found = (path.stat() for path in files_of(target.uri))
    return ([one.st_ino, one.st_size] for one in found if stat.S_ISREG(one.st_mode))


def start(path: Path, header: Header, target: Endpoint) -> Start:
    """Go on from the checkpoint at `path` if it is of the same copy and the target still holds what it says.

    Otherwise begin a new one, durable before this returns: from then on the target counts as written.
    """
    touched = path.exists()
    if touched:
        found = _resumable(path, header, target)
        if found is not None:
            return Start(found, resumed=True, touched=True)
    return Start(Fingerprint.create(path, header), resumed=False, touched=touched)


def _resumable(path: Path, header: Header, target: Endpoint) -> Fingerprint | None:
    try:
        found = Fingerprint.open(path, writable=True)
    except (InputInvalid, IntegrityFailed):
        return None  # damaged: the copy starts over, which is always right
    mine, theirs = found.header, header
    same = (mine.size, mine.block, mine.algorithm, mine.label) == (
        theirs.size,
        theirs.block,
        theirs.algorithm,
        theirs.label,
    )
    if same and still_holds(found, target):
        return found
    found.close()
    return None


def still_holds(found: Fingerprint, target: Endpoint, runs: Iterable[tuple[int, int]] | None = None) -> bool:
    """Whether the target is the one that a fingerprint speaks of: blocks all over it, read and digested, are equal.
    That it was not replaced or emptied is all that this says. `runs` (first block, number; in order) are those of which
    blocks are taken; without them, all that are known."""
    return all(holds(found, index, target) for index in samples(found, runs))


def samples(found: Fingerprint, runs: Iterable[tuple[int, int]] | None = None) -> Iterator[int]:
    """Blocks all over the disk, of `runs` or of all that are known."""
    return _samples(found, _known(found) if runs is None else runs)


def _samples(found: Fingerprint, runs: Iterable[tuple[int, int]]) -> Iterator[int]:
    """A block of each of SAMPLES stretches of the disk, of data where there is any: an empty target has zeros, too."""
    stretch = max(1, block_count(found.count, SAMPLES))
    for _, pieces in itertools.groupby(_cut(runs, stretch), key=lambda piece: piece[0] // stretch):
        zero = -1
        for first, count in pieces:
            index = next(found.data(first, count), -1)
            if index >= 0:
                yield index
                break
            if zero < 0 and found.at(first) != UNKNOWN:
                zero = first
        else:
            if zero >= 0:
                yield zero


def _cut(runs: Iterable[tuple[int, int]], stretch: int) -> Iterator[tuple[int, int]]:
    """The runs in pieces that lie in one stretch each."""
    for first, count in runs:
        position, stop = first, first + count
        while position < stop:
            following = min(position - position % stretch + stretch, stop)
            yield position, following - position
            position = following


def _known(found: Fingerprint) -> Iterator[tuple[int, int]]:
    """Runs of blocks whose digests are known, at most a few thousand of them."""
    position = 0
    for runs, (first, count) in enumerate(found.unknown(0, found.count)):
        if first > position:
            yield position, first - position
        position = first + count
        if runs > 1000:
            return
    if position < found.count:
        yield position, found.count - position


def holds(found: Fingerprint, index: int, target: Endpoint) -> bool:
    """Whether the target has a block as the fingerprint says; one that may not be read, or is broken, has it not."""
    content = memoryview(bytearray(found.length_of(index)))
    try:
        target.read_into(index * found.header.block, content)
    except TargetRefused:
        return False
    except TargetUnavailable as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
            return False
        raise
    return digest.digest(found.header.algorithm, content) == found.at(index) != UNKNOWN
