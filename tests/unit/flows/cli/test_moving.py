"""precopy, migrate, rollback: what they would do, and whom they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import moves
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
from kubeferry.sources.memory.source import MemorySource
from tests.unit.flows.conftest import a_machine

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
    downtime, *actions = [line.split()[0] for line in out.splitlines()[1:]]
    assert (downtime, actions[0]) == ("downtime", "record-plan")
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
    assert [line.split()[0] for line in lines][:3] == ["downtime", "begin-cutover", "stop-source"]


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
    assert "plan lab: it moves no machine: it leaves out 1 machine. " in err
    for words in (("--json",), ("--json", "--dry-run") if verb == "migrate" else ("--json",)):
        code, out, err = kubeferry(verb, "plan.yaml", *words)
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


# --- asked beforehand -------------------------------------------------------------------------------------------------


def two_machines(estate: Path) -> MemorySource:
    """Machines `web` and `db`, both of which run, and a plan of both."""
    source = MemorySource("lab", estate / "source")
    db = estate / "source" / "db.img"
    db.write_bytes(b"\x33" * 2**20)
    source.write_machines(a_machine("web", estate / "source" / "web.img"), a_machine("db", db))
    for name in ("web", "db"):
        source.write_power(name, Power.RUNNING)
    return source


@pytest.mark.usefixtures("no_server")
def test_a_refused_machine_is_out_with_its_reason_and_the_others_go_on(kubeferry: Command, estate: Path) -> None:
    source = two_machines(estate)
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    (estate / "source" / "db.img").unlink()
    code, out, err = kubeferry("migrate", "plan.yaml")
    assert code == 2
    assert "db: it cannot be moved as planned" in err
    assert "db.img" in err
    assert "total: 2 machines (1 failed, 1 committed)" in out or "total: 2 machines (1 committed, 1 failed)" in out
    words = source._read("starts", {}), source._read("power", {})
    assert words[1]["db"] == "running", "its source was never stopped"
    assert words[0]["db"] == 1
    plan = load(estate / "plan.yaml", Plan)
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        state = journal.states(plan.digest)["db"]
        kinds = [record.event.kind for record in journal.events(plan.digest, "db")]
    assert kinds == ["planned", "failed"]
    assert state.failed is not None
    assert (state.failed.at, state.failed.what) == ("ask-beforehand", "it cannot be moved as planned")


@pytest.mark.usefixtures("no_server")
def test_what_was_refused_goes_on_when_it_is_mended(kubeferry: Command, estate: Path) -> None:
    two_machines(estate)
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    image = (estate / "source" / "db.img").rename(estate / "source" / "away")
    assert kubeferry("migrate", "plan.yaml", "-m", "db")[0] == 2
    image.rename(estate / "source" / "db.img")
    code, out, _err = kubeferry("migrate", "plan.yaml", "-m", "db")
    assert (code, "1 committed" in out) == (0, True)


def test_nothing_is_left_of_a_plan_whose_machines_are_all_refused(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = two_machines(estate)
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    for name in ("web", "db"):
        (estate / "source" / f"{name}.img").unlink()
    monkeypatch.setattr(server, "prefect_api", lambda *_: pytest.fail("a server is started"))
    code, out, err = kubeferry("migrate", "plan.yaml")
    assert code == 2
    assert "total: 2 machines (2 failed)" in out
    assert "nothing is left of plan lab to move: what is refused was not touched" in err
    assert err.count("\n  - source.refused: ") == 2
    assert "web.img" in err
    assert set(source._read("power", {}).values()) == {"running"}


def test_precopy_asks_of_what_it_copies(kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_machines(estate)
    (estate / "policy.yaml").write_text(
        "apiVersion: kubeferry.io/v1alpha1\nkind: Policy\nmachines:\n  web: {mode: warm}\n"
    )
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        moves,
        "ask",
        lambda _config, _plan, names, *_more: asked.append(names) or pytest.fail("asked, and that will do"),
    )
    with pytest.raises(BaseException, match="asked, and that will do"):
        kubeferry("precopy", "plan.yaml")
    assert asked == [("web",)]
