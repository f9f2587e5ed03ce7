"""A message by HTTP POST (`kubeferry.outside.posting`), and what a receiver's answer means.

An address may be as good as a password: no text of ours has more of it than its host.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from kubeferry import __version__
from kubeferry.documents import Webhook
from kubeferry.documents.notify import address_problem
from kubeferry.errors import Problem
from kubeferry.notices.answers import Answer, Fate
from kubeferry.notices.notice import bounded
from kubeferry.notices.signing import BadKey, headers, key_of
from kubeferry.outside.posting import Posted, in_words, post
from kubeferry.outside.struck import without_secrets
from kubeferry.passwords import carried

SILENCE_SECONDS = 10.0
LARGEST_BODY = 1 << 20  # what many servers take at most
LONGEST_WAIT_SECONDS = 3600.0
MAKES_KEY = "echo whsec_$(openssl rand -base64 32)"
PASSING = frozenset({408, 425, 429})

_SAID = 200


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
        try:
            answer = post(self._address, data, sent, SILENCE_SECONDS)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(Fate.AWAY, _fit(in_words(error, self._address, SILENCE_SECONDS)))
        return Answer(Fate.TAKEN, f"{answer.status} {answer.reason}".strip()) if answer.took else _of_status(answer)


def _of_status(answer: Posted) -> Answer:
    """An answer that is no success: a receiver that is busy or broken takes the same message later, any other has
    understood it and does not want it."""
    told = f"{answer.status} {answer.reason}".strip()
    if answer.leads_elsewhere:
        return Answer(Fate.REFUSED, _fit(f"{told}: it leads elsewhere, and no redirect is followed"))
    if answer.body:
        told = f"{told}: {answer.body}"
    if answer.status >= 500 or answer.status in PASSING:
        return Answer(Fate.AWAY, _fit(told), _wait_asked_for(answer.retry_after))
    return Answer(Fate.REFUSED, _fit(told))


def _wait_asked_for(text: str) -> float:
    """Seconds; a date is none of our business, the usual pauses do."""
    return min(float(text), LONGEST_WAIT_SECONDS) if text.isascii() and text.isdigit() else 0.0


def _fit(text: str) -> str:
    return bounded(without_secrets(text), _SAID)
