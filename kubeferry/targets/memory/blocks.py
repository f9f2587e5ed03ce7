"""The bytes of the double: what a source holds, and the digests of blocks."""

from __future__ import annotations

import hashlib

from kubeferry.errors import TargetRefused
from kubeferry.model import DiskRef
from kubeferry.uris import HELD, inline_content, local_path

BLOCK_BYTES = 1024 * 1024
MOST_INLINE_BYTES = 16 * BLOCK_BYTES


def digests_of(data: bytearray) -> list[str]:
    """One for each block."""
    view = memoryview(data)
    return [hashlib.sha256(view[at : at + BLOCK_BYTES]).hexdigest() for at in range(0, len(data), BLOCK_BYTES)]


def root_of(digests: list[str]) -> str:
    """The digest of the digests."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def content_of(source: DiskRef | None, held: bytes | None) -> bytes:
    """All of a source. Raises TargetRefused for what this double does not read, and OSError."""
    if source is not None and source.uri == HELD and held is not None:
        return held
    if source is not None and (content := inline_content(source.uri, MOST_INLINE_BYTES)) is not None:
        return content
    path = local_path(source.uri) if source and source.format == "raw" else None
    if path is None:
        raise TargetRefused("the memory target reads raw files only")
    return path.read_bytes()
