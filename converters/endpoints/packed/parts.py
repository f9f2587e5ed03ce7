"""Bytes of local files, one part behind the other: in order with their digests compared, or anywhere.

Parts     read(count)          forward; a part's digest is compared when its last byte was read
Gunzip    read(count)          what such a reader gives, inflated
Window    read_at(offset, …)   the same bytes anywhere, without a word on digests
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kubeferry.errors import IntegrityFailed, SourceRefused
from kubeferry.faults import Side, of_os
from kubeferry.uris import Part

PIECE_BYTES = 1 << 20
FILES_OPEN = 64
AGAIN = "Discover the source again: the file was changed."


class Reader(Protocol):
    """Bytes in order: at least one and at most `count` of them, none at the end."""

    def read(self, count: int, /) -> bytes: ...


def open_part(part: Part) -> int:
    """A descriptor of the part's file, which is regular and has all of the part. Raises SourceRefused."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody at its other end
        fd = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise of_os(Side.SOURCE, f"{part.path} cannot be opened", error) from error
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode) and part.offset + part.length <= found.st_size:
        return fd
    os.close(fd)
    if not stat.S_ISREG(found.st_mode):
        raise SourceRefused(f"{part.path} is not a file", fix="Give the path of a disk or of an OVA.")
    raise SourceRefused(
        f"{part.path} ends at offset {found.st_size}",
        why=f"{part.length} bytes from offset {part.offset} on were described",
        fix=AGAIN,
    )


def _pread(fd: int, path: Path, offset: int, view: memoryview) -> int:
    try:
        count = os.preadv(fd, [view], offset)
    except OSError as error:
        raise of_os(Side.SOURCE, f"{path} cannot be read at {offset}", error) from error
    if not count:
        raise SourceRefused(f"{path} ends at offset {offset}, and was longer when it was opened", fix=AGAIN)
    return count


class Parts:
    """The bytes of all parts in order. What is left out by nobody is hashed: read up to the end to know the digests."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._left = list(reversed(parts))
        self._fd = -1
        self._at = 0
        self._hash: hashlib._Hash | None = None
        for part in parts:  # what is not there is told before anything is read
            os.close(open_part(part))

    def read(self, count: int, /) -> bytes:
        while self._left:
            part = self._left[-1]
            if self._fd < 0:
                self._open(part)
            if found := self._some(part, count):
                return found
            self._ended(part)
        return b""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, part: Part) -> None:
        self._fd = open_part(part)
        self._at = 0
        self._hash = hashlib.new(part.digest.partition(":")[0], usedforsecurity=False) if part.digest else None
        os.posix_fadvise(self._fd, part.offset, part.length, os.POSIX_FADV_SEQUENTIAL)

    def _some(self, part: Part, count: int) -> bytes:
        size = min(count, part.length - self._at)
        if not size:
            return b""
        buffer = bytearray(size)
        got = _pread(self._fd, part.path, part.offset + self._at, memoryview(buffer))
        found = bytes(buffer) if got == size else bytes(buffer[:got])
        self._at += got
        if self._hash is not None:
            self._hash.update(found)
        if self._at == part.length:
            self._compare(part)
        return found

    def _compare(self, part: Part) -> None:
        algorithm, _, expected = part.digest.partition(":")
        if self._hash is not None and self._hash.hexdigest() != expected:
            raise IntegrityFailed(
                f"{part.path}: {part.length} bytes from offset {part.offset} on are not what the manifest says",
                why=f"their {algorithm} is {self._hash.hexdigest()}, the manifest has {expected}",
                fix="Get the file again from where it was exported; what was copied from it is not to be used.",
            )

    def _ended(self, part: Part) -> None:
        if not part.length:
            self._compare(part)
        self.close()
        self._left.pop()


def compare(parts: Sequence[Part]) -> None:
    """Hash the parts whose digests are known: they were read in another order. Raises like `Parts.read`."""
    if any(part.digest for part in parts):
        content = Parts(parts)
        try:
            while content.read(PIECE_BYTES):
                pass
        finally:
            content.close()


class Gunzip:
    """What a reader gives, inflated: gzip streams, one behind the other. `where` names it in errors."""

    def __init__(self, reader: Reader, where: str) -> None:
        self._reader = reader
        self._where = where
        self._unpacker = zlib.decompressobj(wbits=31)
        self._waiting = b""
        self._taken = 0
        self._begun = False

    def read(self, count: int, /) -> bytes:
        while True:
            if not self._waiting:
                self._waiting = self._reader.read(PIECE_BYTES)
                self._taken += len(self._waiting)
                if not self._waiting:
                    return self._end()
            if self._unpacker.eof:
                self._unpacker = zlib.decompressobj(wbits=31)
            found = self._inflated(self._waiting, count)
            self._begun = True
            self._waiting = self._unpacker.unconsumed_tail or self._unpacker.unused_data
            if found:
                return found

    def _end(self) -> bytes:
        if self._begun and not self._unpacker.eof:
            # Bytes that the unpacker held back while it gave as much as was asked for come first.
            if found := self._inflated(b"", PIECE_BYTES):
                return found
            raise self._wrong("its gzip stream ends in the middle")
        return b""

    def _inflated(self, packed: bytes, count: int) -> bytes:
        try:
            return self._unpacker.decompress(packed, count)
        except zlib.error as error:
            raise self._wrong(f"its gzip stream is damaged: {error}") from error

    def _wrong(self, what: str) -> SourceRefused:
        at = self._taken - len(self._waiting)
        fix = "Get the file again from where it was exported."
        return SourceRefused(f"{self._where}: {what}, near offset {at} of the compressed bytes", fix=fix)


class Window:
    """The bytes of parts, read anywhere, from any thread. Of many files only some are kept open: `keep` at most."""

    def __init__(self, parts: Sequence[Part], *, keep: int = FILES_OPEN) -> None:
        self._parts: list[tuple[int, Part]] = []
        self._fds: dict[Path, int] = {}
        self.size = 0
        for part in parts:
            self._parts.append((self.size, part))
            self.size += part.length
            fd = open_part(part)
            if part.path in self._fds or len(self._fds) >= keep:
                os.close(fd)
            else:
                self._fds[part.path] = fd

    def read_at(self, offset: int, view: memoryview) -> None:
        """Fill `view`. Raises SourceRefused beyond the end."""
        done = 0
        for start, part in self._parts:
            while done < len(view) and start <= offset + done < start + part.length:
                inside = offset + done - start
                done += self._pread(part, inside, view[done : done + part.length - inside])
        if done < len(view):
            raise SourceRefused(f"{self._parts[0][1].path} has {self.size} bytes, and is read at {offset + done}")

    def _pread(self, part: Part, inside: int, view: memoryview) -> int:
        fd = self._fds.get(part.path)
        if fd is not None:
            return _pread(fd, part.path, part.offset + inside, view)
        fd = open_part(part)
        try:
            return _pread(fd, part.path, part.offset + inside, view)
        finally:
            os.close(fd)

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}
