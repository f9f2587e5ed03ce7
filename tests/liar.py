"""An NBD server that lies, in the ways that NBD allows to lie in, on a unix socket for as long as a block lasts.

A double: it knows one export, without TLS, and keeps nothing that is written. What is read of it is a pattern, `data`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

OPTION_REPLY = 0x3E889045565A9
CHUNK_MAGIC = 0x668E33EF
NONE, DATA, HOLE, STATUS, ERROR = 0, 1, 2, 5, 0x8001
ESCAPES = b"\x1b[2J\x1b[31mall is well\x1b]0;owned\x07\n$ rm -rf /"


def data(offset: int, length: int) -> bytes:
    """The pattern: each 4 KiB hold their own number."""
    first = offset - offset % 4096
    made = b"".join(struct.pack("<Q", at + 1) * 512 for at in range(first, offset + length, 4096))
    return made[offset - first : offset - first + length]


class Liar:
    """Serves `size` bytes as `mode` says (see `_status`, `_read`). `connections` counts those that were made."""

    def __init__(self, mode: str, size: int, over: threading.Event) -> None:
        self.mode = mode
        self.size = size
        self.connections = 0
        self._over = over
        self._failed = False

    def serve(self, sock: socket.socket) -> None:
        """One connection, to its end."""
        self.connections += 1
        number = self.connections
        with contextlib.suppress(OSError, EOFError), sock:
            self._shake_hands(sock)
            held: list[tuple[int, int, int]] = []
            while True:
                _, _, command, cookie, offset, length = struct.unpack(">IHHQQI", take(sock, 28))
                answer = Answer(sock, cookie)
                if command == 2:
                    return
                if command == 7:
                    self._status(answer, length, number)
                elif command == 0:
                    self._read(answer, offset, length, held)
                else:
                    take(sock, length if command == 1 else 0)
                    if command == 6 and self.mode == "slow-zero":
                        self._over.wait()
                    answer.give(NONE, b"")

    def _shake_hands(self, sock: socket.socket) -> None:
        sock.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
        take(sock, 4)
        while True:
            _, option, length = struct.unpack(">8sII", take(sock, 16))
            take(sock, length)
            if option == 10:
                _tell(sock, option, 4, struct.pack(">I", 7) + b"base:allocation")
            elif option == 7:
                flags = 1 | 1 << 2 | 1 << 6 | (0 if self.mode == "out-of-order" else 1 << 8)
                _tell(sock, option, 3, struct.pack(">HQH", 0, self.size, flags))
            _tell(sock, option, 1 if option in {7, 8, 10} else (1 << 31) + 1)
            if option == 7:
                return

    def _status(self, answer: Answer, length: int, number: int) -> None:
        told = {
            "tiny-extents": b"".join(struct.pack(">II", 512, 3 * (at % 2)) for at in range(min(length // 512, 131072))),
            "zero-length": struct.pack(">II", 0, 0),
            "short-status": struct.pack(">II", min(length, 65536), 0),
            "beyond": struct.pack(">II", 0xFFFFFFFF, 0),
            "lies-zero": struct.pack(">II", length, 3),
            "lies-zero-second": struct.pack(">II", length, 3 if number > 1 else 0),
        }.get(self.mode, struct.pack(">II", length, 0))
        answer.give(STATUS, struct.pack(">I", 7) + told, done=self.mode != "status-no-done")
        while self.mode == "status-no-done" and not self._over.wait(0.001):
            answer.give(STATUS, struct.pack(">I", 7) + told, done=False)

    def _read(self, answer: Answer, offset: int, length: int, held: list[tuple[int, int, int]]) -> None:
        if self.mode == "out-of-order":
            held.append((answer.cookie, offset, length))
            if len(held) == 2:
                _backwards(answer.sock, held)
        elif self.mode == "eio-once" and not self._failed and offset >= self.size // 2:
            self._failed = True
            answer.give(ERROR, struct.pack(">IH", 5, 0))
        else:
            lies = {"no-done": self._without_end, "drip": self._drip, "silent": self._silent, **LIES}
            lies.get(self.mode, Answer.data)(answer, offset, length)

    def _without_end(self, answer: Answer, offset: int, length: int) -> None:
        answer.data(offset, length, done=False)
        while not self._over.wait(0.001):
            answer.give(NONE, b"", done=False)

    def _drip(self, answer: Answer, offset: int, length: int) -> None:
        whole = answer.head(DATA, length + 8, done=True) + struct.pack(">Q", offset) + data(offset, length)
        for at in range(len(whole)):
            answer.sock.sendall(whole[at : at + 1])
            if self._over.wait(0.05):
                return

    def _silent(self, _answer: Answer, _offset: int, _length: int) -> None:
        self._over.wait()


class Answer:
    """The chunks of one reply."""

    def __init__(self, sock: socket.socket, cookie: int) -> None:
        self.sock = sock
        self.cookie = cookie

    def head(self, kind: int, length: int, *, done: bool) -> bytes:
        return struct.pack(">IHHQI", CHUNK_MAGIC, int(done), kind, self.cookie, length)

    def give(self, kind: int, body: bytes, *, done: bool = True) -> None:
        self.sock.sendall(self.head(kind, len(body), done=done) + body)

    def data(self, offset: int, length: int, *, done: bool = True) -> None:
        self.give(DATA, struct.pack(">Q", offset) + data(offset, length), done=done)


def _overlapping(answer: Answer, offset: int, length: int) -> None:
    """The first half twice, the second never: the sum is right."""
    answer.data(offset, length // 2, done=False)
    answer.data(offset, length // 2)


def _error_then_data(answer: Answer, offset: int, length: int) -> None:
    answer.give(ERROR, struct.pack(">IH", 5, 0), done=False)
    answer.data(offset, length)


def _backwards(sock: socket.socket, held: list[tuple[int, int, int]]) -> None:
    """The second request first, and of each its second half first."""
    for cookie, start, count in reversed(held):
        late, middle = Answer(sock, cookie), count // 2
        late.data(start + middle, count - middle, done=False)
        late.data(start, middle)
    held.clear()


LIES: dict[str, Callable[[Answer, int, int], None]] = {
    "overlap": _overlapping,
    "error-then-data": _error_then_data,
    "ansi": lambda answer, _offset, _length: answer.give(ERROR, struct.pack(">IH", 5, len(ESCAPES)) + ESCAPES),
    "hole-lie": lambda answer, offset, length: answer.give(HOLE, struct.pack(">QI", offset, length)),
    "short-read": lambda answer, offset, length: answer.data(offset, length - 1),
}


def take(sock: socket.socket, length: int) -> bytes:
    """The next bytes. Raises EOFError where there are no more."""
    found = b""
    while len(found) < length:
        piece = sock.recv(length - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def _tell(sock: socket.socket, option: int, kind: int, body: bytes = b"") -> None:
    sock.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(body)) + body)


@contextlib.contextmanager
def lying(path: Path, mode: str, size: int) -> Iterator[str]:
    """A liar at a socket; its URI."""
    over = threading.Event()
    liar = Liar(mode, size, over)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(16)
        _in_background(lambda: _accept(listening, liar))
        try:
            yield f"nbd+unix:///?socket={path}"
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, liar: Liar) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock, _ = listening.accept()
            _in_background(lambda sock=sock: liar.serve(sock))  # type: ignore[misc]  # bound now, not when it runs


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
