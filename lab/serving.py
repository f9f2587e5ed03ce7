"""A server of the lab that is over when it is closed: no line stays open, no thread of it runs on."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CLOSE_SECONDS = 10.0  # for a thread that is in the middle of an answer


class Server(ThreadingHTTPServer):
    """Each connection has a thread. A client that keeps its connection would keep that thread, so closing cuts it."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._lines: dict[threading.Thread, Any] = {}
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self._serve, args=(request, client_address), name="lab-line", daemon=True)
        self._lines[thread] = request
        thread.start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._lines.pop(threading.current_thread(), None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # clients that hang up, or are hung up on, are no news
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        lines = dict(self._lines)
        for line in lines.values():
            with contextlib.suppress(OSError):
                socket.socket.shutdown(line, socket.SHUT_RDWR)  # below TLS, whose own would wait for an answer
        for thread in lines:
            thread.join(CLOSE_SECONDS)
        super().server_close()


@contextlib.contextmanager
def running(server: Server, name: str) -> Iterator[None]:
    """The server answers for as long as the block lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name=name)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
