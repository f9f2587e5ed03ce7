"""release, and report beside it, of a plan that never ran and of one that did."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import moving
from flows.moves import Move
from kubeferry.config import read_config
from kubeferry.documents import JournalConfig, Plan, load
from kubeferry.journal import Journal
from kubeferry.life.events import CutoverBegun, Planned, SourceStopped
from kubeferry.life.states import Phase
from kubeferry.marks import MoveMark
from kubeferry.model import Power
from kubeferry.targets.memory import target as memory

Command = Callable[..., tuple[int, str, str]]


def test_release_and_report_of_a_plan_that_never_ran(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    assert kubeferry("release", "plan.yaml", "--dry-run")[0] == 0
    assert kubeferry("report", "plan.yaml", "--out", "report")[0] == 0
    assert sorted(path.suffix for path in (estate / "report").glob("report.*")) == [".html", ".json", ".md"]


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


# --- what is lost is told before it is -------------------------------------------------------------------------------

STOPPED = (CutoverBegun(power_before=Power.RUNNING), SourceStopped(how="acpi", at="2026-11-29T01:02:03Z"))


def stopped(kubeferry: Command, estate: Path) -> Plan:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    plan = load(estate / "plan.yaml", Plan)
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        journal.register_plan(plan.digest, plan.name, "")
        with journal.lease(plan.digest, "web") as lease:
            for event in (Planned(plan_digest=plan.digest, disks=("vda",)), *STOPPED):
                journal.append(lease, event)
    return plan


def test_release_of_everything_says_first_what_it_does_to_a_machine_under_way(kubeferry: Command, estate: Path) -> None:
    stopped(kubeferry, estate)
    code, out, err = kubeferry("release", "plan.yaml", "--everything", "--dry-run")
    assert (code, "web: is cutting-over: it is rolled back first" in err) == (0, True)
    code, out, err = kubeferry("release", "plan.yaml", "--everything", "--yes")
    assert code == 0, err
    assert "web: is cutting-over: it is rolled back first" in err
    assert "rolled back first, its source is as it was before" in out


def test_release_of_everything_can_be_refused_at_a_terminal(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = stopped(kubeferry, estate)
    for answer in ("n\n", "\n"):
        monkeypatch.setattr("sys.stdin", AtTerminal(answer))
        code, out, err = kubeferry("release", "plan.yaml", "--everything")
        assert (code, "Remove all that" in err) == (1, True)
        assert "rolled back" not in out
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        assert journal.state(plan.digest, "web").phase is Phase.CUTTING_OVER
    monkeypatch.setattr("sys.stdin", AtTerminal("y\n"))
    assert kubeferry("release", "plan.yaml", "--everything")[0] == 0


def test_release_of_everything_names_first_what_another_journal_has_moved(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    target = memory.connect(read_config(estate / "kubeferry.yaml").target)
    target.moves["web"] = MoveMark("2026-11-29T01:02:03Z", "d1", "2026-11-29T01:02:03Z", "wave 1")
    monkeypatch.setattr("sys.stdin", AtTerminal("n\n"))
    code, out, err = kubeferry("release", "plan.yaml", "--everything")
    assert (code, out) == (1, "")
    assert "web: was moved by kubeferry at 2026-11-29T01:02:03Z, by plan wave 1 (d1)" in err
    assert target.moves
    monkeypatch.setattr("sys.stdin", AtTerminal("y\n"))
    assert kubeferry("release", "plan.yaml", "--everything")[0] == 0
    assert target.moves == {}


class AtTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_word_that_a_target_is_down_is_a_person_s_and_can_be_taken_back(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(kubeferry, estate)
    said: list[Move] = []
    monkeypatch.setattr(moving, "run_move", lambda move, _as_json: said.append(move))
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setattr("sys.stdin", AtTerminal("n\n"))
    rollback = ["rollback", "plan.yaml", "-m", "web", "--target-is-down"]
    assert kubeferry(*rollback)[0] == 1
    assert said == []
    monkeypatch.setattr("sys.stdin", AtTerminal("y\n"))
    code, _, err = kubeferry(*rollback)
    assert (code, "where one does, two will run" in err) == (0, True)
    assert kubeferry(*rollback, "--yes")[0] == 0
    assert kubeferry("rollback", "plan.yaml", "-m", "web")[0] == 0
    assert [move.target_is_down.partition(" on ")[0] for move in said] == ["ann", "ann", ""]
