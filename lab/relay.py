"""A relay in front of an API server that spoils answers: for tests of what a client makes of them.

It speaks plain HTTP to the client and passes everything on, headers included. What a `Fault` names is answered with its
status instead of, or (`after`) in spite of, what the server does. It does not pass websockets or watches on.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from lab.serving import Server, running

FORWARDED = ("authorization", "content-type", "accept", "user-agent")
TIMEOUT_SECONDS = 60


@dataclass
class Fault:
    """`times` requests of this method whose path matches are answered so. `after`: the server does its part first."""

    method: str
    path: str
    status: int
    message: str
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: bool = False
    met: int = 0

    def meets(self, method: str, path: str) -> bool:
        if method != self.method or self.met >= self.times or not re.search(self.path, path):
            return False
        self.met += 1
        return True

    def body(self) -> bytes:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": self.message}
        return json.dumps(status | {"reason": self.reason, "code": self.status}).encode()


@contextmanager
def relay(kubeconfig: Path, faults: list[Fault], dest: Path) -> Iterator[Path]:
    """The kubeconfig of the relay, written to `dest`: the same account as in `kubeconfig`, another way."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    server = Server(("127.0.0.1", 0), _handler(cluster, faults))
    document["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_port}"}
    dest.touch(mode=0o600)
    dest.write_text(yaml.safe_dump(document))
    with running(server, "lab-relay"):
        yield dest


def _handler(cluster: dict[str, str], faults: list[Fault]) -> type[BaseHTTPRequestHandler]:
    parts = urlsplit(cluster["server"])
    tls = ssl.create_default_context(cadata=_authority(cluster))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                fault = next((one for one in faults if one.meets(self.command, self.path)), None)
            if fault is None or fault.after:
                status, kind, said = self._ask(body)
            if fault is not None:
                status, kind, said = fault.status, "application/json", fault.body()
            self.send_response(status)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(said))}.items():
                self.send_header(key, value)
            for key, value in (fault.headers if fault else {}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(said)

        def _ask(self, body: bytes) -> tuple[int, str, bytes]:
            way = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=tls, timeout=TIMEOUT_SECONDS)
            headers = {key: self.headers[key] for key in FORWARDED if self.headers[key]}
            way.request(self.command, self.path, body=body or None, headers=headers)
            answer = way.getresponse()
            said = answer.read()
            way.close()
            return answer.status, answer.headers.get("Content-Type", ""), said

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 (the base class asks for these names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Handler


def _authority(cluster: dict[str, str]) -> str:
    if "certificate-authority-data" in cluster:
        return base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Path(cluster["certificate-authority"]).read_text()
