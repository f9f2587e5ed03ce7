"""Standard output and error, which may go away while we work: who reads a pipe ends, a disk is full, a terminal closes.

The work goes on all the same: a machine must not be left between its source and its target, nor a verdict be lost,
since nobody listens (`kubeferry migrate plan.yaml | head`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class Lasting:
    """A text stream that takes everything; once it cannot be written, what is said goes nowhere. `lost` says why."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """As of any stream, but for OSError."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._let_go(error)
            return len(text)

    def flush(self) -> None:
        """As of any stream, but for OSError."""
        try:
            self._stream.flush()
        except OSError as error:
            self._let_go(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def cut_off(self) -> str:
        """Why what was said is not whole where it went; empty where it is, or where its reader wanted no more."""
        return "" if self.lost is None or self.lost.errno == errno.EPIPE else self.lost.strerror or str(self.lost)

    def _let_go(self, error: OSError) -> None:
        self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # also for what is still held back, which would fail at our end
        os.close(nowhere)


@contextlib.contextmanager
def lasting() -> Iterator[Lasting]:
    """Both streams as `Lasting`; yields standard output."""
    out, err = Lasting(sys.stdout), Lasting(sys.stderr)
    with contextlib.redirect_stdout(cast("TextIO", out)), contextlib.redirect_stderr(cast("TextIO", err)):
        yield out
