"""Which kubeconfig leads into the cluster: the one that is named now, whatever was named when the library came in."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kubeferry.errors import InputInvalid
from kubeferry.targets.kubevirt.api import _settings


def kubeconfig(path: Path, server: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": server}}],
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
