"""Endpoint of an empty disk: made at the target, as nobody has its bytes. All of it reads as zeros. Read only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from converters.endpoints.read_only import ReadOnly, read_only
from converters.extents import DISK_LIMIT_BYTES, Extent
from converters.uris import invalid
from kubeferry.faults import Side
from kubeferry.uris import zero_size
from kubeferry.values import DiskRef


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Empty:
    """Open a `zero:` URI. Raises InputInvalid for one that does not say how many bytes."""
    del direct, work
    size = zero_size(ref.uri)
    if size is None or size > DISK_LIMIT_BYTES:
        raise invalid(ref.uri, "does not say how many bytes are empty", "Write zero:BYTES.")
    if side is Side.TARGET:
        raise read_only("an empty disk")
    return Empty(size)


class Empty(ReadOnly):
    """A disk of zeros."""

    name = "an empty disk"
    parallel = True
    knows_holes = True

    def __init__(self, size: int) -> None:
        self.size = size

    def extents(self) -> Iterator[Extent]:
        if self.size:
            yield Extent(0, self.size, zero=True)

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        return functools.partial(self.read_into, offset, view)

    def read_into(self, offset: int, view: memoryview) -> None:
        del offset
        view[:] = bytes(len(view))

    def end(self) -> None:
        """There is nothing that could have changed."""

    def clone(self) -> Self:
        return type(self)(self.size)

    def close(self) -> None:
        """Nothing to let go of."""
