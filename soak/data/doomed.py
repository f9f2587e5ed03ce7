"""`python -m soak.data.doomed JOB.json`: copy, verify or repair a disk, and die by kill -9 at the nth passing of one
point, before or after what happens there. Prints the name of an error and what it says; exit code 3 then."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.engine import disks
from converters.engine.transfer import Options
from kubeferry.errors import KubeferryError
from soak.data.points import POINTS

FAILED = 3


def doom(place: str, passing: int, *, after: bool) -> None:
    """From now on the process dies there, wherever that name is used."""
    module_name, _, name = place.partition(":")
    module = importlib.import_module(module_name)
    *owners, last = name.split(".")
    owner: Any = functools.reduce(getattr, owners, module)
    found = owner.__dict__[last]
    inner = found.__func__ if isinstance(found, classmethod) else found
    doomed = _dying(inner, passing, after=after)
    setattr(owner, last, classmethod(doomed) if isinstance(found, classmethod) else doomed)
    if owners:
        return
    for other in list(sys.modules.values()):  # who has imported the function by its name
        if getattr(other, "__name__", "").startswith("converters.") and other.__dict__.get(last) is inner:
            setattr(other, last, doomed)


def _dying(inner: Callable[..., Any], passing: int, *, after: bool) -> Callable[..., Any]:
    lock, left = threading.Lock(), [passing]

    @functools.wraps(inner)
    def call(*given: Any, **named: Any) -> Any:
        with lock:
            left[0] -= 1
            now = left[0] == 0
        if now and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = inner(*given, **named)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return call


def main(job: dict[str, Any]) -> int:
    """Do the job of the document; see `soak.data.kills`."""
    if job["point"]:
        doom(POINTS[job["point"]], job["passing"], after=job["after"])
    source, target = disks.parse_ref(job["source"]), disks.parse_ref(job["target"])
    kff, options = Path(job["kff"]), Options(checkpoint_seconds=0, recheck=True, may_lose=False, exact=True)
    try:
        if job["action"] == "copy":
            disks.prepare_target(target, disks.disk_size(source), kff)
            disks.copy_disk(source, target, kff, options=options)
        elif job["action"] == "repair":
            disks.repair_disk(source, target, kff, options=options)
        else:
            sys.stdout.write(f"{len(disks.verify_disk(target, kff, options=options).differing)}\n")
    except KubeferryError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
