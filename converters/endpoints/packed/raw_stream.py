"""The bytes of a raw disk as a stream gives them: of a known size, and not one more."""

from __future__ import annotations

from converters.endpoints.packed.parts import Reader
from kubeferry.errors import HostileImage, SourceRefused

PIECE_BYTES = 1 << 20
AGAIN = "Export the machine again, and compare the file with its manifest."


class RawStream:
    """See `converters.endpoints.forward.Content`."""

    def __init__(self, reader: Reader, capacity: int, where: str) -> None:
        self.capacity = capacity
        self._reader = reader
        self._where = where
        self._position = 0

    def read_into(self, offset: int, view: memoryview, /) -> None:
        if offset < self._position or offset + len(view) > self.capacity:
            why = f"asked for {len(view)} bytes at {offset}, and it was read up to {self._position} of {self.capacity}"
            raise SourceRefused(f"{self._where} is read forward only", why=why, fix="Read it from its start again.")
        self._skip(offset)
        done = 0
        while done < len(view):
            piece = self._some(len(view) - done)
            view[done : done + len(piece)] = piece
            done += len(piece)

    def finish(self) -> None:
        self._skip(self.capacity)
        if self._reader.read(1):
            what = f"{self._where}: more than the {self.capacity} bytes of the disk are in it, at offset"
            raise HostileImage(f"{what} {self.capacity}", fix=AGAIN)

    def _skip(self, offset: int) -> None:
        while self._position < offset:
            self._some(offset - self._position)

    def _some(self, count: int) -> bytes:
        found = self._reader.read(min(count, PIECE_BYTES))
        if not found:
            what = f"{self._where}: it ends in the middle, at offset {self._position} of {self.capacity}"
            raise SourceRefused(what, fix=AGAIN)
        self._position += len(found)
        return found
