"""Many messages of one wave as one, which lists them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from kubeferry.journal.outbox import Body, Parcel
from kubeferry.words import counted

DIGEST = "digest"
LISTED = ("id", "time", "event", "app", "machine", "from", "to", "reason", "fix")
"""What the list of a digest has of each of its messages."""

_TEXT = 200  # signs of a reason or a fix, each of up to two hundred machines


def body_of(parcel: Parcel) -> Body:
    """What is sent: the message itself, or the digest of several. A digest has the fields of any message, those in
    which all agree, and `machines`, a list."""
    if not parcel.digest:
        return parcel.bodies[0]
    bodies = parcel.bodies
    events = Counter(str(body["event"]) for body in bodies)
    told = ", ".join(f"{number} {event}" for event, number in events.items())
    alike = {name: _of_all([body.get(name) for body in bodies]) for name in ("app", "from", "to", "actor")}
    return {
        **dict.fromkeys(bodies[0]),
        "event": DIGEST,
        "time": max(str(body["time"]) for body in bodies),
        "id": parcel.key,
        "plan": bodies[0]["plan"],
        "wave": bodies[0]["wave"],
        **alike,
        "reason": f"{counted(len(bodies), 'message')}: {told}",
        "fix": _of_all([body["fix"] for body in bodies]) or "",
        "page": _of_all([body["page"] for body in bodies]),
        "machines": [{name: _short(body.get(name)) for name in LISTED} for body in bodies],
    }


def _of_all(values: Sequence[Any]) -> Any:
    return values[0] if all(one == values[0] for one in values) else None


def _short(value: Any) -> Any:
    return f"{value[: _TEXT - 1]}…" if isinstance(value, str) and len(value) > _TEXT else value
