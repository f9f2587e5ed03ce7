"""A request by HTTP POST: one address, a time to its end, no redirect, and no more of the answer than is told of it.

Certificates are checked, by those that this host trusts (`SSL_CERT_FILE` names others); proxies are those of the
environment (HTTPS_PROXY, NO_PROXY).
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kubeferry.outside.patience import TimedResponse

READ_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Posted:
    """An answer: its status, the beginning of its body, and what it says of when to come again."""

    status: int
    reason: str
    body: str = ""
    retry_after: str = ""

    @property
    def took(self) -> bool:
        """Whether it was taken: 200 to 299."""
        return 200 <= self.status < 300

    @property
    def leads_elsewhere(self) -> bool:
        return 300 <= self.status < 400


def post(address: str, data: bytes, headers: Mapping[str, str], seconds: float) -> Posted:
    """Send it. Raises OSError, HTTPException and ValueError for whatever keeps an answer from coming in so many
    seconds: for the connection, for the answer's head, and for its body, each."""
    request = urllib.request.Request(address, data=data, headers=dict(headers), method="POST")  # noqa: S310 (checked)
    opener = urllib.request.build_opener(_handler(seconds), _secure_handler(seconds), _NoRedirect)
    with _answered(opener, request, seconds) as answer:
        return Posted(answer.status, str(answer.reason), _beginning(answer), answer.headers.get("Retry-After", ""))


def in_words(error: Exception, address: str, seconds: float) -> str:
    """What kept an answer from coming, without more of the address than its host."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        told = f"no answer within {seconds:g} seconds"
    elif isinstance(reason, OSError):
        told = reason.strerror or str(reason)
    else:
        told = str(reason) or type(reason).__name__
    host = urlsplit(address).hostname
    return f"{host}: {told}".replace(address, str(host))


# --- inside ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _answered(opener: urllib.request.OpenerDirector, request: urllib.request.Request, seconds: float) -> Iterator[Any]:
    """The answer, whatever its status."""
    try:
        with opener.open(request, timeout=seconds) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        with error:
            yield error


def _beginning(answer: Any) -> str:
    try:
        return str(answer.read(READ_BYTES).decode(errors="replace")).strip()
    except (OSError, http.client.HTTPException, ValueError):  # it has said enough
        return ""


def _response(seconds: float) -> type[TimedResponse]:
    class Answer(TimedResponse):
        """An answer that is there within seconds, head and body, or not at all."""

        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            self._timed.within(seconds)

        def begin(self) -> None:
            super().begin()
            self._timed.within(seconds)

    return Answer


def _handler(seconds: float) -> urllib.request.HTTPHandler:
    class Plain(http.client.HTTPConnection):
        response_class = _response(seconds)

    class Handler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, req)

    return Handler()


def _secure_handler(seconds: float) -> urllib.request.HTTPSHandler:
    class Secure(http.client.HTTPSConnection):
        response_class = _response(seconds)

    class Handler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, req, context=ssl.create_default_context())

    return Handler()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is meant for one address goes to no other one."""

    def redirect_request(self, *_given: Any) -> None:
        return None
