"""EBS reader: full passes and deltas against the lab's cloud, over HTTP on loopback, by a mover of its own process.

The cloud is Python too, and shares the machine's cores with the mover: the speed is a lower bound of the reader's own,
never that of AWS. What a delta reads and asks does not depend on the machine.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab.ec2 import Cloud

MIB = 1 << 20
VOLUME = "vol-00000001"
CHANGES = (1, 4, 16)
"""How many MiB change before each delta."""


def rows(folder: Path, size: int, root: Path) -> str:
    """The table; `root` is where the mover is started."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)  # noqa: S311 (data to copy)
    lines = [
        f"EBS snapshots, {size // MIB} MiB of data, against the lab's cloud (which shares the cores):",
        "",
        "| pass | changed MiB | seconds | read MiB | MiB/s | blocks read | lists |",
        "|---|---|---|---|---|---|---|",
    ]
    with Cloud() as cloud:
        for at in range(0, size, MIB):
            cloud.write(VOLUME, at, chance.randbytes(MIB))
        target = folder / "target"
        with target.open("wb") as file:
            file.truncate(size)
        before: dict[str, Any] = {}
        for number, changed in enumerate((0, *CHANGES), start=1):
            for at in chance.sample(range(size // MIB), changed):
                cloud.write(VOLUME, at * MIB, chance.randbytes(MIB))
            cloud.store.freeze(f"snap-{number:08}", VOLUME, size, 0)
            source = {"uri": f"ebs://eu-west-1/snap-{number:08}?endpoint={cloud.url}", "sizeBytes": size}
            more = {"sinceRoot": before["root"], "targetReadsZero": False} if before else {}
            delta = {"changed": f"snap-{number - 1:08}"} if before else {}
            argv = _job(folder, source=source | delta, target={"uri": target.as_uri()}, round=number, **more)
            begun = time.monotonic()
            subprocess.run(argv, cwd=root, check=True, env=os.environ | cloud.environment, stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - begun
            before = json.loads((folder / "state" / "result-copy.json").read_text())
            lines.append(_row("delta" if changed else "full", changed, seconds, before))
            if target.read_bytes() != cloud.store.read(VOLUME, 0, size):
                raise SystemExit("a copy of a snapshot is wrong")
        target.unlink()
    return "\n".join(lines)


def _job(folder: Path, **more: object) -> list[str]:
    """The command of a mover, its job written."""
    path, state = folder / "job.json", str(folder / "state")
    head = {"apiVersion": "kubeferry.io/v1alpha1", "kind": "MoverJob", "name": "ebs", "action": "copy"}
    path.write_text(json.dumps({**head, "stateDir": state, "workers": 8, "targetReadsZero": True, **more}))
    return [sys.executable, "-m", "converters.mover", str(path)]


def _row(kind: str, changed: int, seconds: float, result: dict[str, Any]) -> str:
    read, calls = result["readBytes"] / MIB, result["calls"]
    lists = calls.get("ListSnapshotBlocks", 0) + calls.get("ListChangedBlocks", 0)
    speed = f"{read / seconds:.0f}" if kind == "full" else ""
    blocks = calls.get("GetSnapshotBlock", 0)
    return f"| {kind} | {changed} | {seconds:.2f} | {read:.0f} | {speed} | {blocks} | {lists} |"
