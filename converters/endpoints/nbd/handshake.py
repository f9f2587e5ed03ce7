"""The first half of an NBD connection: fixed newstyle negotiation, structured replies, metadata contexts.

    server greeting, our flags
    STARTTLS            ->  ack, and TLS from here on; anything else ends it: there is no going on without
    STRUCTURED_REPLY    ->  ack, or "unknown": then plain replies and no metadata contexts
    SET_META_CONTEXT    ->  a number for each context that the server has
    GO                  ->  size and flags of the export; from here on commands

The server is not trusted: every length is bounded before memory is reserved for it. Numbers are big-endian.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import Protocol

from kubeferry.words import plain

INIT_MAGIC = b"NBDMAGICIHAVEOPT"
OPTION_MAGIC = b"IHAVEOPT"
REPLY_MAGIC = 0x0003E889045565A9
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
OPT_STARTTLS, OPT_GO, OPT_STRUCTURED_REPLY, OPT_SET_META_CONTEXT = 5, 7, 8, 10
REP_ACK, REP_INFO, REP_META_CONTEXT = 1, 3, 4
REP_ERROR = 1 << 31
INFO_EXPORT, INFO_BLOCK_SIZE = 0, 3
REPLY_LIMIT_BYTES = 64 << 10
REPLY_LIMIT_COUNT = 64
NAME_LIMIT_BYTES = 4096
SIZE_LIMIT_BYTES = 64 << 40
LEAST_LIMIT_BYTES = 64 << 10  # more than this NBD allows no server to ask for

OPTION = struct.Struct(">8sII")
REPLY = struct.Struct(">QIII")

ERRORS = {
    1: "the server does not know this option",
    2: "the server's policy forbids it",
    3: "the server found the request invalid",
    5: "the server asks for TLS: nbds: is the scheme of that",
    6: "the server has no such export",
}


class BrokenProtocol(Exception):
    """The server said something that NBD does not allow, or that is too large."""


class Declined(Exception):
    """The server answered a question with no."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was agreed. `contexts` maps a metadata context's name to the server's number for it. What is read or written
    begins and ends at multiples of `least` bytes, and has at most `most`; None: no limit was told."""

    size: int
    flags: int
    structured: bool
    contexts: dict[str, int] = field(default_factory=dict)
    least: int = 1
    most: int | None = None


class Wire(Protocol):
    """What a connection is for us: a socket, or TLS on one, with the deadlines and errors of `line.Line`."""

    def within(self, seconds: float, /) -> None: ...

    def recv_into(self, buffer: memoryview, nbytes: int, flags: int, /) -> int: ...

    def sendall(self, *parts: bytes | memoryview) -> None: ...

    def farewell(self, data: bytes, /) -> None: ...

    def close(self) -> None: ...


def receive(sock: Wire, view: memoryview) -> None:
    """Fill `view`. Raises ConnectionError when the server hangs up, BlockingIOError when it is silent for too long."""
    done = 0
    while done < len(view):
        count = sock.recv_into(view[done:], len(view) - done, socket.MSG_WAITALL)
        if not count:
            raise ConnectionError("the server hung up")
        done += count


def take(sock: Wire, length: int) -> bytes:
    """The next `length` bytes; for small, bounded pieces."""
    piece = bytearray(length)
    receive(sock, memoryview(piece))
    return bytes(piece)


def greet(sock: Wire) -> None:
    """The first words of both. Raises BrokenProtocol, OSError."""
    if take(sock, 16) != INIT_MAGIC:
        raise BrokenProtocol("it does not greet like an NBD server of the new style")
    (offered,) = struct.unpack(">H", take(sock, 2))
    if not offered & FIXED_NEWSTYLE:
        raise BrokenProtocol("it does not speak the fixed new style")
    sock.sendall(struct.pack(">I", offered & (FIXED_NEWSTYLE | NO_ZEROES)))


def ask_for_tls(sock: Wire) -> None:
    """The next byte of both is TLS. Raises Declined where the server has none, BrokenProtocol, OSError.

    Nothing that was said before counts: whoever sits between could have said it. What such a one sends ahead of the
    handshake is taken for a part of it, and fails there.
    """
    if _ask(sock, OPT_STARTTLS, b""):
        raise BrokenProtocol("it had more to say about TLS than yes")


def negotiate(sock: Wire, name: str, contexts: tuple[str, ...]) -> Export:
    """Agree on an export, after the greeting. Raises BrokenProtocol, Declined, OSError."""
    if len(name.encode()) > NAME_LIMIT_BYTES:
        raise Declined("the export's name is too long")
    structured = _supports(sock, OPT_STRUCTURED_REPLY)
    known = _contexts(sock, name, contexts) if structured and contexts else {}
    size, flags, least, most = _go(sock, name)
    return Export(size, flags, structured, known, least, most)


def _supports(sock: Wire, option: int) -> bool:
    try:
        _ask(sock, option, b"")
    except Declined:
        return False
    return True


def _contexts(sock: Wire, name: str, contexts: tuple[str, ...]) -> dict[str, int]:
    body = _string(name) + struct.pack(">I", len(contexts)) + b"".join(map(_string, contexts))
    try:
        answers = _ask(sock, OPT_SET_META_CONTEXT, body)
    except Declined:
        return {}
    found = {}
    for kind, data in answers:
        if kind == REP_META_CONTEXT and len(data) > 4:
            found[data[4:].decode("utf-8", "replace")] = int.from_bytes(data[:4], "big")
    return {context: found[context] for context in contexts if context in found}


def _go(sock: Wire, name: str) -> tuple[int, int, int, int | None]:
    told = {
        int.from_bytes(data[:2], "big"): data[2:]
        for kind, data in _ask(sock, OPT_GO, _string(name) + struct.pack(">HH", 1, INFO_BLOCK_SIZE))
        if kind == REP_INFO
    }
    if len(told.get(INFO_EXPORT, b"")) != 10:
        raise BrokenProtocol("it did not say how large the export is")
    size, flags = struct.unpack(">QH", told[INFO_EXPORT])
    if size > SIZE_LIMIT_BYTES:
        raise BrokenProtocol(f"it offers an export of {size} bytes")
    return size, flags, *_blocks(told.get(INFO_BLOCK_SIZE))


def _blocks(told: bytes | None) -> tuple[int, int | None]:
    """The least and the most that a request may read or write."""
    if told is None:
        return 1, None
    if len(told) != 12:
        raise BrokenProtocol("it did not say in full how large its blocks are")
    least, _, most = struct.unpack(">III", told)
    if not 1 <= least <= LEAST_LIMIT_BYTES or least & (least - 1) or most < least:
        raise BrokenProtocol(f"it takes requests of {least} bytes at least and {most} at most")
    return least, most - most % least


def _string(text: str) -> bytes:
    return struct.pack(">I", len(text.encode())) + text.encode()


def _ask(sock: Wire, option: int, body: bytes) -> list[tuple[int, bytes]]:
    """Send an option and collect the answers up to the acknowledgement."""
    sock.sendall(OPTION.pack(OPTION_MAGIC, option, len(body)) + body)
    answers: list[tuple[int, bytes]] = []
    while len(answers) < REPLY_LIMIT_COUNT:
        magic, about, kind, length = REPLY.unpack(take(sock, REPLY.size))
        if magic != REPLY_MAGIC or about != option or length > REPLY_LIMIT_BYTES:
            raise BrokenProtocol(f"it answered option {option} with {length} bytes about option {about}")
        data = take(sock, length)
        if kind == REP_ACK:
            return answers
        if kind & REP_ERROR:
            said = plain(data.decode("utf-8", "replace")).strip()
            raise Declined(said or ERRORS.get(kind & ~REP_ERROR, f"error {kind & ~REP_ERROR}"))
        answers.append((kind, data))
    raise BrokenProtocol(f"it answered option {option} without end")
