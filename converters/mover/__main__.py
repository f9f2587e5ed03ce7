"""The mover: `python -m converters.mover JOB.json` does one MoverJob and writes a MoverResult to its state folder.

`--report FILE` is for where nobody reads that folder: progress also goes to standard output, the result also to FILE.

It knows no database, no Prefect and no network but the source's. Exit codes are those of the errors: 0 done, 1 worth
retrying, 2 not; 129, 130 and 143 where SIGHUP, SIGINT or SIGTERM has ended it at the next block, with all that was done
in the checkpoint. A second SIGINT or SIGTERM ends it at once; that, like kill -9, costs what was done since the last
checkpoint. This module is only the shell: signals are answered before the rest is imported, and the start is kept
short, because small disks are moved in less time than Python needs to import what it has.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.outside import signals
from kubeferry.outside.streams import lasting


def main(arguments: list[str]) -> int:
    """Do the job of a file; returns the exit code. Whether somebody reads what it says changes nothing of it."""
    with lasting():
        return _main(arguments)


def _main(arguments: list[str]) -> int:
    try:
        match arguments:
            case [job]:
                return _run(Path(job), None)
            case [job, "--report", report]:
                return _run(Path(job), Path(report))
        fix = "Call it as: python -m converters.mover JOB.json [--report FILE]"
        raise InputInvalid("the mover takes one job", [Problem("command line", " ".join(arguments), fix)])
    except KubeferryError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _run(path: Path, report: Path | None) -> int:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for them reads every installed package
    gc.disable()  # imports make many objects and no garbage
    from converters.mover.job import run
    from kubeferry.documents import MoverJob, load

    gc.freeze()
    gc.enable()
    return run(load(path, MoverJob), report)


if __name__ == "__main__":
    signals.answer(lambda: None)  # its result says that it was stopped
    sys.exit(main(sys.argv[1:]))
