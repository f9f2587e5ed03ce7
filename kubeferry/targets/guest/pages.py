"""One page of a web server in a guest, over whatever leads there: HTTP/1.1, inside TLS where the probe asks for it.

What comes is the guest's: it is bounded in size and in time, and no redirect is followed, since it may lead anywhere.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import string
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from kubeferry.documents import Probe
from kubeferry.errors import TargetUnavailable
from kubeferry.targets.guest.agent import printable

BODY_LIMIT_BYTES = 1024 * 1024
PIECE_BYTES = 16 * 1024
LEAST_SECONDS = 0.001  # none at all would be no wait, but no end of one either
OK = 200

Done = TypeVar("Done")
Way = TypeVar("Way")


@dataclass(frozen=True, slots=True)
class Page:
    """What a web server in the guest answered; `location` is where it would send a browser."""

    status: int
    body: str
    location: str = ""


class Link(Protocol):
    """A connection to a port of the guest. Failures are OSError."""

    def send(self, data: bytes) -> None:
        """All of it."""

    def receive(self, seconds: float) -> bytes:
        """What comes next, empty at the end. Raises TimeoutError where nothing comes in this time."""


class SocketLink:
    """A socket that leads to the guest, as a `Link`."""

    def __init__(self, opened: socket.socket) -> None:
        self._opened = opened

    def send(self, data: bytes) -> None:
        self._opened.sendall(data)

    def receive(self, seconds: float) -> bytes:
        self._opened.settimeout(seconds)
        return self._opened.recv(PIECE_BYTES)


def wanted(probe: Probe, page: Page) -> bool:
    """Whether a page is the one that the probe asks for."""
    return page.status == (probe.status or OK) and (probe.expect or "") in page.body


def from_any(probe: Probe, ways: Sequence[Way], ask: Callable[[Way], Page]) -> Page:
    """The page that is wanted, from whichever of these ways gives it; else what the first one that answers gives.
    Raises what the first one raised where none answers. There is at least one way."""
    found: list[Page] = []
    silent: list[TargetUnavailable] = []
    for way in ways:
        try:
            found.append(ask(way))
        except TargetUnavailable as error:
            silent.append(error)
    if not found:
        raise silent[0]
    return next((page for page in found if wanted(probe, page)), found[0])


def shown(page: Page) -> str:
    """A page in words."""
    leads = f" (sends to {printable(page.location)}, which is not followed)" if page.location else ""
    return f"{page.status}{leads}: {printable(page.body) or 'an empty page'}"


def get(link: Link, probe: Probe, seconds: float) -> Page:
    """The page that the probe names, all of it within `seconds`. Raises TargetUnavailable where none comes."""
    limit = time.monotonic() + seconds

    def left() -> float:
        remaining = limit - time.monotonic()
        if remaining <= 0:
            raise TimeoutError(f"no whole answer within {seconds:.1f} s")
        return remaining

    try:
        way: Link = link if probe.tls is None else _Secured(link, probe, left)
        way.send(_request(probe))
        response = http.client.HTTPResponse(_Socket(_Stream(way, left)))  # type: ignore[arg-type]
        response.begin()
        body = response.read(BODY_LIMIT_BYTES).decode(errors="replace")
        return Page(response.status, body, response.getheader("Location") or "")
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = printable(str(error) or type(error).__name__)
        raise TargetUnavailable(f"no answer on port {probe.port}: {why}") from error


def _request(probe: Probe) -> bytes:
    """What is no printable ASCII of the path is written with percent signs: it can end neither line nor request."""
    path, host = quote(probe.path or "/", safe=string.punctuation), probe.host or "localhost"
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii")


def _context(probe: Probe) -> ssl.SSLContext:
    """TLS as this host trusts it; where nothing is checked, also as old systems speak it."""
    context = ssl.create_default_context()
    if probe.tls == "unchecked":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


class _Secured:
    """TLS over a link."""

    def __init__(self, link: Link, probe: Probe, left: Callable[[], float]) -> None:
        self._link = link
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context(probe).wrap_bio(self._coming, self._going, server_hostname=probe.host)
        self._until_done(self._tls.do_handshake, left)

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._link.send(self._going.read())

    def receive(self, seconds: float) -> bytes:
        limit = time.monotonic() + seconds
        try:
            return self._until_done(
                lambda: self._tls.read(PIECE_BYTES), lambda: max(limit - time.monotonic(), LEAST_SECONDS)
            )
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):  # many servers end without saying so
            return b""

    def _until_done(self, act: Callable[[], Done], left: Callable[[], float]) -> Done:
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                self._flush()
                came = self._link.receive(left())
                if came:
                    self._coming.write(came)
                else:
                    self._coming.write_eof()
            finally:
                self._flush()

    def _flush(self) -> None:
        if self._going.pending:
            self._link.send(self._going.read())


class _Stream(io.RawIOBase):
    """What comes over a link as a stream of bytes, for the standard library's HTTP client."""

    def __init__(self, link: Link, left: Callable[[], float]) -> None:
        self._link = link
        self._left = left
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._held:
            self._held = self._link.receive(self._left())
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count


class _Socket:
    """What `http.client.HTTPResponse` asks of a socket."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._stream)
