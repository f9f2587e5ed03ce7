"""What an API server refuses for a moment: it comes back, or was just asked for the same; only that is waited for."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.targets.kubevirt import api
from kubeferry.targets.kubevirt.kinds import JOB

FORBIDDEN = json.dumps({"kind": "Status", "message": "forbidden", "reason": "Forbidden"}).encode()
FOUND = json.dumps({"metadata": {"name": "one"}}).encode()
HANG_UP = b""
Serve = Callable[..., api.Cluster]


def answer(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    )
    return head.encode() + b"\r\n" + body


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A server that gives these answers in turn, a connection each; an empty one hangs up."""
    monkeypatch.setattr(api, "PAUSE_SECONDS", 0.01)
    listening = socket.create_server(("127.0.0.1", 0))
    opened: list[api.Cluster] = []

    def begin(*answers: bytes) -> api.Cluster:
        def run() -> None:
            for one in answers:
                taken, _ = listening.accept()
                with taken:
                    taken.recv(65536)
                    taken.sendall(one)

        threading.Thread(target=run, daemon=True).start()
        server = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        opened.append(api.connect(str(tmp_path / "kubeconfig"), None))
        return opened[-1]

    yield begin
    for cluster in opened:
        cluster.close()
    listening.close()


def test_what_is_forbidden_right_after_an_outage_is_asked_again(serve: Serve) -> None:
    forbidden = answer("403 Forbidden", FORBIDDEN)
    found = serve(HANG_UP, forbidden, forbidden, answer("200 OK", FOUND)).get(JOB, "one", "apps")
    assert found is not None
    assert found["metadata"]["name"] == "one"


def test_what_is_forbidden_without_an_outage_is_refused_at_once(serve: Serve) -> None:
    with pytest.raises(TargetRefused, match="refused"):
        serve(answer("403 Forbidden", FORBIDDEN)).get(JOB, "one", "apps")


@pytest.mark.parametrize("body", [b"<html>please log in</html>", b"[]"])
def test_an_answer_that_no_api_server_gives_is_told_as_one(serve: Serve, body: bytes) -> None:
    with pytest.raises(TargetUnavailable, match="not an API server's"):
        serve(answer("200 OK", body)).get(JOB, "one", "apps")


@pytest.mark.parametrize(
    "said",
    [
        "Internal error occurred: the server rejected our request due to an error in our request",
        "Internal error occurred: unable to complete request: stop/start already underway",
    ],
)
def test_a_stop_that_met_a_start_being_carried_out_is_asked_for_again(serve: Serve, said: str) -> None:
    overtaken = answer("500 Internal Server Error", json.dumps({"message": said, "reason": "InternalError"}).encode())
    assert serve(overtaken, overtaken, answer("202 Accepted", b"")).call("PUT", "/stop", body={}) == b""


def test_a_fault_that_may_have_done_something_is_not_asked_for_again(serve: Serve) -> None:
    fault = answer("500 Internal Server Error", json.dumps({"message": "Internal error occurred: timeout"}).encode())
    with pytest.raises(TargetUnavailable, match="answers 500"):
        serve(fault).call("PUT", "/stop", body={})
