"""`python -m bench.discovery`: how long it takes to read 1,000 machines from a vCenter, and how much memory.

The vCenter is the lab's double on this machine: its own time is part of the figure.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).parent.parent))
from kubeferry.sources import open_source
from lab.vcenter.place import vcenter


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.discovery", description=__doc__)
    options.add_argument("--machines", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, vcenter(Path(folder), machines=asked.machines // 2) as lab:
        os.environ.update(lab.environment())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = []
        for _ in range(asked.rounds):
            source = open_source("lab", lab.config())
            begun, cpu = time.monotonic(), time.process_time()
            count = len(source.discover().machines)
            found.append((time.monotonic() - begun, time.process_time() - cpu))
            source.close()
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = sorted(one for one, _ in found)
    print(
        f"Discovery of {count} machines from the lab's vCenter: {seconds[len(seconds) // 2]:.1f} s "
        f"({seconds[0]:.1f} - {seconds[-1]:.1f}), {max(cpu for _, cpu in found):.1f} s of CPU here (the relay's too), "
        f"{more:.0f} MiB more than before."
    )


if __name__ == "__main__":
    main()
