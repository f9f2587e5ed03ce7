"""`kubeferry doctor` goes on: a part that breaks is a concern of that part, and the others are told all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import doctor
from kubeferry.errors import Interrupted
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget

Command = Callable[..., tuple[int, str, str]]


def found(kubeferry: Command, *arguments: str) -> dict[str, dict[str, Any]]:
    code, out, _err = kubeferry("doctor", *arguments, "--json")
    assert code == 2
    return {one["id"]: one for one in json.loads(out)}


def breaks(*_arguments: object) -> Any:
    raise LookupError("nobody thought of that\nat all")


def test_every_part_may_break_and_each_is_told(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    monkeypatch.setattr(MemorySource, "discover", breaks)
    monkeypatch.setattr(MemoryTarget, "concerns", breaks)
    monkeypatch.setattr(doctor.Journal, "open", breaks)
    monkeypatch.setattr(doctor, "ways", breaks)
    told = found(kubeferry, "plan.yaml")
    assert list(told) == ["journal.broken", "source.lab.broken", "target.broken", "ways.broken"]
    for part, one in told.items():
        assert one["severity"] == "critical"
        assert one["what"] == f"{part.removesuffix('.broken')}: LookupError: nobody thought of that"
        assert "KUBEFERRY_DEBUG=1 kubeferry doctor" in one["fix"]


def test_a_configuration_that_breaks_does_not_hide_the_tools(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "read_config", breaks)
    monkeypatch.setattr(doctor, "NEEDED", ("qemu-img-that-is-not-there",))
    monkeypatch.setattr(doctor, "PACKAGES", {"qemu-img-that-is-not-there": "qemu-utils"})
    told = found(kubeferry)
    assert list(told) == ["tool.missing", "config.broken"]
    assert told["tool.missing"]["fix"] == "apt-get install qemu-utils"


def test_where_it_happened_is_printed_on_request(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemorySource, "discover", breaks)
    assert "Traceback" not in "".join(kubeferry("doctor")[1:])
    monkeypatch.setenv("KUBEFERRY_DEBUG", "1")
    code, out, err = kubeferry("doctor")
    assert code == 2
    assert "in breaks" in err
    assert "source.lab.broken" in out


def test_a_plan_that_cannot_be_read_does_not_hide_the_others(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemorySource, "discover", breaks)
    (estate / "plan.yaml").write_text("kind: Policy\n")
    told = found(kubeferry, "plan.yaml")
    assert list(told) == ["plan.unusable", "source.lab.broken"]
    assert "plan.yaml:1" in told["plan.unusable"]["what"]
    assert told["plan.unusable"]["what"].startswith("plan.yaml is not a Plan")
    assert list(found(kubeferry, "plan.yaml", "--config", "gone.yaml")) == ["plan.unusable", "config.unusable"]


def test_who_asks_it_to_stop_is_heard(kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_arguments: object) -> Any:
        raise Interrupted("stopped on request")

    monkeypatch.setattr(MemorySource, "discover", stopped)
    monkeypatch.setattr(MemoryTarget, "concerns", breaks)
    code, out, err = kubeferry("doctor", "--json")
    assert (code, out) == (130, "")
    assert json.loads(err)["error"]["kind"] == "Interrupted"


def test_a_source_that_shows_no_machine_is_not_all_well(kubeferry: Command, estate: Path) -> None:
    assert kubeferry("doctor") == (0, "all is well\n", "")
    MemorySource("lab", estate / "source").write_machines()
    code, out, _err = kubeferry("doctor")
    assert code == 0
    assert "all is well" not in out
    assert "warning: source lab answers, and has no machines [source.lab.empty]" in out
