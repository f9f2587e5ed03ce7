"""release, and report beside it, of a plan that never ran and of one that did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from kubeferry.documents import JournalConfig, Plan, load
from kubeferry.journal import Journal

Command = Callable[..., tuple[int, str, str]]


def test_release_and_report_of_a_plan_that_never_ran(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    assert kubeferry("release", "plan.yaml", "--dry-run")[0] == 0
    assert kubeferry("report", "plan.yaml", "--out", "report")[0] == 0
    assert sorted(path.suffix for path in (estate / "report").iterdir()) == [".html", ".json", ".md"]


def test_release_for_a_program(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    plan = load(estate / "plan.yaml", Plan)
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        journal.register_plan(plan.digest, plan.name, "")
        with journal.lease(plan.digest, "web") as lease:
            journal.intend(lease, "disk", "web-vda", "nowhere")
    code, out, _ = kubeferry("release", "plan.yaml", "--dry-run", "--json")
    step, result = (json.loads(line) for line in out.splitlines())
    assert (code, step["event"]) == (0, "step")
    assert result == {"dryRun": True, "done": [step["text"]], "open": ["disk web-vda"]}
    assert "would account for disk nowhere" in step["text"]


def test_nothing_to_account_for_is_said(kubeferry: Command) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    assert kubeferry("release", "plan.yaml", "--dry-run")[:2] == (0, "nothing is left to account for\n")
