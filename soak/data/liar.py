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

READ, WRITE, DISCONNECT, FLUSH, ZERO, STATUS = 0, 1, 2, 3, 6, 7
NONE, DATA, HOLE, STATUS_CHUNK, ERROR = 0, 1, 2, 5, 0x8001
EIO = 5
FLAGS = 1 | 1 << 2 | 1 << 6 | 1 << 8  # flush, zeros, several connections
ESCAPES = b"\x1b[2J\x1b[31mall is well\x1b]0;owned\x07"


class HangUp(Exception):
    """The server closes the connection here."""


class Liar:
    """`content` is what it serves. `mode` names what is wrong; `over` ends one that is silent."""

    def __init__(self, content: bytearray, mode: str, r: random.Random) -> None:
        self.content, self.mode, self._random = content, mode, r
        self.over = threading.Event()
        self._lock = threading.Lock()

    def serve(self, sock: socket.socket) -> None:
        """One connection to its end."""
        self._greet(sock)
        held: list[tuple[int, int, int]] = []
        while True:
            _, _, command, cookie, offset, length = struct.unpack(">IHHQQI", _take(sock, 28))
            body = _take(sock, length) if command == WRITE else b""
            if command == DISCONNECT:
                return
            if command == STATUS:
                self._status(sock, cookie, length)
            elif command == READ and self.mode == "answers in another order":
                held.append((cookie, offset, length))
                held = self._in_another_order(sock, held)
            elif command == READ:
                self._read(sock, cookie, offset, length)
            else:
                self._written(sock, command, cookie, offset, body or bytes(length if command == ZERO else 0))

    def _greet(self, sock: socket.socket) -> None:
        sock.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
        _take(sock, 4)
        while True:
            _, option, length = struct.unpack(">8sII", _take(sock, 16))
            _take(sock, length)

            def reply(kind: int, data: bytes = b"", option: int = option) -> None:
                sock.sendall(struct.pack(">QIII", 0x0003E889045565A9, option, kind, len(data)) + data)

            if option == 10:
                reply(4, struct.pack(">I", 7) + b"base:allocation")
            elif option == 7:
                reply(3, struct.pack(">HQH", 0, len(self.content), FLAGS))
            reply(1 if option in {7, 8, 10} else (1 << 31) + 1)
            if option == 7:
                return

    # --- what is a hole ---

    def _status(self, sock: socket.socket, cookie: int, length: int) -> None:
        told = {
            "statuses of nothing": (0, 0),
            "statuses that go beyond": (0xFFFFFFFF, 0),
            "short statuses": (min(length, 65536), 0),
            "says that all is zeros": (length, 3),
        }
        if self.mode == "statuses in tiny pieces":
            many = min(length // 512, 4096)
            body = b"".join(struct.pack(">II", 512, 0) for _ in range(many))
            _chunk(sock, cookie, STATUS_CHUNK, struct.pack(">I", 7) + body)
            return
        while self.mode == "statuses without an end":
            _chunk(sock, cookie, STATUS_CHUNK, struct.pack(">III", 7, length, 0), done=False)
        _chunk(sock, cookie, STATUS_CHUNK, struct.pack(">III", 7, *told.get(self.mode, (length, 0))))

    # --- what is read ---

    def _read(self, sock: socket.socket, cookie: int, offset: int, length: int) -> None:
        place, data = struct.pack(">Q", offset), bytes(self.content[offset : offset + length])
        if (answer := ANSWERS.get(self.mode)) is not None:
            answer(self, sock, cookie, place, data)
        elif self.mode == "errors now and then" and self._chance(0.2):
            _chunk(sock, cookie, ERROR, struct.pack(">IH", EIO, 0))
        elif self.mode == "hangs up now and then" and self._chance(0.1):
            raise HangUp
        else:
            _chunk(sock, cookie, DATA, place + data)

    def _in_another_order(self, sock: socket.socket, held: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """Two reads are answered together, the last one first, each in halves; what nothing follows at once."""
        sock.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            if len(held) < 2 and sock.recv(1, socket.MSG_PEEK):
                return held
        sock.settimeout(None)
        for cookie, offset, length in reversed(held):
            half, data = length // 2, bytes(self.content[offset : offset + length])
            _chunk(sock, cookie, DATA, struct.pack(">Q", offset + half) + data[half:], done=not half)
            if half:
                _chunk(sock, cookie, DATA, struct.pack(">Q", offset) + data[:half])
        return []

    # --- what is written ---

    def _written(self, sock: socket.socket, command: int, cookie: int, offset: int, data: bytes) -> None:
        if self.mode == "silent when it is to zero" and command == ZERO:
            self.over.wait()
            raise HangUp
        if command in {WRITE, ZERO}:
            if self.mode == "errors now and then" and self._chance(0.2):
                _chunk(sock, cookie, ERROR, struct.pack(">IH", EIO, 0))
                return
            if self.mode == "hangs up now and then" and self._chance(0.1):
                raise HangUp
            self.content[offset : offset + len(data)] = data
        _chunk(sock, cookie, NONE, b"")

    def _chance(self, rate: float) -> bool:
        with self._lock:
            return self._random.random() < rate


def _overlaps(_: Liar, sock: socket.socket, cookie: int, place: bytes, data: bytes) -> None:
    """Twice the first half, never the second: the sum is right."""
    half = data[: len(data) // 2]
    _chunk(sock, cookie, DATA, place + half, done=False)
    _chunk(sock, cookie, DATA, place + half)


def _never_ends(liar: Liar, sock: socket.socket, cookie: int, place: bytes, data: bytes) -> None:
    _chunk(sock, cookie, DATA, place + data, done=False)
    while not liar.over.wait(0.01):
        _chunk(sock, cookie, NONE, b"", done=False)
    raise HangUp


def _drips(liar: Liar, sock: socket.socket, cookie: int, place: bytes, data: bytes) -> None:
    for byte in struct.pack(">IHHQI", 0x668E33EF, 1, DATA, cookie, len(data) + 8) + place + data:
        sock.sendall(bytes([byte]))
        if liar.over.wait(0.5):
            raise HangUp


def _silent(liar: Liar, _sock: socket.socket, _cookie: int, _place: bytes, _data: bytes) -> None:
    liar.over.wait()
    raise HangUp


def _errs_and_goes_on(_: Liar, sock: socket.socket, cookie: int, place: bytes, data: bytes) -> None:
    _chunk(sock, cookie, ERROR, struct.pack(">IH", EIO, 0), done=False)
    _chunk(sock, cookie, DATA, place + data)


def _escapes(_: Liar, sock: socket.socket, cookie: int, _place: bytes, _data: bytes) -> None:
    _chunk(sock, cookie, ERROR, struct.pack(">IH", EIO, len(ESCAPES)) + ESCAPES)


def _short(_: Liar, sock: socket.socket, cookie: int, place: bytes, data: bytes) -> None:
    _chunk(sock, cookie, DATA, place + data[:-1])


def _too_long(_: Liar, sock: socket.socket, cookie: int, place: bytes, data: bytes) -> None:
    _chunk(sock, cookie, DATA, place + data + b"x")


def _of_another(_: Liar, sock: socket.socket, cookie: int, place: bytes, data: bytes) -> None:
    _chunk(sock, cookie + 77, DATA, place + data)


def _elsewhere(_: Liar, sock: socket.socket, cookie: int, place: bytes, data: bytes) -> None:
    _chunk(sock, cookie, DATA, struct.pack(">Q", struct.unpack(">Q", place)[0] + 512) + data)


Answer = Callable[[Liar, socket.socket, int, bytes, bytes], None]
ANSWERS: dict[str, Answer] = {
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
    path = folder / "liar"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        accepting = threading.Thread(target=_accept, args=(listener, liar), daemon=True)
        accepting.start()
        try:
            yield f"nbd+unix:///?socket={path}"
        finally:
            liar.over.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            path.unlink()


def _accept(listener: socket.socket, liar: Liar) -> None:
    def serve(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError, EOFError, HangUp):
            liar.serve(sock)

    with contextlib.suppress(OSError):
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock,), daemon=True).start()


def _chunk(sock: socket.socket, cookie: int, kind: int, data: bytes, *, done: bool = True) -> None:
    sock.sendall(struct.pack(">IHHQI", 0x668E33EF, int(done), kind, cookie, len(data)) + data)


def _take(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = sock.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
