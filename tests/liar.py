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

from soak.data.nbd_double import (
    DATA,
    FLUSHES,
    HOLE,
    NONE,
    READ,
    SEVERAL,
    STATUS,
    ZERO,
    ZEROES,
    Answer,
    requests,
    serving,
    shake_hands,
)

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
        shake_hands(sock, self.size, FLUSHES | ZEROES | (0 if self.mode == "out-of-order" else SEVERAL))
        held: list[tuple[int, int, int]] = []
        for asked in requests(sock):
            answer = Answer(sock, asked.cookie)
            if asked.command == STATUS:
                self._status(answer, asked.length, number)
            elif asked.command == READ:
                self._read(answer, asked.offset, asked.length, held)
            else:
                if asked.command == ZERO and self.mode == "slow-zero":
                    self._over.wait()
                answer.give(NONE)

    def _status(self, answer: Answer, length: int, number: int) -> None:
        told = {
            "tiny-extents": b"".join(struct.pack(">II", 512, 3 * (at % 2)) for at in range(min(length // 512, 131072))),
            "zero-length": struct.pack(">II", 0, 0),
            "short-status": struct.pack(">II", min(length, 65536), 0),
            "beyond": struct.pack(">II", 0xFFFFFFFF, 0),
            "lies-zero": struct.pack(">II", length, 3),
            "lies-zero-second": struct.pack(">II", length, 3 if number > 1 else 0),
        }.get(self.mode, struct.pack(">II", length, 0))
        answer.allocation(told, done=self.mode != "status-no-done")
        while self.mode == "status-no-done" and not self._over.wait(0.001):
            answer.allocation(told, done=False)

    def _read(self, answer: Answer, offset: int, length: int, held: list[tuple[int, int, int]]) -> None:
        if self.mode == "out-of-order":
            held.append((answer.cookie, offset, length))
            if len(held) == 2:
                _backwards(answer.sock, held)
        elif self.mode == "eio-once" and not self._failed and offset >= self.size // 2:
            self._failed = True
            answer.error()
        else:
            lies = {"no-done": self._without_end, "drip": self._drip, "silent": self._silent, **LIES}
            lies.get(self.mode, _honest)(answer, offset, length)

    def _without_end(self, answer: Answer, offset: int, length: int) -> None:
        answer.data(offset, data(offset, length), done=False)
        while not self._over.wait(0.001):
            answer.give(NONE, done=False)

    def _drip(self, answer: Answer, offset: int, length: int) -> None:
        whole = answer.head(DATA, length + 8, done=True) + struct.pack(">Q", offset) + data(offset, length)
        for at in range(len(whole)):
            answer.sock.sendall(whole[at : at + 1])
            if self._over.wait(0.05):
                return

    def _silent(self, _answer: Answer, _offset: int, _length: int) -> None:
        self._over.wait()


def _honest(answer: Answer, offset: int, length: int) -> None:
    answer.data(offset, data(offset, length))


def _overlapping(answer: Answer, offset: int, length: int) -> None:
    """The first half twice, the second never: the sum is right."""
    half = data(offset, length // 2)
    answer.data(offset, half, done=False)
    answer.data(offset, half)


def _error_then_data(answer: Answer, offset: int, length: int) -> None:
    answer.error(done=False)
    answer.data(offset, data(offset, length))


def _backwards(sock: socket.socket, held: list[tuple[int, int, int]]) -> None:
    """The second request first, and of each its second half first."""
    for cookie, start, count in reversed(held):
        late, middle = Answer(sock, cookie), count // 2
        late.data(start + middle, data(start + middle, count - middle), done=False)
        late.data(start, data(start, middle))
    held.clear()


LIES: dict[str, Callable[[Answer, int, int], None]] = {
    "overlap": _overlapping,
    "error-then-data": _error_then_data,
    "ansi": lambda answer, _offset, _length: answer.error(ESCAPES),
    "hole-lie": lambda answer, offset, length: answer.give(HOLE, struct.pack(">QI", offset, length)),
    "short-read": lambda answer, offset, length: answer.data(offset, data(offset, length - 1)),
}


@contextlib.contextmanager
def lying(path: Path, mode: str, size: int) -> Iterator[str]:
    """A liar at a socket; its URI."""
    over = threading.Event()
    with serving(path, Liar(mode, size, over).serve) as uri:
        try:
            yield uri
        finally:
            over.set()
