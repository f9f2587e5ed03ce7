"""What a person sees while the cluster comes up: lines with the seconds since the start, and waits that end."""

from __future__ import annotations

import time
from collections.abc import Callable

from kubeferry.errors import TargetUnavailable

POLL_SECONDS = 0.25

_began = time.monotonic()


def say(text: str) -> None:
    """Print one line, with the seconds since this process began."""
    print(f"  {time.monotonic() - _began:6.1f} s  {text}", flush=True)


def wait_until(holds: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return as soon as `holds()`. Raises TargetUnavailable when it does not in `seconds`."""
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            raise TargetUnavailable(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
