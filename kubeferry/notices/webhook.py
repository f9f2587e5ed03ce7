"""A message by HTTP POST: one address, a few seconds, no redirect, and no more of the answer than is told of it.

Certificates are checked, by those that this host trusts (`SSL_CERT_FILE` names others); proxies are those of the
environment (HTTPS_PROXY, NO_PROXY). An address may be as good as a password: no text of ours has more of it than its
host.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kubeferry import __version__
from kubeferry.documents import Webhook
from kubeferry.documents.notify import address_problem
from kubeferry.errors import Problem
from kubeferry.notices.answers import Answer, Fate
from kubeferry.notices.notice import bounded
from kubeferry.notices.signing import BadKey, headers, key_of
from kubeferry.outside.patience import TimedResponse
from kubeferry.outside.struck import without_secrets
from kubeferry.passwords import carried

SILENCE_SECONDS = 10.0
LARGEST_BODY = 1 << 20  # what many servers take at most
LONGEST_WAIT_SECONDS = 3600.0
MAKES_KEY = "echo whsec_$(openssl rand -base64 32)"
PASSING = frozenset({408, 425, 429})

_READ = 2048  # bytes of an answer
_SAID = 200


class _Answer(TimedResponse):
    """An answer that is there within seconds, head and body, or not at all."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._timed.within(SILENCE_SECONDS)

    def begin(self) -> None:
        super().begin()
        self._timed.within(SILENCE_SECONDS)


class _Plain(http.client.HTTPConnection):
    response_class = _Answer


class _Secure(http.client.HTTPSConnection):
    response_class = _Answer


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Plain, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Secure, req, context=ssl.create_default_context())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is signed for one address goes to no other one."""

    def redirect_request(self, *_given: Any) -> None:
        return None


class WebhookReceiver:
    """An address of the configuration."""

    def __init__(self, name: str, settings: Webhook, environ: Mapping[str, str]) -> None:
        self._where, self._settings, self._environ = f"notify.webhooks.{name}", settings, environ

    def problems(self) -> list[Problem]:
        """What of its settings keeps every message from being sent: a variable that is not set, or holds no key."""
        found = []
        for field, variable in (("urlEnv", self._settings.url_env), ("secretEnv", self._settings.secret_env)):
            if variable and not self._environ.get(variable):
                what = f"the environment has no {variable}"
                found.append(Problem(f"{self._where}.{field}", what, f"Set {variable}."))
        if found:
            return found
        if self._settings.url_env and (what := address_problem(self._address) or carried(self._address)):
            found.append(Problem(f"{self._where}.urlEnv", what, f"Correct {self._settings.url_env}."))
        try:
            key_of(self._environ[self._settings.secret_env])
        except BadKey as error:
            fix = (
                f"Put another key into {self._settings.secret_env}: `echo whsec_$(openssl rand -base64 32)` makes one."
            )
            found.append(Problem(f"{self._where}.secretEnv", str(error), fix))
        return found

    @property
    def _address(self) -> str:
        return self._settings.url or self._environ.get(self._settings.url_env or "", "").strip()

    def send(self, ident: str, body: dict[str, Any]) -> Answer:
        """Send one message. Raises nothing that a receiver, or the way there, can cause."""
        data = json.dumps(body, ensure_ascii=False).encode()
        if len(data) > LARGEST_BODY:
            return Answer(Fate.REFUSED, f"the message has {len(data)} bytes, and no more than {LARGEST_BODY} are sent")
        key = key_of(self._environ[self._settings.secret_env])
        sent = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": f"kubeferry/{__version__}",
            **headers(key, ident, int(time.time()), data),
        }
        request = urllib.request.Request(self._address, data=data, headers=sent, method="POST")  # noqa: S310 (checked)
        opener = urllib.request.build_opener(_PlainHandler, _SecureHandler, _NoRedirect)
        try:
            with opener.open(request, timeout=SILENCE_SECONDS) as answer:
                return Answer(Fate.TAKEN, f"{answer.status} {answer.reason}".strip())
        except urllib.error.HTTPError as error:
            with error:
                return _of_status(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(Fate.AWAY, self._in_words(error))

    def _in_words(self, error: Exception) -> str:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            told = f"no answer within {SILENCE_SECONDS:.0f} seconds"
        elif isinstance(reason, OSError):
            told = reason.strerror or str(reason)
        else:
            told = str(reason) or type(reason).__name__
        host = urlsplit(self._address).hostname
        return _fit(f"{host}: {told}".replace(self._address, str(host)))


def _of_status(error: urllib.error.HTTPError) -> Answer:
    """An answer that is no success: a receiver that is busy or broken takes the same message later, any other has
    understood it and does not want it."""
    told = f"{error.code} {error.reason}".strip()
    if 300 <= error.code < 400:
        return Answer(Fate.REFUSED, _fit(f"{told}: it leads elsewhere, and no redirect is followed"))
    if text := _beginning(error):
        told = f"{told}: {text}"
    if error.code >= 500 or error.code in PASSING:
        return Answer(Fate.AWAY, _fit(told), _wait_asked_for(error.headers.get("Retry-After", "")))
    return Answer(Fate.REFUSED, _fit(told))


def _beginning(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(_READ).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException, ValueError):  # it has said enough
        return ""


def _wait_asked_for(text: str) -> float:
    """Seconds; a date is none of our business, the usual pauses do."""
    return min(float(text), LONGEST_WAIT_SECONDS) if text.isascii() and text.isdigit() else 0.0


def _fit(text: str) -> str:
    return bounded(without_secrets(text), _SAID)
