"""What is not the first copy of a disk: its verification, a round of what changed, and what takes time without data.

Verification stands beside `dd` that reads the same file past the page cache; a round of 1 % that changed beside the
first copy, both from the start of the program to its end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from bench import disk
from bench.side_by_side import Run, job, ratios, spread, timed
from converters.engine.fingerprint import BATCH, DIGEST_BYTES, Fingerprint, Header
from kubeferry.ranges import range_set

MIB = 1 << 20
CHANGED = 0.01
HUGE_BYTES = (16 << 40) - 4096  # the most that ext4 takes


def rows(folder: Path, size: int, rounds: int) -> str:
    raw, qcow2 = disk.make(folder, size, size)
    qcow2.unlink()
    try:
        lines = ["| what | seconds, median (min - max) | part of the other | peak MiB |", "|---|---|---|---|"]
        lines += _changed(folder, raw, rounds)
    finally:
        for path in (raw, folder / "target"):
            path.unlink(missing_ok=True)
    lines += [_start(folder, rounds), _huge(folder), _opened(folder, rounds)]
    return "\n".join(lines)


def _changed(folder: Path, raw: Path, rounds: int) -> list[str]:
    """The first copy, its verification, and the round after it."""
    target, size = folder / "target", raw.stat().st_size
    full, verified, read, delta = [], [], [], []
    for number in range(rounds):
        _anew(folder, size)
        disk.warm(raw)
        full.append(timed("copy", job(folder, "full", raw), target))
        verified.append(timed("verify", job(folder, "verify", raw, action="verify"), target))
        direct = ["dd", f"if={target}", "of=/dev/null", "bs=4M", "iflag=direct"]
        read.append(timed("dd", direct, target))
        root = json.loads((folder / "state" / "result-copy.json").read_text())["root"]
        source = {"uri": raw.as_uri(), "changed": _change(raw, number)}
        delta.append(timed("delta", job(folder, "delta", raw, source=source, sinceRoot=root, round=1), target))
        subprocess.run(["cmp", str(raw), str(target)], check=True)
    blocks = f"{size >> 30} GiB full"
    return [
        _line(f"copy, {blocks}", full),
        _line(f"round of {CHANGED:.0%} changed, {blocks}; of the copy", delta, full),
        _line(f"verify, {blocks}; of dd past the page cache", verified, read),
    ]


def _change(raw: Path, seed: int) -> str:
    """Write anew a part of all blocks; returns where, as a reference says it."""
    count = raw.stat().st_size // MIB
    chosen = sorted(random.Random(seed).sample(range(count), max(1, int(count * CHANGED))))  # noqa: S311
    with raw.open("r+b") as file:
        for at in chosen:
            file.seek(at * MIB)
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())
    return range_set((at * MIB, (at + 1) * MIB) for at in chosen)  # neighbours are one range


def _start(folder: Path, rounds: int) -> str:
    """A disk of one block: all else is start and end."""
    raw = folder / "small.raw"
    raw.write_bytes(os.urandom(MIB))
    found = []
    for _ in range(rounds):
        _anew(folder, MIB)
        found.append(timed("start", job(folder, "small", raw), folder / "target"))
    raw.unlink()
    return _line("copy of 1 MiB: start and end of a mover", found)


def _huge(folder: Path) -> str:
    raw = folder / "huge.raw"
    try:
        for path in (raw, folder / "target"):
            with path.open("wb") as file:
                file.truncate(HUGE_BYTES)
        shutil.rmtree(folder / "state", ignore_errors=True)
        return _line("copy of 16 TiB without data", [timed("huge", job(folder, "huge", raw), folder / "target")])
    except OSError as error:
        return f"| copy of 16 TiB without data | left out: {error.strerror} | | |"
    finally:
        for path in (raw, folder / "target"):
            path.unlink(missing_ok=True)
        shutil.rmtree(folder / "state", ignore_errors=True)


def _opened(folder: Path, rounds: int) -> str:
    """The fingerprint of a disk of 1 TiB, its root looked at."""
    path = folder / "large.kff"
    with Fingerprint.create(folder / "large.new", Header(1 << 40)) as made:
        for first in range(0, made.count, BATCH):
            made.put(first, os.urandom(BATCH * DIGEST_BYTES))
        made.seal(path)
    seconds = []
    for _ in range(rounds):
        begun = time.monotonic()
        Fingerprint.open(path).close()
        seconds.append(time.monotonic() - begun)
    path.unlink()
    return f"| fingerprint of 1 TiB opened | {spread(seconds, 3)} | | |"


def _anew(folder: Path, size: int) -> None:
    (folder / "target").unlink(missing_ok=True)
    shutil.rmtree(folder / "state", ignore_errors=True)
    with (folder / "target").open("wb") as file:
        file.truncate(size)
    os.sync()


def _line(what: str, found: list[Run], other: list[Run] | None = None) -> str:
    part = "" if other is None else spread(ratios(found, other), 3)
    peak = max(one.peak for one in found) / 2**20
    return f"| {what} | {spread([one.seconds for one in found])} | {part} | {peak:.0f} |"
