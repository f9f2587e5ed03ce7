"""One JSON value a line over a unix socket, each wait with a deadline: what QEMU's monitor and the agent speak."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubeferry.errors import TargetUnavailable

LINE_LIMIT_BYTES = 16 * 1024 * 1024


class Channel:
    """An open channel. `timeout` seconds bound each `receive`; all failures are TargetUnavailable."""

    def __init__(self, connected: socket.socket, path: Path, timeout: float) -> None:
        self._socket = connected
        self._path = path
        self._timeout = timeout
        self._buffer = bytearray()

    def send(self, message: dict[str, Any], *, prefix: bytes = b"") -> None:
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(prefix + json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise self._lost(str(error)) from error

    def receive(self) -> dict[str, Any]:
        """The next message. What stands before a 0xFF byte is the rest of an older talk, and is dropped."""
        deadline = time.monotonic() + self._timeout
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                if line.strip(b"\xff \r\n"):
                    return self._parsed(bytes(line).rpartition(b"\xff")[2])
                continue
            self._buffer += self._more(deadline)
            if len(self._buffer) > LINE_LIMIT_BYTES:
                raise self._lost(f"a message is longer than {LINE_LIMIT_BYTES} bytes")

    def _more(self, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._lost(f"no answer within {self._timeout:g} s")
        try:
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
        except TimeoutError as error:
            raise self._lost(f"no answer within {self._timeout:g} s") from error
        except OSError as error:
            raise self._lost(str(error)) from error
        if not data:
            raise self._lost("the other side closed the connection")
        return data

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except ValueError as error:
            raise self._lost("what came is not JSON") from error
        if not isinstance(message, dict):
            raise self._lost("what came is not a JSON object")
        return message

    def _lost(self, why: str) -> TargetUnavailable:
        return TargetUnavailable(f"no talk over {self._path.name}", why=why)


@contextlib.contextmanager
def connect(path: Path, timeout: float) -> Iterator[Channel]:
    """A channel for as long as the block lasts. Raises TargetUnavailable where nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        connected.settimeout(timeout)
        try:
            connected.connect(str(path))
        except OSError as error:
            raise TargetUnavailable(f"nobody listens at {path}", why=str(error)) from error
        yield Channel(connected, path, timeout)
