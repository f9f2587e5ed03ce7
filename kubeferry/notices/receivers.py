"""Who is configured to be told, ready to be sent to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from kubeferry.documents import Webhook
from kubeferry.documents.notify import NotifyConfig
from kubeferry.errors import Problem
from kubeferry.notices.answers import Answer
from kubeferry.notices.deriving import names_of
from kubeferry.notices.mailing import MailReceiver
from kubeferry.notices.webhook import WebhookReceiver


class Sending(Protocol):
    """A way to one receiver."""

    def problems(self) -> list[Problem]:
        """What of its settings keeps every message from being sent."""

    def send(self, ident: str, body: dict[str, Any]) -> Answer:
        """Send one message, in a minute or two at most; only without `problems`. Raises nothing."""


def ways(settings: NotifyConfig, environ: Mapping[str, str]) -> dict[str, Sending]:
    """The way to each receiver, by the name that the outbox has for it."""
    found: dict[str, Sending] = {}
    for name, one in names_of(settings).items():
        if isinstance(one, Webhook):
            found[name] = WebhookReceiver(name.removeprefix("webhook/"), one, environ)
    if settings.mail:
        found["mail"] = MailReceiver(settings.mail, environ)
    return found
