"""What a mover tells where nobody reads its state folder: progress as lines of its output, the result in a small file.

In a cluster these are the pod's log and its termination message, which hold no more than 4096 bytes together.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from kubeferry.faults import Side, of_os
from kubeferry.jobs import MoverError, MoverProgress, MoverResult

LINE_SECONDS = 1.0
REPORT_BYTES = 4000
TEXT_CHARACTERS = 900


class Telling:
    """Lines of progress on standard output, at most one a second or one a phase, and the report at the end."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._told_at = 0.0
        self._phase = ""

    def progress(self, told: MoverProgress) -> None:
        """One more line, if it is time for one."""
        now = time.monotonic()
        if told.phase == self._phase and now - self._told_at < LINE_SECONDS:
            return
        self._told_at, self._phase = now, told.phase
        sys.stdout.write(told.model_dump_json(by_alias=True) + "\n")
        sys.stdout.flush()

    def result(self, result: MoverResult) -> None:
        """Write the report. It is written into what is there: a container's file cannot be replaced. Raises
        TargetRefused or TargetUnavailable where that fails."""
        try:
            with self._report.open("w", encoding="utf-8") as stream:
                stream.write(shortened(result).model_dump_json(by_alias=True, exclude_defaults=True))
        except OSError as error:
            raise of_os(Side.TARGET, f"the report cannot be written to {self._report}", error) from error


def shortened(result: MoverResult) -> MoverResult:
    """The result with its error's words cut so far that it fits into a report."""
    error = result.error
    if error is None:
        return result
    for limit in (TEXT_CHARACTERS, 300, 80):
        cut = MoverError(type=error.type, what=error.what[:limit], why=error.why[-limit:], fix=error.fix[:limit])
        short = result.model_copy(update={"error": cut})
        if len(short.model_dump_json(by_alias=True).encode()) <= REPORT_BYTES:
            return short
    return short
