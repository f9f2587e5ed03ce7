"""The ways into a machine in local QEMU: its agent's socket, ports that are forwarded to it, its console's log."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.targets.guest import agent
from kubeferry.targets.guest.agent import printable
from kubeferry.targets.guest.probes import Page

BODY_LIMIT_BYTES = 1024 * 1024
GREETING_LIMIT_BYTES = 4096
ASK_SECONDS = 0.1
CONSOLE_LIMIT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LocalAccess:
    """See `kubeferry.targets.guest.probes.Access`.

    `forwards` leads from a guest port to ports on 127.0.0.1; `clock` gives seconds since the machine was started;
    `death` says how it ended, None while it runs; `serial_log` is None for a machine without a console. `established`
    tells those ports on 127.0.0.1 behind which the guest itself has taken a connection: QEMU takes any.
    """

    agent_socket: Path
    serial_log: Path | None
    forwards: Mapping[int, tuple[int, ...]]
    clock: Callable[[], float]
    death: Callable[[], str | None]
    established: Callable[[], frozenset[int]] = frozenset

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

    def page(self, port: int, path: str, expect: str, seconds: float) -> Page:
        ports = self.forwards.get(port, ())
        if not ports:
            raise TargetRefused("the machine has no network card to ask")
        found: list[Page] = []
        silent: TargetUnavailable | None = None
        for forwarded in ports:
            try:
                found.append(_get(forwarded, port, path, seconds))
            except TargetUnavailable as error:
                silent = silent or error
        if not found and silent is not None:
            raise silent
        return next((page for page in found if page.status == 200 and expect in page.body), found[0])

    def greeting(self, port: int, expect: str, seconds: float) -> str:
        ports = self.forwards.get(port, ())
        if not ports:
            raise TargetRefused("the machine has no network card to ask")
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


def _get(forwarded: int, port: int, path: str, seconds: float) -> Page:
    connection = http.client.HTTPConnection("127.0.0.1", forwarded, timeout=seconds)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
        response = connection.getresponse()
        return Page(response.status, response.read(BODY_LIMIT_BYTES).decode(errors="replace"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TargetUnavailable(f"no answer on port {port}: {printable(str(error) or type(error).__name__)}") from error
    finally:
        connection.close()


def end_of(log: Path, limit: int) -> str:
    """The last `limit` bytes that a machine wrote to its console; empty where it wrote none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - limit))
            return stream.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""
