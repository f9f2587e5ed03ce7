"""Ports that are free, and who listens on one that is not; and that a server is not taken for another."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.serving import ports
from flows.serving.server import _wait_until_healthy, local_server
from kubeferry.errors import InputInvalid


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_a_port_is_free_until_somebody_listens(taken: int) -> None:
    assert ports.is_free(ports.free_port())
    assert not ports.is_free(taken)


def test_who_listens_is_named(taken: int) -> None:
    found = ports.holder(taken)
    assert found is not None
    assert (found.pid, "python" in found.command) == (os.getpid(), True)
    assert str(found).startswith(f"process {os.getpid()} (")
    assert ports.holder(ports.free_port()) is None


def test_a_server_on_a_taken_port_is_refused_with_who_has_it(taken: int, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid) as caught, local_server(tmp_path / "prefect", port=taken):
        pass
    (problem,) = caught.value.problems
    assert problem.where == f"--port {taken}"
    assert f"process {os.getpid()}" in problem.what
    assert f"kill {os.getpid()}" in problem.fix
    assert "--port" in problem.fix


def test_a_port_that_is_taken_by_nobody_that_can_be_seen(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.serving.server.holder", lambda _port: None)
    with pytest.raises(InputInvalid, match="by whom cannot be seen"), local_server(tmp_path, port=taken):
        pass


class Answering(http.server.BaseHTTPRequestHandler):
    """Says yes to everything: somebody else's server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_given: object) -> None:
        pass


def test_an_answer_of_somebody_else_s_server_is_none_of_ours() -> None:
    """Ours ended because it could not listen: the one that answers there took the port meanwhile."""
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        port = int(other.server_address[1])
        ended: Any = SimpleNamespace(poll=lambda: 1, tail=lambda: "", log=Path("server.log"))
        try:
            with pytest.raises(InputInvalid, match=f"process {os.getpid()}"):
                _wait_until_healthy(ended, f"http://127.0.0.1:{port}/api", port)
        finally:
            other.shutdown()
