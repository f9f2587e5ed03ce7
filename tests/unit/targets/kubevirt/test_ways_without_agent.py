"""The ways into a machine of a cluster that need no agent: pages through a forwarded port, pictures, and no packets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket

from kubeferry.documents import Probe
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.targets.guest import probes
from kubeferry.targets.guest.pages import Page
from kubeferry.targets.kubevirt.checks import rights
from kubeferry.targets.kubevirt.guest_access import GuestAccess

RUNNING = {"status": {"phase": "Running", "interfaces": [{"name": "default"}]}}


class Forwarded:
    """A double of a websocket that KubeVirt forwards a port by: bytes of a socket as frames. It knows neither masks nor
    pings, and ends without a handshake."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.open = True

    def settimeout(self, seconds: float) -> None:
        self._link.settimeout(seconds)

    def send_binary(self, data: bytes) -> None:
        self._link.sendall(data)

    def recv(self) -> bytes:
        try:
            frame = self._link.recv(100)
        except TimeoutError as error:
            raise websocket.WebSocketTimeoutException("Connection timed out") from error
        if not frame:
            raise websocket.WebSocketConnectionClosedException("socket is already closed.")
        return frame

    def close(self, timeout: float) -> None:
        self.open = False
        self._link.close()


class Cluster:
    """A double of a cluster that forwards one port, and has one picture. It asks for no rights, and lists nothing."""

    def __init__(self, link: socket.socket | None = None, picture: bytes = b"") -> None:
        self.forwarded = Forwarded(link) if link else None
        self.picture = picture
        self.asked: list[str] = []

    def websocket(self, path: str, **_options: Any) -> Forwarded:
        self.asked.append(path)
        assert self.forwarded is not None
        return self.forwarded

    def call(self, _method: str, path: str, **_options: Any) -> bytes:
        self.asked.append(path)
        return self.picture

    def list(self, *_asked: Any, **_options: Any) -> list[Any]:
        return []


def access(make: Any, cluster: Any, monkeypatch: pytest.MonkeyPatch, instance: Any = RUNNING) -> GuestAccess:
    found = GuestAccess(cluster, make.entry(), 0.0)
    monkeypatch.setattr(found, "_instance", instance)
    return found


@pytest.fixture
def guest() -> Iterator[Callable[[Callable[[socket.socket], None]], socket.socket]]:
    """A guest's end of a connection, in a thread; the other end."""
    threads: list[threading.Thread] = []

    def start(serve: Callable[[socket.socket], None]) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.settimeout(5)

        def served() -> None:
            with theirs:
                serve(theirs)

        threads.append(threading.Thread(target=served))
        threads[-1].start()
        return ours

    yield start
    for one in threads:
        one.join()


def test_a_page_comes_in_frames(make: Any, guest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def serve(link: socket.socket) -> None:
        heard.append(link.recv(4096))
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"shop " * 1000)

    cluster = Cluster(guest(serve))
    probe = Probe(kind="http", port=8080, path="/health", host="shop.example")
    assert access(make, cluster, monkeypatch).page(probe, 3.0) == Page(200, "shop " * 1000)
    assert heard[0].startswith(b"GET /health HTTP/1.1\r\nHost: shop.example\r\n")
    assert cluster.asked[0].endswith("/virtualmachineinstances/web/portforward/8080/tcp")
    assert cluster.forwarded is not None
    assert not cluster.forwarded.open


@pytest.mark.parametrize("tls", [None, "unchecked"])
def test_a_page_that_never_comes_has_no_more_time_than_there_is(
    make: Any, guest: Any, monkeypatch: pytest.MonkeyPatch, tls: str | None
) -> None:
    def drip(link: socket.socket) -> None:
        link.recv(4096)
        try:
            for drop in b"\x16HTTP/1.1 200 OK" * 20:
                link.sendall(bytes([drop]))
                time.sleep(0.05)
        except OSError:
            return

    began = time.monotonic()
    probe = Probe.model_validate({"kind": "http", "port": 80, "tls": tls})
    with pytest.raises(TargetUnavailable, match="no answer on port 80"):
        access(make, Cluster(guest(drip)), monkeypatch).page(probe, 0.5)
    assert time.monotonic() - began < 2


def test_a_connection_that_ends_early_gives_no_page(make: Any, guest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    way = access(make, Cluster(guest(lambda link: link.recv(4096))), monkeypatch)
    with pytest.raises(TargetUnavailable, match="no answer on port 80"):
        way.page(Probe(kind="http", port=80), 1.0)


def test_a_picture_is_taken_of_a_machine_that_runs(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(picture=b"a picture")
    assert access(make, cluster, monkeypatch).screen() == b"a picture"
    assert cluster.asked[0].endswith("/virtualmachineinstances/web/vnc/screenshot")
    waits = access(make, cluster, monkeypatch, {"status": {"phase": "Scheduling"}})
    with pytest.raises(TargetUnavailable, match="does not run yet"):
        waits.screen()


def test_packets_are_refused_at_once_with_the_reason(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    way = access(make, Cluster(), monkeypatch)
    with pytest.raises(TargetRefused, match="tells an ordinary account nothing"):
        way.sent()
    answer = probes.attempt(probes.question(Probe(kind="packets"), way, {}), 1.0)
    assert (answer.ok, answer.final) == (False, True)
    assert "`screen`" in answer.evidence


def test_who_looks_at_screens_must_be_allowed_to(make: Any) -> None:
    def needed(*kinds: str) -> set[bool]:
        asked = tuple(Probe.model_validate({"kind": kind}) for kind in kinds)
        found = rights.needed(make.request(make.entry(probes=asked)))
        return {right.looks for _, right in found if "/vnc" in right.resource}

    assert needed("agent") == {True}
    assert needed("agent", "screen") == {False}
    (told,) = rights.concerns(
        tuple(
            rights.Missing(right, "get", "apps")
            for _, right in rights.needed(make.request(make.entry(probes=(Probe(kind="screen"),))))
            if right.resource.endswith("/vnc")
        )
    )
    assert told.id == "cluster.permission-missing"
