"""Answers of HTTP that come to their end, or to a deadline: however much of one drips in meanwhile.

Each wait for the next bytes has the socket's own timeout besides. What is raised when the time is over is TimeoutError,
as if nothing had come.
"""

from __future__ import annotations

import http.client
import io
import math
import time
from typing import Any

ANSWER_SECONDS = 60.0  # for an answer's head, and besides for its body at SLOWEST_BYTES
SLOWEST_BYTES = 64 << 10  # a second
UNSAID_BYTES = 4 << 20  # of a body that does not say how long it is


class Timed(io.RawIOBase):
    """A raw stream with a deadline, by the monotonic clock."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self._until = math.inf

    def within(self, seconds: float) -> None:
        """What follows has to come in so many seconds from now."""
        self._until = time.monotonic() + seconds

    def readinto(self, buffer: Any, /) -> int | None:
        """As of any stream. Raises TimeoutError when the time is over."""
        if time.monotonic() >= self._until:
            raise TimeoutError("the answer did not come to its end in time")
        return self._raw.readinto(buffer)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedResponse(http.client.HTTPResponse):
    """An answer whose head, and then whose body, has a deadline."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._timed = Timed(self.fp.detach())
        self._timed.within(ANSWER_SECONDS)
        self.fp = io.BufferedReader(self._timed)

    def begin(self) -> None:
        super().begin()
        expected = UNSAID_BYTES if self.length is None else self.length
        self._timed.within(ANSWER_SECONDS + expected / SLOWEST_BYTES)
