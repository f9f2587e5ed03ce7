"""Digests of blocks and of whole disks.

    root = H(header, H(block 0), H(block 1), ...)        H(block of zeros) is computed once per length

The header binds the disk's size and the block size, so that a root speaks of one disk only. Pure.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable, Iterable
from typing import Protocol, cast

import blake3

DIGEST_BYTES = 32
ROOT_HEADER = struct.Struct("<16sQQ")
ROOT_MAGIC = b"kubeferry root 1"


class Hasher(Protocol):
    """A running digest."""

    def update(self, data: bytes | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


ALGORITHMS: dict[str, Callable[[], Hasher]] = {
    "blake3": lambda: cast("Hasher", blake3.blake3()),
    "sha256": lambda: cast("Hasher", hashlib.sha256()),
}


def digest(algorithm: str, data: bytes | memoryview) -> bytes:
    """The 32-byte digest of `data`. Raises KeyError for an algorithm that is not in ALGORITHMS."""
    hasher = ALGORITHMS[algorithm]()
    hasher.update(data)
    return hasher.digest()


@functools.cache
def zero_digest(algorithm: str, length: int) -> bytes:
    """The digest of `length` zero bytes (at most one block: they are really hashed, once)."""
    return digest(algorithm, bytes(length))


def root(algorithm: str, size: int, block: int, digests: Iterable[bytes | memoryview]) -> bytes:
    """The digest of a disk: over its size, its block size and the block digests in order, in pieces of any length."""
    hasher = ALGORITHMS[algorithm]()
    hasher.update(ROOT_HEADER.pack(ROOT_MAGIC, size, block))
    for part in digests:
        hasher.update(part)
    return hasher.digest()
