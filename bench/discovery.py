"""How long it takes to read an estate from a vCenter, and how much memory.

The vCenter is the lab's double on this machine: its own time, and that of its relay, is part of the figure.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from kubeferry.sources import open_source
from lab.vcenter.place import vcenter


def row(machines: int, rounds: int) -> str:
    """One line: seconds for all machines with all their properties, median and spread, and what memory it took."""
    with tempfile.TemporaryDirectory() as folder, vcenter(Path(folder), machines=machines // 2) as lab:
        os.environ.update(lab.environment())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, cpu = [], []
        for _ in range(rounds):
            source = open_source("lab", lab.config())
            begun, used = time.monotonic(), time.process_time()
            count = len(source.discover().machines)
            seconds.append(time.monotonic() - begun)
            cpu.append(time.process_time() - used)
            source.close()
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return (
        f"Discovery of {count} machines from the lab's vCenter, {rounds} rounds: {statistics.median(seconds):.1f} s "
        f"({min(seconds):.1f} - {max(seconds):.1f}), {statistics.median(cpu):.1f} s of CPU (the relay's is in it), "
        f"{more} MiB of memory"
    )


if __name__ == "__main__":
    print(row(1000, 3))
