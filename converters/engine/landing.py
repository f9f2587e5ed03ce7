"""Where a worker's blocks land: what the target has already is left alone, what it lacks is written, and of a run of
zeros only so much is made at once that nobody waits for its end, however long it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from converters.endpoints import Endpoint
from converters.engine.buffers import Buffer
from converters.extents import Chunk
from kubeferry.errors import TargetRefused, TargetUnavailable

FIRST_BYTES, MOST_BYTES = 16 << 20, 512 << 20
SHORT_SECONDS, LONG_SECONDS = 0.25, 1.0


class Stride:
    """Pieces of runs, larger while the target is fast, smaller while it is slow. For one worker."""

    def __init__(self, block: int) -> None:
        self._least = block
        self._bytes = max(FIRST_BYTES, block)

    def pieces(self, run: Chunk) -> Iterator[Chunk]:
        """The run in whole blocks; how long each piece took is what passes until the next one is asked for."""
        position = run.offset
        while position < run.end:
            stop = min(position + self._bytes, run.end)
            begun = time.monotonic()
            yield Chunk(position, stop - position)
            self._learn(time.monotonic() - begun)
            position = stop

    def _learn(self, seconds: float) -> None:
        if seconds < SHORT_SECONDS:
            self._bytes = min(self._bytes * 2, max(MOST_BYTES, self._least))
        elif seconds > LONG_SECONDS:
            self._bytes = max(self._bytes // 2, self._least)


@dataclass(slots=True)
class Landing:
    """A worker's own target: where it writes, and what it compares with, `block` bytes at a time. `blind` counts the
    bytes that could not be read there: they are written, whatever was there."""

    disk: Endpoint
    stored: Endpoint
    block: int
    blind: int = 0
    stride: Stride = field(init=False)
    _compared: Buffer = field(init=False)

    def __post_init__(self) -> None:
        self.stride = Stride(self.block)
        self._compared = Buffer(self.block)

    def holds(self, chunk: Chunk, buffer: Buffer) -> bool:
        """Whether the storage has these bytes already."""
        try:
            self.stored.read_into(chunk.offset, self._compared.view[: chunk.length])
        except (TargetRefused, TargetUnavailable):  # a target that is gone is told by the write
            self.blind += chunk.length
            return False
        return self._compared.same(buffer, chunk.length)
