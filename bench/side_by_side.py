"""Programs side by side: each round runs every one of them, in another order, and a ratio is taken inside a round, in
which the machine was as busy for both.

Time counts until a program's target is durable; memory is the peak of a program with the children that it waited for.
What Python makes of its sources is kept, as in every place where kubeferry is installed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """Seconds of the clock and of a processor, bytes of memory; `server` are seconds of a processor, of who served."""

    seconds: float
    cpu: float
    peak: int
    server: float = 0.0


class Named(Protocol):
    """A row of a table."""

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


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


def timed(name: str, command: Sequence[str], target: Path) -> Run:
    """One program, from its start until its target is durable."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(ROOT / "build" / "bench" / "pycache")
    whole = [sys.executable, "-I", "-S", str(ROOT / "bench" / "timed.py"), str(target), *command]
    told = json.loads(subprocess.run(whole, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout)
    if told["code"]:
        raise SystemExit(f"{name} ended with {told['code']}")
    return Run(told["seconds"], told["cpu"], told["peak"])


def in_turn(rows: Sequence[Row], rounds: int, run: Callable[[Row], Run]) -> list[list[Run]]:
    """Rounds of all rows, each in another order; one list of runs per row."""
    found: list[list[Run]] = [[] for _ in rows]
    for number in range(rounds):
        for place in range(len(rows)):
            at = (number + place * (1 if number % 2 else -1)) % len(rows)
            found[at].append(run(rows[at]))
            print(f"  {rows[at].name}: {found[at][-1].seconds:.2f} s", file=sys.stderr)
    return found


def ratios(mine: Sequence[Run], other: Sequence[Run]) -> list[float]:
    """Of each round."""
    return [one.seconds / two.seconds for one, two in zip(mine, other, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"
