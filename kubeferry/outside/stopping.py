"""The one place that says "stop now". Whoever waits, waits here, so that Ctrl-C is answered at once everywhere.

A signal handler calls `request`; every polling loop calls `pause` (or `check`), which raises Interrupted. What was made
durable stays; the same command goes on from there.
"""

from __future__ import annotations

import threading

from kubeferry.errors import Interrupted

_requested = threading.Event()


def request() -> None:
    """Ask everything to stop. Safe in a signal handler, and to be called twice."""
    _requested.set()


def requested() -> bool:
    return _requested.is_set()


def pause(seconds: float) -> None:
    """Wait, unless somebody asks to stop. Raises Interrupted."""
    _requested.wait(seconds)
    check()


def check() -> None:
    """Raise Interrupted if somebody asked to stop."""
    if _requested.is_set():
        raise Interrupted(
            "stopped on request", fix="Run the same command again: it goes on from the last durable block."
        )


def reset() -> None:
    """Forget a request; for tests and for the start of a command."""
    _requested.clear()
