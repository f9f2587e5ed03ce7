"""What a run that was cancelled in the midst of a cutover may not leave, brought to its end by a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.leaving import carried_through
from flows.migrate import Run
from flows.progress import Board
from flows.told import Audience, Outcome
from kubeferry.config import read_config
from kubeferry.documents import Plan, load
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from lab.machines import a_disk, a_machine


class CalledOff(Audience):
    """Somebody cancels when the source is off."""

    def __init__(self) -> None:
        self.settled: dict[str, Outcome] = {}

    def tell(self, machine: str, told: Any) -> None:
        if getattr(told, "kind", "") == "begin-copy":
            stopping.request()

    def called_off(self) -> bool:
        return stopping.requested()

    def settle(self, found: Any) -> None:
        self.settled = dict(found)


def test_a_machine_whose_source_is_off_goes_back(
    kubeferry: Callable[..., tuple[int, str, str]], estate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemorySource("lab", estate / "source")
    machine = a_machine("web", a_disk(estate / "source" / "web.img"), power=Power.RUNNING)
    source.write_machines(machine)
    kubeferry("discover")
    assert kubeferry("plan", "inventory.yaml")[0] == 0
    plan, settings, shown = load(Path("plan.yaml"), Plan), read_config(Path("kubeferry.yaml")), CalledOff()
    with Journal.open(settings.journal) as journal:
        journal.keep_plan(plan)
        run = Run(plan, settings, journal, Board(quiet=True), Goal.MIGRATE, shown)
        (outcome,) = carried_through(run, ("web",), Path("kubeferry.yaml"))
        kinds = [str(one.event.kind) for one in journal.events(plan.digest, "web")]
    log = (estate / ".kubeferry" / "leaving.log").read_text()
    assert (outcome.phase, kinds[-2:]) == ("rolled-back", ["source-restarted", "rolled-back"]), log
    assert "its source runs again" in str(outcome.error)
    assert shown.settled == {"web": outcome}
    assert source.power(machine) is Power.RUNNING
    assert not list((estate / ".kubeferry").glob("*.pid"))
