"""The chain that makes an edited or cut journal visible: each event's digest covers the one before it.

Pure. The last number and digest of each machine are kept apart from its events, so that a cut tail is seen too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
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
        content = json.dumps([previous, *astuple(self)], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


def first_break(
    links: Iterable[tuple[Link, str]], last_seq: int, last_digest: str, *, after: tuple[int, str] = (0, "")
) -> str | None:
    """What is wrong with a machine's chain, in words; None when it is whole. `links` are (event, its digest) by seq.

    The first of them follows `after`, a number and its digest.
    """
    seq, digest = after
    for link, stored in links:
        if link.seq != seq + 1:
            return f"event {seq + 1} is missing"
        digest, seq = link.digest(digest), link.seq
        if digest != stored:
            return f"event {seq} ({link.kind}) does not match its digest"
    if seq < last_seq:
        return f"events {seq + 1} to {last_seq} are missing"
    if (seq, digest) != (last_seq, last_digest):
        return f"the chain ends at event {seq}, and {last_seq} was recorded as its end"
    return None
