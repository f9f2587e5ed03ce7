"""Probes against a real web server, a real file as console, and agents that the test puts in place."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Probe
from kubeferry.errors import Interrupted, TargetUnavailable
from kubeferry.outside import stopping
from kubeferry.targets.directory.local_access import LocalAccess as Access
from kubeferry.targets.guest import agent, probes

NO_WORDS: dict[str, str] = {}


def access(tmp_path: Path, **changed: Any) -> Access:
    clock = itertools.count()
    values: dict[str, Any] = {
        "agent_socket": tmp_path / "agent",
        "serial_log": tmp_path / "serial.log",
        "forwards": {},
        "clock": lambda: float(next(clock)),
        "death": lambda: None,
    }
    return Access(**(values | changed))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PAUSE_SECONDS", 0)


@pytest.fixture
def web() -> Iterator[tuple[int, list[str]]]:
    paths: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            body = b"boots: 7" if self.path == "/boots" else b"gone"
            self.send_response(200 if self.path == "/boots" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port, paths
        server.shutdown()
        thread.join()


class Files:
    """Stands where a synchronized agent would: it has files and nothing else."""

    def __init__(self, *contents: str | None) -> None:
        self._contents = iter(contents)

    def ping(self) -> None:
        if next(self._contents, None) is None:
            raise TargetUnavailable("silent")

    def read_file(self, path: str) -> bytes:
        content = next(self._contents)
        if content is None:
            raise agent.AgentRefused("the guest agent refused guest-file-open", why=f"no {path}")
        return content.encode()


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Any:
    def holds(*contents: str | None) -> None:
        files = Files(*contents)
        monkeypatch.setattr(agent, "connect", lambda _path, _seconds: contextlib.nullcontext(files))

    return holds


def one(probe: Probe, way: Access, words: dict[str, str] = NO_WORDS) -> Any:
    (result,) = probes.run((probe,), way, words)
    return result


def tried(probe: Probe, way: Access, seconds: float) -> probes.Answer:
    return probes.attempt(probes.question(probe, way, NO_WORDS), seconds)


def test_a_page_that_answers_passes_with_its_words(tmp_path: Path, web: tuple[int, list[str]]) -> None:
    result = one(Probe(kind="http", port=80, path="/boots", expect="7"), access(tmp_path, forwards={80: (1, web[0])}))
    assert (result.ok, result.evidence) == (True, "200: boots: 7")
    assert "on port 80" in result.what


@pytest.mark.parametrize(("path", "expect", "evidence"), [("/", None, "404: gone"), ("/boots", "8", "200: boots: 7")])
def test_a_page_that_says_something_else_fails(
    tmp_path: Path, web: tuple[int, list[str]], path: str, expect: str | None, evidence: str
) -> None:
    probe = Probe(kind="http", port=80, path=path, expect=expect, timeout_seconds=3)
    result = one(probe, access(tmp_path, forwards={80: (web[0],)}))
    assert not result.ok
    assert result.evidence.endswith(evidence)
    assert result.evidence.startswith("not within 3 s")
    assert len(web[1]) > 1, "it is asked again until its time is over"


def test_a_machine_without_cards_fails_an_http_probe_at_once(tmp_path: Path) -> None:
    result = one(Probe(kind="http", port=80, timeout_seconds=3600), access(tmp_path))
    assert "no network card" in result.evidence


@pytest.mark.parametrize(
    ("words", "contents", "ok", "evidence"),
    [
        ({"/b": "4\n"}, ["5\n"], True, "4 at the source, 5 here"),
        ({"/b": "4\n"}, ["4", None, "5"], True, "4 at the source, 5 here"),
        ({"/b": "4"}, ["6"], False, "4 at the source, 6 here"),
        ({}, [], False, "the source gave no last words for /b"),
        ({"/b": "four"}, [], False, "the source's last words for /b are no number: four"),
        ({"/b": ""}, [], False, "the source's last words for /b are no number: "),
    ],
)
def test_a_counter(tmp_path: Path, guest: Any, words: dict[str, str], contents: list, ok: bool, evidence: str) -> None:
    guest(*contents)
    result = one(Probe(kind="counter", path="/b", timeout_seconds=3600), access(tmp_path), words)
    assert (result.ok, result.evidence) == (ok, evidence)


def test_a_counter_that_stays_is_not_enough(tmp_path: Path, guest: Any) -> None:
    guest(*["4"] * 20)
    result = one(Probe(kind="counter", path="/b", timeout_seconds=3), access(tmp_path), {"/b": "4"})
    assert not result.ok
    assert result.evidence == "not within 3 s; the last try: 4 at the source, 4 here"


def test_agent_and_file(tmp_path: Path, guest: Any) -> None:
    guest("x")
    assert one(Probe(kind="agent"), access(tmp_path)).ok
    guest(None, "other", "wanted\x07")
    result = one(Probe(kind="file", path="/etc/x", expect="want"), access(tmp_path))
    assert (result.ok, result.evidence) == (True, "/etc/x: wanted?")


def test_the_console(tmp_path: Path) -> None:
    (tmp_path / "serial.log").write_bytes(b"\xff\x00boot\nREADY name=web\nlogin: ")
    result = one(Probe(kind="serial", expect="READY"), access(tmp_path))
    assert (result.ok, result.evidence) == (True, "the console: READY name=web")
    late = one(Probe(kind="serial", expect="NEVER", timeout_seconds=2), access(tmp_path))
    assert late.evidence.endswith("the console's last line: login:")
    without = one(Probe(kind="serial", expect="NEVER", timeout_seconds=3600), access(tmp_path, serial_log=None))
    assert "no serial console" in without.evidence


def test_a_machine_that_ended_fails_what_has_not_passed_and_waits_no_longer(tmp_path: Path, guest: Any) -> None:
    guest("x", *[None] * 9)
    ends = iter([None, "QEMU is gone. kernel panic"])
    wanted = (Probe(kind="agent"), Probe(kind="file", path="/x", timeout_seconds=3600))
    first, second = probes.run(wanted, access(tmp_path, death=lambda: next(ends)), NO_WORDS)
    assert first.ok
    assert (second.ok, second.evidence) == (False, "the machine ended: QEMU is gone. kernel panic")


def test_no_probe_waits_for_another_ones_time(tmp_path: Path, guest: Any) -> None:
    guest(*[None] * 50, "x")
    wanted = (Probe(kind="serial", expect="x", timeout_seconds=5), Probe(kind="agent", timeout_seconds=3600))
    slow, quick = probes.run(wanted, access(tmp_path), NO_WORDS)
    assert not slow.ok
    assert slow.seconds < 15
    assert quick.kind == "agent"


def test_a_request_to_stop_ends_the_waiting(tmp_path: Path) -> None:
    stopping.request()
    try:
        with pytest.raises(Interrupted):
            one(Probe(kind="agent", timeout_seconds=3600), access(tmp_path))
    finally:
        stopping.reset()


class Port:
    """A port on loopback that takes connections as QEMU does: at once, whether anybody is behind it or not."""

    def __init__(self, words: bytes = b"", *, closes: bool = False) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.number: int = self.listener.getsockname()[1]
        self._held: list[socket.socket] = []
        self._words, self._closes = words, closes
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Port:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join()
        for one in self._held:
            one.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self.listener.accept()
                link.sendall(self._words)
                if self._closes:
                    link.close()
                else:
                    self._held.append(link)


@pytest.mark.parametrize(
    ("words", "taken", "expect", "ok", "seen"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", True, "SSH-2.0", True, "said 'SSH-2.0-OpenSSH_9.2"),
        (b"", True, None, True, "port 22 took a connection"),
        (b"220 mail\r\n", True, "SSH-2.0", False, "220 mail"),
        (b"", True, "SSH-2.0", False, "port 22 took a connection"),
        (b"", False, None, False, "port 22 takes no connection"),
    ],
)
def test_a_port_is_open_where_the_guest_itself_has_taken_the_connection(
    tmp_path: Path, words: bytes, taken: bool, expect: str | None, ok: bool, seen: str
) -> None:
    with Port(words) as port:
        established = frozenset({port.number}) if taken else frozenset()
        ways = access(tmp_path, forwards={22: (port.number,)}, established=lambda: established)
        answer = tried(Probe(kind="tcp", port=22, expect=expect), ways, 0.4)
    assert answer.ok is ok
    assert seen in answer.evidence


def test_a_connection_that_is_closed_at_once_is_none(tmp_path: Path) -> None:
    """So QEMU does where the guest refuses it."""
    with Port(closes=True) as port:
        ways = access(tmp_path, forwards={22: (port.number,)})
        answer = tried(Probe(kind="tcp", port=22), ways, 5.0)
    assert (answer.ok, answer.final) == (False, False)


def test_of_several_cards_the_one_counts_that_says_what_is_expected(tmp_path: Path) -> None:
    with Port(b"220 mail") as mail, Port(b"SSH-2.0") as ssh:
        both = (mail.number, ssh.number)
        ways = access(tmp_path, forwards={22: both}, established=lambda: frozenset(both))
        assert tried(Probe(kind="tcp", port=22, expect="SSH"), ways, 1.0).ok


def test_a_machine_without_a_card_has_no_port(tmp_path: Path) -> None:
    answer = tried(Probe(kind="tcp", port=22), access(tmp_path), 1.0)
    assert (answer.ok, answer.final) == (False, True)
