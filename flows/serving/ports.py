"""TCP ports of loopback: one that is free, and who listens on one that is not."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

LISTENING = "0A"
COMMAND_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that listens, and the command that it is."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen there now. Raises OSError where that is for another reason than a listener."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what has ended holds no port
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except PermissionError:
            raise
        except OSError:
            return False
    return True


def holder(port: int) -> Holder | None:
    """Who listens on a port; None where nobody does, or where it is somebody whose files we may not read."""
    sockets = {f"socket:[{number}]" for number in _listening(port)}
    for place in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with contextlib.suppress(OSError):
            if str(place.readlink()) in sockets:
                process = place.parent.parent
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
                return Holder(int(process.name), " ".join(words)[:COMMAND_CHARACTERS])
    return None


def _listening(port: int) -> list[str]:
    """The numbers of the sockets that listen on a port, as the kernel lists them."""
    found = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for row in table.read_text().splitlines()[1:]:
                _, local, _, state, *rest = row.split()
                if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                    found.append(rest[5])
    return found
