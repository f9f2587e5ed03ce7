"""release, and report beside it, of a plan that never ran and of one that did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Command = Callable[..., tuple[int, str, str]]


def test_release_and_report_of_a_plan_that_never_ran(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    assert kubeferry("release", "plan.yaml", "--dry-run")[0] == 0
    assert kubeferry("report", "plan.yaml", "--out", "report")[0] == 0
    assert sorted(path.suffix for path in (estate / "report").iterdir()) == [".html", ".json", ".md"]
