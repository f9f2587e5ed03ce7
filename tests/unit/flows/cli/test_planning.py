"""assess, plan and schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import run
from kubeferry.documents import (
    KINDS,
)

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
    assert "kind: Plan" in out
    assert not (estate / "plan.yaml").exists()
