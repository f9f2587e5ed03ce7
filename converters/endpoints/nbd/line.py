"""A socket on which nobody waits for ever: whatever is sent or received has an end, and a stop that was asked for
ends it sooner."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import time

from kubeferry.outside import stopping

LOOK_MICROSECONDS = 250_000  # how often a wait looks up
STOP_SECONDS = 10.0  # how long an answer that is on its way is waited for after a stop was asked for


class Late(TimeoutError):
    """An answer did not come in time, or not to its end."""


class Line(socket.socket):
    """A stream; `within` says how long what follows may take, however much of it drips in meanwhile.

    Raises Late, or Interrupted; after either the line is dead: what comes later would be taken for another answer.
    """

    def __init__(self, family: int = socket.AF_UNIX) -> None:
        super().__init__(family)
        self._until = math.inf
        self._stop_at = math.inf
        look = struct.pack("ll", 0, LOOK_MICROSECONDS)
        for side in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.setsockopt(socket.SOL_SOCKET, side, look)

    def within(self, seconds: float) -> None:
        """What follows has to be done in so many seconds from now."""
        self._until = time.monotonic() + seconds

    def connect(self, address: str | tuple[object, ...]) -> None:  # type: ignore[override]  # of a unix socket: a path
        """As of any socket."""
        while True:
            self._look()
            try:
                return super().connect(address)
            except BlockingIOError:  # its server takes nobody yet
                time.sleep(0.01)

    def recv_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0) -> int:  # type: ignore[override]
        """As of any socket."""
        while True:
            self._look()
            try:
                return super().recv_into(buffer, nbytes, flags)
            except BlockingIOError:
                continue

    def sendall(self, *parts: bytes | memoryview) -> None:  # type: ignore[override]  # of several parts: one call
        """As of any socket; the parts go one behind the other, as far as possible together."""
        left = [memoryview(part) for part in parts]
        while left:
            self._look()
            try:
                sent = self.sendmsg(left)
            except BlockingIOError:
                continue
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if left:
                left[0] = left[0][sent:]

    def farewell(self, data: bytes) -> None:
        """Send it if there is room at once. Raises OSError where there is none."""
        self.send(data, socket.MSG_DONTWAIT)

    def _look(self) -> None:
        now = time.monotonic()
        if stopping.requested():
            self._stop_at = min(self._stop_at, now + STOP_SECONDS)
        if now < min(self._until, self._stop_at):
            return
        self._end()
        if now >= self._stop_at:
            stopping.check()
        raise Late("it did not answer in time")

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # it was not connected yet, or no more
            self.shutdown(socket.SHUT_RDWR)
