"""What doubles of an NBD server have in common: a socket, the handshake, requests, and the chunks of an answer. Nothing
here is wrong; what is, each of them does itself. A double: one export, structured replies, no TLS."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

READ, WRITE, DISCONNECT, FLUSH, ZERO, STATUS = 0, 1, 2, 3, 6, 7
NONE, DATA, HOLE, ALLOCATION, ERROR = 0, 1, 2, 5, 0x8001
FLUSHES, ZEROES, SEVERAL = 1 | 1 << 2, 1 << 6, 1 << 8  # what an export's flags say: it has all of them, or some
CONTEXT = 7  # the number of base:allocation
EIO = 5
OPTION_REPLY, CHUNK_MAGIC = 0x3E889045565A9, 0x668E33EF
GO, STRUCTURED, CONTEXTS = 7, 8, 10


@dataclass(frozen=True)
class Asked:
    """A request. `body` is what a write carries."""

    command: int
    cookie: int
    offset: int
    length: int
    body: bytes = b""


class Answer:
    """The chunks of one reply."""

    def __init__(self, sock: socket.socket, cookie: int) -> None:
        self.sock = sock
        self.cookie = cookie

    def head(self, kind: int, length: int, *, done: bool) -> bytes:
        return struct.pack(">IHHQI", CHUNK_MAGIC, int(done), kind, self.cookie, length)

    def give(self, kind: int, body: bytes = b"", *, done: bool = True) -> None:
        self.sock.sendall(self.head(kind, len(body), done=done) + body)

    def data(self, offset: int, content: bytes, *, done: bool = True) -> None:
        self.give(DATA, struct.pack(">Q", offset) + content, done=done)

    def error(self, words: bytes = b"", *, done: bool = True) -> None:
        self.give(ERROR, struct.pack(">IH", EIO, len(words)) + words, done=done)

    def allocation(self, stretches: bytes, *, done: bool = True) -> None:
        """Pairs of a length and flags."""
        self.give(ALLOCATION, struct.pack(">I", CONTEXT) + stretches, done=done)


def shake_hands(sock: socket.socket, size: int, flags: int) -> None:
    sock.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    take(sock, 4)
    option = 0
    while option != GO:
        _, option, length = struct.unpack(">8sII", take(sock, 16))
        take(sock, length)
        if option == CONTEXTS:
            _tell(sock, option, 4, struct.pack(">I", CONTEXT) + b"base:allocation")
        elif option == GO:
            _tell(sock, option, 3, struct.pack(">HQH", 0, size, flags))
        _tell(sock, option, 1 if option in {GO, STRUCTURED, CONTEXTS} else (1 << 31) + 1)


def _tell(sock: socket.socket, option: int, kind: int, body: bytes = b"") -> None:
    sock.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(body)) + body)


def requests(sock: socket.socket) -> Iterator[Asked]:
    """Until the client says that it goes. Raises EOFError where it just goes."""
    while True:
        _, _, command, cookie, offset, length = struct.unpack(">IHHQQI", take(sock, 28))
        if command == DISCONNECT:
            return
        yield Asked(command, cookie, offset, length, take(sock, length) if command == WRITE else b"")


def take(sock: socket.socket, length: int) -> bytes:
    """The next bytes. Raises EOFError where there are no more."""
    found = b""
    while len(found) < length:
        piece = sock.recv(length - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


@contextlib.contextmanager
def serving(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server at a socket while the block lasts, each connection in a thread; its URI."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        accepting = _in_background(_accept, listener, serve)
        try:
            yield f"nbd+unix:///?socket={path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            path.unlink()


def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock, _ = listener.accept()
            _in_background(_one, sock, serve)


def _one(sock: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    with sock, contextlib.suppress(OSError, EOFError):
        serve(sock)


def _in_background(work: Callable[..., None], *given: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=given, daemon=True)
    thread.start()
    return thread
