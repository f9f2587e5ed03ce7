"""Endpoint of bytes that stand in their URI: what is too little to be served by anybody. Read only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from converters.endpoints.read_only import ReadOnly, read_only
from converters.extents import Extent, of_bytes
from converters.uris import invalid
from kubeferry.faults import Side
from kubeferry.uris import inline_content
from kubeferry.values import DiskRef

MOST_BYTES = 16 << 20


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Inline:
    """Open a `data:` URI. Raises InputInvalid for one that is not ours, is damaged, or holds more than 16 MiB."""
    del direct, work
    content = inline_content(ref.uri, MOST_BYTES)
    if content is None:
        shown = f"{ref.uri[:40]}…"
        raise invalid(shown, "is not made by kubeferry, is cut off, or is too long", "Run the same command again.")
    if side is Side.TARGET:
        raise read_only("what stands in a URI")
    return Inline(content)


class Inline(ReadOnly):
    """A disk of bytes in memory. Clones share them."""

    name = "what stands in a URI"
    parallel = True
    knows_holes = True

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def extents(self) -> Iterator[Extent]:
        return of_bytes(self._content)

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        return functools.partial(self.read_into, offset, view)

    def read_into(self, offset: int, view: memoryview) -> None:
        view[:] = self._content[offset : offset + len(view)]

    def end(self) -> None:
        """The URI was whole when it was opened."""

    def clone(self) -> Self:
        return type(self)(self._content)

    def close(self) -> None:
        """Nothing to let go of."""
