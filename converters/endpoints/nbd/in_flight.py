"""What was asked of a server on one connection, until it is answered.

    Request ── ask() ──> header and bytes in one go ──> the server
            <─ wait() ── replies in any order, in chunks, each for the request that it names

What is read is received straight into the caller's memory. The server is not trusted: a reply that does not fit its
request ends the connection, and so does an answer that does not come; nothing that comes later is taken for another.
"""

from __future__ import annotations

import bisect
import itertools
import math
import struct
import threading
from dataclasses import dataclass, field

from converters.endpoints.nbd.handshake import BrokenProtocol, Export, Wire, receive, take
from kubeferry.words import plain

READ, WRITE, DISCONNECT, FLUSH, BLOCK_STATUS, WRITE_ZEROES = 0, 1, 2, 3, 7, 6
REQUEST_MAGIC, SIMPLE_MAGIC, CHUNK_MAGIC = 0x25609513, 0x67446698, 0x668E33EF
CHUNK_DONE = 1
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_ERROR = 0, 1, 2, 5, 1 << 15
STATUS_LIMIT_BYTES = 4 << 20
TEXT_LIMIT_BYTES = 8192
MOST_UNDER_WAY = 64  # so many requests any socket holds, also of a server that takes none while it answers

REQUEST = struct.Struct(">IHHQQI")
SIMPLE = struct.Struct(">IIQ")  # all of a plain reply, and as many bytes as any reply has at least
CHUNK = struct.Struct(">IHHQ")  # and 4 bytes more, its length


@dataclass(slots=True)
class Request:
    """What is asked for, and what came of it. `view` is what a read fills, `context` what a status is of; `missing` is
    what a read still lacks, `filled` what came of it, in order; `patience` is for how many seconds it is waited for."""

    command: int
    offset: int
    length: int
    view: memoryview | None = None
    context: int | None = None
    patience: float = math.inf
    missing: int = field(init=False)
    done: bool = False
    error: str = ""
    status: bytes = b""
    filled: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.missing = 0 if self.view is None else len(self.view)

    def fill(self, start: int, stop: int) -> None:
        """Account for bytes that come. Raises BrokenProtocol where they came before: others would be missing, and the
        sum be right."""
        at = bisect.bisect(self.filled, (start, stop))
        before, after = self.filled[at - 1 : at], self.filled[at : at + 1]
        if (before and before[0][1] > start) or (after and after[0][0] < stop):
            raise BrokenProtocol(f"it sent the bytes at {self.offset + start} twice")
        self.filled.insert(at, (start, stop))
        self.missing -= stop - start


class InFlight:
    """The requests under way on a connection. Raises OSError and BrokenProtocol, and ConnectionError ever after: it is
    not known then where in a reply the connection stands."""

    def __init__(self, wire: Wire, export: Export) -> None:
        self._wire = wire
        self._export = export
        self._cookies = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._lock = threading.RLock()
        self._whole = True

    def ask(self, request: Request, payload: memoryview | None = None) -> Request:
        """Send a request. One that carries bytes first waits for what is being read: a server that answers in turn
        takes no bytes while we take none. Of many each waits for an earlier one."""
        with self._lock:
            while len(self._requests) >= MOST_UNDER_WAY:
                self.wait(next(iter(self._requests.values())))
            for earlier in [one for one in self._requests.values() if payload is not None and one.view is not None]:
                self.wait(earlier)
            cookie = next(self._cookies)
            self._requests[cookie] = request
            head = REQUEST.pack(REQUEST_MAGIC, 0, request.command, cookie, request.offset, request.length)
            self._begin(request)
            self._wire.sendall(head, *([] if payload is None else [payload]))
            self._whole = True
        return request

    def wait(self, request: Request) -> None:
        """Return when it is answered, with success or not."""
        with self._lock:
            self._begin(request)
            while not request.done:
                self._receive()
            self._whole = True

    def _begin(self, request: Request) -> None:
        """From here on the connection is in the midst of something, which has a deadline."""
        if not self._whole:
            raise ConnectionError("the connection broke before")
        self._whole = False
        self._wire.within(request.patience)  # from now on: nobody may have waited for it before

    def leave(self) -> None:
        """Say that we go; nothing is waited for. Raises OSError."""
        self._wire.farewell(REQUEST.pack(REQUEST_MAGIC, 0, DISCONNECT, 0, 0, 0))

    def _receive(self) -> None:
        """Take one reply, or one chunk of one."""
        start = take(self._wire, SIMPLE.size)
        magic = int.from_bytes(start[:4], "big")
        if magic == SIMPLE_MAGIC:
            _, code, cookie = SIMPLE.unpack(start)
            self._simple(self._of(cookie), code)
            del self._requests[cookie]
        elif magic == CHUNK_MAGIC and self._export.structured:
            _, flags, kind, cookie = CHUNK.unpack(start)
            request = self._of(cookie)
            if kind == CHUNK_NONE and not flags & CHUNK_DONE:
                raise BrokenProtocol("it sent an empty chunk that ends nothing")
            self._chunk(request, kind)
            if flags & CHUNK_DONE:
                request.done = True
                del self._requests[cookie]
        else:
            raise BrokenProtocol(f"it sent a reply with the mark {magic:#x}")

    def _of(self, cookie: int) -> Request:
        if cookie not in self._requests:
            raise BrokenProtocol("it answered a request that was never made")
        return self._requests[cookie]

    def _simple(self, request: Request, code: int) -> None:
        if code:
            request.error = f"error {code}"
        elif request.view is not None:
            if self._export.structured:
                raise BrokenProtocol("it sent a plain reply to a read after agreeing on structured ones")
            receive(self._wire, request.view)
            request.missing = 0
        request.done = True

    def _chunk(self, request: Request, kind: int) -> None:
        length = int.from_bytes(take(self._wire, 4), "big")
        if kind == CHUNK_DATA and 8 < length <= 8 + request.length:
            receive(self._wire, self._window(request, length - 8, take(self._wire, 8)))
        elif kind == CHUNK_HOLE and length == 12:
            place = take(self._wire, 8)
            hole = int.from_bytes(take(self._wire, 4), "big")
            window = self._window(request, hole, place)
            window[:] = bytes(len(window))
        elif kind == CHUNK_STATUS and request.context is not None and 12 <= length <= STATUS_LIMIT_BYTES:
            self._status(request, take(self._wire, length))
        elif kind & CHUNK_ERROR and 6 <= length <= TEXT_LIMIT_BYTES:
            request.error = _error(take(self._wire, length))
            request.missing = 0
        elif kind != CHUNK_NONE or length:
            raise BrokenProtocol(f"it sent a chunk of kind {kind} with {length} bytes")

    def _status(self, request: Request, data: bytes) -> None:
        told = int.from_bytes(data[:4], "big")
        if told not in self._export.contexts.values() or len(data) % 8 != 4:
            raise BrokenProtocol("it told the allocation in a form that was not asked for")
        if request.status and told == request.context:
            raise BrokenProtocol("it told the allocation of a range twice")
        if told == request.context:  # a reply speaks of every context that was agreed on
            request.status = data[4:]

    def _window(self, request: Request, length: int, place: bytes) -> memoryview:
        """The part of a read's memory that a chunk speaks of."""
        start = int.from_bytes(place, "big") - request.offset
        if request.error:
            raise BrokenProtocol("it sent data after the error of the same read")
        if request.view is None or start < 0 or length > request.missing or start + length > len(request.view):
            raise BrokenProtocol("it sent data that was not asked for")
        request.fill(start, start + length)
        return request.view[start : start + length]


def _error(data: bytes) -> str:
    code, length = struct.unpack(">IH", data[:6])
    said = plain(data[6 : 6 + length].decode("utf-8", "replace")).strip()
    return f"{said} (error {code})" if said else f"error {code}"
