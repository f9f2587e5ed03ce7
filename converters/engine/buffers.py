"""Page-aligned memory: read into, tested for zeros and compared without a copy and without the interpreter lock.

memcmp and memset come from libc: comparing a memoryview in Python goes byte by byte and holds the lock.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator

GRAIN_BYTES = 64 << 10  # zeros are looked for, and left out of writes, in pieces of this size

_libc = ctypes.CDLL(None)
_memcmp = _libc.memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memset = _libc.memset
_memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
_memset.restype = ctypes.c_void_p
_HEAD = bytes(16)


class Buffer:
    """`size` bytes; `view` is the writable window on them."""

    __slots__ = ("_address", "_map", "view")

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self._map)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def is_zero(self, start: int, stop: int) -> bool:
        """Whether [start, stop) is all zeros: the first bytes are, and each byte equals the one a step before it."""
        step = len(_HEAD)
        if stop - start <= step:
            return not any(self._map[start:stop])
        if self._map[start : start + step] != _HEAD:
            return False
        place = self._address + start
        return int(_memcmp(place, place + step, stop - start - step)) == 0

    def same(self, other: Buffer, length: int) -> bool:
        """Whether the first `length` bytes of both are equal."""
        return int(_memcmp(self._address, other._address, length)) == 0

    def clear(self, start: int, stop: int) -> None:
        """Set [start, stop) to zeros."""
        _memset(self._address + start, 0, stop - start)

    def data_runs(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The stretches of [start, stop) that are not zeros, in steps of GRAIN_BYTES."""
        begun = -1
        position = start
        while position < stop:
            following = min(position - position % GRAIN_BYTES + GRAIN_BYTES, stop)
            if self.is_zero(position, following):
                if begun >= 0:
                    yield begun, position
                    begun = -1
            elif begun < 0:
                begun = position
            position = following
        if begun >= 0:
            yield begun, stop
