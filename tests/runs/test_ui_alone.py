"""The pages of our Prefect server ask nobody but this machine: by their settings, their policy, and in a browser."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kubeferry.outside.process import run
from tests.needs import needs

PAGES = ("/", "/dashboard", "/runs", "/flows", "/settings", "/v2", "/v2/dashboard", "/docs", "/api/docs", "/redoc")
BROWSER = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=8000 --dump-dom "
    "--disable-features=AutofillServerCommunication"  # Chromium itself asks about any page that has a form
)


def got(url: str) -> Any:
    ask = urllib.request.Request(url, headers={"Accept": "text/html"})  # noqa: S310 (loopback, our own address)
    return urllib.request.urlopen(ask, timeout=30)  # noqa: S310


def test_only_the_interface_that_calls_nobody_is_served(server: str) -> None:
    settings = json.load(got(server.replace("/api", "/ui-settings")))
    assert (settings["available_uis"], settings["default_ui"]) == (["v1"], "v1")
    assert settings["v2_base_url"] is None


@pytest.mark.parametrize("page", PAGES)
def test_every_page_tells_the_browser_to_ask_none_but_loopback(server: str, page: str) -> None:
    with got(server.replace("/api", "") + page) as answer:
        policy = answer.headers["content-security-policy"]
        text = answer.read().decode()
    hosts = {urlsplit(word.replace(":*", "")).hostname for word in policy.split() if "//" in word}
    assert hosts == {"127.0.0.1", "localhost"}
    assert policy.startswith("default-src 'self' ")
    if not page.endswith(("docs", "redoc")):  # those are FastAPI's own, which the policy stops
        assert re.findall(r"<(?:script|link)[^>]*(?:src|href)=\"https?://", text) == []
    assert "/v2" not in answer.url


@needs("chromium")
@pytest.mark.timeout(300)
def test_a_browser_asks_no_other_host(server: str, tmp_path: Path) -> None:
    """By Chromium's own log of its network, in which each request names the page that it is for."""
    base = server.replace("/api", "")
    for page in ("/runs", "/v2/dashboard", "/docs"):
        log = tmp_path / "net.json"
        where = [f"--user-data-dir={tmp_path / 'browser'}", f"--log-net-log={log}", base + page]
        shown = run(["chromium", *BROWSER.split(), *where], timeout=90).out
        assert "Prefect" in shown
        asked = requests_of_pages(json.loads(whole(log.read_text())))
        assert len(asked) > 3 or page == "/docs", "the page asked for its own scripts at least"
        assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}, page


def whole(text: str) -> str:
    """A log whose browser ended before it closed it."""
    return text if text.rstrip().endswith("}") and text.rstrip()[-2:] != "}," else text.rstrip().rstrip(",") + "]}"


def requests_of_pages(log: dict[str, Any]) -> set[str]:
    """Requests that belong to a page of ours: their key names the site that they were made for."""
    found = set()
    for event in log["events"]:
        told = event.get("params", {})
        if str(told.get("network_isolation_key", "")).startswith("http://127.0.0.1 ") and "url" in told:
            found.add(told["url"])
    return found
