"""The figures by HTTP: `/metrics` for Prometheus, `/healthz` for whoever restarts what does not answer.

Reads only, knows no login, and is meant for loopback or a network of its own: what it tells are names of plans and
waves, and of machines whose source is off.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flows.metrics.collecting import Collector
from flows.metrics.exposition import OPEN_TYPE, PLAIN_TYPE, render
from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.outside.struck import without_secrets

AT_ONCE = 8
TEXT = "text/plain; charset=utf-8"

logger = logging.getLogger(__name__)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, collector: Collector) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.collector, self._room = collector, threading.BoundedSemaphore(AT_ONCE)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more than so many at once waits until one of them is answered, or was too slow."""
        self._room.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, *_given: Any) -> None:
        logger.info("a request was left: %s", sys.exception())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10
    server_version = "kubeferry"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path not in {"/metrics", "/healthz"}:
            self._say(HTTPStatus.NOT_FOUND, "There is /metrics, and /healthz.\n", TEXT)
            return
        open_metrics = "application/openmetrics-text" in self.headers.get("Accept", "")
        try:
            text = render(self.server.collector.collect(), open_metrics=open_metrics)
        except KubeferryError as error:
            logger.warning("nothing could be collected: %s", error.reason)
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, f"{without_secrets(error.what)}\n", TEXT)
            return
        if path == "/healthz":
            self._say(HTTPStatus.OK, "ok\n", TEXT)
        else:
            self._say(HTTPStatus.OK, text, OPEN_TYPE if open_metrics else PLAIN_TYPE)

    do_HEAD = do_GET  # noqa: N815 (the library's name)

    def _say(self, status: HTTPStatus, text: str, kind: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
        logger.debug(format, *args)


def place_of(text: str) -> tuple[str, int]:
    """HOST:PORT as a place to listen at. Raises InputInvalid."""
    host, found, port = text.rpartition(":")
    if not found or not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        fix = "Write HOST:PORT, 127.0.0.1:9469 for instance."
        raise InputInvalid("it cannot be listened there", [Problem(f"--listen {text}", "it is no place", fix)])
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def listening(collector: Collector, host: str, port: int) -> Iterator[str]:
    """Answer for as long as the block lasts; yields the address. Raises InputInvalid where the place is taken."""
    try:
        server = _Server(host, port, collector)
    except OSError as error:
        fix = "End what listens there, or name another place."
        problem = Problem(f"--listen {host}:{port}", error.strerror or str(error), fix)
        raise InputInvalid("it cannot be listened there", [problem]) from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics")
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
