"""Notice: what a message says, as its JSON has it. Whoever makes one bounds its text. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pydantic import Field

from kubeferry.shapes import Value
from kubeferry.words import plain

LONGEST_TEXT = 1000
LONGEST_NAME = 253


class Actor(Value):
    """Who did it, and how that is known: `process` (the one that wrote the event), `claimed` (a person who said so),
    `signed` (a signature that was checked), `kubernetes` (a cluster's word)."""

    identity: str
    how: str


class Notice(Value):
    """One thing that happened. `event` is its kind; `from` and `to` are the machine's phases before and after it.
    `time` is when it happened (UTC, ISO 8601). `wave`, `app` and `machine` are null where it is about none; so is
    `page` without an address for it."""

    event: str
    time: str
    id: str
    plan: str
    wave: str | None = None
    app: str | None = None
    machine: str | None = None
    before: str | None = Field(default=None, alias="from")
    after: str | None = Field(default=None, alias="to")
    reason: str = ""
    fix: str = ""
    page: str | None = None
    actor: Actor | None = None

    def body(self) -> dict[str, Any]:
        """As JSON has it."""
        return self.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What messages say of a plan: its name, and each machine's wave and app."""

    digest: str
    name: str
    waves: Mapping[str, str] = field(default_factory=dict)
    apps: Mapping[str, str] = field(default_factory=dict)


def bounded(text: str, most: int = LONGEST_TEXT) -> str:
    """The text on one line, cut where it is too long."""
    flat = plain(text)
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def id_of(journal: str, *parts: str | int) -> str:
    """The id of a message, the same whoever makes it, and however often."""
    return hashlib.sha256("\n".join([journal, *map(str, parts)]).encode()).hexdigest()[:32]


def page_of(pages: str | None, facts: PlanFacts, machine: str | None, wave: str | None) -> str | None:
    """Where the page of it is; None without an address for pages."""
    if pages is None:
        return None
    app = facts.apps.get(machine or "", "")
    words = {"plan": facts.name, "digest": facts.digest, "wave": wave or "", "app": app, "machine": machine or ""}
    return pages.format(**{name: quote(word, safe="") for name, word in words.items()})
