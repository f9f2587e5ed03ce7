"""Parts of local files as the file that an image is in: read anywhere, by our own reader of its format."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from converters.endpoints.packed.parts import Window, compare
from converters.endpoints.read_only import ReadOnly
from converters.extents import Extent
from kubeferry.uris import Part


class Slice(ReadOnly):
    """See `converters.endpoints.qcow2.Bytes`. Digests of parts are compared in `end`: it is read in another order."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.name = str(parts[0].path)
        self._parts = parts
        self._window = Window(parts)
        self.size = self._window.size

    def allocation(self, start: int, stop: int) -> Iterator[Extent]:
        """All of it is data: a hole in an archive is nobody's business."""
        if start < stop:
            yield Extent(start, stop - start)

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        return functools.partial(self.read_into, offset, view)

    def read_into(self, offset: int, view: memoryview) -> None:
        self._window.read_at(offset, view)

    def end(self) -> None:
        compare(self._parts)

    def clone(self) -> Self:
        return type(self)(self._parts)

    def close(self) -> None:
        self._window.close()
