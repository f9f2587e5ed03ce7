"""The one place that says "stop now". Whoever waits, waits here, so that Ctrl-C is answered at once everywhere.

Whoever hears a signal (`signals`) calls `request`; every polling loop calls `pause` (or `check`), which raises
Interrupted. What was made durable stays; the same command goes on from there.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from kubeferry.errors import Interrupted

_requested = threading.Event()
_by: list[signal.Signals] = []
_leaving: list[Callable[[signal.Signals], str]] = []


def request(by: signal.Signals = signal.SIGINT) -> None:
    """Ask everything to stop. Safe in a signal handler, and to be called twice: the first one is why."""
    if not _by:
        _by.append(by)
    _requested.set()


def requested() -> bool:
    return _requested.is_set()


def pause(seconds: float) -> None:
    """Wait, unless somebody asks to stop. Raises Interrupted."""
    _requested.wait(seconds)
    check()


def wait(seconds: float) -> None:
    """Wait, no longer than until somebody asks to stop."""
    _requested.wait(seconds)


def check() -> None:
    """Raise Interrupted if somebody asked to stop."""
    if _requested.is_set():
        raise interrupted()


def interrupted(
    *, why: str = "", fix: str = "Run the same command again: it goes on from the last durable block."
) -> Interrupted:
    """The error that says so, with the signal that asked."""
    return Interrupted("stopped on request", why=why, fix=fix, by=_by[0] if _by else signal.SIGINT)


def reset() -> None:
    """Forget a request; for tests and for the start of a command."""
    _requested.clear()
    _by.clear()


@contextlib.contextmanager
def leaving(words: Callable[[signal.Signals], str]) -> Iterator[None]:
    """While the block lasts, `words` says what is left if a signal ends everything in that moment. It is called in
    another thread, and waits for nothing: neither for a lock nor for a file."""
    _leaving.append(words)
    try:
        yield
    finally:
        _leaving.remove(words)


def left(by: signal.Signals) -> str:
    """What is left if this signal ends everything now, in words; empty where nothing is."""
    return "".join(words(by) for words in tuple(_leaving))
