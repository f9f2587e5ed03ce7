"""Endpoint in memory, for tests and small tools.

What it does not do: survive the process, or report an error of a storage below it. All else is as the seam says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Self

from converters.extents import Extent, of_bytes


class Memory:
    """A disk of bytes in memory. Clones share the bytes."""

    parallel = True
    knows_holes = True

    def __init__(self, content: bytes | bytearray) -> None:
        self.content = content if isinstance(content, bytearray) else bytearray(content)
        self.size = len(self.content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def extents(self) -> Iterator[Extent]:
        return of_bytes(self.content)

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        return functools.partial(self.read_into, offset, view)

    def read_into(self, offset: int, view: memoryview) -> None:
        view[:] = self.content[offset : offset + len(view)]

    def write(self, offset: int, view: memoryview) -> None:
        self.content[offset : offset + len(view)] = view

    def zero(self, offset: int, length: int) -> None:
        self.content[offset : offset + length] = bytes(length)

    def end(self) -> None:
        """Bytes in memory have no word on themselves as a whole."""

    def flush(self) -> None:
        """Nothing below it to flush to."""

    def clone(self) -> Self:
        return type(self)(self.content)

    def close(self) -> None:
        """Nothing to let go of."""
