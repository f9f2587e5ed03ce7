"""The ways into a machine in local QEMU: its agent's socket, ports that are forwarded to it, its console's log, its
screen, and what its network cards send."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubeferry.documents import Probe
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.targets.directory import frames
from kubeferry.targets.guest import agent, pages
from kubeferry.targets.guest.agent import printable
from kubeferry.targets.guest.pages import Page

GREETING_LIMIT_BYTES = 4096
ASK_SECONDS = 0.1
CONSOLE_LIMIT_BYTES = 8 * 1024 * 1024
CAPTURE_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LocalAccess:
    """See `kubeferry.targets.guest.probes.Access`.

    `forwards` leads from a guest port to ports on 127.0.0.1; `clock` gives seconds since the machine was started;
    `death` says how it ended, None while it runs; `serial_log` is None for a machine without a console. `established`
    tells those ports on 127.0.0.1 behind which the guest itself has taken a connection: QEMU takes any. `picture` takes
    one of the screen, None for a machine without one; `captures` holds what each network card has sent (pcap), until
    `end_captures`.
    """

    agent_socket: Path
    serial_log: Path | None
    forwards: Mapping[int, tuple[int, ...]]
    clock: Callable[[], float]
    death: Callable[[], str | None]
    established: Callable[[], frozenset[int]] = frozenset
    picture: Callable[[], bytes] | None = None
    captures: tuple[Path, ...] = ()
    end_captures: Callable[[], None] = lambda: None

    def elapsed(self) -> float:
        return self.clock()

    def died(self) -> str | None:
        return self.death()

    def ping(self, seconds: float) -> str:
        with agent.connect(self.agent_socket, seconds) as talk:
            talk.ping()
        return "guest-ping was answered"

    def read_file(self, path: str, seconds: float) -> bytes:
        with agent.connect(self.agent_socket, seconds) as talk:
            return talk.read_file(path)

    def page(self, probe: Probe, seconds: float) -> Page:
        ports = self._ports(probe.port or 0)
        each = seconds / len(ports)
        return pages.from_any(probe, ports, lambda forwarded: _page(forwarded, probe, each))

    def _ports(self, port: int) -> tuple[int, ...]:
        """The ports on 127.0.0.1 that lead to one of the guest. Raises TargetRefused where there is none."""
        ports = self.forwards.get(port, ())
        if not ports:
            raise TargetRefused("the machine has no network card to ask")
        return ports

    def greeting(self, port: int, expect: str, seconds: float) -> str:
        ports = self._ports(port)
        found = [said for one in ports if (said := self._greeting(one, expect, seconds / len(ports))) is not None]
        if not found:
            raise TargetUnavailable(f"port {port} takes no connection")
        return next((said for said in found if expect in said), found[0])

    def _greeting(self, forwarded: int, expect: str, seconds: float) -> str | None:
        """What is said behind a forwarded port, None where the guest takes no connection there."""
        said, limit = b"", time.monotonic() + seconds
        try:
            with socket.create_connection(("127.0.0.1", forwarded), timeout=seconds) as link:
                link.settimeout(ASK_SECONDS)
                while True:
                    taken = forwarded in self.established()
                    if time.monotonic() >= limit or (taken and expect.encode() in said):
                        break
                    with contextlib.suppress(TimeoutError):
                        more = link.recv(GREETING_LIMIT_BYTES)
                        said += more
                        if not more or len(said) > GREETING_LIMIT_BYTES:
                            break
        except OSError:
            return None
        return said.decode(errors="replace") if taken or said else None

    def console(self) -> str | None:
        return None if self.serial_log is None else end_of(self.serial_log, CONSOLE_LIMIT_BYTES)

    def screen(self) -> bytes:
        if self.picture is None:
            raise TargetRefused("the manifest gives the machine no screen")
        return self.picture()

    def sent(self) -> str:
        if not self.captures:
            raise TargetRefused("the machine has no network card to listen to")
        captured = [_beginning(capture) for capture in self.captures]
        found = [frames.sign_of(one) for one in captured]
        signs = [f"card {number}: {words}" for number, (seen, words) in enumerate(found) if seen]
        if signs or any(len(one) == CAPTURE_LIMIT_BYTES for one in captured):
            self.end_captures()
        if not signs:
            raise TargetUnavailable("; ".join(dict.fromkeys(words for _, words in found)))
        return "; ".join(signs)


def _page(forwarded: int, probe: Probe, seconds: float) -> Page:
    try:
        with socket.create_connection(("127.0.0.1", forwarded), timeout=seconds) as opened:
            return pages.get(pages.SocketLink(opened), probe, seconds)
    except OSError as error:
        raise TargetUnavailable(f"no answer on port {probe.port}: {printable(error)}") from error


def end_of(log: Path, limit: int) -> str:
    """The last `limit` bytes that a machine wrote to its console; empty where it wrote none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - limit))
            return stream.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _beginning(capture: Path) -> bytes:
    """What a card sent first; nothing where it sent nothing yet."""
    try:
        with capture.open("rb") as stream:
            return stream.read(CAPTURE_LIMIT_BYTES)
    except FileNotFoundError:
        return b""
