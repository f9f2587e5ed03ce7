"""A journal with a plan, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Config, JournalConfig, SourceConfig, TargetConfig
from kubeferry.journal import Journal
from tests.receivers import KEY, Listener, Postbox, listening, postbox

NOW = datetime(2030, 1, 1, tzinfo=UTC)  # later than anything that is recorded
Configured = Callable[..., Config]


def after(seconds: float) -> datetime:
    """So long after NOW."""
    return NOW + timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and no proxy between us and ourselves."""
    monkeypatch.setenv("HOOK_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path}/journal.db")) as opened:
        yield opened


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as made:
        yield made


def configured(journal_url: str = "sqlite:///journal.db", **notify: Any) -> Config:
    """A configuration that tells these receivers."""
    return Config(
        sources={"lab": SourceConfig(kind="memory", uri="memory:///nowhere")},
        target=TargetConfig(kind="memory"),
        journal=JournalConfig(url=journal_url),
        notify=notify,
    )


def hook(listener: Listener, **more: Any) -> dict[str, Any]:
    """A webhook of the configuration."""
    return {"url": f"{listener.url}/hook", "secretEnv": "HOOK_KEY", **more}
