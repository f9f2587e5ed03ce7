"""The fence on a machine's folder: the number of the newest runner that started or stopped its copy, in a file.

A runner may sleep before its deed for longer than its lease lasts; then it finds a newer number there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from kubeferry.documents import Entry
from kubeferry.errors import TargetUnavailable
from kubeferry.outside import locks
from kubeferry.targets import superseded
from kubeferry.targets.directory.layout import MachineFolder, write

PATIENCE_SECONDS = 10.0


def raise_fence(folder: MachineFolder, entry: Entry, fence: int) -> None:
    """Put the number into the machine's folder, where it is not there. Raises Fenced where a newer one is; `fence` 0
    asks for nothing."""
    if not fence or not folder.marker.exists():
        return
    with _locked(folder, entry):
        if (newest := _newest(folder)) > fence:
            raise superseded(entry, str(folder.fence), newest, fence)
        if newest < fence:
            write(folder.fence, f"{fence}\n")


def check(folder: MachineFolder, entry: Entry, fence: int) -> None:
    """Raise Fenced where a newer number is there: after a deed, which is then too late."""
    if fence and (newest := _newest(folder)) > fence:
        raise superseded(entry, str(folder.fence), newest, fence)


def _newest(folder: MachineFolder) -> int:
    with contextlib.suppress(FileNotFoundError):
        told = folder.fence.read_text(encoding="utf-8", errors="replace").strip()
        return int(told) if told.isdecimal() else 0
    return 0


@contextlib.contextmanager
def _locked(folder: MachineFolder, entry: Entry) -> Iterator[None]:
    with folder.marker.open("rb") as marker:
        if not locks.locked(marker.fileno(), patience=PATIENCE_SECONDS):
            fix = "Look which process holds it, then run the same command again."
            raise TargetUnavailable(f"{folder.marker} is locked", fix=fix, machine=entry.name)
        yield
