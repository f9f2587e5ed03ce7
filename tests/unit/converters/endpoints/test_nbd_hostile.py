"""A server that lies: every reply that does not fit its request ends the connection, and reserves no memory."""

from __future__ import annotations

import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from converters.endpoints.nbd import client
from converters.endpoints.nbd.client import PIECE_BYTES, Nbd
from converters.extents import Extent
from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.faults import Side

GREETING = b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3)
SIZE = 1 << 20
Script = Callable[[socket.socket], None]


def take(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (more := sock.recv(length - len(data))):
        data += more
    return data


def option(sock: socket.socket) -> tuple[int, bytes]:
    _, number, length = struct.unpack(">8sII", take(sock, 16))
    return number, take(sock, length)


def reply(number: int, kind: int, data: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack(">QIII", 0x0003E889045565A9, number, kind, len(data) if length is None else length) + data


def shake_hands(sock: socket.socket, size: int = SIZE, structured: bool = True) -> None:
    """An honest handshake."""
    sock.sendall(GREETING)
    take(sock, 4)
    while True:
        number, _ = option(sock)
        if number == 8:
            sock.sendall(reply(8, 1 if structured else (1 << 31) + 1))
        elif number == 10:
            sock.sendall(reply(10, 4, struct.pack(">I", 7) + b"base:allocation") + reply(10, 1))
        elif number == 7:
            sock.sendall(reply(7, 3, struct.pack(">HQH", 0, size, 1)) + reply(7, 1))
            return


def request(sock: socket.socket) -> tuple[int, int, int, int]:
    """Command, cookie, offset, length."""
    _, _, command, cookie, offset, length = struct.unpack(">IHHQQI", take(sock, 28))
    return command, cookie, offset, length


def chunk(cookie: int, kind: int, data: bytes, *, done: bool = True, length: int | None = None) -> bytes:
    told = len(data) if length is None else length
    return struct.pack(">IHHQI", 0x668E33EF, int(done), kind, cookie, told) + data


@contextmanager
def serving(folder: Path, script: Script) -> Iterator[str]:
    path = str(folder / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                script(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join()


HANDSHAKES: dict[str, Script] = {
    "no-nbd": lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n"),
    "old-style": lambda sock: sock.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 0)),
    "huge-option-reply": lambda sock: greet(sock, reply(8, 1, length=0xFFFFFFFF)),
    "reply-to-another-option": lambda sock: greet(sock, reply(9, 1)),
    "replies-without-end": lambda sock: greet(sock, reply(8, 3) * 100),
    "absurd-size": lambda sock: shake_hands(sock, size=1 << 63),
}


def greet(sock: socket.socket, answer: bytes) -> None:
    sock.sendall(GREETING)
    take(sock, 4)
    option(sock)
    sock.sendall(answer)


@pytest.mark.parametrize("script", HANDSHAKES.values(), ids=HANDSHAKES)
def test_handshakes_that_lie_are_refused(tmp_path: Path, script: Script) -> None:
    tracemalloc.start()
    with serving(tmp_path, script) as path, pytest.raises(SourceRefused, match="breaks the protocol") as caught:
        Nbd(path, "", Side.SOURCE)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert caught.value.fix


def test_an_export_that_is_not_there_is_told_in_the_servers_words(tmp_path: Path) -> None:
    def no(sock: socket.socket) -> None:
        greet(sock, reply(8, (1 << 31) + 1))
        option(sock)
        sock.sendall(reply(7, (1 << 31) + 6, b"export 'x' not present"))

    with serving(tmp_path, no) as path, pytest.raises(SourceRefused) as caught:
        Nbd(path, "x", Side.SOURCE)
    assert caught.value.why == "export 'x' not present"


def test_no_server_and_a_server_that_hangs_up(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="cannot be reached"):
        Nbd(str(tmp_path / "none"), "", Side.SOURCE)
    with serving(tmp_path, lambda sock: sock.sendall(GREETING[:5])) as path, pytest.raises(SourceUnavailable):
        Nbd(path, "", Side.SOURCE)


READS: dict[str, Callable[[int, int, int], bytes]] = {
    "data-before-the-range": lambda cookie, offset, _: chunk(cookie, 1, struct.pack(">Q", offset - 1) + b"x" * 10),
    "data-after-the-range": lambda cookie, offset, length: chunk(cookie, 1, struct.pack(">Q", offset + length) + b"x"),
    "too-much-data": lambda cookie, offset, length: chunk(cookie, 1, struct.pack(">Q", offset), length=9 + length),
    "huge-chunk": lambda cookie, offset, _: chunk(cookie, 1, struct.pack(">Q", offset), length=0xFFFFFFFF),
    "empty-data": lambda cookie, offset, _: chunk(cookie, 1, struct.pack(">Q", offset)),
    "huge-hole": lambda cookie, offset, _: chunk(cookie, 2, struct.pack(">QI", offset, 0xFFFFFFFF)),
    "data-twice": lambda cookie, offset, length: (
        chunk(cookie, 2, struct.pack(">QI", offset, length), done=False)
        + chunk(cookie, 1, struct.pack(">Q", offset) + b"x")
    ),
    "missing-data": lambda cookie, offset, _: chunk(cookie, 1, struct.pack(">Q", offset) + b"x"),
    "unknown-cookie": lambda cookie, offset, _: chunk(cookie + 5, 1, struct.pack(">Q", offset) + b"x"),
    "status-for-a-read": lambda cookie, offset, _: chunk(cookie, 5, struct.pack(">III", 7, 5, 0)),
    "unknown-chunk": lambda cookie, offset, _: chunk(cookie, 77, b"?"),
    "plain-after-structured": lambda cookie, offset, length: struct.pack(">IIQ", 0x67446698, 0, cookie) + bytes(length),
    "garbage": lambda cookie, offset, _: b"garbage" * 10,
}


@pytest.mark.parametrize("answer", READS.values(), ids=READS)
def test_replies_that_do_not_fit_the_read_are_refused(tmp_path: Path, answer: Callable[[int, int, int], bytes]) -> None:
    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        _, cookie, offset, length = request(sock)
        sock.sendall(answer(cookie, offset, length))
        take(sock, 28)

    refused = pytest.raises(SourceRefused, match="breaks the protocol")
    with serving(tmp_path, script) as path, Nbd(path, "", Side.SOURCE) as disk, refused:
        disk.read_into(4096, memoryview(bytearray(8192)))


STATUSES: dict[str, Callable[[int], bytes]] = {
    "zero-length": lambda cookie: chunk(cookie, 5, struct.pack(">III", 7, 0, 0)),
    "another-context": lambda cookie: chunk(cookie, 5, struct.pack(">III", 8, SIZE, 0)),
    "cut-off": lambda cookie: chunk(cookie, 5, struct.pack(">III", 7, SIZE, 0) + b"?"),
    "huge": lambda cookie: chunk(cookie, 5, b"", length=0xFFFFFFFF),
    "nothing": lambda cookie: chunk(cookie, 0, b""),
}


@pytest.mark.parametrize("answer", STATUSES.values(), ids=STATUSES)
def test_statuses_that_make_no_sense_are_refused(tmp_path: Path, answer: Callable[[int], bytes]) -> None:
    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        sock.sendall(answer(request(sock)[1]))
        take(sock, 28)

    refused = pytest.raises(SourceRefused, match="breaks the protocol")
    with serving(tmp_path, script) as path, Nbd(path, "", Side.SOURCE) as disk, refused:
        list(disk.extents())


def test_replies_in_another_order_and_in_pieces_are_put_together(tmp_path: Path) -> None:
    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        first, second = request(sock), request(sock)
        place = struct.pack(">Q", second[2] + 2)
        sock.sendall(
            chunk(second[1], 1, place + b"cd", done=False)
            + chunk(first[1], 2, struct.pack(">QI", first[2], 4))
            + chunk(second[1], 1, struct.pack(">Q", second[2]) + b"ab")
        )
        take(sock, 28)

    with serving(tmp_path, script) as path, Nbd(path, "", Side.SOURCE) as disk:
        one, two = memoryview(bytearray(b"xxxx")), memoryview(bytearray(4))
        reads = [disk.start_read(0, one), disk.start_read(100, two)]
        for read in reads:
            read()
        assert (bytes(one), bytes(two)) == (bytes(4), b"abcd")


def test_a_server_without_structured_replies_is_all_data(tmp_path: Path) -> None:
    def script(sock: socket.socket) -> None:
        shake_hands(sock, structured=False)
        _, cookie, _, length = request(sock)
        sock.sendall(struct.pack(">IIQ", 0x67446698, 0, cookie) + b"y" * length)
        _, cookie, _, _ = request(sock)
        sock.sendall(struct.pack(">IIQ", 0x67446698, 5, cookie))
        take(sock, 28)

    with serving(tmp_path, script) as path, Nbd(path, "", Side.SOURCE) as disk:
        assert not disk.knows_holes
        assert list(disk.extents()) == [Extent(0, SIZE)]
        view = memoryview(bytearray(10))
        disk.read_into(0, view)
        assert view == b"y" * 10
        with pytest.raises(SourceUnavailable, match="failed at offset 0") as caught:
            disk.read_into(0, view)
        assert caught.value.why == "error 5"


def test_a_servers_error_is_told_in_its_words(tmp_path: Path) -> None:
    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        text = b"disk on fire"
        sock.sendall(chunk(request(sock)[1], 0x8001, struct.pack(">IH", 5, len(text)) + text))
        take(sock, 28)

    with serving(tmp_path, script) as path, Nbd(path, "", Side.SOURCE) as disk:
        with pytest.raises(SourceUnavailable) as caught:
            disk.read_into(0, memoryview(bytearray(10)))
        assert caught.value.why == "disk on fire (error 5)"


def test_nothing_is_believed_on_a_connection_that_broke_the_protocol(tmp_path: Path) -> None:
    """What comes after it may be the rest of the answer that made no sense."""

    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        sock.sendall(chunk(request(sock)[1], 77, b"?"))
        command, cookie, offset, length = request(sock)
        if command == 0:
            sock.sendall(chunk(cookie, 1, struct.pack(">Q", offset) + bytes(length)))
            take(sock, 28)

    with serving(tmp_path, script) as path, Nbd(path, "", Side.SOURCE) as disk:
        with pytest.raises(SourceRefused, match="breaks the protocol"):
            disk.read_into(0, memoryview(bytearray(10)))
        with pytest.raises(SourceUnavailable, match="is gone") as caught:
            disk.read_into(0, memoryview(bytearray(10)))
        assert caught.value.why == "the connection broke before"


# --- several requests under way ---


def test_the_pieces_of_a_read_are_under_way_together(tmp_path: Path) -> None:
    """A server that answers nothing until it knows all, and then the last one first."""

    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        asked = [request(sock) for _ in range(4)]
        for _, cookie, offset, length in reversed(asked):
            sock.sendall(chunk(cookie, 1, struct.pack(">Q", offset) + bytes([offset // PIECE_BYTES]) * length))
        take(sock, 28)

    view = memoryview(bytearray(4 * PIECE_BYTES))
    with serving(tmp_path, script) as path, Nbd(path, "", Side.SOURCE) as disk:
        disk.read_into(0, view)
    assert view == b"".join(bytes([number]) * PIECE_BYTES for number in range(4))


def test_the_pieces_of_a_write_are_under_way_together(tmp_path: Path) -> None:
    taken = bytearray(4 * PIECE_BYTES)

    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        cookies = []
        for _ in range(4):
            _, cookie, offset, length = request(sock)
            taken[offset : offset + length] = take(sock, length)
            cookies.append(cookie)
        for cookie in reversed(cookies):
            sock.sendall(struct.pack(">IIQ", 0x67446698, 0, cookie))
        take(sock, 28)

    content = b"".join(bytes([number]) * 4096 for number in range(256))
    with serving(tmp_path, script) as path, Nbd(path, "", Side.TARGET) as disk:
        disk.write(0, memoryview(content))
    assert taken == content


def test_a_piece_that_fails_is_told_when_the_others_have_come(tmp_path: Path) -> None:
    """The memory of a read is used again after it: nothing may come later."""

    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        (_, first, _, _), (_, second, offset, length) = request(sock), request(sock)
        sock.sendall(chunk(first, 0x8001, struct.pack(">IH", 5, 0)))
        time.sleep(0.2)
        sock.sendall(chunk(second, 1, struct.pack(">Q", offset) + b"z" * length))
        take(sock, 28)

    view = memoryview(bytearray(2 * PIECE_BYTES))
    with serving(tmp_path, script) as path, Nbd(path, "", Side.SOURCE) as disk:
        with pytest.raises(SourceUnavailable, match="failed at offset 0"):
            disk.read_into(0, view)
        assert view[PIECE_BYTES:] == b"z" * PIECE_BYTES


def test_a_write_behind_a_read_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers in turn takes no bytes while nobody takes its own."""

    def script(sock: socket.socket) -> None:
        shake_hands(sock)
        for _ in range(16):
            command, cookie, offset, length = request(sock)
            if command == 0:
                sock.sendall(chunk(cookie, 1, struct.pack(">Q", offset) + b"r" * length))
            else:
                take(sock, length)
                sock.sendall(chunk(cookie, 0, b""))
        take(sock, 28)

    monkeypatch.setattr(client, "ANSWER_SECONDS", 2.0)
    view = memoryview(bytearray(8 * PIECE_BYTES))
    with serving(tmp_path, script) as path, Nbd(path, "", Side.TARGET) as disk:
        finish = disk.start_read(0, view)
        disk.write(0, memoryview(bytes(8 * PIECE_BYTES)))
        finish()
    assert view == b"r" * (8 * PIECE_BYTES)
