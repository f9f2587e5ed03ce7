"""Names that mean something to a formatter, a shell or a terminal are names and nothing else, to every verb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kubeferry.documents import JournalConfig, Plan, dump, load
from kubeferry.journal import Journal
from kubeferry.life.events import CutoverBegun, Failed, Planned, SourceStopped
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from tests.unit.flows.conftest import a_machine

Command = Callable[..., tuple[int, str, str]]
NAMES = ["{0}", "{machine}", "[/old]web", "[bold]web", "%s%d", "$(reboot)", "-m", "a|b", "{{", "web }{", "%(name)s"]
LOOKING = (
    ["assess", "inventory.yaml"],
    ["plan", "inventory.yaml", "--dry-run"],
    ["doctor", "plan.yaml"],
    ["status", "plan.yaml"],
    ["status", "--plan", "lab"],
    ["migrate", "plan.yaml", "--dry-run"],
    ["migrate", "plan.yaml", "--dry-run", "--again"],
    ["report", "plan.yaml", "--out", "report"],
    ["release", "plan.yaml", "--dry-run"],
    ["release", "plan.yaml", "--everything", "--dry-run"],
)


@pytest.fixture
def odd(kubeferry: Command, estate: Path, request: pytest.FixtureRequest) -> str:
    """A machine and a disk of that name, discovered and planned, and left in a failure with the name in it."""
    name = str(request.param)
    machine = a_machine(name, estate / "source" / "web.img")
    disk = machine.disks[0].model_copy(update={"id": name})
    MemorySource("lab", estate / "source").write_machines(machine.model_copy(update={"disks": (disk,)}))
    assert kubeferry("discover")[0] == 0
    assert kubeferry("plan", "inventory.yaml")[0] == 0
    plan = load(estate / "plan.yaml", Plan)
    assert [entry.name for entry in plan.entries] == [name], plan.excluded
    with Journal.open(JournalConfig(url=f"sqlite:///{estate / 'journal.db'}")) as journal:
        journal.register_plan(plan.digest, plan.name, dump(plan))
        with journal.lease(plan.digest, name) as lease:
            journal.append(lease, Planned(plan_digest=plan.digest, disks=(name,)))
            journal.append(lease, CutoverBegun(power_before=Power.RUNNING))
            journal.append(lease, SourceStopped(how="acpi", at="2026-11-29T01:02:03Z"))
            journal.append(lease, Failed(at="copy-disks", what=f"{name} broke", why=name, fix=name))
            journal.intend(lease, "disk", name, name)
    return name


@pytest.mark.parametrize("odd", NAMES, indirect=True)
def test_a_name_breaks_no_verb_and_stands_whole_in_what_it_prints(kubeferry: Command, odd: str) -> None:
    for arguments in LOOKING:
        for as_json in ([], ["--json"]):
            code, out, err = kubeferry(*arguments, *as_json)
            assert code == 0, (arguments, err)
            assert "defect" not in out + err, arguments
    assert odd in kubeferry("status", "plan.yaml")[1]
    assert odd in kubeferry("migrate", "plan.yaml", "--dry-run")[1]


@pytest.mark.parametrize("odd", NAMES, indirect=True)
def test_a_name_can_be_named(kubeferry: Command, odd: str) -> None:
    code, out, err = kubeferry("migrate", "plan.yaml", "--dry-run", f"--machine={odd}")
    assert (code, odd in out) == (0, True), err
    assert kubeferry("discover", f"--machine={odd}")[0] == 0


@pytest.mark.parametrize("odd", NAMES, indirect=True)
def test_a_machine_of_any_name_is_brought_back(kubeferry: Command, estate: Path, odd: str) -> None:
    code, out, err = kubeferry("release", "plan.yaml", "--everything", "--yes")
    assert code == 0, err
    assert f"{odd}: was cutting-over: rolled back first" in out
    assert "rolled-back" in kubeferry("status", "plan.yaml")[1]
