"""`python -m kubeferry.outside.first_process COMMAND…`: the first process of a container, for who leaves others behind.

With the first process of a container the kernel ends all others. A worker that is stopped leaves one that leads a
machine back: whoever lives on after the command is waited for, and what has ended is collected. To be asked to stop is
handed on to the command: as the first process itself it would not notice before it has said what it does then.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from kubeferry.outside import process

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): who loses his parent becomes our child, as he becomes the first process's."""
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class FirstProcess:
    """Runs one command. `pid` is None before it has started and after it has ended."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.asked = False

    def run(self, argv: Sequence[str]) -> int:
        """The command's exit code, as a shell tells it, once it has ended and nobody is left. Raises ToolMissing."""
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        for number in STOPS:
            signal.signal(number, self._stop)
        self.pid = process.beside(argv)
        if self.asked:
            self._stop()
        code = 0
        while True:
            try:
                ended, status = os.wait()
            except ChildProcessError:
                return code if code >= 0 else 128 - code
            if ended == self.pid:
                self.pid, code = None, os.waitstatus_to_exitcode(status)

    def _stop(self, *_: object) -> None:
        self.asked = True
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(FirstProcess().run(sys.argv[1:]))
