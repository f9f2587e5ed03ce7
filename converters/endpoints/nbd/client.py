"""Endpoint on an NBD export over a unix socket; a client of our own.

Several requests are in flight on a connection, each known by its cookie; replies come in any order and are received
straight into the caller's memory. The server is not trusted: a reply that does not fit its request ends the connection.
"""

from __future__ import annotations

import bisect
import itertools
import math
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self, TypeVar
from urllib.parse import parse_qs, unquote

from converters.endpoints.nbd.handshake import BrokenProtocol, Declined, Export, Wire, greet, negotiate, receive, take
from converters.endpoints.nbd.line import Late, Line
from converters.extents import Extent, overlaid
from converters.uris import split
from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.faults import Side, of_os, refused, unavailable
from kubeferry.values import DiskRef
from kubeferry.words import plain

READ, WRITE, DISCONNECT, FLUSH, BLOCK_STATUS, WRITE_ZEROES = 0, 1, 2, 3, 7, 6
FLAG_READ_ONLY, FLAG_SEND_FLUSH, FLAG_WRITE_ZEROES, FLAG_MULTI_CONN = 1 << 1, 1 << 2, 1 << 6, 1 << 8
REQUEST_MAGIC, SIMPLE_MAGIC, CHUNK_MAGIC = 0x25609513, 0x67446698, 0x668E33EF
CHUNK_DONE = 1
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_ERROR = 0, 1, 2, 5, 1 << 15
BASE_ALLOCATION = "base:allocation"
STATE_ZERO = 2
STATE_DIRTY = 1  # in a `qemu:dirty-bitmap:` context
TRANSFER_LIMIT_BYTES = 8 << 20  # of one request; servers must take 32 MiB
STATUS_SPAN_BYTES = 1 << 30
STATUS_LIMIT_BYTES = 4 << 20
TEXT_LIMIT_BYTES = 8192
ANSWER_SECONDS = 60.0  # for a request, and besides for its bytes at SLOWEST
SLOWEST_BYTES = 64 << 10  # a second
FLUSH_SECONDS = 300.0  # what the server has taken, and not yet written

Found = TypeVar("Found")
REQUEST = struct.Struct(">IHHQQI")
SIMPLE = struct.Struct(">IQ")  # after the magic
CHUNK = struct.Struct(">HHQI")  # after the magic


@dataclass(slots=True)
class _Pending:
    """A request whose reply has not fully come. `view` is what a read fills, `missing` what it still lacks, `filled`
    what came of it, in order; `patience` is for how many seconds it is waited for."""

    offset: int
    view: memoryview | None = None
    context: int | None = None
    missing: int = 0
    done: bool = False
    error: str = ""
    status: bytes = b""
    filled: list[tuple[int, int]] = field(default_factory=list)
    patience: float = math.inf

    def fill(self, start: int, stop: int) -> None:
        """Account for bytes that come. Raises BrokenProtocol where they came before: others would be missing, and the
        sum be right."""
        at = bisect.bisect(self.filled, (start, stop))
        before, after = self.filled[at - 1 : at], self.filled[at : at + 1]
        if (before and before[0][1] > start) or (after and after[0][0] < stop):
            raise BrokenProtocol(f"it sent the bytes at {self.offset + start} twice")
        self.filled.insert(at, (start, stop))
        self.missing -= stop - start


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
        self.where = where or path
        self.side = side
        self._name = export
        self._changed = changed
        self._cookies = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.RLock()
        self._socket, self._export = self._connect()
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
            self._socket.farewell(REQUEST.pack(REQUEST_MAGIC, 0, DISCONNECT, 0, 0, 0))
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
        """A server tells of errors at once."""

    def block_status(self, context: str) -> Iterator[tuple[int, int, int]]:
        """Offset, length and flags of each stretch in a metadata context. KeyError when the server lacks it."""
        number = self._export.contexts[context]
        offset = 0
        while offset < self.size:
            span = min(STATUS_SPAN_BYTES, self.size - offset)
            request = self._send(BLOCK_STATUS, offset, span, _Pending(offset, context=number))
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
        requests = []
        for start in range(0, len(view), TRANSFER_LIMIT_BYTES):
            piece = view[start : start + TRANSFER_LIMIT_BYTES]
            pending = _Pending(offset + start, piece, missing=len(piece))
            requests.append(self._send(READ, offset + start, len(piece), pending))

        def finish() -> None:
            for request in requests:
                self._finish(request)

        return finish

    def read_into(self, offset: int, view: memoryview) -> None:
        self.start_read(offset, view)()

    def write(self, offset: int, view: memoryview) -> None:
        for start in range(0, len(view), TRANSFER_LIMIT_BYTES):
            piece = view[start : start + TRANSFER_LIMIT_BYTES]
            self._finish(self._send(WRITE, offset + start, len(piece), _Pending(offset), piece))

    def zero(self, offset: int, length: int) -> None:
        if not self._export.flags & FLAG_WRITE_ZEROES:
            self._write_zeros(offset, length)
            return
        for start in range(offset, offset + length, STATUS_SPAN_BYTES):
            span = min(STATUS_SPAN_BYTES, offset + length - start)
            self._finish(self._send(WRITE_ZEROES, start, span, _Pending(start)))

    def _write_zeros(self, offset: int, length: int) -> None:
        zeros = memoryview(bytes(min(length, 1 << 20)))
        for start in range(0, length, len(zeros)):
            self.write(offset + start, zeros[: length - start])

    def flush(self) -> None:
        if self._export.flags & FLAG_SEND_FLUSH:
            self._finish(self._send(FLUSH, 0, 0, _Pending(0)))

    # --- requests and replies ---

    def _send(
        self, command: int, offset: int, length: int, pending: _Pending, payload: memoryview | None = None
    ) -> _Pending:
        pending.patience = _patience(command, length)
        with self._lock:
            cookie = next(self._cookies)
            self._pending[cookie] = pending
            self._socket.within(pending.patience)
            try:
                self._socket.sendall(REQUEST.pack(REQUEST_MAGIC, 0, command, cookie, offset, length))
                if payload is not None:
                    self._socket.sendall(payload)
            except OSError as error:
                raise self._lost(error) from error
        return pending

    def _finish(self, pending: _Pending) -> None:
        with self._lock:
            self._socket.within(pending.patience)  # from now on: nobody may have waited for it before
            while not pending.done:
                try:
                    self._receive()
                except BrokenProtocol as error:
                    self._refuse(str(error))
                except OSError as error:
                    raise self._lost(error) from error
        if pending.error:
            raise unavailable(
                self.side,
                f"the NBD server at {self.where} failed at offset {pending.offset}",
                why=pending.error,
                fix="Check the storage below the server, then run the same again.",
            )
        if pending.missing:
            self._refuse(f"it left out {pending.missing} bytes of a read at {pending.offset}")

    def _receive(self) -> None:
        """Take one reply, or one chunk of one, from the socket."""
        magic = int.from_bytes(take(self._socket, 4), "big")
        if magic == SIMPLE_MAGIC:
            code, cookie = SIMPLE.unpack(take(self._socket, SIMPLE.size))
            self._simple(self._of(cookie), code)
            del self._pending[cookie]
        elif magic == CHUNK_MAGIC and self._export.structured:
            flags, kind, cookie, length = CHUNK.unpack(take(self._socket, CHUNK.size))
            pending = self._of(cookie)
            if kind == CHUNK_NONE and not flags & CHUNK_DONE:
                raise BrokenProtocol("it sent an empty chunk that ends nothing")
            self._chunk(pending, kind, length)
            if flags & CHUNK_DONE:
                pending.done = True
                del self._pending[cookie]
        else:
            raise BrokenProtocol(f"it sent a reply with the mark {magic:#x}")

    def _of(self, cookie: int) -> _Pending:
        if cookie not in self._pending:
            raise BrokenProtocol("it answered a request that was never made")
        return self._pending[cookie]

    def _simple(self, pending: _Pending, code: int) -> None:
        if code:
            pending.error = f"error {code}"
        elif pending.view is not None:
            if self._export.structured:
                raise BrokenProtocol("it sent a plain reply to a read after agreeing on structured ones")
            receive(self._socket, pending.view)
            pending.missing = 0
        pending.done = True

    def _chunk(self, pending: _Pending, kind: int, length: int) -> None:
        if kind == CHUNK_DATA and 8 < length <= 8 + TRANSFER_LIMIT_BYTES:
            receive(self._socket, self._window(pending, length - 8))
        elif kind == CHUNK_HOLE and length == 12:
            place = take(self._socket, 8)
            hole = int.from_bytes(take(self._socket, 4), "big")
            window = self._window(pending, hole, place)
            window[:] = bytes(len(window))
        elif kind == CHUNK_STATUS and pending.context is not None and 12 <= length <= STATUS_LIMIT_BYTES:
            data = take(self._socket, length)
            told = int.from_bytes(data[:4], "big")
            if told not in self._export.contexts.values() or length % 8 != 4:
                raise BrokenProtocol("it told the allocation in a form that was not asked for")
            if pending.status and told == pending.context:
                raise BrokenProtocol("it told the allocation of a range twice")
            if told == pending.context:  # a reply speaks of every context that was agreed on
                pending.status = data[4:]
        elif kind & CHUNK_ERROR and 6 <= length <= TEXT_LIMIT_BYTES:
            pending.error = _error(take(self._socket, length))
            pending.missing = 0
        elif kind != CHUNK_NONE or length:
            raise BrokenProtocol(f"it sent a chunk of kind {kind} with {length} bytes")

    def _window(self, pending: _Pending, length: int, place: bytes = b"") -> memoryview:
        """The part of a read's memory that a chunk speaks of."""
        start = int.from_bytes(place or take(self._socket, 8), "big") - pending.offset
        if pending.error:
            raise BrokenProtocol("it sent data after the error of the same read")
        if pending.view is None or start < 0 or length > pending.missing or start + length > len(pending.view):
            raise BrokenProtocol("it sent data that was not asked for")
        pending.fill(start, start + length)
        return pending.view[start : start + length]

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


def _patience(command: int, length: int) -> float:
    """For how many seconds a request is waited for."""
    if command == FLUSH:
        return FLUSH_SECONDS
    return ANSWER_SECONDS + (length / SLOWEST_BYTES if command in {READ, WRITE} else 0)


def _error(data: bytes) -> str:
    code, length = struct.unpack(">IH", data[:6])
    said = plain(data[6 : 6 + length].decode("utf-8", "replace")).strip()
    return f"{said} (error {code})" if said else f"error {code}"
