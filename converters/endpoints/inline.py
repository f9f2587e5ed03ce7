"""Endpoint of bytes that come with the work: what is too little to be served by anybody. Read only.

They stand in their URI; or, where they are a secret, in a file that the mover's environment names (`held:`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from converters.endpoints.read_only import ReadOnly, read_only
from converters.extents import Extent, of_bytes
from converters.uris import invalid
from kubeferry.faults import Side, of_os
from kubeferry.uris import HELD, HELD_FILE, inline_content
from kubeferry.values import DiskRef

MOST_BYTES = 16 << 20


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Inline:
    """Open a `data:` or `held:` URI. Raises InputInvalid for one that is not ours, is damaged, or holds more than 16
    MiB; SourceRefused where what is held cannot be read."""
    del direct, work
    content = _held() if ref.uri.startswith(HELD) else inline_content(ref.uri, MOST_BYTES)
    if content is None:
        shown = f"{ref.uri[:40]}…"
        raise invalid(shown, "is not made by kubeferry, is cut off, or is too long", "Run the same command again.")
    if side is Side.TARGET:
        raise read_only("what comes with the work")
    return Inline(content)


def _held() -> bytes | None:
    """The content of the file that the environment names; None without one, or with too much in it."""
    path = os.environ.get(HELD_FILE, "")
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise of_os(Side.SOURCE, "what the mover was handed cannot be read", error) from error
    return content if len(content) <= MOST_BYTES else None


class Inline(ReadOnly):
    """A disk of bytes in memory. Clones share them."""

    name = "what comes with the work"
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
        """It was whole when it was opened."""

    def clone(self) -> Self:
        return type(self)(self._content)

    def close(self) -> None:
        """Nothing to let go of."""
