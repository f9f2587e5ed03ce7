"""Our copy against qemu-img and nbdcopy, side by side in one run, as ratios with their spread.

Every round runs every program once, in another order, on the same disk; a ratio is taken inside a round, where the
machine was as busy for both. Time counts until the bytes are durable (an fsync of the target is part of it) and, for
us, from the start of the interpreter, hashing on. Memory is the peak of a program with the children that it waited for.
What Python makes of its sources is kept, as in every place where kubeferry is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import disk

ROOT = Path(__file__).resolve().parent.parent
OURS = "kubeferry copy (blake3)"


@dataclass(frozen=True)
class Program:
    """One row: a name, what it reads, and its command."""

    name: str
    source: Path
    command: Sequence[str]
    reference: str = OURS


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu: float
    peak: int


def job(folder: Path, name: str, source: Path, /, **more: object) -> list[str]:
    """The command of a mover, its job written."""
    content = {
        "apiVersion": "kubeferry.io/v1alpha1",
        "kind": "MoverJob",
        "name": name,
        "action": "copy",
        "source": {"uri": source.as_uri(), "format": source.suffix[1:]},
        "target": {"uri": (folder / "target").as_uri()},
        "stateDir": str(folder / "state"),
        "targetReadsZero": True,
        **more,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return [sys.executable, "-m", "converters.mover", str(path)]


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
    """One run, from the start of the program to durable bytes; all that comes before is outside the clock."""
    target = folder / "target"
    target.unlink(missing_ok=True)
    shutil.rmtree(folder / "state", ignore_errors=True)
    with target.open("wb") as file:
        file.truncate(size)
    ready(program.source)
    os.sync()
    return timed(program.name, program.command, target)


def timed(name: str, command: Sequence[str], target: Path) -> Run:
    """One program, from its start until its target is durable."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(ROOT / "build" / "bench" / "pycache")
    whole = [sys.executable, "-I", "-S", str(ROOT / "bench" / "timed.py"), str(target), *command]
    told = json.loads(subprocess.run(whole, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout)
    if told["code"]:
        raise SystemExit(f"{name} ended with {told['code']}")
    return Run(told["seconds"], told["cpu"], told["peak"])


def measure(
    rows: list[Program], folder: Path, size: int, rounds: int, ready: Callable[[Path], None]
) -> list[list[Run]]:
    """Rounds of all programs, each in another order; one list of runs per program."""
    found: list[list[Run]] = [[] for _ in rows]
    for number in range(rounds):
        for place in range(len(rows)):
            at = (number + place * (1 if number % 2 else -1)) % len(rows)
            found[at].append(run(rows[at], folder, size, ready))
            print(f"  {rows[at].name}: {found[at][-1].seconds:.2f} s", file=sys.stderr)
    return found


def table(rows: list[Program], runs: list[list[Run]]) -> str:
    lines = [
        "| program | seconds, median (min - max) | ours / this, median (min - max) | CPU s | peak MiB |",
        "|---|---|---|---|---|",
    ]
    ours = {row.name: found for row, found in zip(rows, runs, strict=True)}
    for row, found in zip(rows, runs, strict=True):
        seconds = [one.seconds for one in found]
        ratios = [mine.seconds / one.seconds for mine, one in zip(ours[row.reference], found, strict=True)]
        ratio = "1" if row.name == row.reference else spread(ratios)
        cpu = statistics.median(one.cpu for one in found)
        peak = max(one.peak for one in found) / 2**20
        lines.append(f"| {row.name} | {spread(seconds)} | {ratio} | {cpu:.2f} | {peak:.0f} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


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
                found = measure(rows, folder, size, number, ready)
                text += f"\n{title} page cache, {number} rounds:\n\n{table(rows, found)}\n"
        return text
    finally:
        for path in (raw, qcow2, folder / "target"):
            path.unlink(missing_ok=True)
