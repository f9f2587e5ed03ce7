"""Where a machine was found is recorded, also where the journal does not answer the first time."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.errors import TransientError
from kubeferry.model import Machine, Power
from kubeferry.sources.estate.source import Estate, Member
from kubeferry.sources.memory.source import MemorySource
from lab import machines


def test_who_could_not_be_told_is_told_at_the_next_try(tmp_path: Path) -> None:
    disk = tmp_path / "db.img"
    disk.write_bytes(b"db" * 4096)
    machine = machines.a_machine("db", machines.a_disk(disk), source="hv1", power=Power.RUNNING)
    sources = {name: MemorySource(name, tmp_path / name) for name in ("hv1", "hv2")}
    for name in sources:
        (tmp_path / name).mkdir()
    sources["hv1"].write_machines()
    sources["hv2"].write_machines(machine.model_copy(update={"source": "hv2"}))
    told: list[str] = []

    def found(_machine: Machine, place: str) -> None:
        told.append(place)
        if len(told) == 1:
            raise TransientError("the journal does not answer")

    estate = Estate(
        "berlin", {name: Member("memory", lambda one=one: one) for name, one in sources.items()}, found=found
    )
    with pytest.raises(TransientError):
        estate.power(machine)
    assert estate.power(machine) is Power.RUNNING
    assert told == ["hv2", "hv2"]
