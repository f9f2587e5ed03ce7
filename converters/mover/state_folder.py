"""The folder that a mover keeps its state in: one live mover, a fence against old ones, and its files.

fingerprint.kff                 the fingerprint of the last complete copy
checkpoint-fingerprint.kff      a copy that has not ended
progress.json, result-ACTION.json
lock, fence                     who may write here
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from converters.engine.transfer import Watch
from kubeferry import faults
from kubeferry.errors import Fenced, TargetUnavailable
from kubeferry.jobs import MoverProgress
from kubeferry.outside import atomic
from kubeferry.outside.locks import locked

PROGRESS_SECONDS = 0.5
MOMENT_SECONDS = 1  # somebody may just be looking whether the lock is held
TAKEOVER_SECONDS = 15  # how long an older mover may take to see that it was fenced: its checkpoints are 2 s apart
FENCE_LIMIT_BYTES = 32


class StateFolder(Watch):
    """A job's state folder, held by one mover at a time; tells progress, and at each checkpoint asks the fence."""

    def __init__(self, folder: Path, fence: int, tell: Callable[[MoverProgress], None] | None = None) -> None:
        self.folder = folder
        self.fence = fence
        self._tell = tell
        self._told_at = 0.0
        self._told: tuple[str, float, int] = ("", 0.0, 0)

    @property
    def fingerprint(self) -> Path:
        return self.folder / "fingerprint.kff"

    def result(self, action: str) -> Path:
        """Where the result of an action is written."""
        return self.folder / f"result-{action}.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raise the fence to ours and hold the lock. An older mover that still runs is waited for: it stops by itself.

        Raises Fenced when the folder has seen a higher fence, TargetUnavailable when another mover runs.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            overtaken = self._raise_fence()
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise faults.of_os(faults.Side.TARGET, f"the state folder {self.folder} cannot be used", error) from error
        try:
            if not locked(lock, patience=TAKEOVER_SECONDS if overtaken else MOMENT_SECONDS):
                raise TargetUnavailable(
                    f"another mover works in {self.folder}",
                    why="it holds the lock there, and is not an older one that was overtaken",
                    fix="Wait for it to end; its progress is in progress.json there.",
                )
            self.still_ours()
            yield
        finally:
            os.close(lock)

    def _raise_fence(self) -> bool:
        """Write our fence if it is higher than the one there; returns whether it was. Raises Fenced if it is lower."""
        fd = os.open(self.folder / "fence", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            seen = _number(os.pread(fd, FENCE_LIMIT_BYTES, 0))
            self._compare(seen)
            if seen is None or self.fence > seen:
                # one write of a fixed length: a reader without the lock sees the old number or the new one
                os.pwrite(fd, f"{self.fence:020d}\n".encode(), 0)
                os.fsync(fd)
            return seen is not None and self.fence > seen
        finally:
            os.close(fd)

    def _compare(self, seen: int | None) -> None:
        if seen is not None and seen > self.fence:
            raise Fenced(
                f"another runner has taken over {self.folder}",
                why=f"its fence is {seen}, ours is {self.fence}",
                fix="Nothing to do here: look at the other run.",
            )

    def still_ours(self) -> None:
        """Raises Fenced when the fence is higher than ours, or gone: then the folder is no longer ours either."""
        try:
            seen = _number((self.folder / "fence").read_bytes()[:FENCE_LIMIT_BYTES])
        except FileNotFoundError as error:
            fix = "Somebody removed this machine's state while it was copied; run the same again if that was not meant."
            raise Fenced(f"the state folder {self.folder} is gone", fix=fix) from error
        self._compare(seen)

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Write `progress.json`, at most twice a second, or at once when the phase is another one."""
        now = time.monotonic()
        last_phase, last_at, last_done = self._told
        if phase == last_phase and now - last_at < PROGRESS_SECONDS:
            return
        rate = max(0.0, (done - last_done) / (now - last_at)) if phase == last_phase else 0.0
        self._told = (phase, now, done)
        told = MoverProgress(done_bytes=done, total_bytes=total, bytes_per_second=rate, phase=phase)
        replace_text(self.folder / "progress.json", told.model_dump_json(by_alias=True))
        if self._tell is not None:
            self._tell(told)


def _number(raw: bytes) -> int | None:
    text = raw.strip()
    return int(text) if text.isdigit() else None


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that a reader finds the old one or the new one."""
    try:
        atomic.replace_text(path, text)
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{path} cannot be written", error) from error
