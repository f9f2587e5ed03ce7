"""Standard output and error, which may go away while we work: who reads a pipe ends, a disk is full, a terminal closes.

The work goes on all the same: a machine must not be left between its source and its target, nor a verdict be lost,
since nobody listens (`kubeferry migrate plan.yaml | head`), nor wait for somebody who does not read on (`| less`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

HELD_BACK = 10_000  # lines; a reader that is that far behind gets no more of them

_STREAMS = (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))


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
    """Both streams as `Lasting`; yields standard output. A character that one of them has not is written as its
    number."""
    _open_all()
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")
    out, err = Lasting(sys.stdout), Lasting(sys.stderr)
    with contextlib.redirect_stdout(cast("TextIO", out)), contextlib.redirect_stderr(cast("TextIO", err)):
        yield out


def _open_all() -> None:
    """A stream that was closed before we began (`>&-`) leads nowhere: else its number is that of the next file that
    is opened, and what is said to it lands there."""
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, mode)  # the lowest number that is free, so mostly this one
            setattr(sys, name, os.fdopen(nowhere, "r" if mode == os.O_RDONLY else "w", encoding="utf-8", closefd=False))
            os.set_inheritable(nowhere, nowhere == number)


class Aside:
    """Says things from a thread of its own, in order: who says them never waits for who reads them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lines: queue.Queue[str | None] = queue.Queue(HELD_BACK)
        self._thread = threading.Thread(target=self._speak, daemon=True, name="says what is done")
        self._thread.start()

    def __call__(self, line: str) -> None:
        """One more line. Left out where the reader is far behind."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self, given_up: Callable[[], bool]) -> None:
        """Wait until all is said, or until it is given up: then what is not said is left out."""
        while not self._lines.empty() and not given_up():
            time.sleep(0.05)
        with contextlib.suppress(queue.Empty):
            while True:
                self._lines.get_nowait()
        self._lines.put_nowait(None)
        while self._thread.is_alive() and not given_up():
            self._thread.join(0.05)

    def _speak(self) -> None:
        while (line := self._lines.get()) is not None:
            self._say(line)
