"""The questions of a plan to a started machine, each asked again until it passes or its time is over.

A probe's evidence is what was seen, word for word where it is short; what did not answer is said not to have answered.
How a machine is reached is its target's business: `Access`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kubeferry.documents import Probe, ProbeResult
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.outside import stopping
from kubeferry.targets.guest.agent import printable

PAUSE_SECONDS = 0.25
FIRST_TRY_SECONDS = 0.5
LONGEST_TRY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Page:
    """What a web server in the guest answered."""

    status: int
    body: str


class Access(Protocol):
    """The ways into one running machine. Each waits at most about `seconds` for an answer.

    What does not answer (yet) is TargetUnavailable; what never will is TargetRefused.
    """

    def elapsed(self) -> float:
        """Seconds since the machine was started."""

    def died(self) -> str | None:
        """How it ended, None while it runs."""

    def ping(self, seconds: float) -> str:
        """The guest agent answers; what was seen, in words."""

    def read_file(self, path: str, seconds: float) -> bytes:
        """A file of the guest, through its agent."""

    def page(self, port: int, path: str, expect: str, seconds: float) -> Page:
        """GET a page from a port of the guest; of several ways in, the one whose page holds `expect`."""

    def greeting(self, port: int, expect: str, seconds: float) -> str:
        """What a port of the guest says first, empty where it waits for the other side; of several ways in, the one
        whose words hold `expect`. Raises TargetUnavailable where the guest itself takes no connection."""

    def console(self) -> str | None:
        """What it wrote to its serial console, the end of it; None for a machine that has none."""


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
    shown = printable(probe.expect or "", 80)
    expected = f" holds {shown!r}" if shown else ""
    return {
        "agent": "the guest agent answers",
        "http": f"GET {probe.path or '/'} on port {probe.port} answers 200{' and' if expected else ''}{expected}",
        "tcp": f"port {probe.port} takes a connection{f', and its first words hold {shown!r}' if shown else ''}",
        "file": f"the file {probe.path}{expected or ' can be read'}",
        "counter": f"the number in {probe.path} went up by exactly one",
        "serial": f"the serial console{expected}",
    }[probe.kind]


def attempt(probe: Probe, access: Access, last_words: Mapping[str, str], seconds: float) -> Answer:
    """Ask once, waiting at most about `seconds` for each answer."""
    try:
        return _once(probe, access, last_words, seconds)
    except (TargetUnavailable, TargetRefused) as error:
        final = isinstance(error, TargetRefused)
        return Answer(False, f"{error.reason}; {error.fix}" if final and error.fix else error.reason, final)


def _once(probe: Probe, access: Access, last_words: Mapping[str, str], seconds: float) -> Answer:
    answers: dict[str, Callable[[], Answer]] = {
        "agent": lambda: Answer(True, access.ping(seconds)),
        "http": lambda: _http(probe, access, seconds),
        "tcp": lambda: _tcp(probe, access, seconds),
        "serial": lambda: _serial(probe, access),
        "counter": lambda: _counter(probe, access, last_words, seconds),
        "file": lambda: _file(probe, access, seconds),
    }
    return answers[probe.kind]()


def _http(probe: Probe, access: Access, seconds: float) -> Answer:
    expect = probe.expect or ""
    page = access.page(probe.port or 0, probe.path or "/", expect, seconds)
    return Answer(
        page.status == 200 and expect in page.body, f"{page.status}: {printable(page.body) or 'an empty page'}"
    )


def _tcp(probe: Probe, access: Access, seconds: float) -> Answer:
    said = access.greeting(probe.port or 0, probe.expect or "", seconds)
    seen = f"port {probe.port} took a connection" + (f" and said {printable(said, 80)!r}" if said else "")
    return Answer((probe.expect or "") in said, seen)


def _file(probe: Probe, access: Access, seconds: float) -> Answer:
    content = access.read_file(probe.path or "", seconds).decode(errors="replace")
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
    content = access.read_file(path, seconds).decode(errors="replace")
    now = _number(content)
    if now is None:
        return Answer(False, f"{path} holds no number: {printable(content, 40) or 'empty'}")
    # A lower number may still rise; a higher one never falls back.
    return Answer(now == before + 1, f"{before} at the source, {now} here", final=now > before + 1)


def _number(text: str) -> int | None:
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _serial(probe: Probe, access: Access) -> Answer:
    text = access.console()
    if text is None:
        return Answer(False, "the manifest gives the machine no serial console", final=True)
    expect = probe.expect or ""
    line = next((line for line in text.splitlines() if expect in line), expect if expect in text else None)
    if line is None:
        last = text.rstrip().rpartition("\n")[2]
        return Answer(False, f"the console's last line: {printable(last)}" if last else "the console is silent")
    return Answer(True, f"the console: {printable(line)}")
