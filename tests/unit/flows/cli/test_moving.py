"""precopy, migrate, rollback: what they would do, and whom they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli import options
from flows.serving import server
from kubeferry.documents import (
    JournalConfig,
    Plan,
    load,
)
from kubeferry.errors import InputInvalid
from kubeferry.journal import Journal
from kubeferry.life.events import CutoverBegun, Planned, RollbackBegun, RolledBack
from kubeferry.model import Power

Command = Callable[..., tuple[int, str, str]]
POLICY_WITHOUT_WEB = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
machines:
  web: {include: false}
"""


def test_a_migration_s_dry_run_lists_every_action_and_its_reason(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    source = {path: path.read_bytes() for path in (estate / "source").iterdir()}
    code, out, _ = kubeferry("migrate", "plan.yaml", "--dry-run")
    assert code == 0
    actions = [line.split()[0] for line in out.splitlines()[1:]]
    assert actions[0] == "record-plan"
    assert actions[-2:] == ["commit", "done"]
    assert all(len(line.split()) > 2 for line in out.splitlines()[1:])
    assert {path: path.read_bytes() for path in (estate / "source").iterdir()} == source


def test_a_dry_run_of_another_attempt_lists_that_attempt(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    plan = load(estate / "plan.yaml", Plan)
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        journal.register_plan(plan.digest, plan.name, "")
        with journal.lease(plan.digest, "web") as lease:
            for event in (
                Planned(plan_digest=plan.digest, disks=tuple(disk.disk for disk in plan.entry("web").disks)),
                CutoverBegun(power_before=Power.OFF),
                RollbackBegun(reason="asked for"),
                RolledBack(),
            ):
                journal.append(lease, event)
    assert [line.split()[0] for line in kubeferry("migrate", "plan.yaml", "--dry-run")[1].splitlines()[1:]] == ["done"]
    lines = kubeferry("migrate", "plan.yaml", "--dry-run", "--again")[1].splitlines()[1:]
    assert [line.split()[0] for line in lines][:2] == ["begin-cutover", "stop-source"]


@pytest.mark.parametrize("verb", ["migrate", "precopy"])
def test_a_plan_without_machines_needs_no_server(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    kubeferry("discover")
    (estate / "policy.yaml").write_text(POLICY_WITHOUT_WEB)
    kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")
    monkeypatch.setattr(server, "prefect_api", lambda *_: pytest.fail("a server is started"))
    code, out, err = kubeferry(verb, "plan.yaml")
    assert (code, out) == (2, "")
    assert "the plan is empty" in err
    assert "plan lab moves no machine: it leaves out 1 machine. " in err
    code, out, err = kubeferry(verb, "plan.yaml", "--json")
    assert (code, out) == (2, "")
    assert json.loads(err)["error"]["what"] == "the plan is empty"


def test_a_machine_that_is_not_in_the_plan(kubeferry: Command) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    code, _, err = kubeferry("migrate", "plan.yaml", "--machine", "nobody", "--dry-run")
    assert code == 2
    assert "nobody" in err
    assert "web" in err


def test_a_rollback_of_nobody(kubeferry: Command) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    code, _, err = kubeferry("rollback", "plan.yaml")
    assert code == 2
    assert "--machine" in err


def test_a_dry_run_for_a_program_is_json(kubeferry: Command, printed_json: Callable[..., Any]) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    (web,) = printed_json("migrate", "plan.yaml", "--dry-run", "--json")
    assert web["machine"] == "web"
    assert [action["action"] for action in web["actions"]][-2:] == ["commit", "done"]
    assert all(action["why"] for action in web["actions"])


def test_of_many_machines_an_error_names_some(kubeferry: Command, estate: Path) -> None:
    names = [f"m{number}" for number in range(options.LISTED + 7)]
    with pytest.raises(InputInvalid, match="m29 and 7 more"):
        options.refuse_unknown("no", ("x",), names)
