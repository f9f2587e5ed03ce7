"""`python -m kubeferry.outside.first_process COMMAND…`: a command that is stopped in order, first of its container.

Prefect's worker kills its runs when it is stopped, and with the first process of a container the kernel kills all
others. So who asks to stop asks here: the command is held, those that it has started are asked to stop, and only when
they, and whom they have left behind to lead a machine back, are done, the command itself. What has ended is collected.
Who waits only so long kills all of it then, as kubelet and systemd do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kubeferry.outside import process

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): who loses his parent becomes our child, as he becomes the first process's."""
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOOK_SECONDS = 0.1


class FirstProcess:
    """Runs one command. `pid` is None before it has started and after it has ended."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.code = 0
        self._asked = self._held = False

    def run(self, argv: Sequence[str]) -> int:
        """The command's exit code, as a shell tells it, once it has ended and nobody is left. Raises ToolMissing."""
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        for number in STOPS:
            signal.signal(number, self._ask)
        self.pid = process.beside(argv)
        while self._collect():
            if self._asked and self.pid:
                self._stop(self.pid)
            time.sleep(LOOK_SECONDS)
        return self.code if self.code >= 0 else 128 - self.code

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _collect(self) -> bool:
        """Take note of those that have ended; whether anybody is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                ended, status = os.waitpid(-1, os.WNOHANG)
                if not ended:
                    return True
                if ended == self.pid:
                    self.pid, self.code = None, os.waitstatus_to_exitcode(status)
        return False

    def _stop(self, pid: int) -> None:
        """Hold the command and ask its children, once; when nobody but it is at work, ask it and let it go on."""
        if not self._held:
            self._held = True
            os.kill(pid, signal.SIGSTOP)
            for child in _children(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)
        if not any(_is_at_work(one) for one in _below(os.getpid()) if one != pid):
            self._asked = False
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)


def _below(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _below(child)


def _children(pid: int) -> list[int]:
    """Those of all its threads; none where it has ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _is_at_work(pid: int) -> bool:
    """Whether it has not ended: who has, and was not collected yet, is not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


if __name__ == "__main__":
    sys.exit(FirstProcess().run(sys.argv[1:]))
