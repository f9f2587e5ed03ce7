"""The fingerprint of a disk as a file: a header, and one digest per block at a fixed place.

    0     header (magic, version, sealed, block size, disk size, algorithm, label, root, target, checksum of all that)
    512   digest of block 0 | digest of block 1 | ...            32 bytes each; 32 zero bytes: not known yet
    then  checksum of digest 0 | checksum of digest 1 | ...      4 bytes each, until it is sealed

A digest never moves, so a partial fingerprint (a checkpoint) and a complete one (sealed: all digests known, root in the
header) are the same file at two times, and memory does not grow with the disk. A digest that its checksum does not fit,
after a crash or by damage, is not known; in a complete fingerprint the root says the same of all of them. Little-endian
throughout. Version 1 had no checksums of digests: complete ones are read, others are of no use.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from converters.engine import digest
from converters.engine.digest import DIGEST_BYTES
from converters.extents import BLOCK_BYTES, DISK_LIMIT_BYTES, block_count
from kubeferry import faults
from kubeferry.errors import InputInvalid, IntegrityFailed, Problem
from kubeferry.words import plain

MAGIC = b"KFERRYFP"
VERSION = 2
HEADER = struct.Struct("<8sHHIQ16s32s32s16s")
HEADER_1 = struct.Struct("<8sHHIQ16s32s32s")  # of version 1, which said nothing of its target
CHECKSUM_BYTES = 32
DIGESTS_OFFSET = 512
BLOCK_LIMITS = (4 << 10, 16 << 20)
BATCH = 8192  # digests read or written at once
UNKNOWN = bytes(DIGEST_BYTES)
UNSYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})  # of folders: some network file systems

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Header:
    """What a fingerprint is of. `label` says which copy it belongs to, `target` where that wrote to (zeros: nobody
    knows); `root` is empty until it is sealed."""

    size: int
    algorithm: str = "blake3"
    block: int = BLOCK_BYTES
    label: bytes = UNKNOWN
    root: bytes = b""
    target: bytes = bytes(16)
    version: int = VERSION

    def pack(self) -> bytes:
        fields = (MAGIC, self.version, int(bool(self.root)), self.block, self.size, self.algorithm.encode())
        body = HEADER.pack(*fields, self.label, self.root or UNKNOWN, self.target)
        return body + hashlib.sha256(body).digest()

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """Raises ValueError, saying in words for a person what is wrong."""
        if len(raw) < HEADER.size + CHECKSUM_BYTES or not raw.startswith(MAGIC):
            raise ValueError("it does not start like a fingerprint")
        version = int.from_bytes(raw[len(MAGIC) : len(MAGIC) + 2], "little")
        if version not in {1, VERSION}:
            raise ValueError(f"it has version {version}, and this program reads versions 1 and {VERSION}")
        fields = HEADER if version == VERSION else HEADER_1
        body, checksum = raw[: fields.size], raw[fields.size : fields.size + CHECKSUM_BYTES]
        _, _, sealed, block, size, name, label, root, *target = fields.unpack(body)
        if hashlib.sha256(body).digest() != checksum:
            raise ValueError("its header does not match its checksum")
        algorithm = name.rstrip(b"\0").decode("ascii", "replace")
        if algorithm not in digest.ALGORITHMS:
            raise ValueError(f"it uses the algorithm {algorithm!r}")
        if size > DISK_LIMIT_BYTES or not BLOCK_LIMITS[0] <= block <= BLOCK_LIMITS[1] or block & (block - 1):
            raise ValueError(f"it speaks of a disk of {size} bytes in blocks of {block}")
        return cls(size, algorithm, block, label, root if sealed else b"", target[0] if target else bytes(16), version)


class Fingerprint:
    """An opened fingerprint. Safe to read from several threads; written by one. Close it, or use it with `with`."""

    def __init__(self, path: Path, fd: int, header: Header) -> None:
        self.path = path
        self.header = header
        self._fd = fd
        self._synced = False  # whoever wrote it before may have been killed before its flush

    @classmethod
    def create(cls, path: Path, header: Header) -> Self:
        """A new one that knows no digest, in place of what was at `path`; durable when this returns.

        Raises TargetRefused when the folder has no room or may not be written.
        """
        header = replace(header, version=VERSION)
        temporary = path.with_name(f".{path.name}.new")
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)  # of a run that was killed; what a link there leads to is not ours
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(fd, header.pack(), 0)
                os.ftruncate(fd, file_bytes(header))
                os.fsync(fd)
                temporary.replace(path)
                sync_folder(path.parent)
            except OSError:
                os.close(fd)
                temporary.unlink(missing_ok=True)
                raise
        made = cls(path, fd, header)
        made._synced = True
        return made

    @classmethod
    def open(cls, path: Path, *, writable: bool = False, unchecked: bool = False) -> Self:
        """One that is there. Sizes are checked before anything is read by them. `unchecked` opens those, too, whose
        digests have no checksums: only to ask whether they speak of a target.

        Raises InputInvalid when it is missing or not a fingerprint, IntegrityFailed when a sealed one is damaged.
        """
        try:
            access = os.O_RDWR | os.O_NOFOLLOW if writable else os.O_RDONLY
            fd = os.open(path, access | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _invalid(path, os.strerror(error.errno or 0)) from error
        try:
            header = Header.unpack(os.pread(fd, HEADER.size + CHECKSUM_BYTES, 0))
            found = cls(path, fd, header)
            found._check(unchecked=unchecked)
        except (ValueError, OSError) as error:
            os.close(fd)
            raise _invalid(path, str(error)) from error
        except IntegrityFailed:
            os.close(fd)
            raise
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def count(self) -> int:
        """How many blocks the disk has."""
        return block_count(self.header.size, self.header.block)

    @property
    def sealed(self) -> bool:
        """Whether every digest is known and the root is set."""
        return bool(self.header.root)

    @property
    def root(self) -> str:
        """The root in hexadecimal; empty until sealed."""
        return self.header.root.hex()

    def length_of(self, index: int) -> int:
        """Bytes of block `index`."""
        return min(self.header.block, self.header.size - index * self.header.block)

    def zero_of(self, index: int) -> bytes:
        """The digest that block `index` has if it is all zeros."""
        return digest.zero_digest(self.header.algorithm, self.length_of(index))

    def at(self, index: int) -> bytes:
        """The digest of one block; 32 zero bytes when it is not known."""
        return self._checked(os.pread(self._fd, DIGEST_BYTES, DIGESTS_OFFSET + index * DIGEST_BYTES), index)

    def _checked(self, digests: bytes, first: int) -> bytes:
        """Digests from block `first` on, as far as their checksums fit; those below a root were looked at with it."""
        if self.sealed or self.header.version != VERSION:
            return digests
        count = len(digests) // DIGEST_BYTES
        return digest.checked(digests, os.pread(self._fd, count * digest.CHECK_BYTES, self._check_place(first)))

    def _check_place(self, index: int) -> int:
        return DIGESTS_OFFSET + self.count * DIGEST_BYTES + index * digest.CHECK_BYTES

    def batches(self, first: int = 0, count: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The digests from block `first` on, in large pieces: index of the first one, and the piece."""
        end = self.count if count is None else first + count
        while first < end:
            wanted = min(BATCH, end - first)
            piece = os.pread(self._fd, wanted * DIGEST_BYTES, DIGESTS_OFFSET + first * DIGEST_BYTES)
            if len(piece) != wanted * DIGEST_BYTES:
                raise IntegrityFailed(f"{self.path} became shorter while it was read", fix="Restore it, or copy again.")
            yield first, self._checked(piece, first)
            first += wanted

    def unlike(self, expected: bytes, first: int, count: int) -> Iterator[int]:
        """The blocks in a range whose digest is not `expected`."""
        for start, piece in self.batches(first, count):
            if piece == expected * (len(piece) // DIGEST_BYTES):
                continue
            for place in range(0, len(piece), DIGEST_BYTES):
                if piece[place : place + DIGEST_BYTES] != expected:
                    yield start + place // DIGEST_BYTES

    def data(self, first: int, count: int) -> Iterator[int]:
        """The blocks in a range whose digests are known, and not those of zeros."""
        whole = digest.zero_digest(self.header.algorithm, self.header.block)
        for start, piece in self.batches(first, count):
            if piece.count(0) == len(piece) or piece == whole * (len(piece) // DIGEST_BYTES):
                continue
            for place in range(0, len(piece), DIGEST_BYTES):
                index = start + place // DIGEST_BYTES
                if piece[place : place + DIGEST_BYTES] not in (UNKNOWN, self.zero_of(index)):
                    yield index

    def unknown(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        """The runs (first block, number) in a range whose digests are not known."""
        run = length = 0
        for index, more in self._unknown_pieces(first, count):
            if length and index == run + length:
                length += more
                continue
            if length:
                yield run, length
            run, length = index, more
        if length:
            yield run, length

    def _unknown_pieces(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        for start, piece in self.batches(first, count):
            if piece.count(0) == len(piece):
                yield start, len(piece) // DIGEST_BYTES
                continue
            if UNKNOWN not in piece:
                continue
            for place in range(0, len(piece), DIGEST_BYTES):
                if piece[place : place + DIGEST_BYTES] == UNKNOWN:
                    yield start + place // DIGEST_BYTES, 1

    def put(self, first: int, digests: bytes) -> None:
        """Set the digests of the blocks from `first` on. Durable after `sync`."""
        self._synced = False
        with _writing(self.path):
            os.pwrite(self._fd, digests, DIGESTS_OFFSET + first * DIGEST_BYTES)
            if not self.sealed:
                os.pwrite(self._fd, digest.checks(digests), self._check_place(first))

    def put_zeros(self, first: int, count: int) -> None:
        """Set the digests of `count` blocks to that of zeros."""
        whole = digest.zero_digest(self.header.algorithm, self.header.block)
        last = first + count - 1
        for start in range(first, last, BATCH):
            self.put(start, whole * min(BATCH, last - start))
        self.put(last, self.zero_of(last))

    def sync(self) -> None:
        """Make what was put durable."""
        if self._synced:
            return
        with _writing(self.path):
            os.fdatasync(self._fd)
        self._synced = True

    def seal(self, destination: Path) -> None:
        """Set the root and move the file to `destination`, durably. Raises IntegrityFailed if a digest is missing."""
        missing = next(self.unknown(0, self.count), None)
        if missing is not None:
            raise IntegrityFailed(f"{self.path} has no digest for block {missing[0]}", fix="Run the copy again.")
        self.header = replace(self.header, root=self._compute_root())
        self.sync()
        with _writing(self.path):
            os.pwrite(self._fd, self.header.pack(), 0)
            os.fsync(self._fd)
            # The root stands for the checksums now. No flush of its own: a file that still has them is read, too.
            os.ftruncate(self._fd, file_bytes(self.header))
            self.path.replace(destination)
            sync_folder(destination.parent)
        self.path = destination

    def _compute_root(self) -> bytes:
        head = self.header
        return digest.root(head.algorithm, head.size, head.block, (piece for _, piece in self.batches()))

    def _check(self, *, unchecked: bool) -> None:
        if self.header.version != VERSION and not (self.sealed or unchecked):
            raise ValueError("it is of an earlier version, and of a copy that has not ended")
        found, wanted = os.fstat(self._fd).st_size, file_bytes(self.header)
        if found != wanted and found != file_bytes(replace(self.header, root=b"")):  # stopped while it was sealed
            raise ValueError(f"it has {found} bytes, and its header asks for {wanted}")
        if self.sealed and self._compute_root() != self.header.root:
            raise IntegrityFailed(
                f"{self.path} is damaged",
                why="its digests do not give the root that its header holds",
                fix="Restore it from a copy, or copy the disk again to make a new one.",
            )


def differing(one: Fingerprint, other: Fingerprint) -> Iterator[int]:
    """The blocks in which two disks differ. Raises InputInvalid when the two cannot be compared block by block."""
    mine, theirs = one.header, other.header
    if (mine.size, mine.block, mine.algorithm) != (theirs.size, theirs.block, theirs.algorithm):
        raise _invalid(other.path, f"it is not of the same size, block size and algorithm as {one.path}")
    for (first, left), (_, right) in zip(one.batches(), other.batches(), strict=True):
        if left == right:
            continue
        for place in range(0, len(left), DIGEST_BYTES):
            if left[place : place + DIGEST_BYTES] != right[place : place + DIGEST_BYTES]:
                yield first + place // DIGEST_BYTES


def file_bytes(header: Header) -> int:
    """How long the file of a fingerprint is."""
    bare = header.root or header.version != VERSION
    one = DIGEST_BYTES if bare else DIGEST_BYTES + digest.CHECK_BYTES
    return DIGESTS_OFFSET + block_count(header.size, header.block) * one


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable. Where its file system cannot do that, it is told, once: a crash of the host
    may cost the file, which is then made again."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in UNSYNCABLE:
            raise
        _tell_unsynced(folder)
    finally:
        os.close(fd)


@functools.cache
def _tell_unsynced(folder: Path) -> None:
    logger.warning("%s cannot be flushed: after a crash of this host its newest files may be gone", plain(str(folder)))


def _invalid(path: Path, why: str) -> InputInvalid:
    fix = "Give the fingerprint file that a copy of this disk wrote, or copy again to make one."
    return InputInvalid(f"{path} cannot be used as a fingerprint", [Problem(str(path), why, fix)])


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{path} cannot be written", error) from error
