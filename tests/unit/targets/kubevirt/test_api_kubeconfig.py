"""Which kubeconfig leads into the cluster: the one that is named now, whatever was named when the library came in."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import yaml

from kubeferry.errors import InputInvalid, TargetUnavailable
from kubeferry.targets.kubevirt.api import _settings, connect


def kubeconfig(path: Path, server: str, **more: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": server, **more}}],
        "users": [{"name": "me", "user": {"token": "x"}}],
        "contexts": [{"name": "it", "context": {"cluster": "one", "user": "me"}}],
        "current-context": "it",
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_variable_counts_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / name, f"https://{name}:6443")))
        assert _settings(None, None).host == f"https://{name}:6443"
    named = kubeconfig(tmp_path / "named", "https://named:6443")
    assert _settings(str(named), None).host == "https://named:6443"


def test_without_it_the_user_s_own_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(InputInvalid, match="no way into the cluster"):
        _settings(None, None)
    kubeconfig(tmp_path / ".kube" / "config", "https://own:6443")
    assert _settings(None, None).host == "https://own:6443"


def test_websockets_go_through_the_proxy_that_objects_go_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is one of ours that notes what it is asked for, and refuses it."""
    monkeypatch.setenv("NO_PROXY", "")
    asked: list[bytes] = []

    def answer(server: socket.socket) -> None:
        with server.accept()[0] as client:
            asked.append(client.recv(4096))
            client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        proxy = f"http://me:secret@127.0.0.1:{server.getsockname()[1]}"
        named = kubeconfig(tmp_path / "named", "https://api.example:6443", **{"proxy-url": proxy})
        with pytest.raises(TargetUnavailable):
            connect(str(named), None).websocket("/api/v1/x", seconds=5)
        thread.join(5)
    assert asked[0].startswith(b"CONNECT api.example:6443 ")
    assert b"Proxy-Authorization: Basic" in asked[0]
