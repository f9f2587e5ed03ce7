"""Endpoint on a disk that is given once, from its first byte to its last: by a stream that nobody can go back in.

Reading is all that it does, with one worker; ranges may be left out. `end` reads what is left, so that whatever is said
of the stream as a whole (its end, its tables, its digest) is checked also where a resumed copy left out most of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol, Self

from converters.endpoints.read_only import ReadOnly
from converters.extents import Extent
from kubeferry.errors import SourceRefused


class Content(Protocol):
    """What such a disk is unpacked from; `converters.endpoints.vmdk.stream.Stream` is one."""

    capacity: int

    def read_into(self, offset: int, view: memoryview, /) -> None:
        """Fill `view`; offsets ascend."""

    def finish(self) -> None:
        """Read up to the end. Raises where the whole is not what it said."""


class Map(Protocol):
    """Where such a disk has data, for streams that can be looked at beforehand."""

    def extents(self) -> Iterator[Extent]:
        """The whole disk in order."""


class Forward(ReadOnly):
    """`owned` is closed with it. Without a map holes are not known, and are zeros only once they were read. `digest`
    tells what the whole stream was, where somebody else has counted it too; `stream_digest` has it after `end`."""

    parallel = False

    def __init__(
        self,
        content: Content,
        name: str,
        owned: ExitStack | None = None,
        *,
        known: Map | None = None,
        digest: Callable[[], str] | None = None,
    ) -> None:
        self.size = content.capacity
        self.name = name
        self.knows_holes = known is not None
        self._content = content
        self._owned = owned or ExitStack()
        self._map = known
        self._digest = digest
        self.stream_digest = ""

    def extents(self) -> Iterator[Extent]:
        if self._map is not None:
            yield from self._map.extents()
        elif self.size:
            yield Extent(0, self.size)

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        """Reads now: the order of the calls is the order of the bytes."""
        self.read_into(offset, view)
        return _done

    def read_into(self, offset: int, view: memoryview) -> None:
        self._content.read_into(offset, view)

    def end(self) -> None:
        self._content.finish()
        if self._digest is not None:
            self.stream_digest = self._digest()

    def clone(self) -> Self:
        raise SourceRefused(f"{self.name} is read once", fix="Read it with one worker.")

    def close(self) -> None:
        self._owned.close()


def _done() -> None:
    """It was read already."""
