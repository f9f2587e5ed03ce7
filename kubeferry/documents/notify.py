"""Who is told what happens to machines, and where. Secrets stand in the environment; here stand the names."""

from __future__ import annotations

import re
from enum import StrEnum
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from kubeferry.documents.base import EnvName, ShortName
from kubeferry.shapes import Value

DIGEST_ABOVE = 10
THIS_HOST = frozenset({"localhost", "127.0.0.1", "::1"})
PAGE_WORDS = frozenset({"plan", "digest", "wave", "app", "machine"})
"""What `pages` may name in braces."""

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class NoticeKind(StrEnum):
    """What a receiver can be told of. Most are events of a machine's life and called like them; `failed` is no stop
    that was asked for, and the same failure again is told once. `deferred`: its window did not allow the cutover.
    `alarm`: somebody has to look at once, the old machine of one that has moved runs, say. `approval-wanted`: a wave
    waits for a person."""

    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    COMMITTED = "committed"
    DEFERRED = "deferred"
    ALARM = "alarm"
    APPROVAL_WANTED = "approval-wanted"
    APPROVED = "approved"
    SYNCED = "synced"
    REHEARSED = "rehearsed"
    CUTOVER_BEGUN = "cutover-begun"
    SOURCE_STOPPED = "source-stopped"
    STARTED = "started"
    VALIDATED = "validated"
    ROLLBACK_BEGUN = "rollback-begun"
    SOURCE_RESTARTED = "source-restarted"
    RELEASED = "released"


MUST_KNOW = (
    NoticeKind.FAILED,
    NoticeKind.ROLLED_BACK,
    NoticeKind.COMMITTED,
    NoticeKind.DEFERRED,
    NoticeKind.ALARM,
    NoticeKind.APPROVAL_WANTED,
)
"""What is told by default: what a person has to know, or to do something about."""


class Receiver(Value):
    """`events`: what is told. `plans` and `waves`: only of those by these names (`*` stands for anything); all of them
    where none is named. Where more than `digest_above` messages of one wave are due at once, one message lists them."""

    events: Annotated[tuple[NoticeKind, ...], Field(min_length=1)] = MUST_KNOW
    plans: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    waves: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    digest_above: Annotated[int, Field(ge=1, le=100)] = DIGEST_ABOVE


class Webhook(Receiver):
    """An address that takes messages by HTTP POST, signed as Standard Webhooks has it.

    `url`, or, where the address is itself a secret, `url_env`: the variable of the environment that holds it. It is
    `https:`; `http:` for this host alone. `secret_env` names the variable that holds the key: `whsec_` and base64, or
    any text of at least 24 signs.
    """

    url: str | None = None
    url_env: EnvName | None = None
    secret_env: EnvName

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is not None and (problem := address_problem(url)):
            raise ValueError(problem)
        return url

    @model_validator(mode="after")
    def _one_address(self) -> Webhook:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give either url, or urlEnv for an address that is a secret")
        return self


class Mail(Receiver):
    """A mail server. `tls`: `starttls` (port 587 if none is given) and `tls` (465) check its certificate; `none` (25)
    is for a server without a login. `user_env` and `password_env` name the variables that hold the login."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user_env: EnvName | None = None
    password_env: EnvName | None = None
    sender: str
    to: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]

    @field_validator("sender", "to")
    @classmethod
    def _are_addresses(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for one in (given,) if isinstance(given, str) else given:
            if not _ADDRESS.fullmatch(one):
                raise ValueError(f"{one!r} is no mail address; write NAME@DOMAIN, and nothing else")
        return given

    @model_validator(mode="after")
    def _login_is_whole(self) -> Mail:
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("a login needs both userEnv and passwordEnv")
        if self.user_env and self.tls == "none":
            raise ValueError("a login is not sent without TLS; write tls: starttls or tls: tls")
        return self

    @property
    def at_port(self) -> int:
        """The port that is meant."""
        return self.port or _PORTS[self.tls]


class NotifyConfig(Value):
    """Receivers by name. `pages` is where the reports can be read, for the link in a message, with {plan}, {digest},
    {wave}, {app} and {machine} where they belong: `https://reports.example/{plan}/report.html`."""

    webhooks: dict[ShortName, Webhook] = {}
    mail: Mail | None = None
    pages: str | None = None

    @field_validator("pages")
    @classmethod
    def _names_known_words(cls, pages: str | None) -> str | None:
        if pages is None:
            return None
        try:
            named = [(name, form, turn) for _, name, form, turn in Formatter().parse(pages) if name is not None]
        except ValueError as error:
            raise ValueError(f"its braces do not match: {error}") from None
        if any(name not in PAGE_WORDS or form or turn for name, form, turn in named):
            raise ValueError(f"it may name {', '.join(f'{{{word}}}' for word in sorted(PAGE_WORDS))} and nothing else")
        if _split(pages) is None:
            raise ValueError("write an address that begins with https:// or http://")
        return pages


def address_problem(url: str) -> str:
    """What is wrong with a webhook's address, in words that do not tell it; empty where nothing is."""
    parts = _split(url)
    if parts is None:
        return "it is no address; write https://HOST/PATH"
    if parts.username is not None or parts.password is not None:
        return "it carries a login; an address that is a secret goes into the environment: write urlEnv"
    if parts.scheme == "http" and parts.hostname not in THIS_HOST:
        return "it is not encrypted; write https://, or http:// for this host alone"
    return ""


def _split(url: str) -> SplitResult | None:
    """The parts of an address by HTTP that a request can be sent to; None for anything else."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"https", "http"} and bool(parts.hostname) and (parts.port or 1) > 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        return None
    return parts if fits and url.isascii() and url.isprintable() and " " not in url else None
