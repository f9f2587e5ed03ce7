"""The page of concerns: whatever an operator is told by its id can be looked up there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOLD = re.compile(r'\bConcern\(\s*id="([a-z-]+\.[a-z0-9-]+)"')
BY_CONSTANT = re.compile(r"\bConcern\(\s*id=([A-Z_]+)\b")
CONSTANT = re.compile(r'^([A-Z_]+) = "([a-z-]+\.[a-z0-9-]+)"', re.MULTILINE)


def test_every_concern_that_the_code_names_is_on_the_page() -> None:
    page = (ROOT / "docs/reference/concerns.md").read_text()
    texts = [path.read_text() for room in ("kubeferry", "mappings", "flows") for path in (ROOT / room).rglob("*.py")]
    constants = {name: value for text in texts for name, value in CONSTANT.findall(text)}
    named = {one for text in texts for one in TOLD.findall(text)}
    named |= {constants[name] for text in texts for name in BY_CONSTANT.findall(text) if name in constants}
    assert "hook.unready" in named
    assert {"plan.empty", "kubevirt.left-out", "source.refused", "tool.missing"} <= named
    assert sorted(one for one in named if f"`{one}`" not in page) == []
