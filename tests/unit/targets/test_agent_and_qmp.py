"""The two talks with a running machine, against a scripted peer on a real unix socket."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.errors import TargetUnavailable
from kubeferry.targets.directory import qmp
from kubeferry.targets.guest import agent, channel

Answer = Callable[[dict[str, Any]], bytes]


class Peer:
    """Answers each line by a function; it is no agent and no QEMU, it only speaks their framing."""

    def __init__(self, path: Path, answer: Answer, greeting: bytes = b"") -> None:
        self.path = path
        self.heard: list[dict[str, Any]] = []
        self._answer = answer
        self._greeting = greeting
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            with connected, connected.makefile("rb") as lines:
                connected.sendall(self._greeting)
                for line in lines:
                    message = json.loads(line.strip(b"\xff\n"))
                    self.heard.append(message)
                    reply = self._answer(message)
                    if not reply:
                        break
                    connected.sendall(reply)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(answer: Answer, greeting: bytes = b"") -> Peer:
        made.append(Peer(tmp_path / f"s{len(made)}", answer, greeting))
        return made[-1]

    yield make
    for one in made:
        one.close()


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def synchronized(rest: Answer) -> Answer:
    def answer(message: dict[str, Any]) -> bytes:
        if message["execute"] == "guest-sync-delimited":
            return b"\xff" + line(**{"return": message["arguments"]["id"]})
        return rest(message)

    return answer


def test_stale_answers_before_the_delimiter_are_dropped(peer: Callable[..., Peer]) -> None:
    def answer(message: dict[str, Any]) -> bytes:
        if message["execute"] == "guest-sync-delimited":
            stale = line(**{"return": 12345}) + b'{"return": "half a li'
            return stale + b"\xff" + line(**{"return": message["arguments"]["id"]})
        return line(**{"return": {}})

    listening = peer(answer)
    with agent.connect(listening.path, 2) as talk:
        talk.ping()
    assert [message["execute"] for message in listening.heard] == ["guest-sync-delimited", "guest-ping"]


def test_a_file_is_read_in_parts_and_at_most_to_the_limit(peer: Callable[..., Peer]) -> None:
    content = b"0123456789" * 10
    place = 0

    def answer(message: dict[str, Any]) -> bytes:
        nonlocal place
        if message["execute"] == "guest-file-open":
            place = 0
            return line(**{"return": 7})
        if message["execute"] == "guest-file-read":
            part = content[place : place + min(30, message["arguments"]["count"])]
            place += len(part)
            reply = {"count": len(part), "buf-b64": base64.b64encode(part).decode(), "eof": place >= len(content)}
            return line(**{"return": reply})
        return line(**{"return": {}})

    listening = peer(synchronized(answer))
    with agent.connect(listening.path, 2) as talk:
        assert talk.read_file("/x") == content
        assert talk.read_file("/x", limit=45) == content[:45]
    assert listening.heard[-1] == {"execute": "guest-file-close", "arguments": {"handle": 7}}


def test_an_agents_refusal_is_told_in_its_words(peer: Callable[..., Peer]) -> None:
    listening = peer(synchronized(lambda _message: line(error={"class": "GenericError", "desc": "no\x1bsuch file"})))
    with agent.connect(listening.path, 2) as talk, pytest.raises(agent.AgentRefused) as caught:
        talk.read_file("/x")
    assert caught.value.why == "no?such file"


def test_facts_leave_out_what_the_agent_does_not_know(peer: Callable[..., Peer]) -> None:
    def answer(message: dict[str, Any]) -> bytes:
        known = {
            "guest-get-osinfo": {"pretty-name": "Debian\n12", "kernel-release": "6.1"},
            "guest-network-get-interfaces": [
                {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1"}]},
                {"name": "eth0", "ip-addresses": [{"ip-address": "10.0.2.15"}]},
                {"name": "eth1"},
            ],
        }
        name = message["execute"]
        return line(**{"return": known[name]}) if name in known else line(error={"desc": "not supported"})

    with agent.connect(peer(synchronized(answer)).path, 2) as talk:
        assert talk.facts() == {"system": "Debian 12", "kernel": "6.1", "addresses": "eth0 10.0.2.15"}


def test_silence_nonsense_and_a_closed_door_are_all_unavailable(peer: Callable[..., Peer], tmp_path: Path) -> None:
    for answer in (lambda _m: b"", lambda _m: b"not json\n", lambda _m: b"[1]\n", lambda _m: b" "):
        with pytest.raises(TargetUnavailable), agent.connect(peer(answer).path, 0.2):
            pass
    with pytest.raises(TargetUnavailable), agent.connect(tmp_path / "nobody", 0.2):
        pass


def test_a_message_without_end_is_not_kept(peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LINE_LIMIT_BYTES", 10_000)
    with pytest.raises(TargetUnavailable) as caught, agent.connect(peer(lambda _m: b"x" * 50_000).path, 2):
        pass
    assert "longer than" in caught.value.why


def test_qmp_reads_past_events_and_gives_errors_in_qemus_words(peer: Callable[..., Peer]) -> None:
    def answer(message: dict[str, Any]) -> bytes:
        event = line(event="RESUME", data={})
        if message["execute"] == "query-status":
            return event + line(**{"return": {"status": "running"}})
        if message["execute"] == "screendump":
            return line(error={"class": "GenericError", "desc": "no screen"})
        return line(**{"return": {}})

    listening = peer(answer, greeting=line(QMP={"version": {}}))
    with qmp.connect(listening.path, 2) as monitor:
        assert monitor.status() == "running"
        with pytest.raises(qmp.QmpRefused, match="screendump"):
            monitor.screenshot(Path("/x.png"))
    with pytest.raises(TargetUnavailable), qmp.connect(peer(lambda _m: b"", greeting=b"{}\n").path, 1):
        pass


def test_port_forwards_are_read_from_qemus_table() -> None:
    table = (
        "Hub 0 (net0):\r\n"
        "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
        "  TCP[HOST_FORWARD]  14       127.0.0.1 41234       10.0.2.15    80     0     0\r\n"
        "  TCP[HOST_FORWARD]  15       127.0.0.1 41235       10.0.3.15    80     0     0\r\n"
        "  TCP[ESTABLISHED]   16       127.0.0.1 50000       10.0.2.15    22     0     0\r\n"
        "  UDP[236 sec]       17       127.0.0.1 40001       10.0.2.15    53     0     0\r\n"
    )
    assert qmp.forwards_in(table) == {80: (41234, 41235)}
    assert qmp.established_in(table) == {50000}
    assert qmp.established_in(table.replace("ESTABLISHED", "SYN_SENT")) == frozenset()


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [("a\x00b\n\tc", 10, "a?b c"), ("x" * 20, 5, "xxxx…"), ("\x1b[2J\x1b[31mred", 20, "red")],
)
def test_what_a_guest_said_is_shown_as_plain_text(text: str, limit: int, shown: str) -> None:
    assert agent.printable(text, limit) == shown
