"""Whether somebody listens at a place. A server makes its socket before it listens there: a socket says nothing."""

from __future__ import annotations

import socket
from pathlib import Path


def listens(place: Path | int) -> bool:
    """At a socket's path, or a port of loopback."""
    kind = socket.AF_INET if isinstance(place, int) else socket.AF_UNIX
    with socket.socket(kind) as probe:
        return probe.connect_ex(("127.0.0.1", place) if isinstance(place, int) else str(place)) == 0
