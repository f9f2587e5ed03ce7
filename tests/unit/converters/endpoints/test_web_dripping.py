"""An HTTPS server that drips: each byte comes in time, and the answer never ends. It has a deadline as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.endpoints import open_source
from converters.endpoints.web import client
from kubeferry import uris
from kubeferry.errors import SourceUnavailable
from kubeferry.model import DiskRef
from lab.vcenter.place import made_certificate
from tests.needs import needs

pytestmark = needs("openssl")

SIZE = 1 << 20


def _answered(wanted: str, over: threading.Event, tls: ssl.SSLSocket) -> None:
    """The first byte at once, every other range a byte at a time; a whole file too."""
    asked = b""
    while not asked.endswith(b"\r\n\r\n"):
        asked += tls.recv(1) or b"\r\n\r\n"
    first = b"bytes=0-0" in asked
    last = 0 if first else SIZE - 1
    head = [f"HTTP/1.1 {wanted}", f"Content-Length: {last + 1}", f"Content-Range: bytes 0-{last}/{SIZE}", "", ""]
    tls.sendall("\r\n".join(head).encode())
    if first:
        tls.sendall(b"x")
        return
    while not over.wait(0.05):
        tls.sendall(b"x")


@pytest.fixture
def dripping(tmp_path: Path) -> Iterator[str]:
    """A server of one file; its URI."""
    certificate, key = made_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
    over = threading.Event()

    def connection(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as tls:
            while not over.is_set():
                _answered("206 Partial Content", over, tls)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=connection, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield uris.pinned(f"https://127.0.0.1:{listening.getsockname()[1]}/disk.img", pin)
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def test_an_answer_that_drips_has_a_deadline(dripping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.0)
    begun = time.monotonic()
    with (
        open_source(DiskRef(uri=dripping)) as opened,
        pytest.raises(SourceUnavailable, match="does not answer rightly") as caught,
    ):
        opened.read_into(0, memoryview(bytearray(SIZE)))
    assert "in time" in caught.value.why
    assert time.monotonic() - begun < 30
