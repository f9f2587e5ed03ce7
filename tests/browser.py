"""A real browser for tests: Debian's Chromium without a window, driven by its DevTools protocol over a websocket.

What a person does is done as he does it: by the text that he sees, with a mouse and keys.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

from kubeferry.outside.process import child

OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars "
    "--disable-component-update --disable-sync --remote-debugging-port=0 --remote-allow-origins=* "
    "--force-prefers-reduced-motion --disable-features=AutofillServerCommunication"
)
WAIT_SECONDS = 60.0
WIDTH, HEIGHT = 1280, 800

_FIND = """(() => {
  const text = TEXT, within = document.querySelector(WITHIN) || document.body;
  const shown = (one) => one.getClientRects().length && getComputedStyle(one).visibility !== 'hidden';
  const found = [...within.querySelectorAll(WHAT)].filter((one) => shown(one) && (one.innerText || '').trim() === text);
  const one = found.sort((a, b) => a.querySelectorAll('*').length - b.querySelectorAll('*').length)[0];
  if (!one) return null;
  one.scrollIntoView({block: 'center'});
  const box = one.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()"""

_BOX = "document.querySelector(%s).getBoundingClientRect()"


class Browser:
    """One page. Each wait has an end, and says what the page shows then."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.ask("Page.enable")
        self.size(WIDTH, HEIGHT)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the protocol. Raises AssertionError for what the browser refuses."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (told := json.loads(self._socket.recv())).get("id") != number:
            continue
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    def size(self, width: int, height: int) -> None:
        """How large the page is, in its own pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url: str) -> None:
        """Go there; what the page loads later is waited for by what is seen."""
        self.value("window.left = true")
        self.ask("Page.navigate", url=url)
        self.until("!window.left && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """What an expression is in the page; a promise is waited for."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def text(self) -> str:
        """What stands on the page."""
        return str(self.value("document.body ? document.body.innerText : ''"))

    def until(self, expression: str, seconds: float = WAIT_SECONDS) -> Any:
        """What an expression is once it is something."""
        limit = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < limit, f"{expression}\n{self.text()}"
            time.sleep(0.1)
        return found

    def sees(self, *texts: str, seconds: float = WAIT_SECONDS) -> None:
        """All of these stand on the page, now or soon."""
        for text in texts:
            self.until(f"(document.body ? document.body.innerText : '').includes({json.dumps(text)})", seconds)

    def click(self, text: str, what: str = "a, button, [role=button], li, label, span", within: str = "body") -> None:
        """Click on what says this, once it is there."""
        names = {"TEXT": json.dumps(text), "WITHIN": json.dumps(within), "WHAT": json.dumps(what)}
        script = _FIND
        for name, value in names.items():
            script = script.replace(name, value)
        self.press(self.until(script))

    def press(self, at: list[float]) -> None:
        """The mouse's button, there."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            count = int(kind != "mouseMoved")
            self.ask("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=count)

    def fill(self, label: str, value: str, within: str = "body") -> None:
        """Fill in the field of a form that has this label: choose, where there is a choice, else type it."""
        script = (
            f"[...document.querySelector({json.dumps(within)}).querySelectorAll('.p-label')]"
            f".find((one) => one.innerText.trim().startsWith({json.dumps(label)}))"
            "?.querySelector('select, textarea, input')"
        )
        kind = self.until(f"{script}?.tagName")
        self.value(f"{script}.focus()")
        if kind == "SELECT":
            chosen = f"one.value = {json.dumps(value)}; one.dispatchEvent(new Event('change', {{bubbles: true}}))"
            self.value(f"(() => {{ const one = {script}; {chosen}; }})()")
        else:
            self.ask("Input.insertText", text=value)

    def picture(self, path: Path, only: str = "") -> Path:
        """The page as it is seen, or the one thing on it that a selector finds, as PNG."""
        clip = {}
        if only:
            box = f"(({{x, y, width, height}}) => ({{x, y, width, height, scale: 1}}))({_BOX % json.dumps(only)})"
            clip["clip"] = self.value(box)
        told = self.ask("Page.captureScreenshot", format="png", **clip)
        path.write_bytes(base64.b64decode(told["data"]))
        return path


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in a folder; at the end nothing of it runs."""
    profile = folder / "browser"
    (profile / "DevToolsActivePort").unlink(missing_ok=True)  # of a browser before
    with child(["chromium", *OPTIONS.split(), f"--user-data-dir={profile}", "about:blank"], log=folder / "browser.log"):
        port = _port(profile / "DevToolsActivePort")
        socket = websocket.create_connection(_page(port), timeout=WAIT_SECONDS)
        try:
            yield Browser(socket)
        finally:
            socket.close()


def _port(file: Path) -> int:
    limit = time.monotonic() + WAIT_SECONDS
    while not file.is_file() or not file.read_text().strip():
        assert time.monotonic() < limit, "Chromium does not start"
        time.sleep(0.1)
    return int(file.read_text().split()[0])


def _page(port: int) -> str:
    limit = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < limit:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            for one in json.load(answer):
                if one["type"] == "page":
                    return str(one["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise AssertionError("Chromium has no page")
