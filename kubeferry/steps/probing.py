"""The plan's probes, asked of a machine as it runs now, at its source or its target; nothing is changed, or recorded.

A probe that fails at the source before the move proves nothing after it. There it is asked through the guest's agent,
and at the addresses that the source tells; its answer is there at once, or not at all, so nobody waits for long.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from kubeferry.documents import Entry, Probe, ProbeResult
from kubeferry.errors import Interrupted, KubeferryError, SourceRefused, TargetRefused, TargetUnavailable, as_told
from kubeferry.life.machine_state import MachineState
from kubeferry.model import UP
from kubeferry.sources import Inside, Source
from kubeferry.targets import Target
from kubeferry.targets.guest import pages, probes
from kubeferry.targets.guest.agent import printable
from kubeferry.targets.guest.pages import Page

PATIENCE_SECONDS = 10.0
GREETING_LIMIT_BYTES = 4096
FILE_LIMIT_BYTES = 64 * 1024
NO_ADDRESS = "its source tells no address of it"
UNSEEN = "a source shows no console, screen or packets of its machines"


@dataclass(frozen=True, slots=True)
class Told:
    """What came of the probes of one machine; `not_asked` in words, with the reasons. `error` where it cannot be asked
    at all."""

    machine: str
    results: tuple[ProbeResult, ...] = ()
    not_asked: tuple[str, ...] = ()
    error: KubeferryError | None = None

    @property
    def failed(self) -> bool:
        return self.error is not None or not all(result.ok for result in self.results)


def at_source(source: Source, entry: Entry) -> Told:
    """Ask a machine where it runs now. Raises Interrupted only."""
    with _told(entry) as told:
        power = source.power(entry.machine)
        if power not in UP:
            fix = "Start it, and ask again."
            raise SourceRefused(f"it is {power} at its source: nothing in it answers", fix=fix, machine=entry.name)
        inside = source.inside(entry.machine)
        asked, not_asked = _askable(entry.probes, inside)
        results = probes.run(asked, SourceAccess(inside), {}) if asked else ()
        told.append(Told(entry.name, results, not_asked))
    return told[0]


def at_target(target: Target, entry: Entry, state: MachineState) -> Told:
    """Ask the machine's copy. Raises Interrupted only."""
    with _told(entry) as told:
        if not target.runs(entry):
            fix = "Move it, or start it there."
            raise TargetRefused("it does not run at the target", fix=fix, machine=entry.name)
        seen = target.observe(entry, state.last_words)
        told.append(Told(entry.name, seen.probes, seen.not_asked))
    return told[0]


@contextlib.contextmanager
def _told(entry: Entry) -> Iterator[list[Told]]:
    """A list for what is told of a machine; an error is told of it, too, and costs no other one."""
    told: list[Told] = []
    try:
        yield told
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 (a defect of ours in one machine does not keep the others)
        told.append(Told(entry.name, error=as_told(error)))


def _askable(wanted: tuple[Probe, ...], inside: Inside) -> tuple[tuple[Probe, ...], tuple[str, ...]]:
    """The probes as they can be asked there, and the others with the reason."""
    asked, left = [], []
    for probe in wanted:
        if why := _hindrance(probe, inside):
            left.append(f"{probes.describe(probe)}: {why}")
            continue
        shorter = {"timeout_seconds": min(probe.timeout_seconds, PATIENCE_SECONDS)}
        if probe.kind == "counter":  # it compares two moments, and this is the first: the number must be there
            asked.append(Probe(kind="file", path=probe.path).model_copy(update=shorter))
        else:
            asked.append(probe.model_copy(update=shorter))
    return tuple(asked), tuple(left)


def _hindrance(probe: Probe, inside: Inside) -> str:
    if probe.kind in {"serial", "screen", "packets"}:
        return UNSEEN
    if probe.kind in {"agent", "file", "counter"} and inside.ask is None:
        return inside.no_agent or "its source has no way to its agent"
    return NO_ADDRESS if probe.kind in {"http", "tcp"} and not inside.addresses else ""


# --- the ways in -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SourceAccess:
    """See `kubeferry.targets.guest.probes.Access`: a machine at its source, by its agent and its own addresses."""

    inside: Inside
    started: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def died(self) -> str | None:
        return None

    def ping(self, seconds: float) -> str:
        self._answer("guest-ping")
        return "guest-ping was answered"

    def read_file(self, path: str, seconds: float) -> bytes:
        handle = self._answer("guest-file-open", path=path, mode="r")
        try:
            read = self._answer("guest-file-read", handle=handle, count=FILE_LIMIT_BYTES)
        finally:
            self._ask("guest-file-close", handle=handle)
        try:
            return base64.b64decode(read["buf-b64"], validate=True)[:FILE_LIMIT_BYTES]  # type: ignore[index]
        except (LookupError, TypeError, ValueError) as error:
            raise TargetUnavailable(f"the guest agent does not give {printable(path)}") from error

    def page(self, probe: Probe, seconds: float) -> Page:
        addresses = self.inside.addresses
        if not addresses:
            raise TargetUnavailable(NO_ADDRESS)
        each = seconds / len(addresses)
        return pages.from_any(probe, addresses, lambda address: _page(address, probe, each))

    def greeting(self, port: int, expect: str, seconds: float) -> str:
        each = seconds / max(1, len(self.inside.addresses))
        found = [said for one in self.inside.addresses if (said := _greeting(one, port, expect, each)) is not None]
        if not found:
            raise TargetUnavailable(f"port {port} takes no connection at {', '.join(self.inside.addresses)}")
        return next((said for said in found if expect in said), found[0])

    def console(self) -> str | None:
        raise TargetRefused(UNSEEN)

    def screen(self) -> bytes:
        raise TargetRefused(UNSEEN)

    def sent(self) -> str:
        raise TargetRefused(UNSEEN)

    def _ask(self, command: str, **arguments: object) -> object:
        if self.inside.ask is None:
            raise TargetRefused(self.inside.no_agent)
        try:
            answer: object = self.inside.ask(command, **arguments)
        except KubeferryError as error:  # the source's own, as one of a probe's
            raise TargetUnavailable(error.what, why=error.why, fix=error.fix) from error
        return answer

    def _answer(self, command: str, **arguments: object) -> object:
        answer = self._ask(command, **arguments)
        if answer is None:
            told = f" {printable(arguments['path'])}" if "path" in arguments else ""
            raise TargetUnavailable(f"the guest agent does not answer, or refuses {command}{told}")
        return answer


def _page(address: str, probe: Probe, seconds: float) -> Page:
    try:
        with socket.create_connection((address, probe.port or 0), timeout=seconds) as opened:
            return pages.get(pages.SocketLink(opened), probe, seconds)
    except OSError as error:
        raise TargetUnavailable(f"no answer on port {probe.port} of {address}: {printable(error)}") from error


def _greeting(address: str, port: int, expect: str, seconds: float) -> str | None:
    """What the port says first, None where it takes no connection."""
    said, limit = b"", time.monotonic() + seconds
    try:
        with socket.create_connection((address, port), timeout=seconds) as opened:
            while expect.encode() not in said and len(said) < GREETING_LIMIT_BYTES and time.monotonic() < limit:
                opened.settimeout(max(0.01, limit - time.monotonic()))
                with contextlib.suppress(TimeoutError):
                    more = opened.recv(GREETING_LIMIT_BYTES)
                    said += more
                    if not more:
                        break
    except OSError:
        return None
    return said.decode(errors="replace")
