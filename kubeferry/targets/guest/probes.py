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
from kubeferry.targets.guest import pages
from kubeferry.targets.guest.agent import printable
from kubeferry.targets.guest.pages import Page
from kubeferry.targets.guest.screen.watching import Watch

PAUSE_SECONDS = 0.25
FIRST_TRY_SECONDS = 0.5
LONGEST_TRY_SECONDS = 3.0
LONGEST_PAGE_SECONDS = 10.0
PICTURE_SECONDS = 1.0


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

    def page(self, probe: Probe, seconds: float) -> Page:
        """The page that a probe asks a port of the guest for; of several ways in, the one whose page is the wanted
        one."""

    def greeting(self, port: int, expect: str, seconds: float) -> str:
        """What a port of the guest says first, empty where it waits for the other side; of several ways in, the one
        whose words hold `expect`. Raises TargetUnavailable where the guest itself takes no connection."""

    def console(self) -> str | None:
        """What it wrote to its serial console, the end of it; None for a machine that has none."""

    def screen(self) -> bytes:
        """A picture of its screen as PNG. Raises TargetRefused for a machine that has none."""

    def sent(self) -> str:
        """What a network card of the guest has sent that a system sends, in words. Raises TargetUnavailable while
        there is no such thing, TargetRefused where nobody can tell."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One try. `final` means that trying again cannot change it."""

    ok: bool
    evidence: str
    final: bool = False


Ask = Callable[[float], Answer]
"""Asks once, with a time in seconds. Raises TargetUnavailable and TargetRefused as `Access` does."""


@dataclass(slots=True)
class _Pending:
    """A probe that has not been decided."""

    probe: Probe
    ask: Ask
    try_seconds: float = FIRST_TRY_SECONDS
    last: Answer = field(default_factory=lambda: Answer(ok=False, evidence="not tried"))

    def attempt(self) -> None:
        """Ask once more, and more patiently each time; the first page of a server may take its time."""
        self.last = attempt(self.ask, self.try_seconds)
        longest = LONGEST_PAGE_SECONDS if self.probe.kind == "http" else LONGEST_TRY_SECONDS
        self.try_seconds = min(self.try_seconds * 1.5, longest)


def run(probes: tuple[Probe, ...], access: Access, last_words: Mapping[str, str]) -> tuple[ProbeResult, ...]:
    """The outcome of each probe, in order. All are tried in turn, so that none waits for another one's time to end.

    A probe's time counts from this call. Raises Interrupted when somebody asks to stop.
    """
    begun = access.elapsed()
    decided: dict[int, ProbeResult] = {}
    pending = {number: _Pending(probe, question(probe, access, last_words)) for number, probe in enumerate(probes)}
    while pending:
        stopping.check()
        death = access.died()
        for number, state in list(pending.items()):
            if death is None:
                state.attempt()
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
        "http": f"GET {probe.path or '/'} on port {probe.port}{_secured(probe)} answers {probe.status or pages.OK}"
        f"{' and' if expected else ''}{expected}",
        "tcp": f"port {probe.port} takes a connection{f', and its first words hold {shown!r}' if shown else ''}",
        "file": f"the file {probe.path}{expected or ' can be read'}",
        "counter": f"the number in {probe.path} went up by exactly one",
        "serial": f"the serial console{expected}",
        "screen": f"the screen stays as it is for {probe.still:g} s, and "
        + (f"says {shown!r}" if shown else "shows a login or a picture"),
        "packets": "a network card has sent what a system sends",
    }[probe.kind]


def _secured(probe: Probe) -> str:
    by_name = f" for {probe.host}" if probe.host else ""
    return by_name + {None: "", "unchecked": " by TLS of any certificate", "checked": " by TLS"}[probe.tls]


def attempt(ask: Ask, seconds: float) -> Answer:
    """Ask once, waiting at most about `seconds` for each answer."""
    try:
        return ask(seconds)
    except (TargetUnavailable, TargetRefused) as error:
        final = isinstance(error, TargetRefused)
        return Answer(False, f"{error.reason}; {error.fix}" if final and error.fix else error.reason, final)


def question(probe: Probe, access: Access, last_words: Mapping[str, str]) -> Ask:
    """How to ask once, for one machine: what is to be seen over time is remembered from one time to the next."""
    ways: dict[str, Ask] = {
        "agent": lambda seconds: Answer(True, access.ping(seconds)),
        "http": lambda seconds: _http(probe, access, seconds),
        "tcp": lambda seconds: _tcp(probe, access, seconds),
        "serial": lambda _: _serial(probe, access),
        "counter": lambda seconds: _counter(probe, access, last_words, seconds),
        "file": lambda seconds: _file(probe, access, seconds),
        "screen": _Screen(probe, access),
        "packets": lambda _: Answer(True, access.sent()),
    }
    return ways[probe.kind]


class _Screen:
    """A screen, looked at once a second. Where a picture is missing, nobody knows what it has shown: from then on it
    must stay as it is anew."""

    def __init__(self, probe: Probe, access: Access) -> None:
        self._probe = probe
        self._access = access
        self._watch: Watch | None = None
        self._looked = -PICTURE_SECONDS
        self._last = Answer(False, "not looked at")

    def __call__(self, seconds: float) -> Answer:
        if self._access.elapsed() - self._looked >= PICTURE_SECONDS:
            self._looked = self._access.elapsed()
            self._last = attempt(self._look, seconds)
        return self._last

    def _look(self, _seconds: float) -> Answer:
        watch, self._watch = self._watch or Watch(self._probe.still, self._probe.expect or ""), None
        try:
            sight = watch.look(self._access.screen(), self._access.elapsed())
        except ValueError as error:
            raise TargetUnavailable("the picture of the screen cannot be read", why=str(error)) from error
        self._watch = watch
        return Answer(sight.ok, sight.words)


def _http(probe: Probe, access: Access, seconds: float) -> Answer:
    page = access.page(probe, seconds)
    return Answer(pages.wanted(probe, page), pages.shown(page))


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
