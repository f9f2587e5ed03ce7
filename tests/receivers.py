"""Receivers of messages, as real as a test's process can have them: an HTTP server that behaves as it is told, and a
mail server that is strict about the order of SMTP's commands.

What they do not do: the mail server delivers nothing, and knows one login.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "a key that is long enough for anybody"


@dataclass(frozen=True)
class Got:
    """One request."""

    headers: dict[str, str]
    data: bytes
    path: str = "/"

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data)
        return found

    @property
    def ident(self) -> str:
        return self.headers["webhook-id"]

    def is_signed(self, key: str = KEY, *, within: float = 60) -> bool:
        """As a receiver checks it: by the standard's text, with nothing of ours."""
        at = self.headers["webhook-timestamp"]
        made = hmac.new(key.encode(), f"{self.ident}.{at}.".encode() + self.data, hashlib.sha256).digest()
        given = self.headers["webhook-signature"].split(" ")
        return f"v1,{base64.b64encode(made).decode()}" in given and abs(time.time() - int(at)) < within


@dataclass
class Listener:
    """What comes by HTTP. `answers` are given in their turn, then `then`: a status, or one of `redirect`, `cut` (no
    answer), `half` (the connection ends in the body of a 200), `hang` (until the test is over)."""

    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    then: int | str = 204
    got: list[Got] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    taken: list[str] = field(default_factory=list)
    """Ids of those messages that were answered with success."""

    def turn(self, got: Got) -> int | str:
        with self.lock:
            self.got.append(got)
            answer = self.answers.pop(0) if self.answers else self.then
            if isinstance(answer, int) and 200 <= answer < 300:
                self.taken.append(got.ident)
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    listener: Listener


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        listener = self.server.listener
        data = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.close_connection = True
        match listener.turn(Got(headers, data, self.path)):
            case "hang":
                listener.over.wait(60)
            case "half":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of it")
            case "redirect":
                self.answer(302, {"Location": f"{listener.url}/elsewhere"})
            case int(status):
                self.answer(status, listener.headers)

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if status != 204:
            self.wfile.write(b"why it is so")

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_given: Any) -> None:
        """Nobody reads it."""


@contextmanager
def listening(port: int = 0, folder: Path | None = None) -> Iterator[Listener]:
    """A listener on loopback; with a folder of certificates, by TLS."""
    with _Server(("127.0.0.1", port), _Handler) as server:
        if folder:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "server-cert.pem", folder / "server-key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        listener = server.listener = Listener(f"http{'s' if folder else ''}://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield listener
        finally:
            listener.over.set()
            server.shutdown()
            thread.join()


# --- mail -------------------------------------------------------------------------------------------------------------

USER, PASSWORD = "ferry", "swordfish-mail"


@dataclass
class Postbox:
    """What comes by SMTP. `refuse` are recipients with the code that they are refused with; `answer` is to the message
    itself; `hang` says nothing any more once a message begins."""

    port: int = 0
    starttls: bool = True
    login: bool = False
    got: list[tuple[str, tuple[str, ...], bytes]] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    greeting: bytes = b"220 postbox\r\n"


class _Conversation:
    """One connection; each command in its order, and nothing else."""

    def __init__(self, box: Postbox, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        self.box, self.connection, self.context = box, connection, context
        self.file = connection.makefile("rb")
        self.secure, self.greeted, self.known = isinstance(connection, ssl.SSLSocket), False, not box.login
        self.sender: str | None = None
        self.to: list[str] = []

    def say(self, *lines: str) -> None:
        for number, line in enumerate(lines):
            more = "-" if number < len(lines) - 1 else " "
            self.connection.sendall(f"{line[:3]}{more}{line[4:]}\r\n".encode())

    def run(self) -> None:
        self.connection.sendall(self.box.greeting)
        while line := self.file.readline(2048):
            assert line.endswith(b"\r\n"), line
            word, _, rest = line.decode("ascii").strip().partition(" ")
            if word.upper() == "QUIT":
                self.say("221 bye")
                return
            act = getattr(self, f"on_{word.lower()}", None)
            if act is None:
                self.say("502 unknown")
            else:
                act(rest)

    def on_ehlo(self, name: str) -> None:
        assert name
        self.greeted = True
        can = ["250 postbox"]
        can += ["250 STARTTLS"] if self.context and not self.secure and self.box.starttls else []
        can += ["250 AUTH PLAIN"] if self.box.login and self.secure else []
        self.say(*can)

    def on_starttls(self, _rest: str) -> None:
        assert self.greeted
        assert self.context
        self.say("220 go ahead")
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.file = self.connection.makefile("rb")
        self.secure, self.greeted = True, False

    def on_auth(self, rest: str) -> None:
        assert self.secure
        kind, _, given = rest.partition(" ")
        assert kind == "PLAIN"
        self.known = base64.b64decode(given).split(b"\0")[1:] == [USER.encode(), PASSWORD.encode()]
        self.say("235 welcome" if self.known else "535 who are you")

    def on_mail(self, rest: str) -> None:
        if not (self.greeted and self.known):
            self.say("530 not yet")
            return
        self.sender = rest.removeprefix("FROM:").partition(">")[0].removeprefix("<")
        self.to = []
        self.say("250 ok")

    def on_rcpt(self, rest: str) -> None:
        assert self.sender
        name = rest.removeprefix("TO:").partition(">")[0].removeprefix("<")
        if code := self.box.refuse.get(name):
            self.say(f"{code} not here")
            return
        self.to.append(name)
        self.say("250 ok")

    def on_rset(self, _rest: str) -> None:
        self.sender, self.to = None, []
        self.say("250 ok")

    def on_data(self, _rest: str) -> None:
        assert self.sender
        assert self.to
        self.say("354 go on")
        lines: list[bytes] = []
        while (line := self.file.readline(2048)) != b".\r\n":
            assert line.endswith(b"\r\n"), line
            assert len(line) <= 1000
            lines.append(line.removeprefix(b"."))
        code = self.box.answers.pop(0) if self.box.answers else 250
        if code == 250:
            self.box.got.append((self.sender, tuple(self.to), b"".join(lines)))
            self.box.secured.append(self.secure)
        self.say(f"{code} that is that")


@contextmanager
def postbox(folder: Path | None = None, *, implicit: bool = False, login: bool = False) -> Iterator[Postbox]:
    """A mail server on loopback; with a folder of certificates it offers STARTTLS, or speaks TLS from the start."""
    box = Postbox(login=login)
    context = None
    if folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server-cert.pem", folder / "server-key.pem")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # who asks does not trust us, or has gone
                connection = (
                    context.wrap_socket(self.request, server_side=True) if context and implicit else self.request
                )
                conversation = _Conversation(box, connection, context)
                try:
                    conversation.run()
                finally:
                    conversation.file.close()
                    conversation.connection.close()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
