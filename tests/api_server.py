"""A double of an API server that says who somebody is: it speaks HTTP, knows tokens and their users, makes tokens for
service accounts and reviews them for an audience.

It has no TLS, no roles but the right to review, no objects, and no audit log: the real one is in tests/cluster.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

ACCOUNT = "system:serviceaccount:apps:deployer"
USERS = {
    "ann-s": {"username": "ann@example.org", "uid": "u1", "groups": ["ops", "system:authenticated"]},
    "account-s": {"username": ACCOUNT, "uid": "u2", "groups": ["system:serviceaccounts"]},
    "pipeline-s": {"username": "system:serviceaccount:apps:kubeferry", "groups": []},
}


@dataclass
class ApiServer:
    """What it was asked, and the tokens that it made: token -> (user, audiences)."""

    url: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    made: dict[str, tuple[dict[str, Any], list[str]]] = field(default_factory=dict)
    may_review: bool = True

    def answer(self, path: str, user: dict[str, Any] | None, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append((path, body))
        if user is None:
            return 401, {"kind": "Status", "message": "Unauthorized"}
        match urlsplit(path).path:
            case "/apis/authentication.k8s.io/v1/selfsubjectreviews":
                return 201, {**body, "status": {"userInfo": user}}
            case "/apis/authentication.k8s.io/v1/tokenreviews":
                return self.review(user, body["spec"])
            case "/api/v1/namespaces/apps/serviceaccounts/deployer/token" if user["username"] == ACCOUNT:
                token = f"made-{len(self.made)}"
                self.made[token] = (user, body["spec"]["audiences"])
                return 201, {**body, "status": {"token": token, "expirationTimestamp": "2026-12-01T00:00:00Z"}}
        return 403, {"kind": "Status", "message": f"{user['username']} cannot do that", "reason": "Forbidden"}

    def review(self, user: dict[str, Any], spec: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not self.may_review:
            message = f'User "{user["username"]}" cannot create resource "tokenreviews"'
            return 403, {"kind": "Status", "message": message, "reason": "Forbidden"}
        found, audiences = self.made.get(spec["token"], (None, []))
        shared = [one for one in spec["audiences"] if one in audiences]
        if found is None or not shared:
            return 201, {"status": {"error": "token audiences are not for this"}}
        return 201, {"status": {"authenticated": True, "user": found, "audiences": shared}}


@contextlib.contextmanager
def serving() -> Iterator[ApiServer]:
    """The double, listening for as long as the block lasts."""
    told = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            status, content = told.answer(self.path, USERS.get(token), body)
            said = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()


def login(folder: Path, server: ApiServer, token: str) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / f"{token}.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path
