"""Digests of blocks and of whole disks.

    root = H(header, H(block 0), H(block 1), ...)        H(block of zeros) is computed once per length

The header binds the disk's size and the block size, so that a root speaks of one disk only. Pure.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable
from typing import Protocol, cast

import blake3

DIGEST_BYTES = 32
CHECK_BYTES = 4
ROOT_HEADER = struct.Struct("<16sQQ")
ROOT_MAGIC = b"kubeferry root 1"
_UNKNOWN = zlib.crc32(bytes(DIGEST_BYTES))


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


def checks(digests: bytes) -> bytes:
    """A checksum of its own for each of several digests; zeros for one of zeros, which stands for none."""
    first = digests[:DIGEST_BYTES]
    count = len(digests) // DIGEST_BYTES
    if digests == first * count:  # of zeros, or of nothing known: millions of them
        return (zlib.crc32(first) ^ _UNKNOWN).to_bytes(CHECK_BYTES, "little") * count
    pieces = (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))
    made = array("I", (zlib.crc32(piece) ^ _UNKNOWN for piece in pieces))
    if sys.byteorder == "big":
        made.byteswap()
    return made.tobytes()


def checked(digests: bytes, told: bytes) -> bytes:
    """The digests, with zeros in place of those that their checksums do not fit."""
    right = checks(digests)
    if right == told:
        return digests
    found = bytearray(digests)
    for index in range(len(digests) // DIGEST_BYTES):
        if (
            right[index * CHECK_BYTES : (index + 1) * CHECK_BYTES]
            != told[index * CHECK_BYTES : (index + 1) * CHECK_BYTES]
        ):
            found[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = bytes(DIGEST_BYTES)
    return bytes(found)
