"""assess, plan and schema."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.assessing import write_assessments
from flows.cli import run
from kubeferry.documents import KINDS, Inventory, MachinePolicy, Policy
from kubeferry.model import Cpu, Machine, Memory

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_schema_of_each_kind_is_json(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", kind]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["properties"]


def test_all_schemas_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)) == sorted(KINDS)


def test_a_plan_s_dry_run_prints_and_writes_nothing(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    code, out, _ = kubeferry("plan", "inventory.yaml", "--dry-run")
    assert code == 0
    assert re.search(r"^wave-1 +web +default/web ", out, re.MULTILINE)
    assert re.search(
        r"Nothing was written: without --dry-run plan lab \([0-9a-f]{12}\) would be written to plan.yaml", out
    )
    assert not (estate / "plan.yaml").exists()


def test_a_plan_s_dry_run_for_a_program_is_json_and_writes_nothing(
    kubeferry: Command, printed_json: Callable[..., Any], estate: Path
) -> None:
    kubeferry("discover")
    made = printed_json("plan", "inventory.yaml", "--dry-run", "--json")
    assert (made["kind"], [entry["name"] for entry in made["entries"]]) == ("Plan", ["web"])
    assert not (estate / "plan.yaml").exists()


def test_an_assessment_tells_what_plan_will_refuse_the_policy_for(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    (estate / "policy.yaml").write_text(
        "apiVersion: kubeferry.io/v1alpha1\nkind: Policy\nrules:\n  - {match: {name: zz*}, timezone: UTC}\n"
        "machines: {nobody: {include: false}}\n"
    )
    code, out, err = kubeferry("assess", "inventory.yaml", "--policy", "policy.yaml")
    assert (code, "Pages for the owners" in out) == (0, True)
    assert "`plan` will refuse this policy" in err
    assert "policy rule 1: fits no machine of the inventory (name: zz*). " in err
    assert "policy machines.nobody: is no machine of the inventory. " in err


def test_a_plan_that_moves_nothing_says_so(kubeferry: Command, estate: Path) -> None:
    kubeferry("discover")
    assert "moves no machine" not in kubeferry("plan", "inventory.yaml", "--dry-run")[2]
    head = "apiVersion: kubeferry.io/v1alpha1\nkind: Policy\n"
    (estate / "none.yaml").write_text(f"{head}machines: {{web: {{include: false}}}}\n")
    code, _, err = kubeferry("plan", "inventory.yaml", "--policy", "none.yaml", "--out", "none-plan.yaml")
    assert (code, err) == (2, "The plan moves no machine: `migrate` will refuse it.\n")
    assert (estate / "none-plan.yaml").exists()


def test_machines_of_one_name_in_two_namespaces_have_a_page_each(tmp_path: Path) -> None:
    inventory = Inventory(
        source="lab",
        source_kind="memory",
        observed_at="2026-01-01T00:00:00Z",
        machines=tuple(
            Machine(id=name, name=name, source="lab", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=1 << 30))
            for name in ("one", "two")
        ),
    )
    choices = {name: MachinePolicy(name="same", namespace=name) for name in ("one", "two")}
    write_assessments(inventory, Policy(machines=choices), tmp_path)
    pages = [page.read_text() for page in tmp_path.glob("*/README.md")]
    assert sorted(page.splitlines()[0] for page in pages) == ["# one", "# two"]
    summary = (tmp_path / "README.md").read_text()
    for name in ("one", "two"):
        (link,) = re.findall(rf"\[{name}\]\((.*?)\)", summary)
        assert (tmp_path / link).read_text().startswith(f"# {name}\n")


def test_a_schema_for_a_program_is_one_line(kubeferry: Command) -> None:
    out = kubeferry("schema", "Plan", "--json")[1]
    assert out.count("\n") == 1
    assert json.loads(out) == json.loads(kubeferry("schema", "Plan")[1])


def test_totals_say_one_of_one(kubeferry: Command) -> None:
    kubeferry("discover")
    told = kubeferry("assess", "inventory.yaml")[1]
    assert "total: 1 machine (1 " in told
    assert "total: 1 wave, 1 machine, 1 disk with 1 MiB, " in kubeferry("plan", "inventory.yaml")[1]
