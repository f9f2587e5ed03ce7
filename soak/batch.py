"""`python -m soak.batch KIND FIRST CASES SECONDS FOLDER`: trials of one kind, one seed after another, as a program of
its own, so that a hang, a crash and a kill of a trial end this and not the soak.

At least one trial is done; none begins after SECONDS. Told as lines of JSON in FOLDER/told: a seed before its trial,
and its points after it.
"""

from __future__ import annotations

import faulthandler
import json
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from kubeferry.outside import stopping
from soak.kinds import KINDS
from soak.trial import Run, Trial, Wrong


def tried(run: Run, seed: int, folder: Path) -> dict[str, object]:
    """One trial, told. Its folder is gone afterwards."""
    folder.mkdir()
    trial, wrong = Trial(seed, folder), ""
    stopping.reset()
    try:
        run(trial)
    except Wrong as seen:
        wrong = "\n".join([str(seen), *trial.said, *(_where(seen) if seen.__cause__ else [])])
    except Exception as error:  # noqa: BLE001 (whatever it is, it is wrong, and told)
        wrong = "\n".join([f"nothing is raised but errors: {error}", *trial.said, *_where(error)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"ended": seed, "points": trial.points, "wrong": wrong}


def _where(error: BaseException) -> list[str]:
    return traceback.format_exception(error)


def main(kind: str, first: int, cases: int, seconds: float, folder: Path) -> None:
    """See the module."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    limit = time.monotonic() + seconds
    with (folder / "told").open("a") as told:
        for seed in range(first, first + cases):
            told.write(json.dumps({"begun": seed}) + "\n")
            told.flush()
            told.write(json.dumps(tried(KINDS[kind].run, seed, folder / str(seed))) + "\n")
            told.flush()
            if time.monotonic() >= limit:
                break


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))
