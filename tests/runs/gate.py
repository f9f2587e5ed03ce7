"""A way to a Prefect server that a test closes, opens again, holds, or makes slow: a TCP proxy on loopback.

Closed: connections are refused, and those that stood are cut. Held: they are taken, and nothing is ever answered.
`after` requests it does so by itself, so that a run meets it at a certain point of its way. It knows no HTTP: a request
is whatever comes from a client at once.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

Way = Literal["open", "closed", "held", "slow"]
SLOW_SECONDS = 0.5


class Gate:
    """Use it as a context: at its end nothing of it is left."""

    def __init__(self, url: str, way: Way = "open", *, after: int = 0, then: Way = "open") -> None:
        self._behind = (str(urlsplit(url).hostname), int(urlsplit(url).port or 80))
        self.way: Way = way
        self._after, self._then = after, then
        self.requests = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listening: socket.socket | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"

    def __enter__(self) -> Gate:
        self.turn(self.way)
        return self

    def __exit__(self, *_error: object) -> None:
        self.turn("closed")
        for thread in self._threads:
            thread.join(10)

    def turn(self, way: Way) -> None:
        """From now on it is like this."""
        with self._lock:
            self.way = way
            if way != "closed":
                if self._listening is None:
                    self._listening = socket.create_server(("127.0.0.1", self.port))
                    self._begin(self._accept, self._listening)
                return
            if self._listening:
                self._listening.shutdown(socket.SHUT_RDWR)  # who waits there is woken
                self._listening.close()
                self._listening = None
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _begin(self, what: Callable[..., None], *given: socket.socket) -> None:
        self._threads.append(threading.Thread(target=what, args=given, daemon=True))
        self._threads[-1].start()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                with self._lock:
                    self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._behind) as server:
            with self._lock:
                self._open |= {client, server}
                self._begin(self._pump, server, client)
            try:
                self._requests(client, server)
            finally:
                server.shutdown(socket.SHUT_RDWR)
                with self._lock:
                    self._open -= {client, server}

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(65536):
            self.requests += 1
            if self._after and self.requests > self._after:
                self._after = 0
                self.turn(self._then)
            if self.way == "slow":
                time.sleep(SLOW_SECONDS)
            if self.way in {"open", "slow"}:
                server.sendall(data)

    def _pump(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.way in {"open", "slow"}:
                    client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
