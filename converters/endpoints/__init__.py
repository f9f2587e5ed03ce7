"""The seam to bytes: an opened disk. Which module opens a scheme says the table in `converters.uris`.

A DiskRef says where and what; only this package opens it. Formats are given, never probed: a raw file or device is read
as it is, a socket speaks NBD, what is packed is unpacked by us, a plain qcow2 image is read by its own tables, and
everything else goes through a read-only qemu-nbd; of both the headers are checked first.

    file, nbd/, ebs/, web/, packed/     the schemes; none knows another one
    inline                              bytes that come with the work; empty: none, all of a disk reads as zeros
    memory                              for tests and small tools
    upload                              a stream to CDI's upload proxy
    qcow2                               a format, no scheme: an image as a file has it
    forward, read_only, vmdk/           what schemes are made from: given once and in order; never written; a format
    page_cache, write_behind            ... what the host remembers of a file or device; what is on its way to the disk
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from converters.extents import DISK_LIMIT_BYTES, Extent
from converters.uris import MODULES, SERVED, SLICED, invalid, scheme_of
from kubeferry.errors import HostileImage
from kubeferry.faults import Side, refused
from kubeferry.images import nodes
from kubeferry.uris import packed as parts_of
from kubeferry.values import DiskRef


class Endpoint(Protocol):
    """An opened disk. Offsets and lengths are bytes, inside `size`. Raises KubeferryError of its side only.

    `parallel` says that `clone` gives an endpoint of its own to each worker, and that reads may come in any order;
    without it one worker reads forward only, and may leave ranges out. `knows_holes` says that extents are found out,
    not assumed to be all data.
    """

    size: int
    parallel: bool
    knows_holes: bool

    def extents(self) -> Iterator[Extent]:
        """The whole disk in order: data, zeros, and, where the reference names what changed, what is the same."""

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        """Ask for bytes ahead; `view` is filled when the function that is returned has been called."""

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes at `offset`."""

    def write(self, offset: int, view: memoryview) -> None:
        """Write all of `view`; durable after `flush`."""

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, freeing its space where that is possible; durable after `flush`."""

    def end(self) -> None:
        """Nothing more is read, and what was read is about to be believed: raises where the source as a whole turns out
        not to be what it said (it ends too early, its digest is another). Most have nothing to say here."""

    def flush(self) -> None:
        """Return when every write that was done before, through any clone, is durable."""

    def clone(self) -> Self:
        """The same disk for another thread. Close it."""

    def close(self) -> None:
        """Let go of it. Without `flush` nothing is promised."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@runtime_checkable
class Metered(Protocol):
    """An endpoint whose server asks money for calls: how many of each were made so far, by the server's names."""

    @property
    def calls(self) -> dict[str, int]: ...


@runtime_checkable
class Summed(Protocol):
    """An endpoint of one stream whose server has a digest of all of it: `ALGORITHM:HEX` of what came, after `end`."""

    stream_digest: str


@runtime_checkable
class Versioned(Protocol):
    """An endpoint that knows more of its bytes than the files that its reference names: as long as `version` is the
    same, so are they."""

    def version(self) -> list[object]: ...


@runtime_checkable
class Cached(Protocol):
    """An endpoint whose host may show bytes that its storage has lost. `stored` is the same disk, read from the
    storage, with all that the host had of it dropped; close it."""

    def stored(self) -> Endpoint: ...


@runtime_checkable
class Noted(Protocol):
    """An endpoint that may be told by notes what changed which lie in the disk's own image, and go where that goes.
    `noted`: it is. Reads come in any order."""

    noted: bool


class Stream(Protocol):
    """Where a disk goes once, in order. All methods raise KubeferryError only."""

    def data(self, view: memoryview) -> None:
        """The next bytes."""

    def zeros(self, length: int) -> None:
        """The next bytes are so many zeros."""

    def finish(self) -> None:
        """That was all; return when it was taken."""


@contextlib.contextmanager
def open_source(ref: DiskRef, *, work: Path | None = None) -> Iterator[Endpoint]:
    """A disk to read, whatever its format and chain. `work` is a folder for sockets.

    Raises SourceRefused when it is not there or not what `ref` describes, HostileImage when its header or its server
    names files or sizes that it must not name, SourceUnavailable when its server does not answer.
    """
    with _opened(ref, work) as endpoint:
        if not 0 <= endpoint.size <= DISK_LIMIT_BYTES:  # memory and files are made by it
            why = f"no disk of more than {DISK_LIMIT_BYTES >> 40} TiB is read"
            raise HostileImage(f"the source claims {endpoint.size} bytes", why=why, fix="Find out who answers there.")
        if ref.size_bytes is not None and ref.size_bytes != endpoint.size:
            raise refused(
                Side.SOURCE,
                f"{ref.uri} has {endpoint.size} bytes",
                why=f"it was described with {ref.size_bytes} bytes",
                fix="Discover the source again: the disk was changed.",
            )
        yield endpoint


def _opened(ref: DiskRef, work: Path | None) -> AbstractContextManager[Endpoint]:
    served = scheme_of(ref.uri) in SERVED and scheme_of(ref.uri) != SLICED
    if ref.format == "raw" and ref.backing is None:
        return _open(ref, Side.SOURCE, work=work)
    if served:
        raise invalid(ref.uri, "what a server or a stream gives is raw, without a chain", "Give the format raw.")
    if ref.format not in nodes.FORMATS:
        raise refused(
            Side.SOURCE,
            f"{ref.uri} has the format {ref.format!r}{' with a backing file' if ref.backing else ''}",
            why=f"raw, {', '.join(sorted(nodes.FORMATS))} are read; only qcow2 has backing files",
            fix="Correct the format, or convert the image with `qemu-img convert`.",
        )
    return _image(ref, work)


@contextlib.contextmanager
def _image(ref: DiskRef, work: Path | None) -> Iterator[Endpoint]:
    """A plain image from its file, or from the part of one in which it lies; any other through QEMU."""
    from converters.endpoints.file import open_endpoint
    from converters.endpoints.packed.parts import compare
    from converters.endpoints.packed.slice import Slice
    from converters.endpoints.qcow2 import Bytes, plain

    place = parts_of(ref.uri)

    def opened(file: DiskRef) -> Bytes:
        return Slice(place.parts) if place else open_endpoint(file, Side.SOURCE)

    with plain(ref, opened) as found:
        if found is not None:
            yield found
            return
    from converters.endpoints.nbd.qemu import served

    with served(ref, work=work) as endpoint:
        if place is not None:
            endpoint.ended = functools.partial(compare, place.parts)
        yield endpoint


def open_target(ref: DiskRef, *, direct: bool = False) -> Endpoint:
    """A disk to write: a raw file or device that is there, or an NBD export. `direct` reads past the page cache.

    Raises TargetRefused when it is not there, may not be written or is not raw.
    """
    if ref.format != "raw" or ref.backing is not None:
        raise refused(Side.TARGET, f"{ref.uri} is not raw", why="disks are written raw", fix="Use the format raw.")
    return _open(ref, Side.TARGET, direct=direct)


def open_stream(url: str) -> AbstractContextManager[Stream]:
    """CDI's upload proxy at an address, let in and ready for a disk.

    Raises TargetBusy where it takes nothing yet, TargetRefused, TargetUnavailable; InputInvalid without a token.
    """
    from converters.endpoints.upload import open_upload  # only this needs TLS

    return open_upload(url)


def _open(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Endpoint:
    module = importlib.import_module(MODULES[scheme_of(ref.uri)])
    opened: Endpoint = module.open_endpoint(ref, side, direct=direct, work=work)
    return opened
