"""What the rounds before left beside a fingerprint, and what may be concluded from it.

    fingerprint.kff             the round before: what its source calls the same has these digests still
    left-fingerprint.kff        the checkpoint of a round that was left unfinished: the same, for the blocks it holds
    proven-fingerprint.kff      digests of blocks that were read back since they were last written; others are not known

A block that is about to be written is forgotten as proven first, and that is durable before any checkpoint says that
the block was copied. Whatever is missing or damaged here only costs time: more is read.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from converters.endpoints import Endpoint, Noted
from converters.engine import checkpoint
from converters.engine.fingerprint import BATCH, UNKNOWN, Fingerprint, Header, sync_folder
from converters.engine.transfer import Options
from converters.extents import block_count, chunks
from kubeferry import faults
from kubeferry.errors import InputInvalid, IntegrityFailed, TargetRefused
from kubeferry.words import plain

logger = logging.getLogger(__name__)


def base(fingerprint: Path, header: Header, options: Options) -> Fingerprint | None:
    """The digests of the view since which the source tells what changed; where it was left, not all are known.

    A checkpoint that was left is put aside first, so that the checkpoint of this copy does not take its place.
    """
    found = _opened(fingerprint) if options.since else None
    if found is not None and found.root == options.since and _alike(found.header, header):
        return found
    if found is not None:
        found.close()
    return _left(fingerprint, header, options.since_copy) if options.since_copy else None


def holds_the_same(before: Fingerprint, source: Endpoint, target: Endpoint) -> bool:
    """Whether the target still has what the source calls the same. Of other blocks an attempt that broke off may have
    written some. And whether the source has it: notes that lie in an image go with it to the place of another disk.
    Raises ValueError for extents that make no sense."""
    block = before.header.block
    noted = isinstance(source, Noted) and source.noted
    if noted and not checkpoint.still_holds(before, source, _same(source, block)):
        logger.warning("the source has other data than it had where it calls itself unchanged: all of it is read")
        return False
    return checkpoint.still_holds(before, target, _same(source, block))


def _same(source: Endpoint, block: int) -> Iterator[tuple[int, int]]:
    """First block and number of each run that the source calls the same."""
    found = chunks(source.extents(), source.size, block)
    return ((chunk.offset // block, block_count(chunk.length, block)) for chunk in found if chunk.same)


def beside(fingerprint: Path) -> tuple[Path, ...]:
    """All that a copy may write beside its fingerprint."""
    return checkpoint.beside(fingerprint), left_beside(fingerprint), proven_beside(fingerprint)


def larger(fingerprint: Path, size: int) -> bool:
    """Whether an earlier copy wrote a disk of more than `size` bytes."""
    for path in (fingerprint, checkpoint.beside(fingerprint), left_beside(fingerprint)):
        found = _opened(path)
        if found is not None:
            with found:
                if found.header.size > size:
                    return True
    return False


def left_beside(fingerprint: Path) -> Path:
    """Where the checkpoint of a round lies that was left unfinished."""
    return fingerprint.with_name(f"left-{fingerprint.name}")


def _left(fingerprint: Path, header: Header, copy_id: str) -> Fingerprint | None:
    for path in (checkpoint.beside(fingerprint), left_beside(fingerprint)):
        found = _opened(path)
        if found is None:
            continue
        if found.header.label.startswith(checkpoint.name_of(copy_id)) and _alike(found.header, header):
            path.replace(left_beside(fingerprint))
            return found
        found.close()
    return None


def proven_beside(fingerprint: Path) -> Path:
    """Where it stands which blocks of the target were read back."""
    return fingerprint.with_name(f"proven-{fingerprint.name}")


class Proven:
    """Which blocks were read back since they were last written. Safe to use from several threads. Close it."""

    def __init__(self, fingerprint: Path, header: Header, *, writable: bool = False) -> None:
        found = _opened(proven_beside(fingerprint), writable=writable)
        if found is not None and not _alike(found.header, header):
            found.close()
            found = None
        if found is None and writable:
            proven_beside(fingerprint).unlink(missing_ok=True)
        self._found = found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._found is not None:
            self._found.close()

    def forget(self, first: int, count: int) -> None:
        """These blocks are about to be written. Durable after `sync`."""
        if self._found is not None:
            for start in range(first, first + count, BATCH):
                self._found.put(start, UNKNOWN * min(BATCH, first + count - start))

    def sync(self) -> None:
        """What was forgotten stays forgotten."""
        if self._found is not None:
            self._found.sync()

    def holds(self, index: int, known: bytes) -> bool:
        """Whether block `index` was read back with this digest, and not written since."""
        return self._found is not None and self._found.at(index) == known


def prove(expected: Fingerprint) -> None:
    """All blocks were read back just now, or had been since they were last written."""
    # Without a root: digests will be forgotten one by one, and a part of it is as good as none of it.
    with Fingerprint.create(proven_beside(expected.path), replace(expected.header, root=b"")) as made:
        for first, piece in expected.batches():
            made.put(first, piece)
        made.sync()


def remember(expected: Fingerprint, *, clean: bool) -> None:
    """What a verification found: it is worth telling also where nothing can be written (read-only media)."""
    try:
        if clean:
            prove(expected)
        else:
            disprove(expected.path)
    except TargetRefused as error:
        logger.info("the verification is not remembered: %s", plain(f"{error.what}: {error.why}"))


def disprove(fingerprint: Path) -> None:
    """Blocks that were held for proven are not as they should be: nothing counts as proven any more, durably.
    Raises TargetRefused, TargetUnavailable where that cannot be kept."""
    place = proven_beside(fingerprint)
    try:
        place.unlink()
        sync_folder(fingerprint.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{place} cannot be removed", error) from error


def _opened(path: Path, *, writable: bool = False) -> Fingerprint | None:
    """A fingerprint that is there and whole; None for anything else."""
    with contextlib.suppress(InputInvalid, IntegrityFailed):
        return Fingerprint.open(path, writable=writable)
    return None


def _alike(one: Header, other: Header) -> bool:
    return (one.size, one.block, one.algorithm) == (other.size, other.block, other.algorithm)
