"""Movers as local programs: `python -m converters.mover JOB.json`, owned by the thread that submits and watches.

Only the module's name and the files in the state folder are known here. A result stands for as long as its job is the
newest of its disk: a copy after a verify, or a verify after a copy, makes the older result stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import kubeferry
from kubeferry.documents import MoverError, MoverJob, MoverProgress, MoverResult, save
from kubeferry.errors import KubeferryError, TargetRefused, TargetUnavailable
from kubeferry.outside import process, stopping
from kubeferry.values import Plain

MODULE = "converters.mover"
POLL_SECONDS = 0.1
LOCK_SECONDS = 15.0
END_SECONDS = 10.0
TRIAL_SECONDS = 120.0
RESULT_BYTES = 64 * 1024

V = TypeVar("V", bound=Plain)


class LocalMovers:
    """The movers of this process. `submit` and `watch` of one job come from the same thread: the kernel ends a mover
    when the thread that started it ends."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[contextlib.ExitStack, process.Child]] = {}

    def submit(self, job: MoverJob, *, env: Mapping[str, str] | None = None) -> None:
        """Start the job, attach to it if it runs, leave it if it ended well and is the newest of its disk. `env` comes
        on top of our own environment: what is secret, or about this try only, and stands in no document."""
        if job.name in self._running or self._stands(job):
            return
        folder = Path(job.state_dir)
        folder.mkdir(parents=True, exist_ok=True)
        _wait_for_others(job)
        for stale in (_result_path(job), folder / "progress.json"):
            stale.unlink(missing_ok=True)
        save(job, folder / "job.json")
        owned = contextlib.ExitStack()
        argv = [sys.executable, "-P", "-m", MODULE, str(folder / "job.json")]
        mover = process.child(argv, log=folder / "mover.log", env=_environment() | dict(env or {}), grace=END_SECONDS)
        (folder / "mover.log").unlink(missing_ok=True)
        self._running[job.name] = owned, owned.enter_context(mover)

    def watch(self, job: MoverJob, on_progress: Callable[[MoverProgress], None]) -> MoverResult:
        """Wait for the end. The mover is ended with this call, however it ends; Interrupted passes through."""
        if job.name not in self._running:
            stood = _read(_result_path(job), MoverResult) if self._stands(job) else None
            return stood or _failed(job, "no mover of this name was submitted here", "", "Submit the job first.")
        owned, mover = self._running[job.name]
        try:
            with owned:
                code = _follow(job, mover, on_progress)
        finally:
            del self._running[job.name]
        result = _read(_result_path(job), MoverResult)
        if result is not None and result.name == job.name:
            return result
        why = mover.tail().strip() or "it printed nothing"
        what = f"the mover ended with code {code} and left no result"
        if _is_full(Path(job.state_dir)):
            fix = "Make room at the target; the same command goes on from the last checkpoint."
            return _failed(job, f"{what}: the target is full", why, fix, TargetRefused)
        return _failed(job, what, why, "Run the same command again.")

    def close(self) -> None:
        """End every mover that nobody watched to its end; each goes on from its checkpoint next time."""
        for owned, _mover in self._running.values():
            owned.close()
        self._running.clear()

    def _stands(self, job: MoverJob) -> bool:
        newest = _read(Path(job.state_dir) / "job.json", MoverJob)
        result = _read(_result_path(job), MoverResult)
        same = newest is not None and newest.name == job.name
        return same and result is not None and result.ok and result.name == job.name


def tried(job: MoverJob, report: Path) -> MoverResult:
    """Run a trial to its end; it keeps no state, and tells its result in `report`."""
    path = report.with_name("job.json")
    save(job, path)
    argv = [sys.executable, "-P", "-m", MODULE, str(path), "--report", str(report)]
    limit = time.monotonic() + TRIAL_SECONDS
    with process.child(argv, log=report.with_name("log"), env=_environment(), grace=END_SECONDS) as mover:
        while mover.wait(POLL_SECONDS) is None:
            stopping.check()
            if time.monotonic() > limit:
                return _failed(job, f"the mover did not end within {TRIAL_SECONDS:g} s", "", "Look at its disks.")
        said = mover.tail().strip()
    return _read(report, MoverResult) or _failed(job, "the mover left no result", said, "Run the same command again.")


def is_locked(state_dir: Path) -> bool:
    """Whether a mover, ours or another one's, works in this state folder."""
    try:
        with (state_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def told(state_dir: Path) -> tuple[MoverJob | None, MoverProgress | None]:
    """The newest job of this state folder, and how far its mover was when it last said so."""
    return _read(state_dir / "job.json", MoverJob), _read(state_dir / "progress.json", MoverProgress)


def _wait_for_others(job: MoverJob) -> None:
    """A mover whose owner was killed needs a moment to end."""
    for _ in range(int(LOCK_SECONDS / POLL_SECONDS)):
        if not is_locked(Path(job.state_dir)):
            return
        stopping.pause(POLL_SECONDS)
    raise TargetUnavailable(
        "another mover works on this disk",
        why=f"it holds {job.state_dir}/lock",
        fix="Wait for the other run to end, or stop it; then run the same command again.",
        machine=job.machine,
        disk=job.disk,
    )


def _follow(job: MoverJob, mover: process.Child, on_progress: Callable[[MoverProgress], None]) -> int:
    shown: MoverProgress | None = None
    while True:
        stopping.check()
        code = mover.wait(POLL_SECONDS)
        progress = _read(Path(job.state_dir) / "progress.json", MoverProgress)
        if progress is not None and progress != shown:
            on_progress(progress)
            shown = progress
        if code is not None:
            return code


def _result_path(job: MoverJob) -> Path:
    return Path(job.state_dir) / f"result-{job.action}.json"


def _read(path: Path, shape: type[V]) -> V | None:
    """What the file holds; None for one that is missing, or damaged by a crash: as good as missing."""
    try:
        return shape.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _is_full(folder: Path) -> bool:
    """Whether there is no room even for what a mover says at its end."""
    return shutil.disk_usage(folder).free < RESULT_BYTES


def _failed(
    job: MoverJob, what: str, why: str, fix: str, kind: type[KubeferryError] = TargetUnavailable
) -> MoverResult:
    error = MoverError(type=kind.__name__, what=what, why=why, fix=fix)
    return MoverResult(name=job.name, action=job.action, ok=False, error=error)


def _environment() -> dict[str, str]:
    """The mover is found beside this package, wherever it runs from and however it was installed."""
    return {"PYTHONPATH": str(Path(kubeferry.__file__).resolve().parent.parent)}
