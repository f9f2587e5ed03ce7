"""How long a browser takes to open our pages: from its first request to the page laid out with its script run, and then
to one filter of its list. `python -m bench.pages` makes the estates, the pages and the table.

The browser is Chromium without a window, asked by its own protocol; each page is opened so many times, in one process.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

from bench import commands
from flows.assessing import write_assessments
from kubeferry.documents import Inventory, MachinePolicy, Policy
from mappings.plan import make_plan
from reports.facts import build_report
from reports.pages import write_report

CHROMIUM = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
AT = "2026-01-01T00:00:00Z"
LAID_OUT = """(() => {
  document.body.offsetHeight;
  return performance.now();
})()"""
FILTERED = """(() => {
  const field = document.querySelector(".filters [name=text]"), begun = performance.now();
  field.value = "machine-01";
  field.dispatchEvent(new Event("input", {bubbles: true}));
  document.body.offsetHeight;
  return performance.now() - begun;
})()"""


class Browser:
    """A page of a Chromium that is running, as its protocol has it."""

    def __init__(self, port: int) -> None:
        ask = urllib.request.Request(f"http://127.0.0.1:{port}/json/new", method="PUT")
        with urllib.request.urlopen(ask, timeout=30) as answer:  # noqa: S310 (loopback)
            page = json.load(answer)
        self._socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=120, suppress_origin=True)
        self._last = 0
        self.call("Page.enable")

    def call(self, method: str, **given: Any) -> Any:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": given}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == self._last:
                return told.get("result", {})

    def milliseconds(self, script: str) -> float:
        return float(self.call("Runtime.evaluate", expression=script)["result"]["value"])

    def opened(self, page: Path) -> float:
        """How long it took, in milliseconds."""
        self.call("Page.navigate", url=page.as_uri())
        while json.loads(self._socket.recv()).get("method") != "Page.loadEventFired":
            pass
        return self.milliseconds(LAID_OUT)


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    with subprocess.Popen([*CHROMIUM, f"--user-data-dir={folder}"], stderr=subprocess.DEVNULL) as running:
        try:
            told = folder / "DevToolsActivePort"
            while not told.exists() or "\n" not in told.read_text():
                time.sleep(0.1)
            yield Browser(int(told.read_text().split()[0]))
        finally:
            running.terminate()


def rows(sizes: list[int], rounds: int) -> str:
    lines = ["| page | MiB | opened, ms, median (min - max) | filtered, ms |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with browser(folder / "browser") as shown:
            for machines in sizes:
                for label, page in estate(folder / str(machines), machines):
                    opened = [shown.opened(page) for _ in range(rounds)]
                    filtered = shown.milliseconds(FILTERED) if "list" in label else None
                    told = "" if filtered is None else f"{filtered:.0f}"
                    size = f"{page.stat().st_size / 2**20:.2f}"
                    lines.append(f"| {label}, {machines} machines | {size} | {spread(opened)} | {told} |")
    return "\n".join(lines)


def estate(folder: Path, machines: int) -> list[tuple[str, Path]]:
    """The pages of an assessment and of a report of so many machines."""
    facts = tuple(commands.a_machine(number) for number in range(machines))
    inventory = Inventory(source="lab", source_kind="memory", observed_at=AT, machines=facts)
    after = {facts[n].name: MachinePolicy(after=(facts[n - 1].name,)) for n in range(1, machines, 4)}
    policy = Policy(machines=after)
    write_assessments(inventory, policy, folder / "assessment")
    plan = make_plan(inventory, policy, name="lab", created_at=AT)
    write_report(build_report(plan, {}, generated_at=AT), folder / "report")
    return [
        ("assessment, list", folder / "assessment" / "index.html"),
        ("assessment, one machine", folder / "assessment" / "machine-0001" / "index.html"),
        ("report, list", folder / "report" / "report.html"),
        ("report, one machine", folder / "report" / "machines" / "machine-0001.html"),
    ]


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} - {max(values):.0f})"


if __name__ == "__main__":
    print(rows([int(word) for word in sys.argv[1:]] or [500, 2000], 5))
