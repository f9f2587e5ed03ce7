"""What a round's marker holds: its set of snapshots, and from which volume each disk was copied then. Pure.

A target disk is a device's, and volumes change places: what changed of a volume since it was copied to *this* disk is
all that may be left out. A marker of an earlier version names the set alone; then all is read once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubeferry.model import Marker

MAX_TOKEN = 200_000


@dataclass(frozen=True, slots=True)
class Copied:
    """`volumes` by disk id; both are empty for a marker that is not this source's, or is damaged."""

    view: str = ""
    volumes: Mapping[str, str] = field(default_factory=dict)


def token_of(view: str, volumes: Mapping[str, str]) -> str:
    """The token of a set of snapshots that shows these volumes, by disk id."""
    return json.dumps({"set": view, "volumes": dict(sorted(volumes.items()))}, separators=(",", ":"))


def copied_in(since: Marker | None, source: str) -> Copied:
    """What `token_of` put into a marker of this source."""
    if since is None or since.source != source or len(since.token) > MAX_TOKEN:
        return Copied()
    if since.token.isalnum():
        return Copied(since.token)
    try:
        told = json.loads(since.token)
        return Copied(str(told["set"]), {str(disk): str(volume) for disk, volume in told["volumes"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return Copied()
