"""A server that drips: each byte comes in time, the answer never ends. AWS's answers have a deadline as a whole."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from converters.endpoints.ebs import api as ebs
from kubeferry.errors import SourceUnavailable
from kubeferry.faults import Side
from kubeferry.outside import patience
from kubeferry.uris import EbsSnapshot

HEADS = {
    "head": b"HTTP/1.1 200 OK\r\nX-Long: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{",
    "block": b"HTTP/1.1 200 OK\r\nx-amz-Data-Length: 524288\r\nx-amz-Checksum: x\r\n"
    b"x-amz-Checksum-Algorithm: SHA256\r\nContent-Length: 524288\r\n\r\n",
}


@pytest.fixture
def dripping() -> Iterator[dict[str, bytes]]:
    """A server in the clear; `head` is what it says at once, `at` its address."""
    told: dict[str, bytes] = {}
    over = threading.Event()

    def connection(asked: socket.socket) -> None:
        with contextlib.suppress(OSError), asked:
            asked.recv(65536)
            asked.sendall(told["head"])
            while not over.wait(0.02):
                asked.sendall(b" ")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=connection, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        told["at"] = f"http://127.0.0.1:{listening.getsockname()[1]}".encode()
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield told
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", HEADS)
def test_an_answer_of_ebs_that_drips_has_a_deadline(
    dripping: dict[str, bytes], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(patience, "SLOWEST_BYTES", 4 << 20)
    monkeypatch.setattr(ebs, "TRIES", 2)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    dripping["head"] = HEADS[where]
    place = EbsSnapshot("eu-west-1", "snap-1", endpoint_url=dripping["at"].decode())
    snapshot = ebs.SnapshotApi(place, Side.SOURCE)
    ask = partial(snapshot.read, 0, 1 << 19, lambda _old: "token") if where == "block" else snapshot.volume_bytes
    begun = time.monotonic()
    with pytest.raises(SourceUnavailable, match="snap-1 failed"):
        ask()
    assert time.monotonic() - begun < 20
    assert snapshot.calls["again"] == 1
    snapshot.close()
