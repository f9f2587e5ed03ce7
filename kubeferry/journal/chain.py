"""The chain that makes an edited or cut journal visible: each event's digest covers the one before it, and so does that
of each decision of a plan.

Pure. The last number and digest of each chain are kept apart from it, so that a cut tail is seen too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """One event as it is stored: everything that its digest covers."""

    plan: str
    machine: str
    seq: int
    kind: str
    payload: str
    at: str
    fence: int
    writer: str

    def digest(self, previous: str) -> str:
        """SHA-256 over the previous digest (empty for the first event) and this one's fields."""
        return chained(previous, astuple(self))


@dataclass(frozen=True, slots=True)
class DecisionLink:
    """One decision as it is stored: everything that its digest covers."""

    plan: str
    seq: int
    kind: str
    content: str
    at: str

    def digest(self, previous: str) -> str:
        """As for an event."""
        return chained(previous, astuple(self))


def chained(previous: str, fields: Sequence[object]) -> str:
    """SHA-256 over the digest before, and these fields."""
    content = json.dumps([previous, *fields], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def first_break(
    links: Iterable[tuple[Link | DecisionLink, str]],
    last_seq: int,
    last_digest: str,
    *,
    after: tuple[int, str] = (0, ""),
    noun: str = "event",
) -> str | None:
    """What is wrong with a chain, in words; None when it is whole. `links` are (event, its digest) by seq; `noun` is
    what they are called.

    The first of them follows `after`, a number and its digest.
    """
    seq, digest = after
    for link, stored in links:
        if link.seq != seq + 1:
            return f"{noun} {seq + 1} is missing"
        digest, seq = link.digest(digest), link.seq
        if digest != stored:
            return f"{noun} {seq} ({link.kind}) does not match its digest"
    if seq < last_seq:
        return f"{noun}s {seq + 1} to {last_seq} are missing"
    if (seq, digest) != (last_seq, last_digest):
        return f"the chain ends at {noun} {seq}, and {last_seq} was recorded as its end"
    return None
