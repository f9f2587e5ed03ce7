"""HTTPS as disks need it: a server known by its certificate, a login from the environment, tries that are repeated.

A request that meets a busy or failing server (5xx, 429, a broken connection, an answer cut off) is sent again, a few
times, with growing pauses. A session that the server gives is kept and shared by all connections to it; where it has
expired, the login is shown again. Neither of them is ever part of an error.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import math
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar
from urllib.parse import SplitResult

from converters.uris import invalid, split
from kubeferry.errors import KubeferryError
from kubeferry.faults import Side, refused, unavailable
from kubeferry.outside import stopping
from kubeferry.uris import pin_of

TRIES = 5
FIRST_PAUSE_SECONDS = 0.2
SILENCE_SECONDS = 60.0
ANSWER_SECONDS = 120.0  # for an answer, or the next piece of one without end, however much of it drips in meanwhile
PASSING = frozenset({429, 500, 502, 503, 504})
AGAIN = "Check the server; then run the same again."
Found = TypeVar("Found")


@dataclass(slots=True)
class Login:
    """User and password of the environment, and the session that they became. Shared by clones."""

    basic: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def headers(self) -> dict[str, str]:
        if self.session is not None:
            return {"Cookie": self.session}
        return {"Authorization": f"Basic {self.basic}"} if self.basic else {}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URI points. `name` is how errors call it: no query, which may be as good as a login."""

    host: str
    port: int
    path: str
    pin: str | None
    name: str
    login: Login


def place_of(uri: str, scheme: str, environ: Mapping[str, str]) -> Place:
    """What an `https:` URI says. Raises InputInvalid."""
    plain, pin, prefix = _unpinned(uri)
    parts: SplitResult = split(plain)
    fix = f"Write {scheme}://HOST:PORT/PATH#sha256=DIGEST; user and password come from the environment."
    if parts.scheme != scheme or not parts.hostname or parts.username or parts.password:
        raise invalid(_shown(plain), "it names no server, or carries a login", fix)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        port = parts.port or 443
        parts.hostname.encode("idna")
        path.encode("ascii")
    except ValueError as error:
        raise invalid(_shown(plain), _said(error), fix) from error
    name = f"{parts.path.rpartition('/')[2] or parts.path} at {parts.hostname}:{port}"
    return Place(parts.hostname, port, path, pin, name, _login(prefix, environ))


def _said(error: ValueError) -> str:
    if not isinstance(error, UnicodeError):
        return str(error)
    return "its host is no name, or its path has signs that must be written as %XX"


def _shown(uri: str) -> str:
    """A URI for errors: without a login, and without its query, which may be as good as one."""
    return re.sub(r"//[^/@]*@", "//", uri.partition("#")[0].partition("?")[0])


def _unpinned(uri: str) -> tuple[str, str | None, str | None]:
    try:
        return pin_of(uri)
    except ValueError as error:
        raise invalid(_shown(uri), str(error), "Correct the part behind #.") from error


def _login(prefix: str | None, environ: Mapping[str, str]) -> Login:
    """The login that PREFIX_USERNAME and PREFIX_PASSWORD hold; none where the URI asks for none."""
    if prefix is None:
        return Login()
    user, password = environ.get(f"{prefix}_USERNAME"), environ.get(f"{prefix}_PASSWORD")
    if not user or not password:
        missing = " and ".join(
            f"{prefix}_{name}" for name, got in (("USERNAME", user), ("PASSWORD", password)) if not got
        )
        fix = "Set them in the environment; in a cluster they come from the source's Secret."
        raise refused(Side.SOURCE, "there is no login for the server", why=f"{missing} is not set", fix=fix)
    return Login(base64.b64encode(f"{user}:{password}".encode()).decode())


class _Patient(ssl.SSLSocket):
    """What is received has an end, by the monotonic clock."""

    until = math.inf

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """As of any socket. Raises TimeoutError when the time is over; each wait has a timeout besides."""
        if time.monotonic() >= self.until:
            raise TimeoutError("the answer did not come to its end in time")
        return super().recv_into(buffer, nbytes, flags)


class _Pinned(http.client.HTTPSConnection):
    """A connection whose server must show one certificate, compared before anything is said."""

    def __init__(self, place: Place, context: ssl.SSLContext) -> None:
        super().__init__(place.host, place.port, timeout=SILENCE_SECONDS, context=context)
        self._pin = place.pin
        self._place = place

    def connect(self) -> None:
        super().connect()
        shown = hashlib.sha256(self.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if self._pin is not None and shown != self._pin:
            self.close()
            raise refused(
                Side.SOURCE,
                f"the certificate of {self._place.host}:{self._place.port} is another one",
                why=f"pinned is SHA-256 {self._pin}, it shows {shown}",
                fix="If it was renewed on purpose, run the same command again; else find out who answers there.",
            )


class Broken(Exception):
    """A try that failed and may be repeated."""


class Client:
    """One connection to a place, made when it is first needed and again when it was lost."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._connection: _Pinned | None = None
        self._line: ssl.SSLSocket | None = None  # the connection lets go of it once the last answer has begun

    def send(self, headers: Mapping[str, str]) -> None:
        """Ask for the place; the answer comes with `answer`. Raises Broken."""
        stopping.check()
        if self._connection is None:
            self._connection = _Pinned(self.place, _context(self.place))
        try:
            self._connection.request("GET", self.place.path, headers={**headers, **self.place.login.headers()})
            self._line = self._connection.sock
        except ssl.SSLCertVerificationError as error:
            self.close()
            fix = "Pin the certificate (#sha256=DIGEST), or name its authority's file in SSL_CERT_FILE."
            name = f"the certificate of {self.place.host}:{self.place.port} is not trusted"
            raise refused(Side.SOURCE, name, why=error.verify_message, fix=fix) from error
        except (OSError, http.client.HTTPException) as error:
            self.lost(error)

    def patient(self) -> None:
        """What comes next is waited for from now on."""
        if isinstance(self._line, _Patient):
            self._line.until = time.monotonic() + ANSWER_SECONDS

    def answer(self) -> http.client.HTTPResponse:
        """The head of the answer; its body must be read before the next request. Raises Broken."""
        if self._connection is None:
            raise Broken("the connection was lost")
        self.patient()
        used = self.place.login.session
        try:
            found = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.lost(error)
        if found.status in PASSING:
            self.close()
            raise Broken(f"status {found.status}")
        if found.status == 401 and used is not None:
            self.close()
            with self.place.login.lock:
                if self.place.login.session == used:
                    self.place.login.session = None  # it has expired: show the login again
            raise Broken("the session has expired")
        self._keep(found)
        return found

    def _keep(self, found: http.client.HTTPResponse) -> None:
        cookie = found.getheader("Set-Cookie")
        if cookie and self.place.login.basic and found.status < 400:
            self.place.login.session = cookie.partition(";")[0]

    def lost(self, error: Exception) -> NoReturn:
        """Give the connection up. Raises Broken."""
        self.close()
        raise Broken(str(error) or type(error).__name__) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def wrong(self, status: int) -> KubeferryError:
        """The error for a status that will be the same next time."""
        whys = {
            401: ("the login is not accepted", "Correct the user and the password in the environment."),
            403: ("it is not allowed", "Give the user the right to read it."),
            404: ("it is not there", "Discover the source again; a lease that has ended gives this answer, too."),
        }
        what, fix = whys.get(status, (f"status {status}", "Look at the server's log."))
        return refused(Side.SOURCE, f"{self.place.name} cannot be read", why=f"{what} (status {status})", fix=fix)


def repeated(name: str, work: Callable[[int], Found]) -> Found:
    """What a piece of work gives, tried again while it is Broken; `work` is called with the number of the try. Raises
    SourceUnavailable after the last."""
    for attempt in range(TRIES - 1):
        try:
            return work(attempt)
        except Broken:
            stopping.pause(FIRST_PAUSE_SECONDS * 2**attempt)
    try:
        return work(TRIES - 1)
    except Broken as error:
        why = f"{error}, {TRIES} times"
        raise unavailable(Side.SOURCE, f"{name} does not answer rightly", why=why, fix=AGAIN) from error


def _context(place: Place) -> ssl.SSLContext:
    if place.pin is None:
        context = ssl.create_default_context()
        context.sslsocket_class = _Patient
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _Patient
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the certificate itself is compared
    return context
