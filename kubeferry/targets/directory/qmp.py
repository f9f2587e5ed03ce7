"""QEMU's monitor protocol (QMP): commands to a running machine. Events are read and left aside."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubeferry.errors import TargetUnavailable
from kubeferry.targets.guest import channel

ANSWER_SECONDS = 10.0
_ESTABLISHED = re.compile(r"\s*TCP\[(?:ESTABLISHED|CLOSE_WAIT|FIN_WAIT_[12])\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s")


class QmpRefused(TargetUnavailable):
    """QEMU answered a command with an error."""


class Qmp:
    """A monitor that has shaken hands. Every method raises TargetUnavailable when QEMU does not answer."""

    def __init__(self, link: channel.Channel) -> None:
        self._link = link

    def command(self, name: str, **arguments: object) -> Any:
        """What the command returns. Raises QmpRefused with QEMU's own words."""
        self._link.send({"execute": name, **({"arguments": arguments} if arguments else {})})
        while True:
            answer = self._link.receive()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise QmpRefused(f"QEMU refused {name}", why=str(answer["error"].get("desc", "")))

    def status(self) -> str:
        """QEMU's word for what the machine does: running, paused, shutdown, internal-error, guest-panicked, …"""
        return str(self.command("query-status")["status"])

    def version(self) -> str:
        """QEMU's version."""
        number = self.command("query-version")["qemu"]
        return f"{number['major']}.{number['minor']}.{number['micro']}"

    def screenshot(self, path: Path) -> None:
        """Have QEMU write the first screen to `path` as PNG."""
        self.command("screendump", filename=str(path), format="png")

    def usernet(self) -> str:
        """The text of `info usernet`: what leads to the guest, and what is connected."""
        return str(self.command("human-monitor-command", **{"command-line": "info usernet"}))


def established_in(table: str) -> frozenset[int]:
    """Of the text of `info usernet`, the forwarded ports on 127.0.0.1 with a connection that the guest has taken."""
    return frozenset(int(found[1]) for line in table.splitlines() if (found := _ESTABLISHED.match(line)))


def forwards_in(table: str) -> dict[int, tuple[int, ...]]:
    """Of the text of `info usernet`, for each forwarded guest port the ports on 127.0.0.1 that lead to it, one for each
    network card."""
    found: dict[int, tuple[int, ...]] = {}
    for line in table.splitlines():
        match = re.match(r"\s*TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)\s", line)
        if match:
            guest = int(match[2])
            found[guest] = (*found.get(guest, ()), int(match[1]))
    return found


@contextlib.contextmanager
def connect(path: Path, timeout: float = ANSWER_SECONDS) -> Iterator[Qmp]:
    """A monitor for as long as the block lasts; `timeout` seconds for each answer."""
    with channel.connect(path, timeout) as link:
        greeting = link.receive()
        if "QMP" not in greeting:
            raise TargetUnavailable(f"{path.name} is not a QEMU monitor", why="it did not greet as one")
        monitor = Qmp(link)
        monitor.command("qmp_capabilities")
        yield monitor
