"""Endpoint on a regular file or a block device.

Writes go through the page cache, which lets go of them soon (`write_behind`); `direct` reads go past it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from converters.endpoints import page_cache
from converters.endpoints.write_behind import CANNOT, WriteBehind
from converters.extents import BLOCK_BYTES, Extent, overlaid, unchanged
from converters.uris import invalid, path_of
from kubeferry.faults import Side, of_os, refused, unavailable
from kubeferry.images import writers
from kubeferry.outside.locks import locked
from kubeferry.ranges import Range, ranges_of
from kubeferry.values import DiskRef

DIRECT_ALIGN = 4096
ZERO_RANGE_KEEP_SIZE = 0x11  # FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE
ALLOCATE_KEEP_SIZE = 0x01  # FALLOC_FL_KEEP_SIZE
PUNCH_HOLE_KEEP_SIZE = 0x03  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
LIARS = frozenset({0x2FC12FC1, 0x65735546})
"""File systems (`statfs`) whose word on holes is not believed: ZFS, which called data that was just written a hole for
years, and FUSE, where any program may stand behind it."""
LOCK_SECONDS = 3.0  # udev locks a device for a moment, to look at it
LOST = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT})  # what a flush says of earlier writes that failed

_libc = ctypes.CDLL(None, use_errno=True)
_fstatfs = _libc.fstatfs
_fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)
_fallocate = _libc.fallocate64 if hasattr(_libc, "fallocate64") else _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> File:
    """Open a `file:` or `block:` URI. A source is opened read-only; nothing is ever created. Files do not know what
    changed; a set of byte ranges in the reference says it for them. Raises InputInvalid for what is no such set."""
    del work
    try:
        changed = None if ref.changed is None else ranges_of(ref.changed)
    except ValueError as error:
        raise invalid(ref.uri, f"what changed is told wrongly: {error}", "Write bytes=FIRST-LAST,…") from error
    return File(path_of(ref.uri), side, direct=direct, changed=changed)


class File:
    """A regular file or a block device. `direct` reads past the page cache. What lies outside the ranges `changed` is
    the same as in the round before; None promises nothing."""

    parallel = True

    def __init__(self, path: Path, side: Side, *, direct: bool = False, changed: Sequence[Range] | None = None) -> None:
        self.path = path
        self.side = side
        self._changed = changed
        self._direct = direct
        self._direct_fd = self._flush_fd = -1
        writes = side is Side.TARGET and not direct
        try:
            self._fd, self.readable = _open(path, writes=writes)
        except OSError as error:
            if error.errno == errno.EBUSY:
                why = "it is mounted, or a part of another device or volume"
                fix = "`lsblk` and `findmnt` name who uses it; unmount it, or give another device."
                raise refused(side, f"{path} is in use", why=why, fix=fix) from error
            raise of_os(side, f"{path} cannot be opened", error) from error
        try:
            self.size, self.knows_holes = self._measure()
            self._behind = WriteBehind(self._fd)
            self._takes_room = writes and stat.S_ISREG(os.fstat(self._fd).st_mode)
            self._ask_qemu(writes=writes)
            if direct:
                self._read_storage()
            elif side is Side.TARGET:
                self._lock()
                self._flush_fd = self._open_flush()
        except BaseException:
            self.close()
            raise

    def _measure(self) -> tuple[int, bool]:
        kind = os.fstat(self._fd).st_mode
        if stat.S_ISREG(kind):
            return os.fstat(self._fd).st_size, _file_system(self._fd) not in LIARS
        if stat.S_ISBLK(kind):
            return os.lseek(self._fd, 0, os.SEEK_END), False
        raise refused(
            self.side,
            f"{self.path} is neither a file nor a block device",
            fix="Give the path of the disk image or of the device.",
        )

    def _ask_qemu(self, *, writes: bool) -> None:
        """A machine that runs on it does not notice us, nor keep our lock; but it has locks of its own."""
        ask = writers.used_by_qemu if writes else writers.written_by_qemu
        if (writes or self.side is Side.SOURCE) and ask(self._fd):
            raise unavailable(
                self.side,
                f"{self.path} is open in QEMU{'' if writes else ', to be written'}",
                why="QEMU holds its locks on it: a machine runs on it, or a tool works with it",
                fix="Shut the machine down or wait for the tool; `fuser` names it.",
            )

    def _read_storage(self) -> None:
        """From here on read past the page cache; where that cannot be, drop pages before they are read.

        Of a write that failed behind our back the kernel keeps the pages, and calls them clean: compared with them all
        would be well, and written over them nothing would arrive. So they are dropped first, all of them. That a flush
        tells of such a write is no error here: what the storage holds is about to be read. Both descriptors of a target
        hear of it now, so that its own flush later tells of its own writes alone.
        """
        self._direct = True
        try:
            self._sync()
            page_cache.drop(self._fd)
            self._direct_fd = self._open_direct()
        except OSError as error:
            raise of_os(self.side, f"{self.path} cannot be opened", error) from error

    def _sync(self) -> None:
        for fd in (self._fd, self._flush_fd):
            try:
                if fd >= 0:
                    os.fsync(fd)
            except OSError as error:
                if error.errno not in LOST | CANNOT | {errno.EROFS}:
                    raise

    def _open_direct(self) -> int:
        """A descriptor that reads past the page cache; -1 where there is none."""
        try:
            return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
        except OSError as error:
            if error.errno in CANNOT or not self.readable:
                return -1
            raise

    def _lock(self) -> None:
        """Be the only writer: two at once would leave a mixture, and each would say that all is well. The kernel lets
        go when the last descriptor is closed. Where there are no locks, nobody is kept out."""
        try:
            ours = locked(self._fd, patience=LOCK_SECONDS)
        except OSError as error:
            if error.errno not in CANNOT | {errno.ENOLCK}:
                raise of_os(self.side, f"{self.path} cannot be locked", error) from error
            return
        if not ours:
            raise unavailable(
                self.side,
                f"{self.path} is being written by another program",
                why="it holds the file's lock",
                fix="Wait for it to end; `fuser` names it.",
            )

    def _open_flush(self) -> int:
        """A descriptor that only flushes. The kernel tells of a failed write once per open file: what `write_behind`
        heard of would be missing in the flush of the same one."""
        try:
            mode = os.O_RDONLY if self.readable else os.O_WRONLY
            return os.open(f"/proc/self/fd/{self._fd}", mode | os.O_CLOEXEC)
        except OSError as error:
            raise of_os(self.side, f"{self.path} cannot be opened", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def clone(self) -> Self:
        copy = object.__new__(type(self))
        copy.path, copy.side, copy.size, copy.knows_holes = self.path, self.side, self.size, self.knows_holes
        copy._changed, copy._direct, copy.readable = self._changed, self._direct, self.readable
        copy._fd = os.dup(self._fd)
        copy._direct_fd = os.dup(self._direct_fd) if self._direct_fd >= 0 else -1
        copy._flush_fd = os.dup(self._flush_fd) if self._flush_fd >= 0 else -1
        copy._behind, copy._takes_room = WriteBehind(copy._fd), self._takes_room
        return copy

    def stored(self) -> Self:
        """The same disk as its storage holds it, whatever the page cache says. Close it."""
        made = self.clone()
        try:
            made._read_storage()
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        for fd in (self._fd, self._direct_fd, self._flush_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._direct_fd = self._flush_fd = -1

    # --- reading ---

    def extents(self) -> Iterator[Extent]:
        allocation = self.allocation(0, self.size)
        return allocation if self._changed is None else overlaid(allocation, unchanged(self._changed, self.size))

    def allocation(self, start: int, stop: int) -> Iterator[Extent]:
        """Where it has data in [start, stop), and where a hole; all of it is data where nobody tells."""
        position = start
        while position < stop and self.knows_holes:
            data = min(self._seek(position, os.SEEK_DATA), stop)
            if data > position:
                yield Extent(position, data - position, zero=True)
            if data >= stop:
                return
            position = min(self._seek(data, os.SEEK_HOLE), stop)
            yield Extent(data, position - data)
        if position < stop:
            yield Extent(position, stop - position)

    def _seek(self, offset: int, whence: int) -> int:
        try:
            return min(os.lseek(self._fd, offset, whence), self.size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return self.size
            raise of_os(self.side, f"{self.path} cannot be read", error) from error

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        if not self._direct:
            os.posix_fadvise(self._fd, offset, len(view), os.POSIX_FADV_WILLNEED)
        return functools.partial(self.read_into, offset, view)

    def read_into(self, offset: int, view: memoryview) -> None:
        if not self.readable:
            fix = "Let this user read it, too."
            raise refused(self.side, f"{self.path} cannot be read", why="it may only be written", fix=fix)
        try:
            done = self._read_direct(offset, view) if self._direct else 0
            while done < len(view):
                count = os.preadv(self._fd, [view[done:]], offset + done)
                if not count:
                    raise unavailable(
                        self.side,
                        f"{self.path} ends at {offset + done} bytes, and had {self.size} when it was opened",
                        fix="Make sure that nothing else writes to it, then run the same again.",
                    )
                done += count
        except OSError as error:
            raise of_os(self.side, f"{self.path} cannot be read at {offset}", error) from error

    def _read_direct(self, offset: int, view: memoryview) -> int:
        """Read what alignment allows past the page cache; drop the rest from the cache. Returns the bytes read."""
        whole = len(view) - len(view) % DIRECT_ALIGN
        done = 0
        try:
            while self._direct_fd >= 0 and done < whole:
                count = os.preadv(self._direct_fd, [view[done:whole]], offset + done)
                done += count
                if not count or count % DIRECT_ALIGN:
                    break
        except OSError as error:
            if error.errno not in CANNOT:
                raise
        if done < len(view) and self._direct_fd >= 0:
            page_cache.drop_page(self._fd, offset + done)
        elif done < len(view):
            page_cache.drop(self._fd)
        return done

    # --- writing ---

    def write(self, offset: int, view: memoryview) -> None:
        try:
            self._make_room(offset, len(view))
            done = 0
            while done < len(view):
                done += os.pwrite(self._fd, view[done:], offset + done)
            self._behind.wrote(offset, done)
        except OSError as error:
            raise of_os(self.side, f"{self.path} cannot be written at {offset}", error) from error

    def _make_room(self, offset: int, length: int) -> None:
        """Room on the disk for what is about to be written, so that a lack of it is an error of this write. A file
        system that looks for room when it writes back may find none, lose what it took, and say nothing to any flush:
        ext4 did (Linux 6.18), damaged, or with its last blocks."""
        if self._takes_room:
            self._takes_room = self._allocate(ALLOCATE_KEEP_SIZE, offset, length)

    def zero(self, offset: int, length: int) -> None:
        try:
            if not any(self._allocate(mode, offset, length) for mode in (PUNCH_HOLE_KEEP_SIZE, ZERO_RANGE_KEEP_SIZE)):
                write_zeros(self._fd, offset, length)
        except OSError as error:
            raise of_os(self.side, f"{self.path} cannot be zeroed at {offset}", error) from error

    def _allocate(self, mode: int, offset: int, length: int) -> bool:
        if not _fallocate(self._fd, mode, offset, length):
            return True
        if ctypes.get_errno() in CANNOT:
            return False
        raise OSError(ctypes.get_errno(), "fallocate")

    def end(self) -> None:
        """A file has no word on itself as a whole."""

    def flush(self) -> None:
        try:
            os.fdatasync(self._flush_fd if self._flush_fd >= 0 else self._fd)
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise of_os(self.side, f"{self.path} cannot be flushed", error) from error


def _open(path: Path, *, writes: bool) -> tuple[int, bool]:
    """A descriptor, and whether it can be read: what may only be written is a target all the same."""
    # O_EXCL keeps a device that is mounted, or below another one; it means nothing for files.
    # O_NONBLOCK: opening a FIFO must not wait for somebody at its other end.
    more = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_EXCL if writes and path.is_block_device() else 0)
    try:
        return os.open(path, (os.O_RDWR if writes else os.O_RDONLY) | more), True
    except PermissionError:
        if not writes:
            raise
    return os.open(path, os.O_WRONLY | more), False


def write_zeros(fd: int, offset: int, length: int, piece: int = BLOCK_BYTES) -> None:
    """Write zeros, for storage that cannot be told to forget a range."""
    zeros = memoryview(bytes(min(piece, length)))
    end = offset + length
    while offset < end:
        offset += os.pwrite(fd, zeros[: end - offset], offset)


def _file_system(fd: int) -> int:
    """The kind of file system, by the number that the kernel gives it; 0 where it does not tell."""
    told = (ctypes.c_long * 64)()  # more than it writes
    return int(told[0]) if not _fstatfs(fd, ctypes.byref(told)) else 0
