"""The node as a machine of its own: mount, process, network and host-name namespaces with one process 1.

Nothing about it is written down: the running process is found by its command line, so a note that is missing or stale
cannot mislead `down`. When process 1 ends, the kernel ends every process, mount, link and rule of the node with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import TargetUnavailable
from kubeferry.outside.process import Completed, alive, detached, end_detached, run
from lab.cluster.place import CHECKOUT, Place
from lab.cluster.progress import POLL_SECONDS, wait_until

NAMESPACES = ("--mount", "--pid", "--net", "--uts")
# The node's own /var: pods, logs and leases of addresses stay inside the lab's state folder.
VAR_FOLDERS = ("lib", "log", "cache", "tmp")
END_SECONDS = 20
TAIL_BYTES = 1500


@dataclass(frozen=True, slots=True)
class Node:
    """A running node. `pid` is its process 1 as seen from outside."""

    place: Place
    pid: int

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside; it starts in the checkout's folder."""
        return ["nsenter", "--target", str(self.pid), *NAMESPACES, f"--wdns={CHECKOUT}", "--", *command]

    def run(self, command: Sequence[str], *, stdin: str | None = None, timeout: float = 60) -> Completed:
        """Run a program inside to its end. Raises ProgramFailed."""
        return run(self.argv(command), stdin=stdin, timeout=timeout)

    def start(self, name: str, command: Sequence[str]) -> bool:
        """Make sure that the daemon `name` runs inside; returns whether it had to be started."""
        if self.runs(name):
            return False
        detached(self.argv(command), pidfile=self.place.pidfile(name), log=self.place.log(name))
        return True

    def runs(self, name: str) -> bool:
        """Whether the daemon `name` runs."""
        return alive(self.place.pidfile(name), program=f"--target\0{self.pid}") is not None

    def await_daemon(self, name: str, holds: Callable[[], bool], *, seconds: float) -> None:
        """Return as soon as `holds()`. Raises TargetUnavailable, with the end of its log, if the daemon ends before
        that or does not get there in `seconds`.
        """
        limit = time.monotonic() + seconds
        while not holds():
            ended = not self.runs(name)
            if ended or time.monotonic() > limit:
                said = self.place.log(name).read_text(errors="replace")[-TAIL_BYTES:]
                raise TargetUnavailable(f"{name} {'ended' if ended else f'is not ready after {seconds:g} s'}", why=said)
            time.sleep(POLL_SECONDS)

    def stop(self, name: str) -> bool:
        """End the daemon `name`; returns whether it ran."""
        return end_detached(self.place.pidfile(name), program=f"--target\0{self.pid}")


def command_line(place: Place) -> list[str]:
    """How the node is started. The folder is an argument so that the process can be told from any other."""
    return [
        "unshare",
        f"--wd={place.state}",
        *NAMESPACES,
        "--fork",
        "--mount-proc",
        "--kill-child=KILL",
        "--",
        "tini",
        "--",
        "sleep",
        "infinity",
    ]


def find(place: Place) -> Node | None:
    """The running node of this place."""
    for starter in _starters(place):
        for child in _children(starter):
            return Node(place, child)
    return None


def make(place: Place) -> Node:
    """Start a node with its own /var and /run; its network is still to be made."""
    detached(command_line(place), pidfile=place.pidfile("node"), log=place.log("node"))
    wait_until(lambda: _is_up(place), seconds=10, what="the node's process 1")
    node = find(place)
    if node is None:
        raise RuntimeError("the node ended as soon as it was up")
    _mounts(node)
    return node


def end(place: Place) -> bool:
    """End the node and everything in it; returns whether one ran. The namespaces are gone when this returns."""
    starters = _starters(place)
    for starter in starters:
        for pid in (*_children(starter), starter):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _starters(place), seconds=END_SECONDS, what="the end of the node")
    # Collects our own children, if this process is the one that made the node.
    for pidfile in place.state.glob("pids/*"):
        end_detached(pidfile, program=str(place.state))
    return bool(starters)


def _mounts(node: Node) -> None:
    var = node.place.state / "var"
    for name in VAR_FOLDERS:
        (var / name).mkdir(parents=True, exist_ok=True)
    (var / "tmp").chmod(0o1777)
    for name in ("run", "run/lock"):
        link = var / Path(name).name
        link.unlink(missing_ok=True)
        link.symlink_to(Path("..", name))
    node.run(["mount", "--bind", str(var), "/var"])
    node.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])
    node.run(["mkdir", "/run/lock"])
    # Last, and not before the binds: else each mount of a pod would appear a second time in the state folder.
    node.run(["mount", "--make-rshared", "/"])
    node.run(["sysctl", "-qw", "kernel.hostname=lab"])


def _is_up(place: Place) -> bool:
    node = find(place)
    return node is not None and b"tini" in _argv(node.pid)[:1]


def _starters(place: Place) -> list[int]:
    """The `unshare` processes of this place; more than one only after two calls at the same time."""
    wanted = [part.encode() for part in command_line(place)]
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _argv(pid) == wanted]


def _argv(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
