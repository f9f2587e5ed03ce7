"""Documents name the tests that hold what they promise: those tests are there, and each bad night has its own."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
NAMED = re.compile(r"`(?P<file>(?:tests|soak)/[\w/.-]*|…|)(?:::(?P<test>test_\w+))?`")
NIGHTS = "tests/runs/test_bad_nights.py"


def named(text: str) -> Iterator[tuple[str, str]]:
    """Files and tests, in their order; one without a file is of the file before it."""
    last = ""
    for found in NAMED.finditer(text):
        last = found["file"].strip("…") or last
        if found["file"] or found["test"]:
            yield last, found["test"] or ""


@functools.cache
def held_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    missing = [
        f"{file}::{test}"
        for file, test in named(page.read_text(encoding="utf-8"))
        if not (ROOT / file).exists() or (test and test not in held_in(ROOT / file))
    ]
    assert missing == []


def test_each_bad_night_stands_in_the_table_and_has_a_test() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = page.partition("## Bad nights")[2].partition("\n## ")[0]
    told = {test for file, test in named(table) if file == NIGHTS and test}
    assert told == {name for name in held_in(ROOT / NIGHTS) if name.startswith("test_")}
