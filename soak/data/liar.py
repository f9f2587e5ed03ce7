"""An NBD server in this process that serves one disk and does one thing wrong. It takes writes; it does not do TLS,
more than one export, or anything of the standard that kubeferry does not ask for."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from soak.data import nbd_double
from soak.data.nbd_double import (
    DATA,
    FLUSHES,
    NONE,
    READ,
    SEVERAL,
    STATUS,
    WRITE,
    ZERO,
    ZEROES,
    Answer,
    Asked,
    requests,
    shake_hands,
)

ESCAPES = b"\x1b[2J\x1b[31mall is well\x1b]0;owned\x07"
# Of a request. A copy that is gone on from first reads blocks all over the target, and each is four requests: more of
# them would let no try get past that.
FAILS, HANGS_UP = 0.05, 0.03


class HangUp(EOFError):
    """The server closes the connection here."""


class Liar:
    """`content` is what it serves. `mode` names what is wrong; `over` ends one that is silent."""

    def __init__(self, content: bytearray, mode: str, r: random.Random) -> None:
        self.content, self.mode, self._random = content, mode, r
        self.over = threading.Event()
        self._lock = threading.Lock()

    def serve(self, sock: socket.socket) -> None:
        """One connection to its end."""
        shake_hands(sock, len(self.content), FLUSHES | ZEROES | SEVERAL)
        held: list[Asked] = []
        for asked in requests(sock):
            answer = Answer(sock, asked.cookie)
            if asked.command == STATUS:
                self._status(answer, asked.length)
            elif asked.command == READ and self.mode == "answers in another order":
                held.append(asked)
                held = self._in_another_order(sock, held)
            elif asked.command == READ:
                self._read(answer, asked)
            else:
                self._written(answer, asked)

    # --- what is a hole ---

    def _status(self, answer: Answer, length: int) -> None:
        told = {
            "statuses of nothing": (0, 0),
            "statuses that go beyond": (0xFFFFFFFF, 0),
            "short statuses": (min(length, 65536), 0),
            "says that all is zeros": (length, 3),
        }
        if self.mode == "statuses in tiny pieces":
            many = min(length // 512, 4096)
            answer.allocation(b"".join(struct.pack(">II", 512, 0) for _ in range(many)))
            return
        while self.mode == "statuses without an end":
            answer.allocation(struct.pack(">II", length, 0), done=False)
        answer.allocation(struct.pack(">II", *told.get(self.mode, (length, 0))))

    # --- what is read ---

    def _read(self, answer: Answer, asked: Asked) -> None:
        data = bytes(self.content[asked.offset : asked.offset + asked.length])
        if (lie := ANSWERS.get(self.mode)) is not None:
            lie(self, answer, asked.offset, data)
        elif self.mode == "errors now and then" and self._chance(FAILS):
            answer.error()
        elif self.mode == "hangs up now and then" and self._chance(HANGS_UP):
            raise HangUp
        else:
            answer.data(asked.offset, data)

    def _in_another_order(self, sock: socket.socket, held: list[Asked]) -> list[Asked]:
        """Two reads are answered together, the last one first, each in halves; what nothing follows at once."""
        sock.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            if len(held) < 2 and sock.recv(1, socket.MSG_PEEK):
                return held
        sock.settimeout(None)
        for asked in reversed(held):
            half, data = asked.length // 2, bytes(self.content[asked.offset : asked.offset + asked.length])
            answer = Answer(sock, asked.cookie)
            answer.data(asked.offset + half, data[half:], done=not half)
            if half:
                answer.data(asked.offset, data[:half])
        return []

    # --- what is written ---

    def _written(self, answer: Answer, asked: Asked) -> None:
        if self.mode == "silent when it is to zero" and asked.command == ZERO:
            self.over.wait()
            raise HangUp
        if asked.command in {WRITE, ZERO}:
            if self.mode == "errors now and then" and self._chance(FAILS):
                answer.error()
                return
            if self.mode == "hangs up now and then" and self._chance(HANGS_UP):
                raise HangUp
            self.content[asked.offset : asked.offset + asked.length] = asked.body or bytes(asked.length)
        answer.give(NONE)

    def _chance(self, rate: float) -> bool:
        with self._lock:
            return self._random.random() < rate


def _overlaps(_: Liar, answer: Answer, offset: int, data: bytes) -> None:
    """Twice the first half, never the second: the sum is right."""
    half = data[: len(data) // 2]
    answer.data(offset, half, done=False)
    answer.data(offset, half)


def _never_ends(liar: Liar, answer: Answer, offset: int, data: bytes) -> None:
    answer.data(offset, data, done=False)
    while not liar.over.wait(0.01):
        answer.give(NONE, done=False)
    raise HangUp


def _drips(liar: Liar, answer: Answer, offset: int, data: bytes) -> None:
    for byte in answer.head(DATA, len(data) + 8, done=True) + struct.pack(">Q", offset) + data:
        answer.sock.sendall(bytes([byte]))
        if liar.over.wait(0.5):
            raise HangUp


def _silent(liar: Liar, _answer: Answer, _offset: int, _data: bytes) -> None:
    liar.over.wait()
    raise HangUp


def _errs_and_goes_on(_: Liar, answer: Answer, offset: int, data: bytes) -> None:
    answer.error(done=False)
    answer.data(offset, data)


def _escapes(_: Liar, answer: Answer, _offset: int, _data: bytes) -> None:
    answer.error(ESCAPES)


def _short(_: Liar, answer: Answer, offset: int, data: bytes) -> None:
    answer.data(offset, data[:-1])


def _too_long(_: Liar, answer: Answer, offset: int, data: bytes) -> None:
    answer.data(offset, data + b"x")


def _of_another(_: Liar, answer: Answer, offset: int, data: bytes) -> None:
    Answer(answer.sock, answer.cookie + 77).data(offset, data)


def _elsewhere(_: Liar, answer: Answer, offset: int, data: bytes) -> None:
    answer.data(offset + 512, data)


ANSWERS: dict[str, Callable[[Liar, Answer, int, bytes], None]] = {
    "chunks that overlap": _overlaps,
    "answers without an end": _never_ends,
    "a byte now and then": _drips,
    "silent": _silent,
    "an error, and data behind it": _errs_and_goes_on,
    "words that a terminal obeys": _escapes,
    "short answers": _short,
    "answers that are too long": _too_long,
    "answers of another request": _of_another,
    "answers of another place": _elsewhere,
}


@contextlib.contextmanager
def serving(folder: Path, liar: Liar) -> Iterator[str]:
    """The server while the block lasts; its URI."""
    with nbd_double.serving(folder / "liar", liar.serve) as uri:
        try:
            yield uri
        finally:
            liar.over.set()
