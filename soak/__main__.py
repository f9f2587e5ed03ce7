"""`python -m soak`: kill, break, fill, swap and lie at every named point, for as long as is asked.

Every trial has a seed; one that ended wrong is told with what was done in it, and the line that does it again. Exit
code 1 if one did: a wrong byte, a source that was lost, two copies, a hang, an error without words. Under CI a kind
that cannot be tried here is wrong, too.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from soak.kinds import ALL, KINDS
from soak.running import soak
from soak.tally import Tally, table

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    options.add_argument("--hours", type=float, default=0.0)
    options.add_argument("--minutes", type=float, default=0.0, help="without a time: three")
    options.add_argument(
        "--seed", type=int, default=time.time_ns() // 10**6 % 10**9, help="of the first trial of a kind"
    )
    options.add_argument("--cases", type=int, help="so many of each kind, whatever the time")
    options.add_argument("--kind", action="append", choices=sorted(KINDS), help="this one only; may be given again")
    options.add_argument("--jobs", type=int, default=2, help="kinds at once")
    asked = options.parse_args()
    seconds = asked.hours * 3600 + asked.minutes * 60 or 180.0
    kinds = [kind for kind in ALL if not asked.kind or kind.name in asked.kind]
    print(f"seed {asked.seed}, {len(kinds)} kinds", flush=True)
    tallies = soak(
        kinds,
        seed=asked.seed,
        seconds=seconds,
        cases=asked.cases,
        jobs=asked.jobs,
        say=lambda text: print(text, flush=True),
    )
    return told(tallies)


def told(tallies: list[Tally]) -> int:
    """Print what came of it, and keep it in build/soak.md; returns the exit code."""
    faults = [str(fault) for tally in tallies for fault in tally.faults]
    left_out = [tally.kind for tally in tallies if tally.left_out]
    text = "\n\n".join([table(tallies), *faults, f"{len(faults)} wrong"])
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "soak.md").write_text(text + "\n")
    print(text)
    return 1 if faults or (left_out and os.environ.get("CI") == "true") else 0


if __name__ == "__main__":
    sys.exit(main())
