"""kill -9 at a named point of a copy, a read-back or a repair; then somebody changes the target; then the same command
again. At the end the target is the source, or it was refused in words and what was there is still there."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from kubeferry.outside import process
from kubeferry.outside.process import Completed
from soak import images
from soak.data.doomed import FAILED
from soak.data.points import OF
from soak.images import MIB
from soak.trial import Trial

REFUSED = "TargetRefused"
MOMENTS = {False: "before", True: "after"}


def run(given: Trial) -> None:
    r, size = given.random, images.a_size(given.random, 24 * MIB)
    source = images.filled(r, given.folder / "source", size)
    target = given.folder / "target"
    churned = False
    for _ in range(r.randint(1, 4)):
        done = _killed(given, "copy")
        if done.code == -signal.SIGKILL:
            kind = r.choice(images.CHURNS)
            if target.exists():
                given.point(f"killed, then {kind}")
                images.churned(r, target, kind)
                churned = churned or kind != "nothing"
    done = _calm(given, "copy")
    if done.code == FAILED:
        given.hold("a copy of ours is gone on with", churned and done.out.startswith(REFUSED), done.out)
        return
    _equal(given, source, target)
    if size:
        images.flipped(r, target, 3, size)
    for action in ("verify", "repair"):
        _killed(given, action)
    given.hold("a repair ends", not (ended := _calm(given, "repair")).code, ended.out + ended.err)
    _equal(given, source, target)


def _equal(given: Trial, source: Path, target: Path) -> None:
    given.hold("the target is the source", images.same(source, target, source.stat().st_size))
    given.hold("nothing lies behind it", target.stat().st_size == source.stat().st_size)
    found = _calm(given, "verify")
    given.hold("a right target reads back right", (found.code, found.out) == (0, "0\n"), found.out + found.err)


def _killed(given: Trial, action: str) -> Completed:
    """A run that dies at a point, if it passes that."""
    r, after = given.random, given.random.random() < 0.5
    point = r.choice(sorted(OF[action]))
    job: dict[str, object] = {"point": point, "passing": r.choice((1, 1, 1, 2, 3, 5)), "after": after}
    done = _doomed(given, action, job)
    if done.code == -signal.SIGKILL:
        given.point(f"{MOMENTS[after]} {point}")
    return done


def _calm(given: Trial, action: str) -> Completed:
    return _doomed(given, action, {"point": "", "passing": 0, "after": False})


def _doomed(given: Trial, action: str, job: dict[str, object]) -> Completed:
    path, folder = given.folder / "job.json", given.folder
    disk = {name: str(folder / name) for name in ("source", "target")}
    path.write_text(json.dumps({"action": action, "kff": str(folder / "target.kff"), **disk, **job}))
    done = process.run([sys.executable, "-m", "soak.data.doomed", str(path)], check=False)
    given.say(f"{action}: {done.code} {done.out.strip()}")
    given.hold("errors are told in words", done.code in {0, FAILED, -signal.SIGKILL}, done.err)
    return done
