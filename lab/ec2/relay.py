"""The lab's cloud as a server: who asks, which service, which faults; then moto or the direct APIs."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lab.serving import Server, running

Answer = tuple[int, dict[str, str], bytes]
Respond = Callable[["Asked"], Answer]

_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
BODY_LIMIT = 1 << 20


class Asked:
    """A request: the caller's access key, region, service, and what is asked of it."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        scope = _SCOPE.search(headers.get("Authorization", ""))
        self.method, self.headers, self.body = method, headers, body
        self.key, self.region, self.service = scope.group("key", "region", "service") if scope else ("", "", "")
        parts = urlsplit(target)
        self.path, self.query_text = parts.path, parts.query
        self.query = dict(parse_qsl(parts.query))
        self.form = dict(parse_qsl(body.decode())) if self.service in {"autoscaling", "ec2", "sts"} else {}

    @property
    def operation(self) -> str:
        """The operation as boto3's models call it."""
        if self.service != "ebs":
            return self.form.get("Action", "")
        kinds = {"changedblocks": "ListChangedBlocks", "blocks": "ListSnapshotBlocks"}
        return kinds.get(self.path.rpartition("/")[2], "GetSnapshotBlock")


@contextlib.contextmanager
def serving(respond: Respond, address: str, clock: Callable[[], float]) -> Iterator[str]:
    """A server on an address of this machine for as long as the context lasts; its URL. `clock` tells its time."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), BODY_LIMIT)
            asked = Asked(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
            try:
                status, headers, body = respond(asked)
            except ConnectionAbortedError:  # a fault that a test asked for: the line is cut
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(clock() if timestamp is None else timestamp)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is http.server's)
            """Say nothing."""

    server = Server((address, 0), Handler)
    with running(server, "lab-ec2"):
        yield f"http://{address}:{server.server_address[1]}"
