"""Our copy against qemu-img and nbdcopy, side by side in one run, as ratios with their spread.

Time counts until the bytes are durable (an fsync of the target is part of it) and, for us, from the start of the
interpreter, hashing on. How programs are run and counted says `side_by_side`.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import disk
from bench.side_by_side import Run, in_turn, job, ratios, spread, timed

OURS = "kubeferry copy (blake3)"


@dataclass(frozen=True)
class Program:
    """One row: a name, what it reads, and its command."""

    name: str
    source: Path
    command: Sequence[str]
    reference: str = OURS


def programs(folder: Path, raw: Path, qcow2: Path) -> list[Program]:
    target, twin = str(folder / "target"), "kubeferry copy of qcow2 (blake3)"
    return [
        Program(OURS, raw, job(folder, "raw", raw)),
        Program("kubeferry copy (sha256)", raw, job(folder, "sha", raw, algorithm="sha256")),
        Program("nbdcopy", raw, ["nbdcopy", str(raw), target]),
        Program("qemu-img convert", raw, ["qemu-img", "convert", "-f", "raw", "-O", "raw", str(raw), target]),
        Program(
            "qemu-img convert -W -m 16",
            raw,
            ["qemu-img", "convert", "-W", "-m", "16", "-f", "raw", "-O", "raw", str(raw), target],
        ),
        Program(twin, qcow2, job(folder, "qcow2", qcow2), twin),
        Program(
            "qemu-img convert of qcow2",
            qcow2,
            ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(qcow2), target],
            twin,
        ),
    ]


def run(program: Program, folder: Path, size: int, ready: Callable[[Path], None]) -> Run:
    """One run, from the start of the program to durable bytes; all that comes before is outside the clock. What others
    read is dropped from the page cache: a large source would not stay in it beside that."""
    target = folder / "target"
    for other in folder.glob(f"{program.source.stem}.*"):
        if other != program.source:
            disk.evict(other)
    target.unlink(missing_ok=True)
    shutil.rmtree(folder / "state", ignore_errors=True)
    with target.open("wb") as file:
        file.truncate(size)
    ready(program.source)
    os.sync()
    return timed(program.name, program.command, target)


def table(rows: list[Program], runs: list[list[Run]]) -> str:
    lines = [
        "| program | seconds, median (min - max) | ours / this, median (min - max) | CPU s | peak MiB |",
        "|---|---|---|---|---|",
    ]
    ours = {row.name: found for row, found in zip(rows, runs, strict=True)}
    for row, found in zip(rows, runs, strict=True):
        seconds = [one.seconds for one in found]
        ratio = "1" if row.name == row.reference else spread(ratios(ours[row.reference], found))
        cpu = statistics.median(one.cpu for one in found)
        peak = max(one.peak for one in found) / 2**20
        lines.append(f"| {row.name} | {spread(seconds)} | {ratio} | {cpu:.2f} | {peak:.0f} |")
    return "\n".join(lines)


def equal(folder: Path, rows: list[Program], size: int) -> None:
    """A fast copy that is wrong is not fast: ours are compared by qemu-img."""
    for row in rows:
        if row.name.startswith("kubeferry"):
            run(row, folder, size, disk.warm)
            compare = ["qemu-img", "compare", "-f", row.source.suffix[1:], "-F", "raw", str(row.source)]
            subprocess.run([*compare, str(folder / "target")], check=True, stdout=subprocess.DEVNULL)


def tables(folder: Path, size: int, data: int, kind: str, rounds: tuple[int, int]) -> str:
    """One disk, warm and cold, so many rounds of each. Its files are removed."""
    raw, qcow2 = disk.make(folder, size, data)
    try:
        rows = programs(folder, raw, qcow2)
        equal(folder, rows, size)
        text = f"\n### {size >> 30} GiB {kind}, {raw.stat().st_blocks * 512 >> 20} MiB of data\n"
        for title, number, ready in (("Warm", rounds[0], disk.warm), ("Cold", rounds[1], disk.evict)):
            if number:
                found = in_turn(rows, number, lambda row, ready=ready: run(row, folder, size, ready))
                text += f"\n{title} page cache, {number} rounds:\n\n{table(rows, found)}\n"
        return text
    finally:
        for path in (raw, qcow2, folder / "target"):
            path.unlink(missing_ok=True)
