"""Endpoints on disks that lie in parts of local files: a member of an OVA, a file beside an OVF, chunks of one.

    vmdk-stream+file:   a streamOptimized VMDK, forward only                                     endpoints.vmdk.stream
    vmdk+file:          what its first bytes say: a stream, a sparse VMDK, or a descriptor       endpoints.vmdk
    raw+file:           the bytes as they are, forward only

`?part=OFFSET,LENGTH,DIGEST,NAME` says where; digests of parts are compared in `end` at the latest. With
`compression=gzip` the parts are inflated first, and only what is read forward can be in them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import Protocol, Self

from converters.endpoints.forward import Forward
from converters.endpoints.packed.parts import FILES_OPEN, Gunzip, Parts, Reader, Window, compare
from converters.endpoints.packed.raw_stream import RawStream
from converters.endpoints.read_only import ReadOnly, read_only
from converters.endpoints.vmdk.sparse import TABLES_KEPT, Sparse
from converters.endpoints.vmdk.stream import Stream
from converters.extents import Extent, merge
from converters.uris import invalid
from kubeferry.errors import HostileImage, SourceRefused
from kubeferry.faults import Side, of_os
from kubeferry.images import writers
from kubeferry.images.vmdk import descriptor, header
from kubeferry.images.vmdk.header import SECTOR_BYTES
from kubeferry.uris import Packed, Part, packed
from kubeferry.values import DiskRef


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Forward | PackedDisk:
    """Open a `PACKED` URI to read. Raises InputInvalid for a URI that says it wrongly, TargetRefused for a target,
    SourceRefused and HostileImage for what is not there or not what it is said to be."""
    del direct, work
    place = packed(ref.uri)
    if place is None:
        scheme = ref.uri.partition(":")[0]
        fix = f"Write {scheme}:///full/path?part=OFFSET,LENGTH,DIGEST,NAME, the digest as sha256:HEX or empty."
        raise invalid(ref.uri, "it does not say which part of which file", fix)
    if side is Side.TARGET:
        raise read_only(ref.uri)
    if place.scheme == "raw+file":
        return _forward(place, lambda reader, where: RawStream(reader, _raw_size(place, ref), where))
    if place.scheme == "vmdk-stream+file" or place.gzip or _is_stream(place):
        return _forward(place, Stream)
    return _anywhere(place)


def _raw_size(place: Packed, ref: DiskRef) -> int:
    if not place.gzip:
        return sum(part.length for part in place.parts)
    if ref.size_bytes is None:
        fix = "Give its size: a compressed disk does not tell it before its end."
        raise SourceRefused(f"{ref.uri} has an unknown size", fix=fix)
    return ref.size_bytes


def _name(place: Packed) -> str:
    """The disk in errors: a place inside a larger file is told by its offset there."""
    first = place.parts[0]
    return f"{first.path} from {first.offset} on" if first.offset else str(first.path)


def _forward(place: Packed, opened: Callable[[Reader, str], Stream | RawStream]) -> Forward:
    with ExitStack() as opening:
        parts = Parts(place.parts)
        opening.callback(parts.close)
        name = _name(place)
        content = opened(Gunzip(parts, name) if place.gzip else parts, name)
        if isinstance(content, RawStream) or place.gzip:
            return Forward(content, name, opening.pop_all())
        window = Window(place.parts)
        opening.callback(window.close)
        mapped = Mapped(content, window)
        return Forward(mapped, name, opening.pop_all(), known=mapped if mapped.known else None)


class Mapped:
    """A stream in a file: its own tables say beforehand where its grains are, and in the end must have been right."""

    def __init__(self, stream: Stream, window: Window) -> None:
        self.capacity = stream.capacity
        self.read_into = stream.read_into
        self._stream = stream
        self._tables: Sparse | None = None
        with suppress(HostileImage, SourceRefused):  # the stream itself tells what is wrong, and where
            self._tables = Sparse(window, stream.where)

    @property
    def known(self) -> bool:
        return self._tables is not None

    def extents(self) -> Iterator[Extent]:
        return self._tables.extents() if self._tables else iter(())

    def finish(self) -> None:
        self._stream.finish()
        if self._tables is not None and self._tables.places() != self._stream.places:
            fix = "Export the machine again, and compare the file with its manifest."
            raise HostileImage(f"{self._stream.where}: its tables list other grains than are in it", fix=fix)


def _is_stream(place: Packed) -> bool:
    head = bytearray(min(SECTOR_BYTES, place.parts[0].length))
    window = Window(place.parts[:1])
    try:
        window.read_at(0, memoryview(head))
        return header.parse(bytes(head)).is_stream
    except ValueError:
        return False
    finally:
        window.close()


# --- read anywhere ---


class Piece(Protocol):
    """A stretch of a disk that can be read anywhere."""

    capacity: int

    def extents(self) -> Iterator[Extent]: ...

    def read_into(self, offset: int, view: memoryview, /) -> None: ...


class _Flat:
    """Bytes of a file as they are; zeros without a file."""

    def __init__(self, window: Window | None, capacity: int, start: int = 0) -> None:
        self.capacity = capacity
        self._window = window
        self._start = start

    def extents(self) -> Iterator[Extent]:
        if self.capacity:
            yield Extent(0, self.capacity, zero=self._window is None)

    def read_into(self, offset: int, view: memoryview, /) -> None:
        if self._window is None:
            view[:] = bytes(len(view))
        else:
            self._window.read_at(self._start + offset, view)


def _anywhere(place: Packed) -> PackedDisk:
    with ExitStack() as opening:
        window = Window(place.parts)
        opening.callback(window.close)
        head = bytearray(min(64, window.size))
        window.read_at(0, memoryview(head))
        name = _name(place)
        if descriptor.is_descriptor(bytes(head)):
            parts = _described(place, window, name)
            pieces = [_piece(place, part, opening, share=len(parts)) for part in parts]
            files = [place.parts[0].path.with_name(part.name) for part in parts if part.kind != "ZERO"]
        else:
            pieces, files = [Sparse(window, name)], []
        return PackedDisk(place, pieces, opening.pop_all(), files)


def _described(place: Packed, window: Window, name: str) -> tuple[descriptor.Part, ...]:
    """The extents that a descriptor names. Raises SourceRefused for those that cannot be read, HostileImage for names
    that are none of a file beside it."""
    text = bytearray(min(window.size, descriptor.LIMIT_BYTES + 1))
    window.read_at(0, memoryview(text))
    try:
        found = descriptor.parse(bytes(text))
    except ValueError as error:
        raise HostileImage(f"{name}: {error}", fix="Export the machine again.") from error
    if found.has_parent:
        fix = "Export the machine without snapshots, so that each disk is one whole file."
        raise SourceRefused(f"{name} holds only what differs from another disk", fix=fix)
    if len(place.parts) != 1 or place.parts[0].offset or not found.parts:
        why = "it is a descriptor, whose data stands in other files"
        raise SourceRefused(f"{name} holds no data", why=why, fix="Give the files of the disk in one folder.")
    for part in found.parts:
        if part.kind not in descriptor.READ_PARTS or part.sectors > header.CAPACITY_LIMIT_SECTORS:
            known = ", ".join(descriptor.READ_PARTS)
            why = f"one of its extents is {part.kind} with {part.sectors} sectors; {known} are read"
            fix = "Write the disk anew with `qemu-img convert -O vmdk -o subformat=streamOptimized`."
            raise SourceRefused(f"{name} cannot be read", why=why, fix=fix)
        if part.kind != "ZERO" and not _stands_beside(part.name):
            why, fix = "a disk's files stand beside its descriptor", "Export the machine again."
            raise HostileImage(f"{name} names {part.name!r}", why=why, fix=fix)
    if found.sectors > header.CAPACITY_LIMIT_SECTORS:  # their tables take memory: before one of them is opened
        raise HostileImage(f"{name} claims {found.sectors * SECTOR_BYTES} bytes", fix="Export the machine again.")
    return found.parts


def _stands_beside(name: str) -> bool:
    """Whether it is the name of a file in the same folder; one that a terminal would obey is none."""
    return PurePosixPath(name).name == name and name not in {"", ".", ".."} and name.isprintable()


def _piece(place: Packed, part: descriptor.Part, opening: ExitStack, *, share: int) -> Piece:
    """One of `share` pieces, which together keep as many files and tables as a disk of one piece."""
    length = part.sectors * SECTOR_BYTES
    if part.kind == "ZERO":
        return _Flat(None, length)
    path = place.parts[0].path.with_name(part.name)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(path.parent)):
        raise HostileImage(f"{path} is a link that leaves its folder", why="a disk's files stand beside its descriptor")
    start = 0 if part.kind == "SPARSE" else part.offset * SECTOR_BYTES
    size = _size_of(path) if part.kind == "SPARSE" else start + length
    window = Window([Part(path, 0, size)], keep=FILES_OPEN // share)
    opening.callback(window.close)
    if part.kind != "SPARSE":
        return _Flat(window, length, start)
    found = Sparse(window, str(path), tables=max(TABLES_KEPT // share, 4))
    if found.capacity != length:
        raise HostileImage(f"{path} has {found.capacity} bytes", why=f"the disk's descriptor says {length}")
    return found


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        fix = "Bring the file back: it belongs to the disk."
        raise SourceRefused(f"{path} cannot be read", why=error.strerror or str(error), fix=fix) from error


class PackedDisk(ReadOnly):
    """A disk of one piece or several, read anywhere. Clones share the open files; the first one closes them."""

    parallel = True
    knows_holes = True

    def __init__(self, place: Packed, pieces: list[Piece], owned: ExitStack | None, files: list[Path]) -> None:
        self.name = _name(place)
        self._place = place
        self._pieces = pieces
        self._owned = owned
        self._files = files
        self.size = sum(piece.capacity for piece in pieces)
        if self.size > header.CAPACITY_LIMIT_SECTORS * SECTOR_BYTES:
            if owned is not None:
                owned.close()
            raise HostileImage(f"{self.name} claims {self.size} bytes")

    def extents(self) -> Iterator[Extent]:
        return merge(self._extents(), self.size)

    def _extents(self) -> Iterator[Extent]:
        start = 0
        for piece in self._pieces:
            for extent in piece.extents():
                yield Extent(start + extent.offset, extent.length, zero=extent.zero)
            start += piece.capacity

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        return functools.partial(self.read_into, offset, view)

    def read_into(self, offset: int, view: memoryview) -> None:
        start, done = 0, 0
        for piece in self._pieces:
            inside = offset + done - start
            if done < len(view) and 0 <= inside < piece.capacity:
                wanted = view[done : done + piece.capacity - inside]
                piece.read_into(inside, wanted)
                done += len(wanted)
            start += piece.capacity
        if done < len(view):
            raise SourceRefused(f"{self.name} has {self.size} bytes, and is read at {offset + done}")

    def end(self) -> None:
        compare(self._place.parts)

    def clone(self) -> Self:
        return type(self)(self._place, self._pieces, None, self._files)

    def version(self) -> list[object]:
        """Of the files that a descriptor names."""
        try:
            return [list(writers.state(path)) for path in self._files]
        except OSError as error:
            raise of_os(Side.SOURCE, f"{error.filename} cannot be looked at", error) from error

    def close(self) -> None:
        if self._owned is not None:
            self._owned.close()
