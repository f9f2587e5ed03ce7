"""Endpoint on an NBD export over a unix socket; a client of our own.

What is read or written goes in pieces, and those of one call are under way together (`in_flight`). Where the server has
blocks, whole ones are asked for: what else lies in the first and the last is read, and written as it was. It is not
trusted: every length is bounded, and every answer has its time.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, Self, TypeVar
from urllib.parse import parse_qs, unquote

from converters.endpoints.nbd.handshake import BrokenProtocol, Declined, Export, Wire, greet, negotiate
from converters.endpoints.nbd.in_flight import BLOCK_STATUS, FLUSH, READ, WRITE, WRITE_ZEROES, InFlight, Request
from converters.endpoints.nbd.line import Late, Line
from converters.extents import Extent, overlaid
from converters.uris import split
from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.faults import Side, of_os, refused, unavailable
from kubeferry.values import DiskRef

FLAG_READ_ONLY, FLAG_SEND_FLUSH, FLAG_WRITE_ZEROES, FLAG_MULTI_CONN = 1 << 1, 1 << 2, 1 << 6, 1 << 8
BASE_ALLOCATION = "base:allocation"
STATE_ZERO = 2
STATE_DIRTY = 1  # in a `qemu:dirty-bitmap:` context
# Of one request. qemu-nbd takes memory for each: if it is 1 MiB, its pages are mapped and cleared anew every time, and
# that is half of its processor's time (`python -m bench.network` has that of the server in its last column).
PIECE_BYTES = 256 << 10
STATUS_SPAN_BYTES = 1 << 30
ANSWER_SECONDS = 60.0  # for a request, and besides for its bytes at SLOWEST
SLOWEST_BYTES = 64 << 10  # a second
FLUSH_SECONDS = 300.0  # what the server has taken, and not yet written

Found = TypeVar("Found")


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> Nbd:
    """Open `nbd+unix:///EXPORT?socket=PATH`. `direct` has no meaning here: the server decides about its cache."""
    del direct, work
    parts = split(ref.uri)
    sockets = parse_qs(parts.query).get("socket", [])
    if len(sockets) != 1 or parts.netloc:
        fix = "Write nbd+unix:///EXPORT?socket=/full/path (an empty EXPORT is the default one)."
        raise InputInvalid("a disk cannot be opened", [Problem(ref.uri, "it does not name one socket", fix)])
    return Nbd(sockets[0], unquote(parts.path.removeprefix("/")), side, ref.changed)


class Nbd:
    """One connection to an export. `changed` is the metadata context of a dirty bitmap: what it does not mark is the
    same as in the round before; `where` is the server's place in words for a person."""

    def __init__(self, path: str, export: str, side: Side, changed: str | None = None, *, where: str = "") -> None:
        self.path = path
        self.ended: Callable[[], None] = lambda: None
        self.where = where or path
        self.side = side
        self._name = export
        self._changed = changed
        self.noted = changed is not None
        self._socket, self._export = self._connect()
        self._in_flight = InFlight(self._socket, self._export)
        self.size = self._export.size
        self.parallel = bool(self._export.flags & FLAG_MULTI_CONN)
        self.knows_holes = BASE_ALLOCATION in self._export.contexts

    def _connect(self) -> tuple[Wire, Export]:
        wire = self._asked(self._dial)
        try:
            contexts = (BASE_ALLOCATION, *([self._changed] if self._changed else []))
            export = self._asked(lambda: negotiate(wire, self._name, contexts))
            self._check(export)
        except BaseException:
            wire.close()
            raise
        return wire, export

    def _dial(self) -> Wire:
        """A connection on which both have greeted. Raises OSError, BrokenProtocol."""
        line = Line()
        line.within(ANSWER_SECONDS)
        try:
            line.connect(self.path)
            greet(line)
        except BaseException:
            line.close()
            raise
        return line

    def _asked(self, step: Callable[[], Found]) -> Found:
        """A step of the connection, its errors in words."""
        try:
            return step()
        except Declined as no:
            raise refused(
                self.side,
                f"the NBD server at {self.where} does not give the export {self._name!r}",
                why=str(no),
                fix="Check the export's name and the server's settings.",
            ) from no
        except BrokenProtocol as error:
            self._refuse(str(error))
        except OSError as error:
            raise self._lost(error) from error

    def _check(self, export: Export) -> None:
        if self.side is Side.TARGET and export.flags & FLAG_READ_ONLY:
            fix = "Start the server so that the export may be written."
            raise refused(self.side, f"the NBD export at {self.where} is read-only", fix=fix)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def clone(self) -> Self:
        return self._twin(type(self)(self.path, self._name, self.side, self._changed, where=self.where))

    def _twin(self, made: Self) -> Self:
        """Another connection to the same disk: a flush on one of them counts for all, as the server has said."""
        if made._export != self._export:
            made.close()
            self._refuse("it gives another disk to another connection")
        return made

    def close(self) -> None:
        try:
            self._in_flight.leave()
        except OSError:
            pass  # it is gone already or takes nothing more, which is what a disconnect asks for
        finally:
            self._socket.close()

    # --- the seam ---

    def extents(self) -> Iterator[Extent]:
        allocation = self._allocation()
        if self._changed is None or self._changed not in self._export.contexts:  # then anything may have changed
            return allocation
        clean = (
            Extent(offset, length, same=not flags & STATE_DIRTY)
            for offset, length, flags in self.block_status(self._changed)
        )
        return overlaid(allocation, clean)

    def _allocation(self) -> Iterator[Extent]:
        if not self.knows_holes:
            yield from [Extent(0, self.size)] if self.size else []
            return
        for offset, length, flags in self.block_status(BASE_ALLOCATION):
            yield Extent(offset, length, zero=bool(flags & STATE_ZERO))

    def end(self) -> None:
        """A server tells of errors at once; `ended` is for who knows more of what it serves."""
        self.ended()

    def block_status(self, context: str) -> Iterator[tuple[int, int, int]]:
        """Offset, length and flags of each stretch in a metadata context. KeyError when the server lacks it."""
        number = self._export.contexts[context]
        offset = 0
        while offset < self.size:
            span = min(STATUS_SPAN_BYTES, self.size - offset)
            request = self._ask(Request(BLOCK_STATUS, offset, span, context=number))
            self._finish(request)
            if not request.status:
                self._refuse("it told nothing about the allocation of a range")
            for told, flags in struct.iter_unpack(">II", request.status):
                length = min(told, self.size - offset)
                if not told:
                    self._refuse("it told of a range of no bytes")
                if length:
                    yield offset, length, flags
                offset += length

    def start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        start, stop = self._around(offset, len(view))
        if stop - start == len(view):
            return self._start_read(offset, view)
        whole = memoryview(bytearray(stop - start))
        read = self._start_read(start, whole)

        def finish() -> None:
            read()
            view[:] = whole[offset - start : offset - start + len(view)]

        return finish

    def _start_read(self, offset: int, view: memoryview) -> Callable[[], None]:
        pieces = self._pieces(view)
        requests = [self._ask(Request(READ, offset + start, len(piece), view=piece)) for start, piece in pieces]
        return lambda: self._finish(*requests)

    def read_into(self, offset: int, view: memoryview) -> None:
        self.start_read(offset, view)()

    def write(self, offset: int, view: memoryview) -> None:
        start, stop = self._around(offset, len(view))
        if stop - start != len(view):
            whole = memoryview(bytearray(stop - start))
            self.read_into(start, whole)
            whole[offset - start : offset - start + len(view)] = view
            offset, view = start, whole
        pieces = self._pieces(view)
        self._finish(*[self._ask(Request(WRITE, offset + start, len(piece)), piece) for start, piece in pieces])

    def zero(self, offset: int, length: int) -> None:
        first, last = self._around(offset, 0)[1], self._around(offset + length, 0)[0]
        if not self._export.flags & FLAG_WRITE_ZEROES or first >= last:
            self._write_zeros(offset, length)
            return
        self._write_zeros(offset, first - offset)
        for start in range(first, last, STATUS_SPAN_BYTES):
            span = min(STATUS_SPAN_BYTES, last - start)
            self._finish(self._ask(Request(WRITE_ZEROES, start, span)))
        self._write_zeros(last, offset + length - last)

    def _write_zeros(self, offset: int, length: int) -> None:
        zeros = memoryview(bytes(min(length, 1 << 20)))
        for start in range(0, length, 1 << 20):
            self.write(offset + start, zeros[: length - start])

    def _around(self, offset: int, length: int) -> tuple[int, int]:
        """A range of the disk from where its first block begins to where its last one ends."""
        least = self._export.least
        return offset - offset % least, min(-(-(offset + length) // least) * least, max(self.size, offset + length))

    def _pieces(self, view: memoryview) -> Iterator[tuple[int, memoryview]]:
        step = min(PIECE_BYTES, self._export.most or PIECE_BYTES)
        return ((start, view[start : start + step]) for start in range(0, len(view), step))

    def flush(self) -> None:
        if self._export.flags & FLAG_SEND_FLUSH:
            self._finish(self._ask(Request(FLUSH, 0, 0)))

    # --- requests ---

    def _ask(self, request: Request, payload: memoryview | None = None) -> Request:
        request.patience = _patience(request)
        return self._asked(lambda: self._in_flight.ask(request, payload))

    def _finish(self, *requests: Request) -> None:
        """Wait for all of them, also behind one that failed: what came later would fill memory that is used again."""
        for request in requests:
            self._asked(functools.partial(self._in_flight.wait, request))
        for request in requests:
            if request.error:
                raise unavailable(
                    self.side,
                    f"the NBD server at {self.where} failed at offset {request.offset}",
                    why=request.error,
                    fix="Check the storage below the server, then run the same again.",
                )
            if request.missing:
                self._refuse(f"it left out {request.missing} bytes of a read at {request.offset}")

    def _lost(self, error: OSError) -> KubeferryError:
        if isinstance(error, Late):
            what = f"the NBD server at {self.where} did not answer in time"
            why = "a request had no answer, or none that ended"
            return unavailable(self.side, what, why=why, fix="Check the server, then run the same again.")
        if error.errno is None:
            why = str(error)
            what = f"the NBD server at {self.where} is gone"
            return unavailable(self.side, what, why=why, fix="Check the server, then run the same again.")
        return of_os(self.side, f"the NBD server at {self.where} cannot be reached", error)

    def _refuse(self, why: str) -> NoReturn:
        fix = "Check that this socket belongs to an NBD server that can be trusted."
        raise refused(self.side, f"the NBD server at {self.where} breaks the protocol", why=why, fix=fix)


def _patience(request: Request) -> float:
    """For how many seconds a request is waited for."""
    if request.command == FLUSH:
        return FLUSH_SECONDS
    return ANSWER_SECONDS + (request.length / SLOWEST_BYTES if request.command in {READ, WRITE} else 0)
