"""The questions of a plan to a started machine, each asked again until it passes or its time is over.

A probe's evidence is what was seen, word for word where it is short; what did not answer is said not to have answered.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubeferry import stopping
from kubeferry.documents import Probe, ProbeResult
from kubeferry.errors import TargetUnavailable
from kubeferry.target import agent
from kubeferry.target.agent import printable

PAUSE_SECONDS = 0.25
FIRST_TRY_SECONDS = 0.5
LONGEST_TRY_SECONDS = 3.0
BODY_LIMIT_BYTES = 1024 * 1024
CONSOLE_LIMIT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Access:
    """The ways into one running machine.

    `forwards` leads from a guest port to ports on 127.0.0.1; `elapsed` gives seconds since the machine was started;
    `died` says how it ended, None while it runs; `serial_log` is None for a machine without a console.
    """

    agent_socket: Path
    serial_log: Path | None
    forwards: Mapping[int, tuple[int, ...]]
    elapsed: Callable[[], float]
    died: Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """One try. `final` means that trying again cannot change it."""

    ok: bool
    evidence: str
    final: bool = False


@dataclass(slots=True)
class _Pending:
    """A probe that has not been decided."""

    probe: Probe
    try_seconds: float = FIRST_TRY_SECONDS
    last: Answer = field(default_factory=lambda: Answer(ok=False, evidence="not tried"))


def run(probes: tuple[Probe, ...], access: Access, last_words: Mapping[str, str]) -> tuple[ProbeResult, ...]:
    """The outcome of each probe, in order. All are tried in turn, so that none waits for another one's time to end.

    A probe's time counts from this call. Raises Interrupted when somebody asks to stop.
    """
    begun = access.elapsed()
    decided: dict[int, ProbeResult] = {}
    pending = {number: _Pending(probe) for number, probe in enumerate(probes)}
    while pending:
        stopping.check()
        death = access.died()
        for number, state in list(pending.items()):
            if death is None:
                state.last = attempt(state.probe, access, last_words, state.try_seconds)
                state.try_seconds = min(state.try_seconds * 1.5, LONGEST_TRY_SECONDS)
            elif not state.last.ok:
                state.last = Answer(False, f"the machine ended: {death}", final=True)
            late = access.elapsed() - begun >= state.probe.timeout_seconds
            if state.last.ok or state.last.final or late:
                decided[number] = _result(state, access.elapsed(), late)
                del pending[number]
        if pending:
            stopping.pause(PAUSE_SECONDS)
    return tuple(decided[number] for number in sorted(decided))


def _result(state: _Pending, elapsed: float, late: bool) -> ProbeResult:
    evidence = state.last.evidence
    if late and not state.last.ok and not state.last.final:
        evidence = f"not within {state.probe.timeout_seconds:g} s; the last try: {evidence}"
    return ProbeResult(
        kind=state.probe.kind,
        what=describe(state.probe),
        ok=state.last.ok,
        evidence=evidence,
        seconds=round(elapsed, 3),
    )


def describe(probe: Probe) -> str:
    """The question in words."""
    expected = f" holds {printable(probe.expect, 80)!r}" if probe.expect else ""
    return {
        "agent": "the guest agent answers",
        "http": f"GET {probe.path or '/'} on port {probe.port} answers 200{' and' if expected else ''}{expected}",
        "file": f"the file {probe.path}{expected or ' can be read'}",
        "counter": f"the number in {probe.path} went up by exactly one",
        "serial": f"the serial console{expected}",
    }[probe.kind]


def attempt(probe: Probe, access: Access, last_words: Mapping[str, str], seconds: float) -> Answer:
    """Ask once, waiting at most about `seconds` for each answer."""
    try:
        if probe.kind == "http":
            return _http(probe, access, seconds)
        if probe.kind == "serial":
            return _serial(probe, access)
        if probe.kind == "counter":
            return _counter(probe, access, last_words, seconds)
        with agent.connect(access.agent_socket, seconds) as talk:
            if probe.kind == "file":
                return _file(probe, talk)
            talk.ping()
            return Answer(True, "guest-ping was answered")
    except TargetUnavailable as error:
        return Answer(False, f"{error.what}: {error.why}" if error.why else error.what)


def _http(probe: Probe, access: Access, seconds: float) -> Answer:
    ports = access.forwards.get(probe.port or 0, ())
    if not ports:
        return Answer(False, "the machine has no network card to ask", final=True)
    answers = [_get(port, probe, seconds) for port in ports]
    return next((answer for answer in answers if answer.ok), answers[0])


def _get(port: int, probe: Probe, seconds: float) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", probe.path or "/", headers={"Host": "localhost", "Connection": "close"})
        response = connection.getresponse()
        body = response.read(BODY_LIMIT_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(False, f"no answer on port {probe.port}: {printable(str(error) or type(error).__name__)}")
    finally:
        connection.close()
    ok = response.status == 200 and (probe.expect or "") in body
    return Answer(ok, f"{response.status}: {printable(body) or 'an empty page'}")


def _file(probe: Probe, talk: agent.Agent) -> Answer:
    content = talk.read_file(probe.path or "").decode(errors="replace")
    return Answer((probe.expect or "") in content, f"{probe.path}: {printable(content) or 'empty'}")


def _counter(probe: Probe, access: Access, last_words: Mapping[str, str], seconds: float) -> Answer:
    path = probe.path or ""
    before = _number(last_words.get(path, ""))
    if path not in last_words:
        return Answer(False, f"the source gave no last words for {path}", final=True)
    if before is None:
        return Answer(
            False, f"the source's last words for {path} are no number: {printable(last_words[path], 40)}", True
        )
    with agent.connect(access.agent_socket, seconds) as talk:
        content = talk.read_file(path).decode(errors="replace")
    now = _number(content)
    if now is None:
        return Answer(False, f"{path} holds no number: {printable(content, 40) or 'empty'}")
    # A lower number may still rise; a higher one never falls back.
    return Answer(now == before + 1, f"{before} at the source, {now} here", final=now > before + 1)


def _number(text: str) -> int | None:
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _serial(probe: Probe, access: Access) -> Answer:
    if access.serial_log is None:
        return Answer(False, "the manifest gives the machine no serial console", final=True)
    text = console(access.serial_log, CONSOLE_LIMIT_BYTES)
    expect = probe.expect or ""
    line = next((line for line in text.splitlines() if expect in line), expect if expect in text else None)
    if line is None:
        last = text.rstrip().rpartition("\n")[2]
        return Answer(False, f"the console's last line: {printable(last)}" if last else "the console is silent")
    return Answer(True, f"the console: {printable(line)}")


def console(log: Path, limit: int) -> str:
    """The last `limit` bytes that a machine wrote to its console; empty where it wrote none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - limit))
            return stream.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""
