"""A plain qcow2 image, read straight from its file: no program is started for it, and no byte goes through a socket."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, Self

from converters.endpoints.read_only import ReadOnly
from converters.extents import Extent
from converters.uris import LOCAL, SLICED, files_of, scheme_of
from kubeferry.errors import SourceUnavailable
from kubeferry.faults import Side, of_os
from kubeferry.images import nodes, qcow2, whole, writers
from kubeferry.images.clusters import Clusters, CutOff, NotPlain, Run
from kubeferry.outside import stopping
from kubeferry.values import DiskRef


class Bytes(Protocol):
    """The file that an image is in; `converters.endpoints.file.File` is one."""

    size: int

    def allocation(self, start: int, stop: int, /) -> Iterator[Extent]:
        """Where it has data in [start, stop), and where a hole."""

    def start_read(self, offset: int, view: memoryview, /) -> Callable[[], None]:
        """Ask for bytes ahead; they are there when what is returned has been called."""

    def read_into(self, offset: int, view: memoryview, /) -> None:
        """Fill `view`."""

    def end(self) -> None:
        """Nothing more is read: raises where the file is not what was said of it."""

    def clone(self) -> Self: ...

    def close(self) -> None: ...


@contextlib.contextmanager
def plain(ref: DiskRef, open_file: Callable[[DiskRef], Bytes]) -> Iterator[Image | None]:
    """The image as an endpoint; None where QEMU has to read it, or to say why it cannot be read now. While it is open
    no QEMU opens it to write. `open_file` opens the file of a raw reference.

    Raises what `nodes.check` raises; SourceRefused where its file does not hold all of it.
    """
    with contextlib.ExitStack() as opened:
        nodes.check(ref)
        ours = ref.format == "qcow2" and not ref.backing and not ref.changed and scheme_of(ref.uri) in (*LOCAL, SLICED)
        yield _opened(ref, open_file, opened) if ours else None


def _opened(ref: DiskRef, open_file: Callable[[DiskRef], Bytes], opened: contextlib.ExitStack) -> Image | None:
    path = files_of(ref.uri)[0]
    try:
        if not opened.enter_context(writers.read_by_us(path)):
            return None
    except OSError as error:
        raise of_os(Side.SOURCE, f"{path} cannot be read", error) from error
    with contextlib.ExitStack() as needed:
        file = needed.enter_context(contextlib.closing(open_file(DiskRef(uri=ref.uri))))

        def read(offset: int, length: int) -> bytes:
            found = bytearray(length)
            file.read_into(offset, memoryview(found))
            return bytes(found)

        try:
            header = qcow2.parse(read(0, min(qcow2.READ_BYTES, file.size)))
            clusters = Clusters(header, file.size, read, stopping.check)
        except (ValueError, NotPlain):
            opened.close()
            return None
        except CutOff as error:
            raise whole.refusal(path, error) from error
        opened.push(needed.pop_all())
        return Image(str(path), file, clusters)


class Image(ReadOnly):
    """The disk in an image whose tables are known to be in order."""

    parallel = True
    knows_holes = True

    def __init__(self, name: str, file: Bytes, clusters: Clusters) -> None:
        self.name = name
        self.size = clusters.size
        self._file = file
        self._clusters = clusters

    def extents(self) -> Iterator[Extent]:
        """What has no cluster reads as zeros, and so does a hole of the file: an image whose tables were made ahead has
        a cluster for every byte of the disk."""
        for run in self._runs(0, self.size):
            if run.place is None:
                yield Extent(run.offset, run.length, zero=True)
                continue
            ahead = run.offset - run.place
            stop = min(run.place + run.length, self._file.size)
            for one in self._file.allocation(run.place, stop):
                yield Extent(one.offset + ahead, one.length, one.zero)
            if stop < run.place + run.length:  # the last cluster may end after the file does
                yield Extent(stop + ahead, run.place + run.length - stop, zero=True)

    def _runs(self, start: int, stop: int) -> Iterator[Run]:
        try:
            yield from self._clusters.runs(start, stop, stopping.check)
        except (CutOff, NotPlain) as error:
            raise SourceUnavailable(
                f"{self.name} is another image than it was when it was opened",
                why="its tables were in order then",
                fix="Stop what writes to it, then run the same again.",
            ) from error

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        waiting = []
        for run in self._runs(offset, offset + len(view)):
            piece = view[run.offset - offset : run.offset - offset + run.length]
            there = 0 if run.place is None else max(0, min(len(piece), self._file.size - run.place))
            if there and run.place is not None:
                waiting.append(self._file.start_read(run.place, piece[:there]))
            piece[there:] = bytes(len(piece) - there)

        def finish() -> None:
            for one in waiting:
                one()

        return finish

    def read_into(self, offset: int, view: memoryview) -> None:
        self.start_read(offset, view)()

    def end(self) -> None:
        self._file.end()

    def clone(self) -> Self:
        return type(self)(self.name, self._file.clone(), self._clusters)

    def close(self) -> None:
        self._file.close()
