"""Volumes and snapshots of the lab's cloud: which blocks were written, and what a snapshot has frozen of them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

BLOCK_BYTES = 512 << 10
GIB = 1 << 30


@dataclass(slots=True)
class Snapshot:
    """What a volume had when it was frozen. `size` is in bytes, `blocks` are shared with the volume until it writes.

    `pending` is how often it must be described until it is completed; None never ends. `tokens` are those that were
    given out, by block; `spent` those that are not taken any more.
    """

    id: str
    volume: str
    size: int
    blocks: dict[int, bytes]
    pending: int | None = 0
    failed: bool = False
    tokens: dict[int, str] = field(default_factory=dict)

    @property
    def completed(self) -> bool:
        return self.pending == 0 and not self.failed

    def token(self, index: int) -> str:
        """The token of a block: says nothing, fits nothing else."""
        return self.tokens.setdefault(index, f"{secrets.token_urlsafe(33)}=".replace("-", "+").replace("_", "/"))


class Store:
    """All that was written. Not safe to use from several threads: its owner takes turns."""

    def __init__(self) -> None:
        self.volumes: dict[str, dict[int, bytes]] = {}
        self.snapshots: dict[str, Snapshot] = {}

    def write(self, volume: str, offset: int, content: bytes | memoryview) -> None:
        """Write to a volume, as its guest would. Whole blocks of zeros count as written, too."""
        blocks = self.volumes.setdefault(volume, {})
        view, position = memoryview(content), 0
        while position < len(view):
            index, skip = divmod(offset + position, BLOCK_BYTES)
            count = min(BLOCK_BYTES - skip, len(view) - position)
            piece = view[position : position + count]
            if count == BLOCK_BYTES:
                blocks[index] = bytes(piece)
            else:
                block = bytearray(blocks.get(index, bytes(BLOCK_BYTES)))
                block[skip : skip + count] = piece
                blocks[index] = bytes(block)
            position += count

    def discard(self, volume: str, index: int) -> None:
        """Give a block back, as a trimmed one is: later snapshots do not list it."""
        self.volumes.get(volume, {}).pop(index, None)

    def read(self, volume: str, offset: int, length: int) -> bytes:
        """What the volume holds now."""
        return read(self.volumes.get(volume, {}), offset, length)

    def freeze(self, snapshot: str, volume: str, size: int, pending: int | None) -> None:
        """A snapshot of this instant."""
        self.snapshots[snapshot] = Snapshot(snapshot, volume, size, dict(self.volumes.get(volume, {})), pending)


def read(blocks: dict[int, bytes], offset: int, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        index, skip = divmod(offset + len(found), BLOCK_BYTES)
        count = min(BLOCK_BYTES - skip, length - len(found))
        block = blocks.get(index)
        found += block[skip : skip + count] if block is not None else bytes(count)
    return bytes(found)
