"""A machine whose name means something to a formatter moves and goes back like any other, with no Prefect at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kubeferry.sources.memory.source import MemorySource
from tests.unit.flows.conftest import a_machine

Command = Callable[..., tuple[int, str, str]]


def test_a_machine_of_any_name_moves_and_goes_back(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "{0} [/old]web %(name)s"
    machine = a_machine(name, estate / "source" / "web.img")
    disk = machine.disks[0].model_copy(update={"id": name})
    MemorySource("lab", estate / "source").write_machines(machine.model_copy(update={"disks": (disk,)}))
    assert kubeferry("discover")[0] == 0
    assert kubeferry("plan", "inventory.yaml")[0] == 0
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code, out, err = kubeferry("migrate", "plan.yaml")
    assert (code, f"{name}  committed" in out) == (0, True), err
    code, out, err = kubeferry("precopy", "plan.yaml")
    assert code == 0, err
    code, out, err = kubeferry("rollback", "--plan", "lab", f"--machine={name}")
    assert (code, f"{name}  rolled-back" in out) == (0, True), err
