"""Batches, one after another and a few at once, watched: one that hangs or dies is wrong, and nothing of it is left."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubeferry.outside import process
from soak.kinds import Kind, missing
from soak.tally import Tally, Told, read

ROOT = Path(__file__).resolve().parent.parent
MARK = "KUBEFERRY_SOAK"
"""In the environment of all that a batch starts: its folder."""
MEMORY = Path("/dev/shm")  # noqa: S108 (folders of our own, for their owner alone)
POLL_SECONDS = 0.1
STACK_SECONDS = 1.0


def soak(
    kinds: Sequence[Kind], *, seed: int, seconds: float, cases: int | None, jobs: int, say: Callable[[str], None]
) -> list[Tally]:
    """Each kind in turn until the time is over, at least once each; with `cases` that many of each, and no more."""
    tallies = {kind.name: Tally(kind.name, kind.about, left_out=missing(kind)) for kind in kinds}
    todo = [kind for kind in kinds if not tallies[kind.name].left_out]
    following = dict.fromkeys(tallies, seed)
    end = time.monotonic() + seconds
    share = max(2.0, min(60.0, seconds * jobs / max(1, len(todo)) / 2))

    def turn(kind: Kind) -> None:
        tally = tallies[kind.name]
        left = end - time.monotonic()
        if cases is None and tally.cases and left < kind.typical:
            return
        told, ending = batch(
            kind, following[kind.name], cases or 1_000_000, min(share, max(left, 0)) if not cases else 1e9
        )
        tally.add(told, ending)
        following[kind.name] = told.last + 1
        say(f"{kind.name}: {tally.cases} trials, {tally.points.total()} points, {len(tally.faults)} wrong")

    with ThreadPoolExecutor(jobs) as workers:
        while todo:
            list(workers.map(turn, todo))
            if cases is not None or time.monotonic() > end:
                break
    return list(tallies.values())


def batch(kind: Kind, first: int, cases: int, seconds: float) -> tuple[Told, str]:
    """One batch to its end: what it told, and how it ended where that was not by itself."""
    folder = Path(tempfile.mkdtemp(prefix="kubeferry-soak-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    told, log = folder / "told", folder / "log"
    told.touch()
    argv = [sys.executable, "-m", "soak.batch", kind.name, str(first), str(cases), str(seconds), str(folder)]
    env = {MARK: str(folder), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    try:
        with process.child(argv, log=log, env=env) as running:
            ending = _watched(running, told, kind.limit)
            if ending:
                ending += "\n" + running.tail()
        with told.open() as lines:
            return read(lines, first), ending
    finally:
        sweep(folder)


def _watched(running: process.Child, told: Path, limit: float) -> str:
    """Wait; one trial may take `limit` seconds. Returns what is wrong with how it ended."""
    size, since = -1, time.monotonic()
    while (code := running.poll()) is None:
        now = told.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > limit:
            os.kill(running.pid, signal.SIGUSR1)  # it writes down where it is
            time.sleep(STACK_SECONDS)
            return f"it hangs: no end within {limit:.0f} s"
        time.sleep(POLL_SECONDS)
    return f"it died with {code}" if code else ""


def sweep(folder: Path) -> None:
    """Nothing of a batch is left: processes, mounts, loop devices, files."""
    mark = f"{MARK}={folder}".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in place.read_bytes().split(b"\0"):
                os.kill(int(place.parent.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue
    for where in reversed([line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]):
        if where.startswith(f"{folder}/"):
            process.run(["umount", "--lazy", where], check=False)
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if backing.read_text().startswith(f"{folder}/"):
            process.run(["losetup", "--detach", f"/dev/{backing.parts[-3]}"], check=False)
    shutil.rmtree(folder, ignore_errors=True)
