"""Endpoint on an EBS snapshot, through the EBS direct APIs: what it has, what changed since an older one, its bytes.

    extents ──> ListSnapshotBlocks, or ListChangedBlocks where the reference names an older snapshot
    reads   ──> GetSnapshotBlock, several at once: a block of ours is two of theirs

Only written blocks are listed, all others read as zeros. A block of which only half is among the changes is read
whole: the other half's token comes from the snapshot's own list. Nothing is written here, and no volume is made.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from converters.endpoints.ebs.api import CONNECTIONS, SnapshotApi
from converters.endpoints.ebs.blocks import BLOCK_BYTES, DATA, Listing, extents_of, pieces, states_of
from converters.extents import Extent
from converters.uris import invalid
from kubeferry.errors import KubeferryError, SourceRefused
from kubeferry.faults import Side, refused
from kubeferry.outside import aws
from kubeferry.uris import ebs_snapshot, is_snapshot
from kubeferry.values import DiskRef

logger = logging.getLogger(__name__)

# Reasons for which changes cannot be told, and all of the disk is read: the older snapshot is gone or another volume's.
UNTOLD = frozenset({"UNRELATED_SNAPSHOTS", "SNAPSHOT_NOT_FOUND", "INVALID_SNAPSHOT_ID", "INVALID_VOLUME_SIZE"})


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Ebs:
    """Open `ebs://REGION/SNAPSHOT`. `direct` and `work` have no meaning here.

    Raises InputInvalid for another URI, SourceRefused for credentials that are not accepted or a snapshot that is not
    there or not completed, SourceUnavailable when AWS does not answer.
    """
    del direct, work
    place = ebs_snapshot(ref.uri)
    if place is None:
        raise invalid(ref.uri, "it names no snapshot", "Write ebs://REGION/snap-…")
    if ref.changed is not None and not is_snapshot(ref.changed):
        raise invalid(ref.uri, f"{ref.changed[:80]!r} is no snapshot to compare with", "Give an older snapshot's name.")
    if side is not Side.SOURCE:
        raise refused(side, f"{ref.uri} is a snapshot", why="snapshots are read only", fix="Give another target.")
    api = SnapshotApi(place, side)
    try:
        return Ebs(Snapshot(api, ref.size_bytes or api.volume_bytes(), ref.changed))
    except BaseException:
        api.close()
        raise


class Snapshot:
    """What all clones share: lists, connections, threads."""

    def __init__(self, api: SnapshotApi, size: int, older: str | None) -> None:
        self.api = api
        self.size = size
        self._older = older
        self._whole = Listing(functools.partial(api.blocks, size))
        self._changes = Listing(functools.partial(api.changes, older, size)) if older else None
        self._states: bytearray | None = None
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="ebs")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.api.close()

    def extents(self) -> Iterator[Extent]:
        """The disk in order; the list is asked for once."""
        with self._lock:
            if self._states is None:
                self._states = self._listed()
            states = self._states
        return extents_of(states, self.size, delta=self._changes is not None)

    def _listed(self) -> bytearray:
        if self._changes is not None:
            try:
                return states_of(self._changes.pages(), self.size)
            except SourceRefused as error:
                if aws.reason_of(error.__cause__) not in UNTOLD and not aws.is_forbidden(error.__cause__):
                    raise
                logger.info("what changed since %s is not told, all is read: %s", self._older, error.reason)
                self._changes = None
        return states_of(self._whole.pages(), self.size)

    def submit(self, offset: int, view: memoryview) -> list[Future[None]]:
        """Begin to read into `view`."""
        found, position = [], 0
        for index, skip, count in pieces(offset, len(view)):
            found.append(self._pool.submit(self._fill, index, skip, view[position : position + count]))
            position += count
        return found

    def _fill(self, index: int, skip: int, view: memoryview) -> None:
        length = min(BLOCK_BYTES, self.size - index * BLOCK_BYTES)
        content = self.api.read(index, length, lambda stale: self._token(index, stale))
        if not content and self._states is not None and self._states[index] == DATA:
            raise self.api.unlisted(index)  # what has bytes is no hole, whatever a list says now
        view[:] = content[skip : skip + len(view)] if content else bytes(len(view))

    def _token(self, index: int, stale: str | None) -> str | None:
        """The token of a block: from the list of changes if it is among them, else from that of the snapshot."""
        changed = self._changes is not None and self._states is not None and self._states[index] == DATA
        listing = self._changes if changed and self._changes is not None else self._whole
        return listing.token(index, instead_of=stale)


class Ebs:
    """See `converters.endpoints.Endpoint`. The first one owns what its clones share."""

    parallel = True
    knows_holes = True

    def __init__(self, snapshot: Snapshot, *, owner: bool = True) -> None:
        self.size = snapshot.size
        self._snapshot = snapshot
        self._owner = owner

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def calls(self) -> dict[str, int]:
        """How many calls were made so far, by name: what AWS asks money for."""
        return dict(self._snapshot.api.calls)

    def extents(self) -> Iterator[Extent]:
        return self._snapshot.extents()

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        futures = self._snapshot.submit(offset, view)

        def wait() -> None:
            for future in futures:
                future.result()

        return wait

    def read_into(self, offset: int, view: memoryview) -> None:
        self.start_read(offset, view)()

    def write(self, offset: int, view: memoryview) -> None:
        del offset, view
        raise self._read_only()

    def zero(self, offset: int, length: int) -> None:
        del offset, length
        raise self._read_only()

    def end(self) -> None:
        """Every block came with its own digest: there is nothing to add about the whole."""

    def flush(self) -> None:
        """Nothing was written."""

    def clone(self) -> Self:
        return type(self)(self._snapshot, owner=False)

    def close(self) -> None:
        if self._owner:
            self._snapshot.close()

    def _read_only(self) -> KubeferryError:
        return refused(Side.SOURCE, "a snapshot cannot be written", why="it is a source", fix="Give another target.")
