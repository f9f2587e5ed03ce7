"""The plan's probes at the running source: what is asked, through what, and what is told of the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from kubeferry.documents import Entry, Probe
from kubeferry.errors import SourceUnavailable
from kubeferry.life.machine_state import MachineState
from kubeferry.model import Power
from kubeferry.sources import Inside
from kubeferry.steps.probing import SourceAccess, Told, at_source, at_target


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the shop is open")

    def log_message(self, *_words: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[int]:
    """A web server at 127.0.0.1, as one in a guest that is reached at its address."""
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def told(scene: Any, *probes: Probe) -> Told:
    entry: Entry = scene.entry.model_copy(update={"probes": probes})
    return at_source(scene.source, entry)


def outcomes(found: Told) -> list[tuple[str, bool]]:
    return [(result.kind, result.ok) for result in found.results]


def test_agent_and_files_are_asked_and_a_counter_must_be_there(scene: Any) -> None:
    found = told(
        scene,
        Probe(kind="agent"),
        Probe(kind="counter", path="/data/boots"),
        Probe(kind="file", path="/data/boots", expect="7"),
        Probe(kind="file", path="/missing", timeout_seconds=0.2),
    )
    assert outcomes(found) == [("agent", True), ("file", True), ("file", True), ("file", False)]
    assert found.failed
    assert found.results[1].what == "the file /data/boots can be read"
    assert "/missing" in found.results[3].evidence


def test_pages_and_ports_are_asked_at_the_addresses_that_the_source_tells(scene: Any, web: int) -> None:
    page = Probe(kind="http", port=web, expect="open")
    assert told(scene, page).not_asked == (
        f"GET / on port {web} answers 200 and holds 'open': its source tells no address of it",
    )
    scene.source.write_addresses("web", "127.0.0.2", "127.0.0.1")
    shut = Probe(kind="tcp", port=1, timeout_seconds=0.3)
    found = told(scene, page, Probe(kind="tcp", port=web, timeout_seconds=2), shut)
    assert outcomes(found) == [("http", True), ("tcp", True), ("tcp", False)]
    assert "port 1 takes no connection at 127.0.0.2, 127.0.0.1" in found.results[2].evidence


def test_what_a_source_does_not_show_is_said_and_fails_nothing(scene: Any) -> None:
    found = told(scene, Probe(kind="agent"), Probe(kind="serial", expect="READY"), Probe(kind="screen"))
    assert outcomes(found) == [("agent", True)]
    assert [line.rpartition(": ")[2] for line in found.not_asked] == [
        "a source shows no console, screen or packets of its machines"
    ] * 2
    assert not found.failed


def test_a_machine_that_is_off_or_cannot_be_asked_is_told_as_such(build: Callable[..., Any], scene: Any) -> None:
    found = told(build(power=Power.OFF), Probe(kind="agent"))
    assert found.error is not None
    assert "it is off at its source" in found.error.what
    scene.source.write_faults("inside", SourceUnavailable)
    assert told(scene, Probe(kind="agent")).failed


def test_an_agent_that_says_anything_breaks_nothing() -> None:
    for answer in (None, 7, "text", [], {"buf-b64": 5}, {"buf-b64": "%%%"}):
        access = SourceAccess(Inside((), lambda _command, answer=answer, **_given: answer))
        with pytest.raises(Exception, match="agent"):
            access.read_file("/x", 1)


def test_no_way_to_an_agent_is_the_source_s_own_reason(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(scene.source), "inside", lambda *_asked: Inside(no_agent="no way to one"))
    assert told(scene, Probe(kind="agent")).not_asked == ("the guest agent answers: no way to one",)


def test_the_copy_is_asked_where_it_runs(scene: Any) -> None:
    assert at_target(scene.target, scene.entry, MachineState()).error
    scene.target.running["web"] = "2026-01-01T00:00:00Z"
    assert not at_target(scene.target, scene.entry, MachineState()).failed
