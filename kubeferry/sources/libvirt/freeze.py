"""A running guest's file systems held still for a moment, by its agent; let go again whatever happens.

A process of its own lets go after a time, if we do not: neither a kill of ours nor a libvirt that takes its time leaves
a guest that cannot write. `python -m kubeferry.sources.libvirt.freeze URI UUID SECONDS` is that process.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt

import kubeferry
from kubeferry.errors import SourceUnavailable
from kubeferry.outside import process
from kubeferry.sources.libvirt.guest import ask

FREEZE_SECONDS = 10
"""How long the guest may take to hold still, and how long it is held at most."""
THAW_SECONDS = 10
THAW_ATTEMPTS = 3
MODULE = "kubeferry.sources.libvirt.freeze"


class Freeze:
    """What became of it. `held` says that the file systems were still from before the block to its end; it is known
    when the block has ended."""

    def __init__(self) -> None:
        self.asked = False
        self.held = False


@contextlib.contextmanager
def frozen(domain: libvirt.virDomain, uri: str, guard: Path) -> Iterator[Freeze]:
    """The guest's file systems are held still in the block, where its agent can do that.

    `guard` is where the pid of the process is kept that lets go if we do not. Raises SourceUnavailable where the guest
    would not let go again.
    """
    freeze = Freeze()
    if ask(domain, "guest-ping") is None:
        yield freeze
        return
    _start_guard(domain, uri, guard)
    try:
        count = ask(domain, "guest-fsfreeze-freeze", patience=FREEZE_SECONDS)
        freeze.asked = isinstance(count, int) and count > 0
        yield freeze
    finally:
        thawed = _thaw(domain)
        process.end_detached(guard, program=MODULE)
        freeze.held = freeze.asked and thawed > 0


def _thaw(domain: libvirt.virDomain) -> int:
    """How many file systems were let go; 0 where they had been already. Also after a freeze that failed: the guest may
    have been late, or an earlier call of ours may have died."""
    for _ in range(THAW_ATTEMPTS):
        count = ask(domain, "guest-fsfreeze-thaw", patience=THAW_SECONDS)
        if isinstance(count, int):
            return count
    if ask(domain, "guest-fsfreeze-status") is None and ask(domain, "guest-ping") is not None:
        return 0  # an agent that knows no freezing
    fix = "Try `virsh domfsthaw` by hand: until it works the guest cannot write."
    raise SourceUnavailable("the guest does not let its file systems go", fix=fix, machine=domain.name())


def _start_guard(domain: libvirt.virDomain, uri: str, guard: Path) -> None:
    process.end_detached(guard, program=MODULE)
    path = os.pathsep.join([str(Path(kubeferry.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    argv = [sys.executable, "-m", MODULE, uri, domain.UUIDString(), str(FREEZE_SECONDS)]
    process.detached(argv, pidfile=guard, log=Path(os.devnull), env={"PYTHONPATH": path.rstrip(os.pathsep)})


def main(uri: str, uuid: str, seconds: str) -> None:
    """Wait, then let the guest go."""
    time.sleep(float(seconds))
    libvirt.open(uri).lookupByUUIDString(uuid).fsThaw()


if __name__ == "__main__":
    main(*sys.argv[1:4])
