"""`python -m bench`: our copy against qemu-img and nbdcopy, side by side in one run, as ratios with their spread.

Every round runs every program once, in another order, on the same disk; a ratio is taken inside a round, where the
machine was as busy for both. Time counts until the bytes are durable (an fsync of the target is part of it) and, for
us, from the start of the interpreter, hashing on. Memory is the peak of a program with the children that it waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).parent.parent))
from bench import commands, decoder, discovery, disk, ebs, network

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


def job(folder: Path, name: str, source: Path, **more: object) -> list[str]:
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
    timed = [sys.executable, "-I", "-S", str(ROOT / "bench" / "timed.py"), str(target), *program.command]
    told = json.loads(subprocess.run(timed, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)
    if told["code"]:
        raise SystemExit(f"{program.name} ended with {told['code']}")
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


def machine() -> str:
    version = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    nbdcopy = subprocess.run(["nbdcopy", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return (
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, qemu-img {version}, "
        f"nbdcopy {nbdcopy}, load {os.getloadavg()[0]:.1f} at the start"
    )


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("--size-mib", type=int, default=4096, help="virtual size; 43 %% of it is data")
    options.add_argument("--rounds", type=int, default=5, help="with a warm page cache")
    options.add_argument("--cold-rounds", type=int, default=3, help="with the source dropped from the page cache")
    options.add_argument("--machines", type=int, default=1000, help="of the vCenter that is discovered; 0: none")
    options.add_argument("--decoder-mib", type=int, default=128, help="size of the disk for the VMDK decoder; 0: none")
    options.add_argument("--ebs-mib", type=int, default=256, help="size of the snapshot for the EBS reader; 0: none")
    options.add_argument("--plan-machines", type=int, default=500, help="of the plan that `status` shows; 0: none")
    options.add_argument("--network-mib", type=int, nargs="*", default=[1024, 4096], help="sizes over NBD; empty: none")
    options.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="where the disks are made")
    asked = options.parse_args()
    size = asked.size_mib << 20
    asked.folder.mkdir(parents=True, exist_ok=True)
    raw, qcow2 = disk.make(asked.folder, size)
    rows = programs(asked.folder, raw, qcow2)
    about = machine()
    equal(asked.folder, rows, size)
    data = raw.stat().st_blocks * 512
    text = (
        f"Copy of {size >> 20} MiB with {data >> 20} MiB of data, time to durable, side by side in one run. {about}.\n"
    )
    for title, rounds, ready in (("Warm", asked.rounds, disk.warm), ("Cold", asked.cold_rounds, disk.evict)):
        if rounds:
            found = measure(rows, asked.folder, size, rounds, ready)
            text += f"\n{title} page cache, {rounds} rounds:\n\n{table(rows, found)}\n"
    if asked.machines:
        text += f"\n{discovery.row(asked.machines, asked.rounds)}\n"
    if asked.decoder_mib:
        text += f"\n{decoder.row(asked.decoder_mib << 20, asked.rounds)}\n"
    if asked.ebs_mib:
        text += f"\n{ebs.rows(asked.folder / 'ebs', asked.ebs_mib << 20, ROOT)}\n"
    if asked.plan_machines:
        text += f"\nThe command line:\n\n{commands.rows(asked.plan_machines, asked.rounds)}\n"
    if asked.network_mib:
        found = network.text(asked.folder.absolute(), [mib << 20 for mib in asked.network_mib], asked.rounds)
        text += f"\nOver NBD:\n\n{found}\n"
    (asked.folder / "target").unlink(missing_ok=True)
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "bench.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
