"""Somebody between us and an NBD server with TLS: whatever is said before TLS, nothing is said to it in the clear."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from converters.endpoints.nbd import tls
from converters.endpoints.nbd.client import Nbd
from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.faults import Side
from kubeferry.uris import NbdTls, nbd_tls
from tests.unit.converters.endpoints.test_nbd_hostile import GREETING, Script, option, reply, shake_hands, take

STARTTLS, ACK, UNKNOWN, POLICY = 5, 1, (1 << 31) + 1, (1 << 31) + 2


@contextmanager
def listening(script: Script) -> Iterator[NbdTls]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            sock.settimeout(5)
            with sock, suppress(OSError):
                script(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        yield NbdTls("127.0.0.1", listener.getsockname()[1])
        thread.join()


def opened(place: NbdTls) -> tls.TlsNbd:
    return tls.TlsNbd(place, Side.SOURCE, ssl.create_default_context())


heard: list[bytes] = []


def asked_for_tls(sock: socket.socket, answer: bytes) -> None:
    """A server up to its answer to STARTTLS; what it hears then is kept."""
    heard.clear()
    sock.sendall(GREETING)
    take(sock, 4)
    number, _ = option(sock)
    assert number == STARTTLS  # the very first thing that is asked
    sock.sendall(answer)
    heard.append(sock.recv(1 << 16))


def goes_on_in_the_clear(sock: socket.socket) -> None:
    asked_for_tls(sock, reply(STARTTLS, ACK) + reply(8, ACK) + reply(7, ACK))


ANSWERS: dict[str, tuple[Script, str]] = {
    "knows-no-tls": (lambda sock: asked_for_tls(sock, reply(STARTTLS, UNKNOWN)), "has no TLS"),
    "forbids-tls": (lambda sock: asked_for_tls(sock, reply(STARTTLS, POLICY, b"not today")), "has no TLS"),
    "more-than-yes": (
        lambda sock: asked_for_tls(sock, reply(STARTTLS, 3, b"x") + reply(STARTTLS, ACK)),
        "breaks the protocol",
    ),
    "answers-before-tls": (goes_on_in_the_clear, "does not speak TLS as it must"),
    "garbage-for-tls": (
        lambda sock: asked_for_tls(sock, reply(STARTTLS, ACK) + b"HTTP/1.1 400 no\r\n\r\n"),
        "does not speak TLS as it must",
    ),
    "huge-answer": (lambda sock: asked_for_tls(sock, reply(STARTTLS, ACK, length=1 << 30)), "breaks the protocol"),
}


@pytest.mark.parametrize(("script", "what"), ANSWERS.values(), ids=ANSWERS)
def test_there_is_no_going_on_without_tls(script: Script, what: str) -> None:
    with listening(script) as place, pytest.raises(SourceRefused, match=what) as caught:
        opened(place)
    assert caught.value.fix
    assert not any(b"IHAVEOPT" in said for said in heard)


def test_a_server_that_hangs_up_in_the_handshake_may_be_there_later() -> None:
    def script(sock: socket.socket) -> None:
        asked_for_tls(sock, reply(STARTTLS, ACK))

    with listening(script) as place, pytest.raises(SourceUnavailable) as caught:
        opened(place)
    assert "Exec format" not in str(caught.value)


def test_a_server_that_falls_silent_in_the_handshake_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "ANSWER_SECONDS", 0.3)
    done = threading.Event()

    def script(sock: socket.socket) -> None:
        asked_for_tls(sock, reply(STARTTLS, ACK))
        done.wait(10)

    with listening(script) as place:
        with pytest.raises(KubeferryError) as caught:
            opened(place)
        done.set()
    assert isinstance(caught.value, SourceUnavailable)


def test_a_server_that_drips_in_the_handshake_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then of a record that never ends."""
    monkeypatch.setattr(tls, "ANSWER_SECONDS", 0.5)
    done = threading.Event()

    def script(sock: socket.socket) -> None:
        asked_for_tls(sock, reply(STARTTLS, ACK) + b"\x16\x03\x03\x40\x00")
        while not done.wait(0.05):
            sock.sendall(b"\x02")

    with listening(script) as place:
        with pytest.raises(SourceUnavailable, match="did not answer in time"):
            opened(place)
        done.set()


def test_another_connection_that_gives_another_disk_is_refused(tmp_path: Path) -> None:
    """A flush on one connection counts for those to the same export only."""
    path, sizes = str(tmp_path / "s"), iter([1 << 20, 2 << 20])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            for size in sizes:
                sock, _ = listener.accept()
                socks.append(sock)
                shake_hands(sock, size)

        socks: list[socket.socket] = []
        thread = threading.Thread(target=serve)
        thread.start()
        with Nbd(path, "", Side.SOURCE) as disk, pytest.raises(SourceRefused) as caught:
            disk.clone()
        thread.join()
        for sock in socks:
            sock.close()
    assert "another disk" in caught.value.why


def test_a_place_behind_tls_says_the_same_as_its_uri() -> None:
    place = NbdTls("fe80::1", 10810, "a b/c", "ann@x", certificates="/etc/p ki", hostname="store")
    assert nbd_tls(place.uri()) == place
    assert nbd_tls("nbds://store/") == NbdTls("store", 10809)
